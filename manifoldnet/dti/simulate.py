"""Simulated diffusion scans: phantoms of crossing fibre bundles, gradient directions and signals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from scipy.special import expit
from torch import Tensor

from manifoldnet.dti.fit import design_matrix, residual_sigma, to_lower, wls
from manifoldnet.dti.noise import Level, noncentral_chi
from manifoldnet.errors import InputError
from manifoldnet.linalg import sym_expm, sym_from_vector

CSF = 3.0
SMALLEST = 8
CURVE_POINTS = 128
NEGLIGIBLE = 1e-2


@dataclass(frozen=True)
class Phantom:
    """A head made of k compartments that share every voxel: bundles, then grey matter, then fluid.

    Attributes:
        tensors: um^2/ms; identity where a compartment is absent.
        s0: signal without diffusion weighting of each compartment, its share included; a voxel of white
            matter sums to about 1.
        mask: inside the head.
    """

    tensors: Float[Tensor, "x y z k 3 3"]
    s0: Float[Tensor, "x y z k"]
    mask: Bool[Tensor, "x y z"]


@dataclass(frozen=True)
class Pair:
    """Tensors (um^2/ms, NaN outside the mask) fitted to a noisy scan and to the same scan without noise.

    ``sigma`` is the noise level estimated from the noisy fit's residuals, as in :func:`fit.residual_sigma`.
    """

    noisy: Float[Tensor, "x y z 3 3"]
    true: Float[Tensor, "x y z 3 3"]
    sigma: Float[Tensor, "x y z"]
    mask: Bool[Tensor, "x y z"]


def _smooth(shape: tuple[int, ...], length: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian random field with unit variance and correlation length in voxels."""
    field = gaussian_filter(rng.standard_normal(shape), length, mode="reflect")
    return (field - field.mean()) / field.std()


