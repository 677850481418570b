"""Speed of elastic distances beside fdasrsf, geomstats and aeon's DTW, as ratios within the same run.

python benchmarks/curves.py
python benchmarks/curves.py --quick             # a few pairs and rounds, without geomstats
python benchmarks/curves.py --threads 2         # all of it on so many threads or processes

All get the same smooth curves in R^3 (the peers know no others) with N cells. Milliseconds are those of a pair; how
far a distance is above the one with slopes up to 10 is measured on all pairs.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from aeon.distances import dtw_distance, dtw_pairwise_distance
from joblib import Parallel, delayed
from numba import njit
from rich.console import Console
from rich.table import Table
from timing import interleaved, ratio
from torch import Tensor

from manifoldnet.curves import elastic_distance, pairwise_elastic_distance, srvt
from manifoldnet.curves.lattice import bounds, crossings
from manifoldnet.curves.simd import broadcast, fma, store
from manifoldnet.manifolds import Euclidean

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fdasrsf.curve_functions import optimum_reparam_curve
    from geomstats.geometry.discrete_curves import DiscreteCurvesStartingAtOrigin, DynamicProgrammingAligner

OURS = (
    ("ours, slopes 10", {"slopes": 10}),
    ("ours, slopes 10, refined", {"slopes": 10, "refine": 16}),
    ("ours, slopes 7", {"slopes": 7}),
    ("ours, slopes 6", {"slopes": 6}),
    ("ours, slopes 4", {"slopes": 4}),
    ("ours, slopes 4, refined", {"slopes": 4, "refine": 16}),
)
FDASRSF, GEOMSTATS, DTW = "fdasrsf", "geomstats", "aeon DTW"


def smooth_curves(count: int, cells: int, seed: int = 0) -> Tensor:
    """Random smooth curves in R^3, (count, cells + 1, 3) float64, each run through at its own speed."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, cells + 1)
    t = t + rng.uniform(-0.12, 0.12, (count, 1)) * np.sin(2 * np.pi * t)
    waves = np.arange(1, 7)[:, None]
    phase = rng.uniform(0, 2 * np.pi, (count, 6, 3))[:, :, None]
    size = rng.standard_normal((count, 6, 3))[:, :, None] / waves[..., None]
    return torch.from_numpy((size * np.sin(np.pi * waves[..., None] * t[:, None, :, None] + phase)).sum(1))


def along(q0: Tensor, q1: Tensor, nodes: np.ndarray) -> float:
    """Distance of two step functions for a polygon with nodes (time of q0, time of q1), exactly."""
    n, m = len(q0), len(q1)
    u = np.unique(
        np.concatenate([nodes[:, 0], np.interp(np.arange(m + 1) / m, nodes[:, 1], nodes[:, 0]), np.arange(n + 1) / n])
    )
    v = np.interp(u, nodes[:, 0], nodes[:, 1])
    i = np.minimum((0.5 * (u[1:] + u[:-1]) * n).astype(int), n - 1)
    j = np.minimum((0.5 * (v[1:] + v[:-1]) * m).astype(int), m - 1)
    weight = np.sqrt(np.diff(u) * np.diff(v) * n * m)
    product = (weight * (q0[i] * q1[j]).sum(1).numpy()).sum()
    norms = float(q0.square().sum() + q1.square().sum())
    return float(np.sqrt(norms - 2 * product))


class Problem(NamedTuple):
    """Pairs (x, y) of curves of N cells, their transforms in both types, and aeon's layout."""

    cells: int
    x: Tensor
    y: Tensor
    q0: Tensor
    q1: Tensor

    @classmethod
    def make(cls, cells: int, pairs: int) -> Problem:
        x, y = smooth_curves(pairs, cells, 1), smooth_curves(pairs, cells, 2)
        return cls(cells, x, y, srvt(x, Euclidean(1)), srvt(y, Euclidean(1)))

    def fdasrsf(self, k: int) -> np.ndarray:
        first, second = (np.ascontiguousarray(q[k].numpy().T) for q in (self.q0, self.q1))
        return optimum_reparam_curve(first, second)

    def fdasrsf_distance(self, k: int) -> float:
        """Its path, in the exact integral; it warps the second curve, in samples rather than cells."""
        gamma = self.fdasrsf(k)
        return along(self.q0[k], self.q1[k], np.stack([np.linspace(0, 1, len(gamma)), gamma], 1))

    def geomstats(self) -> Callable[[int], float]:
        space = DiscreteCurvesStartingAtOrigin(ambient_dim=3, k_sampling_points=self.cells + 1, equip=True)
        aligner = DynamicProgrammingAligner(space, n_space_grid=self.cells + 1, max_slope=10)
        first, second = ((c[:, 1:] - c[:, :1]).numpy() for c in (self.x, self.y))
        return lambda k: float(np.sqrt(aligner.align(second[k], first[k], return_sdist=True)[1]))

    def ours(self, options: dict[str, Any], dtype: torch.dtype) -> Tensor:
        return elastic_distance(self.q0.to(dtype), self.q1.to(dtype), **options)


