"""Speed of the integrators beside torchdiffeq and torchode, as ratios within the same run.

python benchmarks/integrators.py
python benchmarks/integrators.py --quick

Steps a second of whole calls: rk4 (torchdiffeq's by the 3/8 rule), dopri5, rkmk4 on SO(3) beside torchdiffeq's rk4 in
the nine entries; how far those leave the rotations; what a sample's own steps save where one of a batch is stiff.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
import torchdiffeq
import torchode
from rich import box
from rich.console import Console
from rich.table import Table
from timing import interleaved, ratio
from torch import Tensor, nn
from torchode.interpolation import LinearInterpolation
from torchode.single_step_methods.runge_kutta import ButcherTableau, ExplicitRungeKutta

import manifoldnet as mn
from manifoldnet.integrators import solve
from manifoldnet.integrators.attempts import Counted
from manifoldnet.linalg import hat

BATCH = 128
STEPS = 64  # a power of two: no solver adds a step because of rounding
END, TOLERANCE = 20.0, 1e-5  # of adaptive steps
AGREEMENT = 1e-3  # of the largest entry; solvers that differ by more are timed and not counted
OURS = ("ours", "ours, compiled")
EAGER = ("torchdiffeq", "torchode")
COMPILED = ("torchdiffeq, compiled", "torchode, compiled")
CHEAPER = "torchdiffeq, 9 to 9"
Field = Callable[[Tensor, Tensor], Tensor]


class Perceptron(nn.Module):
    """f(t, y) = net(y), the entries of matrices taken as a vector."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, matrices: bool = False) -> None:
        super().__init__()
        sizes = (inputs, *hidden)
        layers = [m for a, b in zip(sizes, hidden, strict=False) for m in (nn.Linear(a, b), nn.Tanh())]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))
        self.matrices = matrices

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.net(y.flatten(-2) if self.matrices else y)


class Candidate(NamedTuple):
    """A solver of one problem, the steps it makes, and the field."""

    solve: Callable[[], Any]
    steps: int
    field: nn.Module

    def end(self) -> Tensor:
        solution = self.solve()
        return solution[-1] if isinstance(solution, Tensor) else solution.ys[:, -1]

    def gradient(self) -> tuple[Tensor, ...]:
        """Of |y - 1|^2 at the end in the parameters; |y|^2 is constant on the rotations."""
        return torch.autograd.grad((self.end() - 1).square().sum(), list(self.field.parameters()))


def by_torchode(field: Field, y0: Tensor, t: Tensor, rtol: float | None = None, atol: float | None = None) -> Any:
    """Its call in the cheapest form; without tolerances by fixed steps, for which it takes a tableau."""
    term, start, end = torchode.ODETerm(field, with_stats=False), *t[:, None].expand(2, len(y0))
    if rtol is not None:
        method, length = torchode.Dopri5(term), None
        controller = torchode.IntegralController(rtol=rtol, atol=atol, term=term)
    else:
        tableau = ButcherTableau.from_lists(
            c=[0, 0.5, 0.5, 1], a=[[], [0.5], [0, 0.5], [0, 0, 1.0]], b=[1 / 6, 1 / 3, 1 / 3, 1 / 6], b_err=[0.0] * 4
        )
        method, length = ExplicitRungeKutta(term, tableau), (end - start) / STEPS
        method.convergence_order = lambda: 4
        method.build_interpolation = lambda data: LinearInterpolation(data.t0, data.dt, data.y0, data.y1)
        controller = torchode.FixedStepController()
    solver = torchode.AutoDiffAdjoint(method, controller, backprop_through_step_size_control=False)
    return lambda: solver.solve(torchode.InitialValueProblem(y0, start, end), term, dt0=length)


