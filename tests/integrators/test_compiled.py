"""Compiled steps are the eager ones, in a process of its own: the shape checks of the tests cannot be traced."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys, torch
import manifoldnet as mn
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(9, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
    def forward(self, t, r):
        return self.net(r.flatten(-2)) * torch.cos(t)
field = Field()
r = mn.SO3().random(5, 3, 3, dtype=torch.double)
t = torch.linspace(0, 1, 3, dtype=torch.double)
found = []
for compiled in (False, True):
    net.zero_grad()
    y = mn.odeint(field, r, t, space=mn.SO3(), method=sys.argv[1], steps=5, compiled=compiled)
    y.square().mul(torch.arange(9).reshape(3, 3)).sum().backward()
    found.append((y.detach(), *(p.grad.clone() for p in net.parameters())))
print(json.dumps(max((a - b).abs().max().item() for a, b in zip(*found))))
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rkmk4", "cf4", "rkmk-dopri5", "cg3"])
def test_compiled_steps_are_the_eager_ones(method):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, method]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout.splitlines()[-1]) < 1e-13
