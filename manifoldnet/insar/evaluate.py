"""Measure denoisers of interferograms on simulated scenes that nothing was trained or tuned on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.insar import simulate
from manifoldnet.insar.baselines.methods import METHODS, Method
from manifoldnet.insar.metrics import delta_snr, residues, rmse_by_coherence, ssim, wrapped_rmse
from manifoldnet.insar.model import InsarDenoiser, denoise
from manifoldnet.insar.shapes import cone, peaks, squares
from manifoldnet.insar.speckle import observe

Row = dict[str, str | float]
Progress = Callable[[str], None]
TEST, TUNING, SHAPES = 1, 2, 3  # streams of random numbers
TUNING_SCENES = 3
FIGURES = {"cone": cone, "peaks": peaks, "squares": squares}


@dataclass(frozen=True)
class Observations:
    """Simulated interferograms (count, H, W) and what they hide; ``estimate`` is None at a single look."""

    looks: float
    phase: Tensor
    coherence: Tensor
    observed: Tensor
    estimate: Tensor | None


def evaluate(
    count: int = 8,
    size: int = 256,
    looks: Sequence[float] = (1.0, 4.0),
    methods: Sequence[Method] | None = None,
    model: str | Path | InsarDenoiser = "default",
    seed: int = 7,
    *,
    pictures: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Errors of methods on random scenes, one row a method and number of looks.

    Parameters are those of a method's grid with the least RMSE on three other scenes at the same number of looks. RMSE
    is pooled over all pixels (radians), also by true coherence; residues are those left, in percent of the noisy
    image's; seconds are those of one image, all of them filtered at once; "ours better" counts the scenes on which the
    last method of the table has a smaller RMSE than the row's.

    Args:
        count: test scenes.
        size: their side in pixels.
        looks: numbers of looks to simulate.
        methods: rows of the table; :func:`default_methods` of ``model`` when None.
        model: as in :func:`manifoldnet.insar.denoise`; not used when ``methods`` are given.
        seed: of scenes and noise.
        pictures: a folder for a PNG of the first scene at every number of looks, which is made if it is not there.
        progress: is told what is being done.

    Raises:
        InputError: if there is no method to show, or a method needs a package that is not installed.
    """
    methods = default_methods(model) if methods is None else methods
    rows: list[Row] = []
    for number in looks:
        scene = observations(count, size, number, seed, TEST)
        noisy = scene.observed.angle()
        results = list(_results(methods, scene, size, seed, progress))
        ours = results[-1][1]
        for label, estimated, seconds in results:
            pairs = zip(ours, estimated, scene.phase, strict=True)
            better = sum(wrapped_rmse(one, truth) < wrapped_rmse(other, truth) for one, other, truth in pairs)
            row: Row = {"looks": f"{number:g}", "method": label, "RMSE": wrapped_rmse(estimated, scene.phase)}
            row |= {f"RMSE {k}": v for k, v in rmse_by_coherence(estimated, scene.phase, scene.coherence).items()}
            row["residues left %"] = 100 * residues(estimated) / max(1, residues(noisy))
            row["SSIM"] = ssim(estimated, scene.phase)
            row["dSNR dB"] = delta_snr(estimated, noisy, scene.phase)
            row["s/image"] = seconds
            row["ours better"] = "" if estimated is ours else f"{better} of {count}"
            rows.append(row)
        if pictures is not None:
            panels = {"true coherence": scene.coherence[0], "truth": scene.phase[0]}
            _draw(panels | {label: estimated[0] for label, estimated, _ in results}, pictures, f"looks-{number:g}.png")
    return rows


