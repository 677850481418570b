"""Run as a program: maps compiled as one graph against the eager ones, for the backend, maps and spaces named.

python compiled_maps.py BACKEND MAP,MAP SPACE SPACE prints {space: largest deviation of the values and of the
gradients}, or {space: error message}.
"""

import json
import sys

import torch
from law_cases import SPACES, near, points, tangents

MAPS = {
    "expmap": lambda space, x, u, y: space.expmap(x, u),
    "logmap": lambda space, x, u, y: space.logmap(x, y),
    "dist2": lambda space, x, u, y: space.dist2(x, y),
    "transp": lambda space, x, u, y: space.transp(x, y, u),
    "retr": lambda space, x, u, y: space.retr(x, u),
    "inner": lambda space, x, u, y: space.inner(x, u),
    "proju": lambda space, x, u, y: space.proju(y, u),
    "act_exp": lambda space, x, u, y: space.action.act_exp(space.lift(x, u), y),
}


def deviation(space, backend, maps):
    x = points(space, 5)
    y = near(space, x, 1.0)
    u = tangents(space, x, 1.0)

    def everything(x, u, y):
        return torch.cat([MAPS[name](space, x, u, y).flatten() for name in maps])

    torch._dynamo.reset()
    results = []
    for f in (everything, torch.compile(everything, fullgraph=True, backend=backend)):
        leaves = [v.clone().requires_grad_() for v in (x, u, y)]
        value = f(*leaves)
        results.append((value.detach(), *torch.autograd.grad(value.square().sum(), leaves, allow_unused=True)))
    pairs = [(a, b) for a, b in zip(*results, strict=True) if a is not None]
    return max((a - b).abs().max().item() for a, b in pairs)


if __name__ == "__main__":
    found = {}
    for name in sys.argv[3:]:
        try:
            found[name] = deviation(SPACES[name], sys.argv[1], sys.argv[2].split(","))
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))