def on_vectors(d: int, hidden: Sequence[int], adaptive: bool) -> dict[str, Candidate]:
    """Solvers of y' = f(y) on R^d."""
    torch.manual_seed(0)
    field, y0 = Perceptron(d, hidden, d), torch.randn(BATCH, d)
    tolerances = {"rtol": TOLERANCE, "atol": TOLERANCE} if adaptive else {}
    t = torch.tensor([0.0, END if adaptive else 1.0])
    ours: dict[str, Any] = {"method": "dopri5", **tolerances} if adaptive else {"method": "rk4", "steps": STEPS}
    theirs = {**(ours if adaptive else {"method": "rk4", "options": {"step_size": 1 / STEPS}}), "y0": y0, "t": t}
    mine, their = partial(mn.odeint, field, y0, t, **ours), partial(torchdiffeq.odeint, **theirs)
    other = by_torchode(field, y0, t, **tolerances)
    my_steps, counted = int(sum(solve(field, y0, t, **ours).statistics[:2])), Counted(field)
    their(counted)
    steps = (counted.calls - 2) // 6 if adaptive else counted.calls // 4
    found = {"ours": Candidate(mine, my_steps, field), "torchdiffeq": Candidate(partial(their, field), steps, field)}
    if not adaptive:  # the compiler fails on a call of unique() in torchdiffeq's adaptive steps
        compiled = partial(torch.compile(torchdiffeq.odeint), field, **theirs)
        found["ours, compiled"] = Candidate(partial(mine, compiled=True), my_steps, field)
        found["torchdiffeq, compiled"] = Candidate(compiled, steps, field)
    found["torchode"] = Candidate(other, int(other().stats["n_steps"].max()), field)
    found["torchode, compiled"] = found["torchode"]._replace(solve=torch.compile(other))
    return found


def ambient(field: Field) -> Field:
    """The derivative hat(f(t, y)) y of the nine entries."""
    return lambda t, y: torch.linalg.cross(field(t, y)[..., None], y, dim=-2)


def on_rotations(hidden: Sequence[int]) -> dict[str, Candidate]:
    """Solvers of y' = hat(f(y)) y on SO(3), and one of y' = g(y) with nine outputs, which is cheaper."""
    torch.manual_seed(0)
    field, free = Perceptron(9, hidden, 3, matrices=True), Perceptron(9, hidden, 9, matrices=True)
    t, y0 = torch.tensor([0.0, 1.0]), torch.matrix_exp(hat(torch.randn(BATCH, 3)))
    ours = partial(mn.odeint, field, y0, t, space=mn.SO3(), method="rkmk4", steps=STEPS)
    theirs = {"y0": y0, "t": t, "method": "rk4", "options": {"step_size": 1 / STEPS}}
    eager, compiled = torchdiffeq.odeint, torch.compile(torchdiffeq.odeint)
    return {
        "ours": Candidate(ours, STEPS, field),
        "ours, compiled": Candidate(partial(ours, compiled=True), STEPS, field),
        "torchdiffeq": Candidate(partial(eager, ambient(field), **theirs), STEPS, field),
        "torchdiffeq, compiled": Candidate(partial(compiled, ambient(field), **theirs), STEPS, field),
        CHEAPER: Candidate(partial(eager, lambda t, y: free(t, y).unflatten(-1, (3, 3)), **theirs), STEPS, free),
    }