def one_pair_at_a_time(problem: Problem, rounds: int, with_geomstats: bool, threads: int) -> dict[str, dict[str, Any]]:
    """Milliseconds of a pair, ratios to fdasrsf and DTW, and excess over slopes 10."""
    pairs = len(problem.x)
    q0, q1 = problem.q0.float(), problem.q1.float()
    series = [c[:, 1:].mT.contiguous().numpy() for c in (problem.x, problem.y)]
    parallel = Parallel(n_jobs=threads)
    candidates: dict[str, Callable[[], object]] = {
        name: lambda options=options: elastic_distance(q0, q1, **options) for name, options in OURS
    }
    candidates |= {
        f"{name}, single": lambda options=options: [
            elastic_distance(a, b, **options) for a, b in zip(q0, q1, strict=True)
        ]
        for name, options in OURS
    }
    if threads == 1:
        candidates[FDASRSF] = lambda: [problem.fdasrsf(k) for k in range(pairs)]
    else:
        candidates[FDASRSF] = lambda: parallel(delayed(problem.fdasrsf)(k) for k in range(pairs))
    candidates[f"{DTW}, single"] = lambda: [dtw_distance(a, b) for a, b in zip(*series, strict=True)]
    square = int(pairs**0.5)
    candidates[DTW] = lambda: dtw_pairwise_distance(series[0][:square], series[1][:square], n_jobs=threads)
    seconds = interleaved(candidates, rounds)
    seconds[DTW] = [s * pairs / square**2 for s in seconds[DTW]]
    best = problem.ours({"slopes": 10}, torch.float64)
    rows: dict[str, dict[str, Any]] = {}
    for name, times in seconds.items():
        options = dict(OURS).get(name.removesuffix(", single"))
        distance = None
        if options is not None:
            distance = problem.ours(options, torch.float32).double()
        elif name == FDASRSF:
            distance = torch.tensor([problem.fdasrsf_distance(k) for k in range(pairs)], dtype=torch.float64)
        rows[name] = {
            "ms": 1e3 * median(times) / pairs,
            "fdasrsf": ratio(seconds[FDASRSF], times),
            "DTW": ratio(times, seconds[f"{DTW}, single" if "single" in name else DTW]),
            "excess": None if distance is None else [float(e) for e in _excess(distance, best)],
        }
    if with_geomstats:
        align = problem.geomstats()
        start = time.perf_counter()
        distances = torch.tensor([align(k) for k in range(2)], dtype=torch.float64)
        elapsed = (time.perf_counter() - start) / 2
        # slow enough that one turn is all it gets, beside ours at that moment
        ours = interleaved({"ours": lambda: elastic_distance(q0, q1, slopes=10)}, 3)["ours"]
        rows[GEOMSTATS] = {
            "ms": 1e3 * elapsed, "fdasrsf": rows[FDASRSF]["ms"] / (1e3 * elapsed), "DTW": None,
            "excess": [float(e) for e in _excess(distances, best[:2])],
            "over ours": elapsed / (median(ours) / pairs),
        }  # fmt: skip
    return rows


