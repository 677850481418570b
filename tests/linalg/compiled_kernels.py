"""Run as a program: the kernels named (or all), compiled, against the eager ones.

Prints {name: largest relative deviation of the value and of the gradients} and whether the compiler failed.
"""

import json
import sys

import torch

from manifoldnet import linalg
from manifoldnet.linalg import kernel


def arguments(n):
    generator = torch.Generator().manual_seed(0)
    u = linalg.sym(torch.randn(3, 600, n, n, dtype=torch.float64, generator=generator))
    x, y = linalg.sym_expm(u[0]), linalg.sym_expm(u[1])
    y[:50] = x[:50]
    return x, y, u[2]


CASES = {}
for n in (2, 3):
    x, y, u = arguments(n)
    CASES |= {
        f"sym_logm {n}": (linalg.sym_logm, (x,)),
        f"sym_expm {n}": (linalg.sym_expm, (u,)),
        f"sym_sqrtm {n}": (linalg.sym_sqrtm, (x,)),
        f"sym_powm {n}": (lambda x: linalg.sym_powm(x, 0.3), (x,)),
        f"sym_eigh {n}": (lambda x: linalg.sym_eigh(x)[0], (x,)),
        f"affine_exp {n}": (linalg.affine_exp, (x, u)),
        f"affine_log {n}": (linalg.affine_log, (x, y)),
        f"affine_squared_distance {n}": (linalg.affine_squared_distance, (x, y)),
    }
v = torch.randn(600, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
v[0] = 0
CASES["rotation_expm"] = (linalg.rotation_expm, (v,))
CASES["rotation_logm"] = (linalg.rotation_logm, (linalg.rotation_expm(v),))
CASES["rotation_to_quaternion"] = (linalg.rotation_to_quaternion, (linalg.rotation_expm(v),))


def results(f, arguments, mode):
    with kernel.compilation(mode):
        leaves = [a.clone().requires_grad_() for a in arguments]
        value = f(*leaves)
        # a cotangent along which no map is constant, as rotations are along themselves
        cotangent = torch.arange(value.numel(), dtype=value.dtype).cos().view_as(value)
        return [value.detach(), *torch.autograd.grad(value, leaves, cotangent)]


if __name__ == "__main__":
    found = {}
    for name in sys.argv[1:] or CASES:
        pairs = zip(*(results(*CASES[name], mode) for mode in ("never", "always")), strict=True)
        found[name] = max(((a - b).abs().max() / a.abs().max()).item() for a, b in pairs)
    print(json.dumps(found | {"broken": kernel._broken}))
