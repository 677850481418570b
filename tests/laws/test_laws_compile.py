"""torch.compile takes the maps of every space as one graph and keeps their values and gradients.

In a process of its own: the shape checks which the tests switch on cannot be traced.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from law_cases import SPACES, Power, Product


def largest_deviations(backend, names):
    program = Path(__file__).with_name("compiled_maps.py")
    run = subprocess.run(
        [sys.executable, "-W", "ignore", program, backend, *names], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout.splitlines()[-1])


compound = [name for name, space in SPACES.items() if isinstance(space, Power | Product)]
simple = [name for name in SPACES if name not in compound]


def check(backend, names):
    found = largest_deviations(backend, names)
    assert set(found) == set(names)
    for name, worst in found.items():
        assert isinstance(worst, float), f"{name}: {worst}"
        assert worst < 1e-11, name


def test_maps_are_traced_as_one_graph():
    check("eager", simple)


@pytest.mark.slow
def test_maps_of_compound_spaces_are_traced_as_one_graph():
    check("eager", compound)


@pytest.mark.slow
def test_compiled_maps_keep_values_and_gradients():
    check("inductor", simple)
