"""Every structured field is traced as one graph, some inside a flow as well, in a process of its own."""

import json
import subprocess
import sys

import pytest

from manifoldnet.fields import FIELDS, FIELDS_OF_IMAGES

PROGRAM = """
import json, sys, torch
import manifoldnet as mn
from manifoldnet.fields import FIELDS, FIELDS_OF_IMAGES
FLOWS = ("gradient", "projected", "hamiltonian", "divergence-free-skew")
paired = ("hamiltonian", "hyperbolic", "damped-hamiltonian", "h-dnn", "haber-ruthotto")
found = {}
traced = lambda f: torch.compile(f, fullgraph=True, backend="aot_eager")  # what breaks, breaks before code is made
for registry, size in ((FIELDS, ()), (FIELDS_OF_IMAGES, (4, 5))):
    for name, make in registry.items():
        torch._dynamo.reset()
        generator = torch.Generator().manual_seed(0)
        field = make(2, time="piecewise-linear", knots=3, generator=generator).double()
        y = torch.randn(3, 4 if name in paired else 2, *size, dtype=torch.double, generator=generator)
        method = "euler" if name.startswith("projected") else "strang" if "divergence" in name else "rk4"
        flow = mn.nn.Flow(field, method, steps=1)
        t = torch.tensor(0.3, dtype=torch.double)
        results = []
        for f, g in ((field, flow), (traced(field), traced(flow))):
            field.zero_grad()
            value = (f(t, y), g(y)) if name in FLOWS and not size else (f(t, y),)
            sum(v.square().sum() for v in value).backward()
            results.append([*(v.detach() for v in value), *(p.grad.clone() for p in field.parameters())])
        found[f"{name} {size}"] = max((a - b).abs().max().item() for a, b in zip(*results))
print(json.dumps(found))
"""


@pytest.mark.slow
def test_fields_and_their_flows_are_traced_as_one_graph():
    """With the gradients of the eager ones."""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout.splitlines()[-1])
    assert len(found) == len(FIELDS) + len(FIELDS_OF_IMAGES)
    for name, deviation in found.items():
        assert deviation < 1e-12, name