def _bundle(
    points: np.ndarray, half: np.ndarray, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n 3"]]:
    """Share (0 to 1) and direction at each point of a tube round a random quadratic Bezier curve."""
    start, end = rng.standard_normal((2, 3))
    start /= np.linalg.norm(start)
    end /= np.linalg.norm(end)
    if start @ end > 0:  # a bundle crosses the head
        end = -end
    middle = rng.uniform(-0.6, 0.6, 3)
    t = np.linspace(0, 1, CURVE_POINTS)[:, None]
    curve = half * ((1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end)
    tangent = half * (2 * (1 - t) * (middle - start) + 2 * t * (end - middle))
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    distance, nearest = cKDTree(curve).query(points)
    radius = rng.uniform(1.5, max(3.0, 0.3 * half.mean()))
    return expit((radius - distance) / 0.4), tangent[nearest]


def phantom(size: int | tuple[int, int, int], rng: np.random.Generator) -> Phantom:
    """A random phantom of ``size`` voxels: 4 to 7 curved crossing bundles in grey matter, ventricles, a rim
    of fluid.

    Bundles have axial and radial diffusivities 1.4-1.9 and .2-.5 um^2/ms, grey matter .7-.9, fluid 3. Edges
    are about a voxel wide, so compartments share voxels there. A random field multiplies the tissues'
    tensors in the log-Euclidean sense; its amplitude (.05-.25) and length (.6-3 voxels) differ between
    phantoms, from smooth to as rough as real scans.

    Raises:
        InputError: a size below 8 voxels.
    """
    shape = (size, size, size) if isinstance(size, int) else size
    if min(shape) < SMALLEST:
        raise InputError(f"size: wanted at least {SMALLEST} voxels a side, got {shape}")
    half = np.array(shape) / 2
    grid = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"), -1)
    depth = np.linalg.norm(grid / (half * rng.uniform(0.9, 1.1, 3)), axis=-1)
    depth += 0.04 * _smooth(shape, half.mean() / 3, rng)
    mask = depth < 1
    points = grid[mask]

    voxel = 1 / half.mean()
    folded = (depth + 0.06 * _smooth(shape, 2.0, rng))[mask]
    centre, axes = half * rng.uniform(-0.25, 0.25, 3), half * rng.uniform(0.1, 0.3, 3)
    ventricle = 1 - np.linalg.norm((points - centre) / axes, axis=1)
    fluid = np.maximum(expit((folded - rng.uniform(0.92, 1.0)) / (0.4 * voxel)), expit(ventricle * axes.mean() / 0.4))
    inside = expit((rng.uniform(0.75, 0.88) - folded) / (0.4 * voxel))

    bundles = [_bundle(points, half, rng) for _ in range(rng.integers(4, 8))]
    white = inside * np.stack([share for share, _ in bundles])
    white *= (1 - fluid) / np.maximum(white.sum(0), 1)
    shares = np.concatenate([white, [1 - fluid - white.sum(0)], [fluid]]).clip(min=0)
    shares[shares < NEGLIGIBLE] = 0
    shares /= shares.sum(0)

    amplitude, length = rng.uniform(0.05, 0.25), rng.uniform(0.6, 3.0)
    jitter = amplitude * np.stack([_smooth(shape, length, rng)[mask] for _ in range(6)], -1)
    logs = []
    for _, direction in bundles:
        along, across = np.log(rng.uniform(1.4, 1.9)), np.log(rng.uniform(0.2, 0.5))
        outer = direction[:, :, None] * direction[:, None, :]
        logs.append(across * np.eye(3) + (along - across) * outer)
    logs.append(np.broadcast_to(np.log(rng.uniform(0.7, 0.9)) * np.eye(3), logs[0].shape))
    tissue = torch.from_numpy(np.stack(logs, 1)) + sym_from_vector(torch.from_numpy(jitter))[:, None]

    k = len(shares)
    tensors = torch.eye(3, dtype=torch.float64).repeat(len(points), k, 1, 1)
    present = torch.from_numpy(shares[:-1].T > 0)
    tensors[:, :-1][present] = sym_expm(tissue[present])
    tensors[:, -1] *= CSF
    brightness = np.concatenate([np.ones(k - 2), [rng.uniform(1.1, 1.4)], [rng.uniform(2.0, 3.0)]])
    bias = np.exp(0.1 * _smooth(shape, half.mean() / 2, rng)[mask])

    where = torch.from_numpy(mask)
    out = Phantom(torch.eye(3).repeat(*shape, k, 1, 1), torch.zeros(*shape, k), where)
    out.tensors[where] = tensors.float()
    out.s0[where] = torch.from_numpy((shares * brightness[:, None] * bias).T).float()
    return out


def directions(n: int) -> Float[np.ndarray, "n 3"]:
    """n unit vectors, spread over the sphere as axes (g and -g count as one); the same at every call.

    A local minimum of the electrostatic energy of charges at +-g_i (Jones, Horsfield and Simmons 1999),
    found from a Fibonacci spiral on the half sphere.
    """
    index = np.arange(n)
    height = 1 - (index + 0.5) / n
    angle = index * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    start = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], 1)

    def energy(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = flat.reshape(n, 3)
        length = np.linalg.norm(x, axis=1, keepdims=True)
        g = x / length
        cosine = g @ g.T
        np.fill_diagonal(cosine, 0.0)  # adds a constant
        near, far = (2 - 2 * cosine) ** -0.5, (2 + 2 * cosine) ** -0.5
        slope = (near**3 - far**3) @ g  # of half the sum, which has every pair twice
        slope = (slope - (slope * g).sum(1, keepdims=True) * g) / length
        return 0.5 * float((near + far).sum()), slope.ravel()

    spread = minimize(energy, start.ravel(), jac=True, method="L-BFGS-B").x.reshape(n, 3)
    return spread / np.linalg.norm(spread, axis=1, keepdims=True)


def signal(
    tensors: Float[Tensor, "*batch k 3 3"],
    s0: Float[Tensor, "*batch k"],
    bvals: Float[Tensor, "n"],
    bvecs: Float[Tensor, "n 3"],
) -> Float[Tensor, "*batch n"]:
    """Noiseless signal sum_k s0_k exp(-b g'D_k g) of k compartments; tensors in um^2/ms, b in s/mm^2."""
    exponent = 1e-3 * design_matrix(bvals, bvecs)[:, :6].T
    total = torch.zeros(*s0.shape[:-1], len(bvals), dtype=s0.dtype, device=s0.device)
    for tensor, brightness in zip(tensors.unbind(-3), s0.unbind(-1), strict=True):
        total += brightness[..., None] * torch.exp(to_lower(tensor) @ exponent)
    return total


def dwi(
    tensors: Float[Tensor, "*batch k 3 3"],
    s0: Float[Tensor, "*batch k"],
    bvals: Float[Tensor, "n"],
    bvecs: Float[Tensor, "n 3"],
    snr: Level,
    generator: torch.Generator,
    coils: int = 1,
) -> Float[Tensor, "*batch n"]:
    """Noisy signals: noise of standard deviation 1 / snr, where white matter has S0 = 1.

    ``snr`` is a number or one for each voxel; of ``coils`` > 1 the noise is :func:`noise.noncentral_chi`, else Rician.
    """
    return noncentral_chi(signal(tensors, s0, bvals, bvecs), 1 / snr, coils, generator)


def pair(
    scene: Phantom,
    bvals: Float[Tensor, "n"],
    bvecs: Float[Tensor, "n 3"],
    snr: float | int | Float[Tensor, "x y z"],
    generator: torch.Generator,
    coils: int = 1,
) -> Pair:
    """A denoiser's input and target: fits of a noisy and of a noiseless scan of a phantom; b in s/mm^2.

    ``snr`` and ``coils`` as in :func:`dwi`.
    """
    clean = signal(scene.tensors[scene.mask], scene.s0[scene.mask], bvals, bvecs)
    level = 1 / (snr[scene.mask] if isinstance(snr, Tensor) else snr)
    noised = noncentral_chi(clean, level, coils, generator)
    fits = [wls(measured, bvals, bvecs) for measured in (noised, clean)]
    noisy, true = (clean.new_full((*scene.mask.shape, 3, 3), torch.nan) for _ in range(2))
    noisy[scene.mask], true[scene.mask] = 1e3 * fits[0], 1e3 * fits[1]
    sigma = clean.new_full(scene.mask.shape, torch.nan)
    sigma[scene.mask] = residual_sigma(noised, bvals, bvecs, fits[0])
    return Pair(noisy, true, sigma, scene.mask)
