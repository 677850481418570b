"""torch.compile takes the maps of every space as one graph and keeps their values and gradients.

In a process of its own: the shape checks which the tests switch on cannot be traced.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from compiled_maps import MAPS
from law_cases import SPACES, Power, Product

compound = [name for name, space in SPACES.items() if isinstance(space, Power | Product)]
simple = [name for name in SPACES if name not in compound]


def check(backend, maps, names):
    program = Path(__file__).with_name("compiled_maps.py")
    command = [sys.executable, "-W", "ignore", program, backend, ",".join(maps), *names]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(run.stdout.splitlines()[-1])
    assert set(found) == set(names)
    for name, worst in found.items():
        assert isinstance(worst, float), f"{name}: {worst}"
        assert worst < 1e-11, name


@pytest.mark.parametrize("names", [["so3", "sphere"], pytest.param(simple, marks=pytest.mark.slow)], ids=["few", "all"])
def test_exponential_and_logarithm_are_traced_as_one_graph(names):
    check("eager", ["expmap", "logmap"], names)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_every_map_is_traced_as_one_graph(name):
    check("eager", MAPS, [name])


@pytest.mark.slow
@pytest.mark.parametrize("name", simple)
def test_compiled_maps_keep_values_and_gradients(name):
    check("inductor", ["expmap", "logmap", "dist2"], [name])
