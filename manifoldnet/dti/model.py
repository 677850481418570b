"""Denoise a volume of diffusion tensors with an SPD-valued autoencoder."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from manifoldnet.dti.fit import residual_sigma
from manifoldnet.dti.gradients import tensor_model_holds
from manifoldnet.errors import InputError
from manifoldnet.linalg import sym_expm, sym_from_vector, sym_to_vector
from manifoldnet.nn import SPDAutoencoder
from manifoldnet.training import load_weights, save_weights

SHIPPED = Path(__file__).parent / "weights" / "default.safetensors"
SLAB = 16
EIGENVALUES = (1 / 16, 5.0)
Volume = TypeVar("Volume", np.ndarray, Tensor)


class DtiDenoiser(nn.Module):
    """An :class:`SPDAutoencoder` of matrix logarithms.

    Args:
        config: ``width``, ``embedding`` and ``radius2`` of the autoencoder; kept as ``config`` with whatever else
            made the weights.
        generator: source of the initial parameters.
    """

    def __init__(self, config: dict[str, Any], generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.net = SPDAutoencoder(config["width"], config["embedding"], config["radius2"], generator)

    def forward(self, logs: Tensor, mask: Tensor, sigma: Tensor) -> Tensor:
        """As :meth:`SPDAutoencoder.forward`."""
        return self.net(logs, mask, sigma)

    def save(self, path: str | Path) -> None:
        """Write weights and configuration."""
        save_weights(path, "dti", self.state_dict(), self.config)

    @classmethod
    def load(cls, path: str | Path) -> DtiDenoiser:
        """The model of a file of :meth:`save`.

        Raises:
            InputError: if the file is missing, unreadable or of another kind.
        """
        state, config = load_weights(path, "dti")
        model = cls(config)
        model.load_state_dict(state)
        return model.eval()


@lru_cache(maxsize=4)
def _loaded(path: Path, modified: float) -> DtiDenoiser:
    return DtiDenoiser.load(path)


def model_named(model: str | Path | DtiDenoiser) -> DtiDenoiser:
    """The shipped model for "default", the model in a file for a path, a model itself otherwise."""
    if isinstance(model, DtiDenoiser):
        return model
    path = SHIPPED if model == "default" else Path(model)
    return _loaded(path, path.stat().st_mtime if path.is_file() else 0.0)


def denoise(
    tensors: Volume,
    mask: Volume | None = None,
    dwi: Volume | None = None,
    bvals: Any = None,
    bvecs: Any = None,
    model: str | Path | DtiDenoiser = "default",
) -> Volume:
    """Denoised diffusion tensors.

    Args:
        tensors: (x, y, z, 3, 3) symmetric positive definite in the mask, in any unit.
        mask: (x, y, z), non-zero = use; by default the voxels whose tensors are finite and not zero.
        dwi: (x, y, z, n) the signals to which the tensors were fitted, in which case the noise level is
            measured by the residuals; with ``bvals`` (n,) in s/mm^2 and ``bvecs`` (n, 3), and tensors in mm^2/s.
        model: "default", a file of weights, or a model.

    Returns:
        (x, y, z, 3, 3), positive definite in the mask and as it came outside; the kind, device and dtype of the
        input.

    Raises:
        InputError: if shapes are wrong, the mask is empty, a tensor in the mask is not SPD, or of dwi, bvals and
            bvecs only some are given.
    """
    given = torch.as_tensor(tensors)
    if given.dim() != 5 or given.shape[-2:] != (3, 3):
        raise InputError(f"tensors: wanted shape (x, y, z, 3, 3), got {tuple(given.shape)}")
    if mask is None:
        inside = given.isfinite().all(-1).all(-1) & (given != 0).any(-1).any(-1)
    else:
        inside = torch.as_tensor(mask, device=given.device) != 0
    if inside.shape != given.shape[:3]:
        raise InputError(f"mask: wanted shape {tuple(given.shape[:3])}, got {tuple(inside.shape)}")
    sigma = given.new_zeros(inside.shape)
    parts = (dwi, bvals, bvecs)
    if any(part is not None for part in parts):
        if any(part is None for part in parts):
            raise InputError("dwi, bvals, bvecs: wanted all three or none of them")
        signal = torch.as_tensor(dwi, dtype=given.dtype, device=given.device)
        gradients = [torch.as_tensor(g, dtype=given.dtype, device=given.device) for g in (bvals, bvecs)]
        holds = torch.from_numpy(tensor_model_holds(gradients[0].cpu().numpy())).to(given.device)
        b, g = gradients[0][holds], gradients[1][holds]
        sigma[inside] = residual_sigma(signal[inside][:, holds], b, g, given[inside])
    result = filtered(given, inside, sigma, model_named(model))
    return result.numpy() if isinstance(tensors, np.ndarray) else result


def filtered(
    tensors: Float[Tensor, "x y z 3 3"],
    mask: Bool[Tensor, "x y z"],
    sigma: Float[Tensor, "x y z"],
    model: DtiDenoiser,
) -> Float[Tensor, "x y z 3 3"]:
    """The denoised tensors of :func:`denoise`, for a noise level sigma that is 0 where it is not known.

    Raises:
        InputError: if the mask is empty or a tensor in it is not SPD.
    """
    logs, scale = logarithms(tensors, mask)
    model = model.to(tensors.device)
    out = _by_slabs(model, logs.float()[None], mask[None, None], sigma.float()[None, None])[0]
    result = tensors.clone()
    exponentials = sym_expm(sym_from_vector(out.movedim(0, -1)[mask].double()))
    result[mask] = (scale * exponentials).to(tensors.dtype)
    return result


def logarithms(
    tensors: Float[Tensor, "x y z 3 3"], mask: Bool[Tensor, "x y z"]
) -> tuple[Float[Tensor, "6 x y z"], Float[Tensor, ""]]:
    """Coordinates of the logarithms of tensors / scale, 0 outside the mask; scale is the median mean eigenvalue.

    Eigenvalues are clamped to 1/16 to 5 times the scale first: beyond that they are noise, and logarithms of
    near-singular fits would outweigh everything near them.

    Raises:
        InputError: if the mask is empty or a tensor in it is not SPD (count and first index are given).
    """
    if not bool(mask.any()):
        raise InputError("mask: wanted at least one voxel with a tensor, it is empty")
    chosen = tensors[mask].double()
    finite = chosen.isfinite().all(-1).all(-1)
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], chosen, 0.0))
    bad = ~(finite & (values[:, 0] > 0))
    if bool(bad.any()):
        first = tuple(torch.nonzero(mask)[bad][0].tolist())
        raise InputError(f"tensors: {int(bad.sum())} in the mask are not positive definite, the first at {first}")
    scale = values.mean(-1).median()
    relative = (values / scale).clamp(*EIGENVALUES)
    out = torch.zeros(*mask.shape, 6, dtype=torch.float64, device=tensors.device)
    out[mask] = sym_to_vector((vectors * relative.log()[:, None, :]) @ vectors.mT)
    return out.movedim(-1, 0), scale


def _by_slabs(model: DtiDenoiser, logs: Tensor, mask: Tensor, sigma: Tensor) -> Tensor:
    """The network's output slab by slab along z; slabs overlap by its reach, so the result is that of the whole."""
    margin = model.net.margin
    out = torch.empty_like(logs)
    with torch.inference_mode():
        for low in range(0, logs.shape[-1], SLAB):
            start = max(0, low - margin)
            window = slice(start, low + SLAB + margin)
            block = model(logs[..., window], mask[..., window], sigma[..., window])
            out[..., low : low + SLAB] = block[..., low - start : low - start + SLAB]
    return out
