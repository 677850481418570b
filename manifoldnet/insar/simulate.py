"""Interferograms with known truth: random scenes, plain shapes, and multilook speckle on top of either."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float, Float32, Float64
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.insar.deformation import mogi, rectangular_dislocation


@dataclass(frozen=True, eq=False)
class Scene:
    """Noise-free unwrapped phase in radians and the coherence in [0, 1] at which it is to be observed."""

    phase: Float32[np.ndarray, "h w"]
    coherence: Float32[np.ndarray, "h w"]


def scene(size: int, rng: np.random.Generator) -> Scene:
    """A random scene of ``size`` by ``size`` pixels of 40 to 120 m, seen from a random side.

    The phase sums up to three Mogi sources (4 to 60 rad), with probability 1/2 a rectangular dislocation
    (10 to 80 rad), a topographic residual (power spectrum k^-3.2 to k^-4.2), a stratified delay that follows
    the terrain, a turbulent delay (k^-11/3; Hanssen, 2001, "Radar Interferometry") and an orbital ramp. It is
    scaled so that the 99th percentile of its gradient is .6 to 1.8 rad a pixel: fringes that can be sampled.
    """
    if size < 8:
        raise InputError(f"size: {size}; wanted at least 8 pixels")
    ground = np.arange(size) * rng.uniform(0.04, 0.12)
    x, y = np.meshgrid(ground, ground[::-1])
    phase = _deformation(x, y, rng) + _delays(size, rng)
    down, right = np.gradient(phase)
    steep = np.percentile(np.hypot(down, right), 99)
    phase = phase * (rng.uniform(0.6, 1.8) / steep) + rng.uniform(-math.pi, math.pi)
    return Scene(phase.astype(np.float32), _coherence(size, rng))


def observe(
    phase: Float[Tensor, "*batch h w"],
    coherence: Float[Tensor, "*batch h w"],
    looks: float | int | Tensor,
    generator: torch.Generator | None = None,
) -> tuple[Complex[Tensor, "*batch h w"], Float[Tensor, "*batch h w"]]:
    """Draw the interferogram and the coherence estimated from ``looks`` independent looks.

    ``looks`` is a number or a tensor that broadcasts against the images, real and at least 1 (effective
    looks). Both channels have unit power, so the mean of the interferogram is coherence * exp(i phase); the
    estimate lies in [0, 1] and is 1 everywhere at a single look. Exactly the circular Gaussian model
    (Goodman, 1963) at a cost that does not grow with the looks, by Bartlett's decomposition of the complex
    Wishart matrix. ``generator`` lives on the images' device.
    """
    looks = torch.as_tensor(looks, dtype=phase.dtype, device=phase.device)
    if not bool((looks >= 1).all()):
        raise InputError(f"looks: {looks.min().item():g}; wanted real numbers of at least 1")
    if not bool(((coherence >= 0) & (coherence <= 1)).all()):
        raise InputError("coherence: has values outside [0, 1] or NaN; wanted the true coherence of every pixel")
    looks = looks.expand(phase.shape)
    signal = torch.polar(coherence, phase)
    noise = torch.complex(_normal(phase, generator), _normal(phase, generator)) * math.sqrt(0.5)
    noise = noise * (1 - coherence * coherence).sqrt()
    first = _gamma(looks, generator)
    interferogram = signal * first + noise * first.sqrt()
    power = torch.abs(signal * first.sqrt() + noise) ** 2
    power = power + (1 - coherence * coherence) * _gamma(looks - 1, generator)
    estimate = interferogram.abs() / (first * power).sqrt().clamp_min(torch.finfo(phase.dtype).tiny)
    return interferogram / looks, estimate.clamp(max=1)


def ramp(size: int, right: float | int, down: float | int) -> Float32[np.ndarray, "h w"]:
    """A plane that rises ``right`` and ``down`` radians a pixel, 0 at the upper left pixel."""
    rows, columns = np.mgrid[:size, :size]
    return (right * columns + down * rows).astype(np.float32)


def cone(size: int, height: float | int = 40.0) -> Float32[np.ndarray, "h w"]:
    """A cone of ``height`` radians over the largest disc inside the image, 0 round it."""
    u, v = _unit_square(size)
    return (height * np.clip(1 - np.hypot(u, v), 0, None)).astype(np.float32)


def peaks(size: int, height: float | int = 30.0) -> Float32[np.ndarray, "h w"]:
    """Three hills and three hollows of very different slopes, ``height`` radians from lowest to highest."""
    u, v = 3 * _unit_square(size)
    surface = 3 * (1 - u) ** 2 * np.exp(-(u**2) - (v + 1) ** 2)
    surface -= 10 * (u / 5 - u**3 - v**5) * np.exp(-(u**2) - v**2)
    surface -= np.exp(-((u + 1) ** 2) - v**2) / 3
    return (height * (surface - surface.min()) / np.ptp(surface)).astype(np.float32)


def squares(size: int, step: float | int = 1.2) -> Float32[np.ndarray, "h w"]:
    """Five nested squares, each ``step`` radians above the one round it."""
    u, v = _unit_square(size)
    depth = np.floor(5 * (1 - np.maximum(abs(u), abs(v))))
    return (step * np.clip(depth, 0, 4)).astype(np.float32)


def _unit_square(size: int) -> Float64[np.ndarray, "2 h w"]:
    """Coordinates of pixel centres in [-1, 1], right and down."""
    line = (2 * np.arange(size) + 1) / size - 1
    return np.stack(np.meshgrid(line, line))


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


def _gamma(shape: Tensor, generator: torch.Generator | None) -> Tensor:
    # torch.distributions.Gamma takes no generator, the sampler under it does; shape 0 gives a tiny number
    return torch._standard_gamma(shape.contiguous(), generator=generator)


def _deformation(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Displacement towards the radar, in radians."""
    extent = float(np.ptp(x))
    incidence, heading = rng.uniform(0.35, 0.8), rng.choice([-0.2, math.pi + 0.2])
    look = np.array(
        [
            -math.sin(incidence) * math.cos(heading),
            math.sin(incidence) * math.sin(heading),
            math.cos(incidence),
        ]
    )
    total = np.zeros_like(x)
    for _ in range(rng.integers(0, 4)):
        east, north = rng.uniform(-0.1, 1.1, 2) * extent
        field = np.tensordot(look, mogi(x - east, y - north, rng.uniform(1, 6)), 1)
        total += rng.choice([-1, 1]) * rng.uniform(4, 60) * field / abs(field).max()
    if rng.random() < 0.5:
        east, north = rng.uniform(0.1, 0.9, 2) * extent
        dip = rng.uniform(0.35, 1.55)
        width = rng.uniform(2, 8)
        displacement = rectangular_dislocation(
            x - east,
            y - north,
            depth=rng.uniform(0.3, 4) + width * math.sin(dip),
            length=rng.uniform(3, 12),
            width=width,
            strike=rng.uniform(0, 2 * math.pi),
            dip=dip,
            rake=rng.uniform(-math.pi, math.pi),
        )
        field = np.tensordot(look, displacement, 1)
        total += rng.uniform(10, 80) * field / abs(field).max()
    return total


