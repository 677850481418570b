"""The mean of several autoencoding averages of SPD-valued volumes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from manifoldnet.nn.spd import SPDAutoencoder, autoencoded


class SPDEnsemble(nn.Module):
    """The log-Euclidean Fréchet mean of what several networks make of a volume.

    It is SPD and commutes with whatever all of its members commute with. What trainings from different seeds do not
    agree on, which in squared distance is a part of the error of each, is divided by their number (Breiman 1996,
    "Bagging predictors").

    Args:
        members: one network at least, of the same neighbourhood.
    """

    def __init__(self, members: Iterable[SPDAutoencoder]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(
        self,
        logs: Float[Tensor, "b 6 x y z"],
        mask: Bool[Tensor, "b 1 x y z"],
        sigma: Float[Tensor, "b 1 x y z"],
        directions: Float[Tensor, " b"],
        filtered: Float[Tensor, "b 6 x y z"] | None = None,
    ) -> Float[Tensor, "b 6 x y z"]:
        """As :meth:`SPDAutoencoder.forward`."""
        return self.with_features(logs, mask, sigma, directions, filtered)[0]

    def with_features(
        self,
        logs: Float[Tensor, "b 6 x y z"],
        mask: Bool[Tensor, "b 1 x y z"],
        sigma: Float[Tensor, "b 1 x y z"],
        directions: Float[Tensor, " b"],
        filtered: Float[Tensor, "b 6 x y z"] | None = None,
        at_once: int | None = None,
    ) -> tuple[Float[Tensor, "b 6 x y z"], Float[Tensor, "b widths x y z"]]:
        """As :meth:`SPDAutoencoder.with_features`, with the features of all members.

        Raises:
            InputError: if the neighbourhoods of members differ.
        """
        outs, features = autoencoded(list(self._each()), logs, mask, sigma, directions, filtered, at_once)
        return torch.stack(outs).mean(0), features

    def error(self, features: Float[Tensor, "b widths x y z"]) -> Float[Tensor, "b 1 x y z"]:
        """The logarithm of the mean squared distance of the mean to the truth, the mean of what members make of it."""
        parts = zip(self._each(), features.split(self._widths(), 1), strict=True)
        return torch.stack([member.error(part) for member, part in parts]).mean(0)

    @torch.no_grad()
    def set_error(self, weight: Float[Tensor, " widths"], bias: Float[Tensor, ""]) -> None:
        """Make :meth:`error` the linear function of the features with these parameters."""
        for member, part in zip(self._each(), weight.split(self._widths()), strict=True):
            member.error.weight.copy_(len(self.members) * part.reshape(member.error.weight.shape))
            member.error.bias.copy_(bias)

    def _each(self) -> Iterator[Any]:
        return iter(self.members)

    def _widths(self) -> list[int]:
        return [member.width for member in self._each()]
