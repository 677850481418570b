"""Speed of the maps of small matrices beside other packages, as ratios within the same run; see README.md.

python benchmarks/manifolds.py
python benchmarks/manifolds.py --quick --only dist 'so3*'
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peers import load, operations
from report import bars, show
from rich.console import Console
from timing import interleaved, ratio
from torch import Tensor

import manifoldnet as mn
from manifoldnet import linalg

# a peer counts if it differs by less than this part of the largest entry; sums of many float32 terms differ by 1e-3
AGREEMENT = {torch.float64: 1e-6, torch.float32: 1e-2}
SWITCH = {"ours": "auto", "ours, eager": "never", "ours, compiled": "always"}
OURS: dict[str, Callable[..., Tensor]] = {
    "eigh": lambda x: linalg.sym_eigh(x)[0],
    "logm": linalg.sym_logm,
    "expm": linalg.sym_expm,
    "sqrtm": linalg.sym_sqrtm,
    "expmap": mn.SPD("affine-invariant").expmap,
    "logmap": mn.SPD("affine-invariant").logmap,
    "dist": mn.SPD("affine-invariant").dist,
    "so3 exp": mn.SO3().exp,
    "so3 log": mn.SO3().log,
}


def inputs(operation: str, batch: int, dtype: torch.dtype, device: str) -> list[Tensor]:
    """Leaves that require gradients: matrices with distinct eigenvalues, rotations by up to 2.5 rad."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(batch, *shape, dtype=torch.double, generator=generator)

    def positive() -> Tensor:
        return torch.matrix_exp(linalg.sym(0.7 * normal(3, 3)))

    if operation.startswith("so3"):
        v = normal(3)
        v = v * (2.5 / v.norm(dim=-1, keepdim=True).clamp_min(2.5))
        given = [v if operation == "so3 exp" else torch.matrix_exp(linalg.hat(v))]
    elif operation == "expm":
        given = [linalg.sym(normal(3, 3))]
    else:
        given = [positive()]
    if operation == "expmap":
        given.append(linalg.sym(normal(3, 3)))
    if operation in ("logmap", "dist"):
        given.append(positive())
    return [x.to(device, dtype).requires_grad_() for x in given]


def caller(function: Callable[..., Tensor], leaves: list[Tensor], cotangent: Tensor | None) -> Callable[[], object]:
    """One timed call: the value alone, or value and gradients."""
    if cotangent is None:
        plain = [x.detach() for x in leaves]
        return lambda: function(*plain)
    return lambda: torch.autograd.grad(function(*leaves), leaves, cotangent)


def switched(call: Callable[[], object], mode: str) -> Callable[[], object]:
    def wrapped() -> object:
        with linalg.compilation(mode):
            return call()

    return wrapped


def agrees(found: Any, wanted: Any, operation: str, leaves: list[Tensor], tolerance: float) -> bool:
    """Whether values, or gradients along the space, are the same."""
    if isinstance(wanted, Tensor):
        found, wanted = (found,), (wanted,)
    elif operation == "so3 log":
        # the gradient across the rotations depends on how the logarithm is extended to other matrices
        along = [[linalg.vee(x.mT @ g - g.mT @ x) for x, g in zip(leaves, gs, strict=True)] for gs in (found, wanted)]
        found, wanted = along
    elif leaves[0].shape[-2:] == (3, 3):
        found, wanted = [[linalg.sym(g) for g in gs] for gs in (found, wanted)]
    pairs = zip(found, wanted, strict=True)
    return all(bool((a - b).abs().max() <= tolerance * b.abs().max()) for a, b in pairs)