def _delays(size: int, rng: np.random.Generator) -> np.ndarray:
    """What is not deformation: topographic residual, stratified and turbulent delay, ramp; in radians."""
    terrain = _fractal(size, rng.uniform(3.2, 4.2), rng)
    residual = rng.uniform(0.2, 2.0) * _fractal(size, rng.uniform(3.2, 4.2), rng)
    # the delay falls off exponentially with height, which bends the proportionality
    stratified = rng.uniform(-4, 4) * np.expm1(-0.4 * terrain) / 0.4
    turbulent = rng.uniform(0.3, 3.0) * _fractal(size, 11 / 3, rng)
    u, v = _unit_square(size)
    return residual + stratified + turbulent + rng.normal(0, 6) * u + rng.normal(0, 6) * v


def _fractal(size: int, exponent: float, rng: np.random.Generator) -> Float64[np.ndarray, "h w"]:
    """A random field with power spectrum k^-``exponent``, zero mean and unit variance.

    Cut out of a larger field, because the whole of it is periodic.
    """
    whole = size + size // 2
    fy, fx = np.fft.fftfreq(whole)[:, None], np.fft.rfftfreq(whole)
    k = np.hypot(fy, fx)
    k[0, 0] = math.inf
    noise = np.fft.rfft2(rng.standard_normal((whole, whole)))
    field = np.fft.irfft2(noise * k ** (-exponent / 2), (whole, whole))[:size, :size]
    return (field - field.mean()) / field.std()


def _coherence(size: int, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """A fractal background of .45 to .85 with sharp patches of low coherence: blobs, rectangles, rivers."""
    coherence = 0.65 + 0.2 * np.tanh(_fractal(size, rng.uniform(2, 3.5), rng) - rng.uniform(0, 0.8))
    u, v = _unit_square(size)
    if rng.random() < 0.7:
        blobs = _fractal(size, rng.uniform(2.8, 4), rng)
        _lower(coherence, blobs > np.quantile(blobs, rng.uniform(0.82, 0.97)), rng)
    for _ in range(rng.integers(0, 4)):
        turn = rng.uniform(0, math.pi)
        cu, cv = rng.uniform(-1, 1, 2)
        along = (u - cu) * math.cos(turn) + (v - cv) * math.sin(turn)
        across = (v - cv) * math.cos(turn) - (u - cu) * math.sin(turn)
        half_length, half_width = rng.uniform(0.05, 0.3, 2)
        _lower(coherence, (abs(along) < half_length) & (abs(across) < half_width), rng)
    if rng.random() < 0.5:
        _lower(coherence, _river(size, rng), rng)
    return coherence.astype(np.float32)


def _lower(coherence: np.ndarray, where: np.ndarray, rng: np.random.Generator) -> None:
    coherence[where] = rng.uniform(0.0, 0.4)


def _river(size: int, rng: np.random.Generator) -> np.ndarray:
    """Pixels within a few pixels of a winding line from one side to the other."""
    along = np.linspace(0, 1, size)
    waves = rng.normal(0, 1, 5) / np.arange(1, 6)
    phases = rng.uniform(0, 2 * math.pi, 5)
    line = rng.uniform(0.1, 0.9) + 0.15 * np.sin(2 * math.pi * np.outer(along, np.arange(1, 6)) + phases) @ waves
    slope = np.gradient(line, along)
    distance = abs(along - line[:, None]) / np.hypot(1, slope)[:, None] * size
    river = distance < rng.uniform(1, 4)
    return river.T if rng.random() < 0.5 else river