def measure(problem: str, candidates: dict[str, Candidate], rounds: int) -> Iterator[dict[str, Any]]:
    """Two rows, fwd and fwd+bwd: steps a second of everyone, and ours over theirs."""
    for direction in ("fwd", "fwd+bwd"):
        calls, reasons, wanted = {}, {}, None
        for name, candidate in candidates.items():
            call = torch.no_grad()(candidate.end) if direction == "fwd" else candidate.gradient
            try:
                result = torch.cat([part.flatten() for part in call()])
            except Exception as error:  # whatever stops a peer is reported with its name
                reasons[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
                continue
            calls[name] = call
            wanted = result if wanted is None else wanted
            if name != CHEAPER and (result - wanted).abs().max() > AGREEMENT * wanted.abs().max():
                reasons[name] = "another value"
        seconds = interleaved(calls, rounds)
        each = {name: [s / candidates[name].steps for s in times] for name, times in seconds.items()}
        yield {
            "problem": problem,
            "direction": direction,
            "not counted": reasons,
            "steps": {name: candidates[name].steps for name in each},
            "steps/s": {name: 1 / median(times) for name, times in each.items()},
            "speed": {own: {n: ratio(times, each[own]) for n, times in each.items()} for own in OURS if own in each},
        }


def drifts() -> dict[str, float]:
    """Largest |y'y - 1| after 10,000 steps of 0.05 in float64, of ours and of torchdiffeq's in the nine entries."""
    torch.manual_seed(0)
    field = Perceptron(9, (32,), 3, matrices=True).double()
    y0, t = torch.matrix_exp(hat(torch.randn(BATCH, 3).double())), torch.tensor([0.0, 500.0]).double()
    with torch.no_grad():
        ours = mn.odeint(field, y0, t, space=mn.SO3(), method="rkmk4", steps=10_000)[-1]
        theirs = torchdiffeq.odeint(ambient(field), y0, t, method="rk4", options={"step_size": 0.05})[-1]
    ends = {"start": y0, "ours": ours, "torchdiffeq": theirs}
    return {name: float((y.mT @ y - torch.eye(3).to(y)).abs().max()) for name, y in ends.items()}


def one_stiff_sample() -> dict[str, int]:
    """Evaluations of y' = -k (y - cos t), summed over 64 samples of which one is stiff, of every solver on [0, 3]."""
    y0 = torch.tensor([[0.0, 1000.0]] + 63 * [[0.0, 2.0]], dtype=torch.float64)
    t, tolerances = torch.tensor([0.0, 3.0]).to(y0), {"rtol": 1e-5, "atol": 1e-7}

    def field(t: Tensor, state: Tensor) -> Tensor:
        y, k = state.unbind(-1)
        return torch.stack([-k * (y - torch.cos(t)), torch.zeros_like(k)], -1)

    run: Any = partial(solve, field, y0, t, method="dopri5", **tolerances)
    counted = Counted(field)
    torchdiffeq.odeint(counted, y0, t, method="dopri5", **tolerances)
    tried = by_torchode(field, y0, t, **tolerances)().stats["n_steps"]
    return {
        "ours, per sample": int(run(per_sample=True).statistics.evaluations.sum()),
        "ours, shared": 64 * int(run().statistics.evaluations),
        "torchdiffeq": 64 * counted.calls,
        "torchode": 64 * (6 * int(tried.max()) + 2),  # samples at the end are evaluated as well
    }


def beside(row: dict[str, Any], own: str, peers: Sequence[str]) -> tuple[float, str]:
    """Speed of ours over the fastest of the peers that count, and its name, which is empty if there is none."""
    speed = row["speed"].get(own, {})
    return min(((speed[n], n) for n in peers if n in speed and n not in row["not counted"]), default=(0.0, ""))


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Steps a second of everyone, and ours beside the fastest."""
    names = [name for name in (*OURS, *EAGER, *COMPILED, CHEAPER) if any(name in row["steps/s"] for row in rows)]
    own, compiled = OURS
    pairs = {"eager / eager": (own, EAGER), "compiled / eager": (compiled, EAGER), "/ compiled": (compiled, COMPILED)}
    table = Table(title="steps a second; speed of ours over the fastest peer's", box=box.SIMPLE)
    for column in ("", "", "steps", *(name.replace(", ", "\n") for name in names), *pairs):
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        steps = " ".join(str(row["steps"][name]) for name in ("ours", *EAGER) if name in row["steps"])
        rates = [f"{row['steps/s'][name]:.0f}" if name in row["steps/s"] else "-" for name in names]
        ours = [f"{speed:.2f} {peer}" if peer else "-" for speed, peer in (beside(row, *p) for p in pairs.values())]
        table.add_row(row["problem"], row["direction"], steps, *rates, *ours)
    console.print(table)
    for row in rows:
        for name, reason in row["not counted"].items():
            console.print(f"  {row['problem']} {row['direction']}, {name}: not counted, {reason}")


def bars(rows: list[dict[str, Any]], counts: dict[str, int], console: Console) -> None:
    """The worst figures, and whether they are good enough."""

    def worst(text: str, part: str, own: str, peers: Sequence[str], least: float, slowness: bool = False) -> None:
        found = [(*beside(row, own, peers), row["problem"], row["direction"]) for row in rows]
        for speed, *where in sorted(f for f in found if f[1] and f[2].startswith(part))[:1]:
            figure = f"{1 / speed:.2f} times the time" if slowness else f"{speed:.2f}"
            console.print(f"{text}: worst {figure} ({', '.join(where)}): {'holds' if speed >= least else 'missed'}")

    peers = "best of torchdiffeq, torchode"
    worst(f"rk4 eager >= {peers} (steps/s), fwd and fwd+bwd, d = 3, 9", "rk4", "ours", EAGER, 1.0)
    worst(f"dopri5 eager >= {peers} (steps/s), fwd and fwd+bwd, d = 3, 9", "dopri5", "ours", EAGER, 1.0)
    worst(f"rk4 compiled >= 2x {peers}", "rk4", OURS[1], EAGER, 2.0)
    worst("rk4 compiled >= 2x, beside theirs compiled", "rk4", OURS[1], COMPILED, 2.0)
    for own, peer in itertools.product(OURS, ("torchdiffeq", CHEAPER)):
        worst(f"rkmk4 on SO3 <= 1.5x, {own}", "SO3", own, (peer,), 1 / 1.5, slowness=True)
    part = counts["ours, per sample"] / counts["ours, shared"]
    console.print(f"per-sample <= 1/3 of the evaluations: {part:.3f}: {'holds' if part <= 1 / 3 else 'missed'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--widths", nargs="+", default=["32", "64,64"], help="of the hidden layers")
    parser.add_argument("--quick", action="store_true", help="--rounds 7 --widths 32, peers not compiled")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.widths = 7, ["32"]
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    torch.set_num_threads(options.threads)
    console = Console(width=210)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *EAGER))
    console.print(
        f"{versions}; batch {BATCH}, float32, {options.threads} thread(s), {options.rounds} rounds, medians; "
        f"{os.cpu_count()} processors, load at the start {os.getloadavg()[0]:.1f}"
    )
    rows: list[dict[str, Any]] = []
    problems: dict[str, dict[str, Candidate]] = {}
    for text, method, d in itertools.product(options.widths, ("rk4", "dopri5"), (3, 9)):
        hidden = [int(width) for width in text.split(",")]
        problems[f"{method}, d = {d}, {text}"] = on_vectors(d, hidden, method == "dopri5")
    problems["SO3, 32"] = on_rotations([32])
    for problem, candidates in problems.items():
        if options.quick or not problem.endswith(" 32"):  # compiling them takes minutes
            candidates = {name: c for name, c in candidates.items() if name not in COMPILED}
        for row in measure(problem, candidates, options.rounds):
            rows.append(row)
            print(problem, row["direction"], file=sys.stderr)
        # the compiler gives up on functions that it has met with many fields
        torch._dynamo.reset()
    show(rows, console)
    found, counts = drifts(), one_stiff_sample()
    console.print("|R'R - 1| after 10,000 steps of 0.05: " + ", ".join(f"{n} {v:.1e}" for n, v in found.items()))
    console.print("evaluations, one of 64 samples stiff: " + ", ".join(f"{n} {v:,}" for n, v in counts.items()))
    bars(rows, counts, console)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "drifts": found, "evaluations": counts}, indent=1))


if __name__ == "__main__":
    main()
