"""Train the denoiser of diffusion tensors on phantoms and on disjoint parts of real scans."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from manifoldnet.dti.examples import Crops, Pool, from_step, phantom_sources, scan_source
from manifoldnet.dti.model import DtiDenoiser, autoencoder
from manifoldnet.dti.uncertainty import calibrate
from manifoldnet.errors import InputError
from manifoldnet.linalg import affine_squared_distance, sym_expm, sym_from_vector
from manifoldnet.nn import SPDAutoencoder
from manifoldnet.training import fit
from manifoldnet.training.ahead import Ahead
from manifoldnet.training.batches import split
from manifoldnet.training.fit import check_device
from manifoldnet.training.optimizers import OPTIMIZERS, check_optimizer

LEAST = 1e-3  # of mean squared distances, so that the logarithm of a perfect crop's is finite
CONFIG = Path(__file__).parent / "weights" / "default.json"


def shipped_config() -> dict[str, Any]:
    """The configuration that made the shipped weights."""
    return json.loads(CONFIG.read_text())


def train(
    config: dict[str, Any],
    *,
    device: str = "cpu",
    progress: str | None = None,
    checkpoints: str | Path | None = None,
    workers: int = 0,
) -> DtiDenoiser:
    """A model trained as ``config`` says; the same configuration gives the same weights on the same machine.

    Processes that ``accelerate launch`` or ``torchrun`` started share every batch: however many there are, the steps
    are those of one, up to rounding.

    Args:
        config: ``members``, how many networks are trained, of seeds ``seed``, ``seed`` + 1, ...; ``phantoms``,
            ``phantom_size``, ``scans`` (a list, of each its ``name``, a data set of ``manifoldnet data list``,
            ``slices``, first and last axial slice + 1, ``block``, see :func:`~manifoldnet.dti.scan.block_means`,
            ``share`` of the crops, and ``matched``, see :class:`~manifoldnet.dti.examples.ScanSource`; what is left to
            1 is the share of the phantoms), ``crop``, ``slab``, ``flat``, ``batch``, ``signals_every``
            (:class:`Crops`), ``steps`` in which FA has the ``fa_weight`` of :func:`loss_function`, ``refinement`` (0)
            steps after them at a third of the learning rate, in which it has the ``refined_fa_weight`` where it is to
            be matched, one for "tensors" alone and one with "signals", ``refined_share``, how far to go from the
            parameters before the refinement to those after it, ``optimizer``, ``lr`` and the model's ``width``,
            ``embedding``, ``radius2``.
        device: "cpu" or "cuda".
        progress: title of a progress bar, or None for none.
        checkpoints: folder from which a training that was killed goes on.
        workers: number of processes that measure the examples of the next steps, which takes as long as the step itself
            on a CPU and much longer on a GPU; 0 for this one.

    Raises:
        InputError: if there is no such device or optimizer, there are no members, the shares of the scans add up to
            more than 1, a crop does not fit into a volume, a scan cannot be had, or the batch is no multiple of the
            processes.
    """
    check_device(device)
    check_optimizer(config)
    if config["batch"] % _processes():
        raise InputError(f"batch: wanted a multiple of the {_processes()} processes, got {config['batch']}")
    if config["members"] < 1:
        raise InputError(f"members: wanted at least 1, got {config['members']}")
    model = DtiDenoiser(config).eval()
    for k, member in enumerate(model.net.members):
        found = train_member(
            {**config, "seed": config["seed"] + k},
            device=device,
            progress=progress and f"{progress} {k + 1}/{config['members']}",
            checkpoints=checkpoints and Path(checkpoints) / f"member-{k + 1}",
            workers=workers,
        )
        member.load_state_dict(found.state_dict())
    calibrate(model, pools(config), config["seed"])
    return model


def train_member(
    config: dict[str, Any],
    *,
    device: str = "cpu",
    progress: str | None = None,
    checkpoints: str | Path | None = None,
    workers: int = 0,
) -> SPDAutoencoder:
    """One network from ``seed``, whose ``error`` is not trained; arguments and errors as for :func:`train`."""
    model = autoencoder(config, torch.Generator().manual_seed(config["seed"]))
    crops = Crops(pools(config), config)
    # it is no part of the loss, and processes that share a step wait for the gradient of all that is
    model.error.requires_grad_(False)
    first = 0
    parts = [("", None, config["steps"], config["lr"], 1.0)]
    if config.get("refinement"):
        weights, steps, share = config["refined_fa_weight"], config["refinement"], config["refined_share"]
        parts.append(("refinement", weights, steps, config["lr"] / 3, share))
    for name, weights, steps, lr, share in parts:
        before = [parameter.detach().clone() for parameter in model.parameters()]
        examples = from_step(crops, first)
        fit(
            model,
            split(Ahead(examples, workers) if workers else examples, _processes()),
            loss_function(config["fa_weight"], weights),
            OPTIMIZERS[config["optimizer"]](model.parameters(), lr),
            steps=steps,
            device=device,
            progress=progress and f"{progress} {name}".strip(),
            checkpoints=checkpoints and Path(checkpoints) / name,
        )
        move(model, before, share)
        first += steps
    return model.cpu().eval()


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def move(model: nn.Module, start: list[Tensor], share: float) -> None:
    """Put the parameters at a share of the way to where they are; up to 1 those on SPD stay there, for it is convex."""
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), start, strict=True):
            parameter.copy_(torch.lerp(value.to(parameter.device), parameter, share))


def pools(config: dict[str, Any]) -> list[Pool]:
    """What a configuration trains on: phantoms, then its scans; errors as in :func:`train`."""
    rest = 1.0 - sum(scan["share"] for scan in config["scans"])
    if rest < 0:
        raise InputError(f"scans: wanted shares of no more than 1 in all, got {1 - rest:g}")
    found = [Pool(rest, phantom_sources(config["phantoms"], config["phantom_size"], config["seed"], 0))]
    for scan in config["scans"]:
        found.append(
            Pool(scan["share"], [scan_source(scan["name"], tuple(scan["slices"]), scan["block"], scan["matched"])])
        )
    smallest = min(n for pool in found for source in pool.sources for n in source.mask.shape)
    if config["crop"] > smallest:
        raise InputError(f"crop: wanted at most {smallest} voxels, the smallest side of a volume, got {config['crop']}")
    smallest = min(n for pool in found for source in pool.sources for n in source.mask.shape[:2])
    if config["slab"] > smallest:
        raise InputError(f"slab: wanted at most {smallest} voxels, the smallest side of a slice, got {config['slab']}")
    return found


def loss_function(
    fa_weight: float, where_matched: dict[str, float] | None = None, of: Callable[[Tensor], Tensor] = torch.log
) -> Callable[..., Tensor]:
    """The loss(model, *example): mean over crops of a function of the relative error and of a weight times the squared
    difference in FA (:func:`relative_errors`).

    The logarithm is the gain in dB up to a factor: so neither do noisy crops dominate nor, as with the ratio itself,
    crops of which little noise can be removed. What minimises it is a mean, whose FA is below the mean FA; therefore FA
    has a part of its own.

    Args:
        fa_weight: of most crops.
        where_matched: of those whose FA is to be matched, for "tensors" alone and with "signals"; None for the same.
        of: the function.
    """

    def loss(model: nn.Module, *example: Tensor) -> Tensor:
        *given, matched = example
        mode = "signals" if given[-1].shape[1] else "tensors"
        ratio, bias = relative_errors(model, *given)
        weight = torch.where(matched, (where_matched or {}).get(mode, fa_weight), fa_weight)
        return (of(ratio) + weight * bias.square()).mean()

    return loss


def relative_errors(
    model: nn.Module,
    noisy: Tensor,
    target: Tensor,
    sigma: Tensor,
    mask: Tensor,
    directions: Tensor,
    filtered: Tensor,
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """For each crop d^2 to the target over that of the noisy input, d being the affine-invariant distance, and the
    difference in mean FA."""
    out = model(noisy, mask, sigma, directions, filtered if filtered.shape[1] else None)
    estimate, true, given = (sym_expm(sym_from_vector(logs.movedim(1, -1).double())) for logs in (out, target, noisy))
    inside, count = mask[:, 0], mask.sum((1, 2, 3, 4))

    def total(values: Tensor) -> Tensor:
        return torch.where(inside, values, 0.0).sum((1, 2, 3))

    before, after = (total(affine_squared_distance(true, tensors)) for tensors in (given, estimate))
    bias = total(_fa(estimate) - _fa(true)) / count
    return (after + LEAST * count) / (before + LEAST * count), bias


def _fa(D: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Fractional anisotropy with gradients that stay finite where it is 0."""
    trace = D.diagonal(dim1=-2, dim2=-1).sum(-1)
    return (1.5 - 0.5 * trace.square() / D.square().sum((-2, -1)) + 1e-4).sqrt()
