"""Run as a program: exp and log compiled as one graph against the eager ones, for the spaces and backend named.

Prints {space: largest deviation of the value and of the three gradients}, or {space: error message}.
"""

import json
import sys

import torch
from law_cases import SPACES, near, points, tangents


def deviation(space, backend):
    x = points(space, 5)
    y = near(space, x, 1.0)
    u = tangents(space, x, 1.0)

    def there_and_back(x, u, y):
        return space.logmap(y, space.expmap(x, u))

    torch._dynamo.reset()
    results = []
    for f in (there_and_back, torch.compile(there_and_back, fullgraph=True, backend=backend)):
        leaves = [v.clone().requires_grad_() for v in (x, u, y)]
        value = f(*leaves)
        results.append((value.detach(), *torch.autograd.grad(value.square().sum(), leaves)))
    return max((a - b).abs().max().item() for a, b in zip(*results, strict=True))


if __name__ == "__main__":
    found = {}
    for name in sys.argv[2:]:
        try:
            found[name] = deviation(SPACES[name], sys.argv[1])
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))