def _excess(distance: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    above = distance / best - 1
    return above.mean(), above.max()


def matrix(curves: int, cells: int, threads: int, pairs_of_fdasrsf: int) -> dict[str, float]:
    """Seconds of one call for all pairs of a collection; fdasrsf's in proportion from so many of the pairs."""
    q = srvt(smooth_curves(curves, cells, 3), Euclidean(1))
    flat = [np.ascontiguousarray(x.numpy().T) for x in q]
    pairs = [(i, j) for i in range(curves) for j in range(i)]
    seconds = {}
    for name, options in OURS:
        narrow = q.float()
        pairwise_elastic_distance(narrow[:3], **options)
        start = time.perf_counter()
        pairwise_elastic_distance(narrow, **options)
        seconds[name] = time.perf_counter() - start
    chosen = [pairs[k] for k in np.random.default_rng(0).permutation(len(pairs))[:pairs_of_fdasrsf]]
    start = time.perf_counter()
    if threads == 1:
        for i, j in chosen:
            optimum_reparam_curve(flat[i], flat[j])
    else:
        Parallel(n_jobs=threads)(delayed(optimum_reparam_curve)(flat[i], flat[j]) for i, j in chosen)
    seconds[FDASRSF] = (time.perf_counter() - start) * len(pairs) / len(chosen)
    series = np.ascontiguousarray(q.mT.numpy())
    dtw_pairwise_distance(series[:3], n_jobs=threads)
    start = time.perf_counter()
    dtw_pairwise_distance(series, n_jobs=threads)
    seconds[DTW] = time.perf_counter() - start
    return seconds


@njit(nogil=True)
def _independent_fmas(out: np.ndarray, repeats: int) -> None:
    """Ten chains of fused multiply-adds in registers, 80 multiply-adds a turn."""
    x = broadcast(out[0])
    a = b = c = d = e = f = g = h = i = j = x
    for _ in range(repeats):
        a, b, c, d, e = fma(x, x, a), fma(x, x, b), fma(x, x, c), fma(x, x, d), fma(x, x, e)
        f, g, h, i, j = fma(x, x, f), fma(x, x, g), fma(x, x, h), fma(x, x, i), fma(x, x, j)
    for k, v in enumerate((a, b, c, d, e, f, g, h, i, j)):
        store(out, 8 * k, v)


def roofline(problem: Problem, slopes: int) -> dict[str, float]:
    """Useful multiply-adds a second of one thread beside those of chains that never leave the registers."""
    n = problem.cells
    cells = torch.tensor([[n, n]])
    lowest, highest = bounds(cells, n, slopes, None)
    nodes = int((highest - lowest + 1)[:, 1:].clamp(min=0).sum())
    work = len(problem.x) * (nodes * len(crossings(slopes, True).weights) + n * n * 3)
    q0, q1 = problem.q0.float(), problem.q1.float()
    out = np.ones(80, np.float32)
    turns = 2_000_000
    seconds = interleaved(
        {"ours": lambda: elastic_distance(q0, q1, slopes=slopes), "peak": lambda: _independent_fmas(out, turns)}, 9
    )
    ours, peak = work / median(seconds["ours"]) / 1e9, 80 * turns / median(seconds["peak"]) / 1e9
    return {"GMAC/s": ours, "peak": peak, "share": ours / peak}


def print_rows(console: Console, title: str, rows: dict[str, dict[str, Any]]) -> None:
    table = Table("", "ms a pair", "fdasrsf / it", "it / DTW", "mean excess %", "largest %", title=title)
    for name, row in rows.items():
        excess = ["", ""] if row["excess"] is None else [f"{100 * e:.2f}" for e in row["excess"]]
        dtw = "" if row["DTW"] is None else f"{row['DTW']:.2f}"
        table.add_row(name, f"{row['ms']:.3f}", f"{row['fdasrsf']:.1f}", dtw, *excess)
    console.print(table)
    if GEOMSTATS in rows:
        console.print(f"geomstats / ours at slopes 10: {rows[GEOMSTATS]['over ours']:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few pairs and rounds, without geomstats")
    parser.add_argument("--threads", type=int, default=1, help="threads of ours, processes or threads of the peers")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(width=120)
    pairs, rounds = (16, 3) if options.quick else (36, 7)
    figures: dict[str, Any] = {"threads": options.threads}
    for cells in (100, 200):
        problem = Problem.make(cells, pairs)
        rows = one_pair_at_a_time(
            problem, rounds, not options.quick and cells == 100 and options.threads == 1, options.threads
        )
        print_rows(console, f"N = {cells}, {options.threads} thread(s)", rows)
        figures[f"N = {cells}"] = rows
        if options.threads == 1:
            for slopes in (4, 6, 7, 10):
                figures[f"roofline {cells} {slopes}"] = line = roofline(problem, slopes)
                console.print(
                    f"slopes {slopes}: {line['GMAC/s']:.1f} of {line['peak']:.1f} GMAC/s, {100 * line['share']:.0f} %"
                )
    seconds = matrix(100, 100, options.threads, 100 if options.quick else 4950)
    figures["matrix"] = seconds
    table = Table("", "seconds", "fdasrsf / it", title=f"100 x 100 matrix, N = 100, {options.threads} thread(s)")
    for name, value in seconds.items():
        table.add_row(name, f"{value:.3f}", f"{seconds[FDASRSF] / value:.0f}")
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
