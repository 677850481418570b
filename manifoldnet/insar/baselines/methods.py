"""Methods of denoising that a table of errors can hold side by side, with what they are tuned over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from manifoldnet.insar.baselines.block_matching import bm3d
from manifoldnet.insar.baselines.goldstein_werner import baran, goldstein
from manifoldnet.insar.baselines.local_means import boxcar, gaussian
from manifoldnet.insar.baselines.patch_means import nonlocal_means
from manifoldnet.insar.baselines.variation import total_variation
from manifoldnet.insar.baselines.window_spectra import windowed_fourier


@dataclass(frozen=True)
class Method:
    """One way to denoise interferograms.

    Attributes:
        name: what a table calls it.
        run: ``run(z, coherence, looks, **parameters)`` with complex images z (B, H, W), their estimated coherence of
            the same shape or None, and the number of looks; returns complex images whose angle is the filtered phase.
        grid: the parameters among which tuning chooses.
        amplitude: whether it is shown the complex interferogram; otherwise it gets unit phasors.
        coherence: whether it needs the estimated coherence and has no place in a table without.
        package: the optional package that it needs.
    """

    name: str
    run: Callable[..., Tensor]
    grid: Sequence[Mapping[str, Any]] = ({},)
    amplitude: bool = False
    coherence: bool = False
    package: str | None = None

    @property
    def installed(self) -> bool:
        return self.package is None or find_spec(self.package) is not None

    def __call__(self, z: Tensor, coherence: Tensor | None, looks: float, **parameters: Any) -> Tensor:
        """The filtered interferograms; pixels without data are NaN."""
        return self.run(z if self.amplitude else unit(z), coherence, looks, **parameters)

    def label(self, parameters: Mapping[str, Any]) -> str:
        """The name, with the parameters if there was a choice."""
        if len(self.grid) < 2:
            return self.name
        return ", ".join([self.name, *(f"{name} {_short(value)}" for name, value in parameters.items())])


def unit(z: Tensor) -> Tensor:
    """Phasors of modulus 1; NaN stays."""
    return torch.where(torch.isfinite(z), torch.polar(torch.ones_like(z.real), z.angle()), z)


def _short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


def _only(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A filter that knows neither coherence nor looks."""
    return lambda z, coherence, looks, **parameters: method(z, **parameters)


def _baran(z: Tensor, coherence: Tensor | None, looks: float) -> Tensor:
    # without an estimate from looks there is that from neighbours
    return baran(z, boxcar(z).abs().clamp(max=1) if coherence is None else coherence)


def _windows(z: Tensor, weights: Tensor | None, windows: tuple[int, ...], tau: float) -> Tensor:
    """The sum of filters with several windows, each of four steps."""
    return torch.stack([windowed_fourier(z, size, size // 4, tau, weights=weights) for size in windows]).sum(0)


def _wff(z: Tensor, coherence: Tensor | None, looks: float, *, windows: tuple[int, ...], tau: float) -> Tensor:
    return _windows(z, None, windows, tau)


def _weighted_wff(z: Tensor, coherence: Tensor | None, looks: float, *, windows: tuple[int, ...], tau: float) -> Tensor:
    return _windows(z, coherence, windows, tau)


SIGMAS = [{"sigma": sigma} for sigma in (0.8, 1.2, 1.6, 2.0, 2.5, 3.0)]
ALPHAS = [{"alpha": alpha} for alpha in (1.0, 2.0, 3.0, 4.0, 6.0)]
WINDOWS = [{"windows": windows, "tau": tau} for windows in ((16,), (32,), (32, 16)) for tau in (4.0, 8.0, 16.0, 32.0)]
SIMILAR = [
    {"sigma": sigma, "strength": strength}
    for sigma, strength in ((0.2, 2.5), (0.3, 1.5), (0.4, 1.0), (0.5, 0.8), (0.5, 1.0), (0.7, 0.5), (1.0, 0.1))
]

#: the classical filters, in the order of a table
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("noisy", lambda z, coherence, looks: z, amplitude=True),
        Method("boxcar 5x5", _only(boxcar)),
        Method("boxcar 7x7", _only(lambda z: boxcar(z, 7))),
        Method("Gaussian", _only(gaussian), SIGMAS),
        Method("Gaussian of amplitudes", _only(gaussian), SIGMAS, amplitude=True),
        Method("Goldstein, alpha .5", _only(lambda z: goldstein(z, 0.5))),
        Method("Goldstein, alpha 1", _only(lambda z: goldstein(z, 1.0))),
        Method("Goldstein-Baran", _baran),
        Method("Goldstein", _only(goldstein), ALPHAS),
        Method("Goldstein of amplitudes", _only(goldstein), ALPHAS, amplitude=True),
        Method("TV1", _only(total_variation), [{"alpha": alpha} for alpha in (0.8, 1.2, 1.8, 2.5)]),
        Method(
            "TV1+TV2",
            _only(total_variation),
            [{"alpha": alpha, "beta": beta} for alpha, beta in ((0.5, 1.0), (0.8, 0.5), (1.2, 0.5), (1.8, 0.5))],
        ),
        Method("non-local means", _only(nonlocal_means), SIMILAR),
        Method("BM3D", _only(bm3d), [{"sigma": sigma} for sigma in (0.7, 0.8, 0.9)], package="bm3d"),
        Method("WFF", _wff, WINDOWS),
        Method("WFF of amplitudes", _wff, WINDOWS, amplitude=True),
        Method("WFF weighted by coherence", _weighted_wff, WINDOWS, coherence=True),
    )
}