def evaluate_shapes(
    coherences: Sequence[float] = (0.3, 0.5, 0.7),
    size: int = 256,
    looks: Sequence[float] = (1.0, 4.0),
    methods: Sequence[Method] | None = None,
    model: str | Path | InsarDenoiser = "default",
    seed: int = 7,
    *,
    pictures: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """RMSE (radians) on the cone, the peaks and the squares, each at several constant coherences.

    Rows are methods and numbers of looks, columns shapes and coherences; parameters are tuned on random scenes as in
    :func:`evaluate`, whose other arguments these are.
    """
    methods = default_methods(model) if methods is None else methods
    cases = [(name, level) for name in FIGURES for level in coherences]
    phase = torch.stack([FIGURES[name](size) for name, _ in cases])
    coherence = torch.tensor([level for _, level in cases])[:, None, None].expand(phase.shape).contiguous()
    rows: list[Row] = []
    for number in looks:
        scene = _observed(phase, coherence, number, seed, SHAPES)
        results = list(_results(methods, scene, size, seed, progress))
        for label, estimated, _ in results:
            row: Row = {"looks": f"{number:g}", "method": label}
            errors = map(wrapped_rmse, estimated, phase)
            rows.append(row | {f"{name} {level:g}": e for (name, level), e in zip(cases, errors, strict=True)})
        if pictures is not None:
            for k, (name, level) in enumerate(cases):
                panels = {"truth": phase[k]} | {label: estimated[k] for label, estimated, _ in results}
                _draw(panels, pictures, f"{name}-{level:g}-looks-{number:g}.png")
    return rows


def default_methods(model: str | Path | InsarDenoiser = "default") -> list[Method]:
    """All classical filters whose packages are installed, then the model, which see :func:`networks`."""
    return [method for method in METHODS.values() if method.installed] + networks(model)


def networks(model: str | Path | InsarDenoiser = "default", name: str = "manifoldnet") -> list[Method]:
    """The rows of a model: of complex interferograms, of phases only, and of phases with coherence."""
    network = InsarDenoiser.named(model)

    def run(z: Tensor, coherence: Tensor | None, looks: float) -> Tensor:
        known = [None] * len(z) if coherence is None else coherence
        phase = torch.stack([denoise(image, c, model=network) for image, c in zip(z, known, strict=True)])
        return torch.polar(torch.ones_like(phase), phase)

    return [
        Method(f"{name}, complex", lambda z, coherence, looks: run(z, None, looks), amplitude=True),
        Method(f"{name}, phase only", lambda z, coherence, looks: run(z, None, looks)),
        Method(f"{name}, with coherence", run, coherence=True),
    ]


def left_out() -> dict[str, str]:
    """Classical filters that are not in the table and the packages that they need."""
    return {m.name: m.package for m in METHODS.values() if m.package is not None and not m.installed}


def scenes(count: int, size: int, seed: int, stream: int) -> tuple[Tensor, Tensor]:
    """``count`` phases and coherences (count, size, size); streams of one seed are independent."""
    mixed = int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0])
    generator = torch.Generator().manual_seed(mixed)
    drawn = [simulate.scenes(1, size, generator=generator) for _ in range(count)]  # little memory at any count
    return torch.cat([s.phase for s in drawn]), torch.cat([s.coherence for s in drawn])


def observations(count: int, size: int, looks: float, seed: int, stream: int) -> Observations:
    """``count`` random scenes and their noise; streams of one seed are independent."""
    return _observed(*scenes(count, size, seed, stream), looks, seed, stream)


def tuned(method: Method, size: int, looks: float, seed: int) -> Mapping[str, Any]:
    """The parameters of the method's grid with the least RMSE on the tuning scenes."""
    if len(method.grid) == 1:
        return method.grid[0]
    scene = observations(TUNING_SCENES, size, looks, seed, TUNING)

    def error(parameters: Mapping[str, Any]) -> float:
        return wrapped_rmse(method(scene.observed, scene.estimate, looks, **parameters).angle(), scene.phase)

    return min(method.grid, key=error)


def _results(
    methods: Sequence[Method], scene: Observations, size: int, seed: int, progress: Progress | None
) -> Iterator[tuple[str, Tensor, float]]:
    """Label, phases and seconds an image of every method that has a place at these looks."""
    shown = [method for method in methods if scene.estimate is not None or not method.coherence]
    if not shown:
        raise InputError(f"methods: none can do without coherence at {scene.looks:g} looks; wanted at least one")
    for method in shown:
        if progress is not None:
            progress(f"{scene.looks:g} looks: {method.name}")
        parameters = tuned(method, size, scene.looks, seed)
        start = time.perf_counter()
        filtered = method(scene.observed, scene.estimate, scene.looks, **parameters)
        yield method.label(parameters), filtered.angle(), (time.perf_counter() - start) / len(filtered)


def _observed(phase: Tensor, coherence: Tensor, looks: float, seed: int, stream: int) -> Observations:
    generator = torch.Generator().manual_seed(1000 * seed + stream)
    observed, estimate = observe(phase, coherence, looks, generator)
    # at one look the estimate is 1 everywhere
    return Observations(looks, phase, coherence, observed, estimate if looks > 1 else None)


def _draw(panels: Mapping[str, Tensor], folder: str | Path, name: str) -> None:
    from manifoldnet.insar.plot import compare

    Path(folder).mkdir(parents=True, exist_ok=True)
    compare({label: image.numpy() for label, image in panels.items()}, Path(folder) / name)
