"""The optimisers that configurations of trainings name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from manifoldnet.errors import InputError
from manifoldnet.training.riemannian_adam import RiemannianAdam
from manifoldnet.training.riemannian_sgd import RiemannianSGD

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]] = {
    "riemannian-adam": lambda parameters, lr: RiemannianAdam(
        parameters, lr, weight_decay=1e-4, decoupled_weight_decay=True
    ),
    "riemannian-sgd": lambda parameters, lr: RiemannianSGD(parameters, lr, momentum=0.9, nesterov=True),
}


def check_optimizer(config: dict[str, Any]) -> None:
    """Raise InputError unless the configuration's ``optimizer`` is one of :data:`OPTIMIZERS`."""
    if config["optimizer"] not in OPTIMIZERS:
        raise InputError(f"optimizer: wanted {' or '.join(OPTIMIZERS)}, got {config['optimizer']!r}")
