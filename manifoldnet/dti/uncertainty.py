"""How far denoised tensors are from the truth, learned from measurements that the network does not see.

The error of a voxel is modelled as a Riemannian Gaussian (Pennec 2006) of the affine-invariant distance d: its density
is proportional to exp(-3 d^2 / m), m being the mean of d^2 in the six dimensions of SPD(3). The logarithm of m is
linear in the features from which the network makes its weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from manifoldnet.dti.examples import Pool, Source, volume_example
from manifoldnet.dti.model import DtiDenoiser, averaged, told, told_level
from manifoldnet.linalg import sym_expm, sym_from_vector
from manifoldnet.manifolds import SPD

PHANTOMS = 4
SPLITS = 2  # of the directions of every scan
LEAST = 1e-4  # of mean squared distances, far below what any measurement leaves
DECAY = 3e-3  # of squared weights; without, log m is large where a scan is noisier than those of training


def calibrate(model: DtiDenoiser, pools: Sequence[Pool], seed: int) -> None:
    """Set the network's estimate of its own error by maximum likelihood, less DECAY |weights|^2, with new noise on what
    it was trained on.

    Each pool counts by its share, tensors alone and with signals equally. The distance is that of the tensors at the
    model's own strength, see :func:`errors`.
    """
    generator = torch.Generator().manual_seed((seed << 32) - 1)
    features, squares, weights = [], [], []
    for pool in pools:
        found = [errors(model, source, s, generator) for source in _drawn(pool) for s in (False, True)]
        features += [f for f, _ in found]
        squares += [e for _, e in found]
        count = sum(len(e) for _, e in found)
        weights += [torch.full_like(e, pool.share / count) for _, e in found]
    x = torch.cat(features).double().numpy()
    x = np.concatenate([x, np.ones_like(x[:, :1])], 1)
    c, w = torch.cat(squares).double().numpy(), torch.cat(weights).double().numpy()

    def penalised(at: np.ndarray) -> tuple[float, np.ndarray]:
        log_m = (x @ at).clip(np.log(LEAST))
        ratio = c * np.exp(-log_m)
        value = float(w @ (log_m + ratio)) + DECAY * float(at[:-1] @ at[:-1])
        gradient = x.T @ (w * (1 - ratio) * (log_m > np.log(LEAST)))
        gradient[:-1] += 2 * DECAY * at[:-1]
        return value, gradient

    start = np.zeros(x.shape[1])
    start[-1] = np.log(max(float(w @ c) / float(w.sum()), LEAST))
    best = torch.from_numpy(minimize(penalised, start, jac=True, method="L-BFGS-B").x)
    model.net.set_error(best[:-1], best[-1])


def errors(
    model: DtiDenoiser, source: Source, with_signals: bool, generator: torch.Generator
) -> tuple[Float[Tensor, "n width"], Float[Tensor, " n"]]:
    """The network's features for a new measurement of a whole source, and what is the squared error in the mean.

    Of a scan there is no truth, but there are two fits of other directions with independent noise. The inner product
    of the tangent vectors from the result to the two is free of their noise, and its mean that of the squared distance
    to the truth. So single values can be below zero.
    """
    example, again = volume_example(source, with_signals, generator)
    mask = example.mask[0]
    level = told_level(example.sigma[0], mask)[None]
    images = [example.noisy, example.mask, level, *([example.filtered] if with_signals else [])]
    out, features = averaged(model, images, told(float(example.directions)))
    fit = example.filtered if with_signals else None
    moved = model.followed(example.noisy, out, fit, float(example.directions))
    tensors, one, other = (_in_mask(logs, mask) for logs in (moved, example.target, again))
    return features.movedim(0, -1)[mask], unbiased(tensors, one, other)


def _drawn(pool: Pool) -> Iterator[Source]:
    """Phantoms once each as far as they are wanted, a scan as often as it is to be split."""
    sources = list(pool.sources)
    yield from sources[:PHANTOMS] if len(sources) > 1 else sources * SPLITS


def _in_mask(logs: Tensor, mask: Tensor) -> Tensor:
    return sym_expm(sym_from_vector(logs.movedim(0, -1)[mask].double()))


def unbiased(
    D: Float[Tensor, "n 3 3"], one: Float[Tensor, "n 3 3"], other: Float[Tensor, "n 3 3"]
) -> Float[Tensor, "n"]:
    """What is the squared affine-invariant distance of D to the truth in the mean, from two fits of it with independent
    noise: the inner product at D of the tangent vectors to both."""
    space = SPD("affine-invariant", n=3)
    return space.inner(D, space.logmap(D, one), space.logmap(D, other))