def measure(
    operation: str, peers: dict[str, Callable[..., Tensor]], dtype: torch.dtype, backward: bool, options: Any
) -> dict[str, object]:
    """One row of the table: milliseconds and ratios of all candidates for one operation."""
    if not options.eager_peers:
        # the compiler gives up on functions that it has met with many types of argument
        torch._dynamo.reset()
    leaves = inputs(operation, options.batch, dtype, options.device)
    value = OURS[operation](*leaves).detach()
    cotangent = None
    if backward:
        generator = torch.Generator().manual_seed(1)
        cotangent = torch.randn(value.shape, dtype=torch.double, generator=generator).to(value)
        if value.shape[-2:] == (3, 3) and operation != "so3 exp":
            cotangent = linalg.sym(cotangent)
    own = caller(OURS[operation], leaves, cotangent)
    wanted = own()
    candidates = {name: switched(own, mode) for name, mode in SWITCH.items()}
    reasons: dict[str, str] = {}
    for name, peer in peers.items():
        if backward and name == "scipy":
            continue
        variants = {name: peer}
        if not options.eager_peers and name != "scipy":
            variants[f"{name}, compiled"] = torch.compile(peer)
        for label, variant in variants.items():
            call = caller(variant, leaves, cotangent)
            try:
                if not agrees(call(), wanted, operation, leaves, AGREEMENT[dtype]):
                    reasons[label] = "another gradient" if backward else "another value"
                candidates[label] = call
            except Exception as error:  # whatever stops a peer is reported with its name
                reasons[label] = type(error).__name__
    tensors = [x.detach() for x in ([*leaves, value] * 2 if backward else [*leaves, value])]
    copies = [torch.empty_like(x) for x in tensors]
    candidates["copy"] = lambda: [a.copy_(b) for a, b in zip(copies, tensors, strict=True)]
    seconds = interleaved(candidates, options.rounds)
    moved = sum(x.numel() * x.element_size() for x in tensors) / 1e9
    return {
        "operation": operation,
        "direction": "fwd+bwd" if backward else "fwd",
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "ms": {name: 1e3 * median(times) for name, times in seconds.items()},
        "ratios": {own: {name: ratio(times, seconds[own]) for name, times in seconds.items()} for own in SWITCH},
        "GB/s": {"ours": moved / median(seconds["ours"]), "copy": 2 * moved / median(seconds["copy"])},
        "not counted": reasons,
    }


def worker(options: argparse.Namespace) -> None:
    """All rows of one number of threads, one line of JSON each, after a line about the peers."""
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    torch.set_num_threads(options.threads[0])
    versions, missing = load()
    print(json.dumps({"versions": versions, "missing": missing}), flush=True)
    for name in options.dtype:
        dtype = getattr(torch, name)
        # geomstats makes its constants in the default type and refuses to mix them with another
        torch.set_default_dtype(dtype)
        table = operations(versions)
        for operation in options.only:
            for backward in (False, True):
                print(json.dumps(measure(operation, table[operation], dtype, backward, options)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=100_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"], choices=["float32", "float64"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="of " + ", ".join(OURS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--eager-peers", action="store_true", help="do not try torch.compile on the peers")
    parser.add_argument("--quick", action="store_true", help="the same as --rounds 3 --threads 1 --eager-peers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.threads, options.eager_peers = 3, [1], True
    patterns, options.only = options.only, [o for o in OURS if any(fnmatch(o, p) for p in options.only)]
    if not options.only:
        parser.error(f"--only: wanted some of {', '.join(OURS)}, got {', '.join(patterns)}")
    if options.worker:
        worker(options)
        return
    console = Console(width=200)
    console.print(
        f"torch {torch.__version__}, {options.device}, batch {options.batch}, {options.rounds} rounds, wall clock, "
        f"medians; {os.cpu_count()} processors, load at the start {os.getloadavg()[0]:.1f}"
    )
    rows: list[dict[str, Any]] = []
    for threads in options.threads:
        # in a process of its own, because compiled code is made for one number of threads
        command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--worker", "--threads", str(threads)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            peers: dict[str, Any] = {}
            for line in process.stdout:
                # other packages may print as well
                if not line.startswith("{"):
                    continue
                if not peers:
                    peers = json.loads(line)
                    continue
                rows.append(json.loads(line))
                print(*(rows[-1][key] for key in ("threads", "dtype", "operation", "direction")), file=sys.stderr)
                if options.json:
                    options.json.write_text(json.dumps({"peers": peers, "rows": rows}, indent=1))
        if process.returncode:
            console.print(f"the process with {threads} thread(s) stopped with status {process.returncode}")
    console.print("peers: " + ", ".join(f"{name} {number}" for name, number in peers["versions"].items()))
    console.print(f"peers not installed: {'; '.join(peers['missing']) or 'none'}")
    show(rows, console)
    bars(rows, console)


if __name__ == "__main__":
    main()
