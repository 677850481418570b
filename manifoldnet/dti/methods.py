"""Denoisers that a table of errors can hold side by side, with what they are tuned over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from manifoldnet.dti.baselines import affine_invariant_gaussian, euclidean_gaussian, log_euclidean_gaussian, tv
from manifoldnet.dti.dwi_filters import nlmeans, patch2self
from manifoldnet.dti.gradients import direction_count
from manifoldnet.dti.metrics import distance_to_truth
from manifoldnet.dti.model import DtiDenoiser, denoise
from manifoldnet.dti.mppca import mppca
from manifoldnet.dti.protocol import Case, clamped_fit

TENSORS, SIGNALS = "tensors", "signals"


@dataclass(frozen=True)
class Method:
    """One way to denoise.

    Attributes:
        name: what a table calls it.
        sees: "tensors", six numbers a voxel, or "signals", as many as there are volumes.
        run: ``run(case, **parameters)`` returns tensors (x, y, z, 3, 3) in um^2/ms.
        grid: the parameters among which tuning chooses.
        chosen: the best of them on training slices.
        after: the name of a method whose output is the noisy input of this one.
    """

    name: str
    sees: str
    run: Callable[..., Tensor]
    grid: Sequence[Mapping[str, Any]] = ({},)
    chosen: Mapping[str, Any] = field(default_factory=dict)
    after: str | None = None

    def label(self, parameters: Mapping[str, Any]) -> str:
        """The name, with the parameters if there was a choice."""
        if len(self.grid) < 2:
            return self.name
        return ", ".join([self.name, *(f"{name} {value:g}" for name, value in parameters.items())])


@dataclass(frozen=True)
class Tuned:
    """A method with its parameters, and the tuned method it goes after."""

    method: Method
    parameters: Mapping[str, Any]
    before: Tuned | None = None


@dataclass(frozen=True)
class Result:
    """Tensors (x, y, z, 3, 3) in um^2/ms and the seconds they took."""

    tensors: Tensor
    seconds: float


def results(methods: Sequence[Tuned], case: Case) -> dict[str, Result]:
    """The output of every method by name; one that another goes after is run once.

    ``methods`` must hold what others go after before these.
    """
    out: dict[str, Result] = {}
    for tuned in methods:
        first = out[tuned.before.method.name] if tuned.before else None
        given = case if first is None else replace(case, noisy=first.tensors)
        start = time.perf_counter()
        tensors = tuned.method.run(given, **tuned.parameters)
        seconds = time.perf_counter() - start + (first.seconds if first else 0.0)
        out[tuned.method.name] = Result(tensors, seconds)
    return out


def tune(methods: Sequence[Method], cases: Sequence[Case]) -> list[Tuned]:
    """Every method with the parameters of least mean squared affine-invariant distance to the reference."""
    out: dict[str, Tuned] = {}
    given: dict[str | None, list[Case]] = {None: list(cases)}
    followed = {method.after for method in methods}
    for method in methods:
        inputs = given[method.after]

        def loss(
            parameters: Mapping[str, Any], run: Callable[..., Tensor] = method.run, of: list[Case] = inputs
        ) -> float:
            errors = [distance_to_truth(run(c, **parameters)[c.mask], c.reference[c.mask]) for c in of]
            return float(torch.cat(errors).mean())

        best = min(method.grid, key=loss) if len(method.grid) > 1 else method.grid[0]
        out[method.name] = Tuned(method, best, out[method.after] if method.after else None)
        if method.name in followed:
            given[method.name] = [replace(c, noisy=method.run(c, **best)) for c in inputs]
    return list(out.values())


def _smoothed(smoother: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda case, **parameters: smoother(case.noisy, case.mask, **parameters)


def _refitted(case: Case, signals: Tensor) -> Tensor:
    """The fit of filtered signals, with the limits of the noisy input: near-singular fits would decide the mean."""
    return clamped_fit(signals, case.bvals, case.bvecs, case.mask)


def _mppca(case: Case, radius: int | None) -> Tensor:
    return _refitted(case, mppca(case.signals, case.mask, radius))


def _nlmeans(case: Case, strength: float) -> Tensor:
    return _refitted(case, nlmeans(case.signals, case.mask, case.sigma, strength))


def _patch2self(case: Case) -> Tensor:
    return _refitted(case, patch2self(case.signals, case.mask, case.bvals))


def networks(
    model: str | Path | DtiDenoiser = "default", name: str = "manifoldnet", strength: float | int | None = None
) -> list[Method]:
    """The rows of a model: of tensors alone, told the number of directions, and of tensors with their signals.

    ``strength`` as in :func:`manifoldnet.dti.model.denoise`; where it is given it is in the names.
    """
    network = DtiDenoiser.named(model)
    how = "" if strength is None else f", strength {strength:g}"

    def run(case: Case, signals: bool) -> Tensor:
        dwi, bvals, bvecs = (case.signals, case.bvals, case.bvecs) if signals else (None, None, None)
        count = direction_count(case.bvals.numpy())
        noisy = 1e-3 * case.noisy
        return 1e3 * denoise(noisy, case.mask, dwi, bvals, bvecs, network, directions=count, strength=strength)

    return [
        Method(f"{name}, tensors only{how}", TENSORS, partial(run, signals=False)),
        Method(f"{name}, with signals{how}", SIGNALS, partial(run, signals=True)),
    ]


def _grid(name: str, *values: float) -> list[Mapping[str, float]]:
    return [{name: value} for value in values]


NOISY = Method("noisy", TENSORS, lambda case: case.noisy)
SIGMAS = _grid("sigma", 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
ALPHAS = _grid("alpha", 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
LIGHT = _grid("alpha", 0.005, 0.01, 0.02, 0.04)

#: the classical filters, in the order of a table; ``chosen`` is the best of the grid on protocol.TUNING
METHODS: tuple[Method, ...] = (
    Method("Euclidean Gaussian", TENSORS, _smoothed(euclidean_gaussian), SIGMAS, {"sigma": 0.4}),
    Method("log-Euclidean Gaussian", TENSORS, _smoothed(log_euclidean_gaussian), SIGMAS, {"sigma": 0.4}),
    Method("affine-invariant Gaussian", TENSORS, _smoothed(affine_invariant_gaussian), SIGMAS[1:5], {"sigma": 0.4}),
    Method("log-Euclidean TV", TENSORS, _smoothed(tv), ALPHAS, {"alpha": 0.03}),
    Method(
        "log-Euclidean TV1+TV2",
        TENSORS,
        _smoothed(tv),
        [{"alpha": a, "beta": b} for a, b in ((0.02, 0.01), (0.01, 0.02), (0.05, 0.05), (0.1, 0.1))],
        {"alpha": 0.02, "beta": 0.01},
    ),
    Method(
        "affine-invariant TV",
        TENSORS,
        _smoothed(partial(tv, metric="affine-invariant")),
        _grid("alpha", 0.03, 0.1, 0.2),
        {"alpha": 0.03},
    ),
    Method("non-local means", SIGNALS, _nlmeans, _grid("strength", 0.7, 1.0, 1.5, 2.0), {"strength": 1.5}),
    Method("Patch2Self", SIGNALS, _patch2self),
    Method("MPPCA", SIGNALS, partial(_mppca, radius=2)),  # dipy's default
    Method(
        "MPPCA + log-Euclidean Gaussian",
        SIGNALS,
        _smoothed(log_euclidean_gaussian),
        _grid("sigma", 0.3, 0.35, 0.4, 0.5, 0.6),
        {"sigma": 0.4},
        after="MPPCA",
    ),
    Method(
        "MPPCA + log-Euclidean TV",
        SIGNALS,
        _smoothed(tv),
        LIGHT,
        {"alpha": 0.02},
        after="MPPCA",
    ),
    Method("MPPCA of smallest patches", SIGNALS, partial(_mppca, radius=None)),  # better on the tuning slices
    Method(
        "MPPCA of smallest patches + log-Euclidean TV",
        SIGNALS,
        _smoothed(tv),
        LIGHT,
        {"alpha": 0.01},
        after="MPPCA of smallest patches",
    ),
)
