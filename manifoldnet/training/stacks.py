"""Optimisers whose parameters live on manifolds: those of equal spaces and shapes are stacked and step in one call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from operator import is_
from typing import Any

import torch
from geoopt.manifolds import Manifold
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.training.moves import RETRACTIONS, is_flat, space_key, space_of, towards

WORKABLE = (torch.float32, torch.float64)
# torch.compile cannot change views of one tensor that come from outside (torch 2.13)
eager = torch.compiler.disable


class Stack:
    """Parameters of equal spaces, shapes, types and devices, with their states in one tensor for each name.

    Attributes:
        space: where the parameters live.
        params: n of them.
        places: their places in the list of parameters that step together.
        rows: name -> (n, *shape) for each tensor of state; the state of the k-th parameter is a view of row k.
    """

    def __init__(self, params: list[Tensor], places: list[int], states: list[dict[str, Any]], names: Sequence[str]):
        self.space = space_of(params[0])
        self.params = params
        self.places = places
        self.rows: dict[str, Tensor] = {}
        self._states = states
        self._views: dict[str, tuple[Tensor, ...]] = {}
        self._out = torch.empty((len(params), *params[0].shape), dtype=params[0].dtype, device=params[0].device)
        self._out_views = self._out.unbind()
        self._origin: Tensor | None = None
        for name in names:
            if states[0].get(name) is not None:
                self.keep(name, torch.stack([state[name] for state in states]))

    def keep(self, name: str, rows: Tensor) -> None:
        """Make ``rows`` the state of that name, which is to be changed in place from now on."""
        self.rows[name] = rows
        self._views[name] = rows.unbind()
        for state, view in zip(self._states, self._views[name], strict=True):
            state[name] = view

    def is_current(self) -> bool:
        """Whether the parameters' states are still the views of the rows, and not loaded or set by someone else."""
        return all(all(map(is_, (s.get(name) for s in self._states), views)) for name, views in self._views.items())

    def points(self) -> Tensor:
        """(n, *shape): the parameters."""
        return torch.stack(self.params)

    def gradients(self, grads: list[Tensor], maximize: bool) -> Tensor:
        """(n, *shape): those of its parameters among ``grads``, negative for ``maximize``; a copy."""
        stacked = torch.stack([grads[k] for k in self.places])
        return stacked.neg_() if maximize else stacked

    def put(self, points: Tensor) -> None:
        """Write the points to the parameters."""
        self._out.copy_(points)
        torch._foreach_copy_(self.params, self._out_views)

    def pull(self, x: Tensor, anchor: Tensor | None) -> Tensor:
        """The tangent vectors from the points x to the anchor, the space's origin for None."""
        if anchor is None:
            if self._origin is None:
                self._origin = self.space.origin(*x.shape[1:], dtype=x.dtype, device=x.device)
            anchor = self._origin
        return towards(self.space, x, anchor.to(x).expand_as(x))


class Together:
    """How the parameters of a group that have a gradient step.

    Attributes:
        flat: places of those that torch's own function moves.
        stacks: the others.
    """

    def __init__(self, key: Hashable, flat: list[int], stacks: list[Stack], states: list[dict[str, Any]]) -> None:
        self.key = key
        self.flat = flat
        self.stacks = stacks
        self._states = states

    def is_current(self, key: Hashable, state: dict[Tensor, dict[str, Any]]) -> bool:
        """Whether nothing has changed but the values of tensors."""
        # states are added behind those that were there
        same = self.key == key and len(state) >= len(self._states) and all(map(is_, self._states, state.values()))
        return same and all(stack.is_current() for stack in self.stacks)


class RiemannianOptimizer(torch.optim.Optimizer):
    """What all Riemannian optimisers have in common: which parameters step together, and projection to the spaces.

    A group of parameters has the options ``stabilize``, ``retraction``, ``foreach`` and ``anchor`` beside the
    method's own.

    Attributes:
        vectors: names of the state that is a tangent vector at the parameter.
        torch_moves: whether torch's own function moves parameters on Euclidean space.
    """

    vectors: tuple[str, ...] = ()
    torch_moves = True

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._together: dict[int, Together] = {}
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._together = {}
        super().__setstate__(state)
        # states of torch's and geoopt's optimisers lack some options
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own.

        Raises:
            InputError: for an option that the method cannot work with, or parameters on a curved manifold that are
                neither float32 nor float64: in half precision no matrix is a rotation to more than three digits. Keep
                such parameters in float32 and compute with torch.autocast.
        """
        super().add_param_group(param_group)
        try:
            self._check(param_group)
        except InputError:
            self.param_groups.pop()
            raise

    def _check(self, group: dict[str, Any]) -> None:
        for name in ("lr", "weight_decay"):
            if name in group and not group[name] >= 0:
                raise InputError(f"{name}: wanted at least 0, got {group[name]}")
        stabilize, retraction = group["stabilize"], group["retraction"]
        if stabilize is not None and stabilize < 1:
            raise InputError(f"stabilize: wanted a number of steps of at least 1 or None, got {stabilize}")
        if retraction not in RETRACTIONS:
            raise InputError(f"retraction: wanted 'retr' or 'expmap', got {retraction!r}")
        for p in group["params"]:
            space = space_of(p)
            if not is_flat(space) and p.dtype not in WORKABLE:
                raise InputError(f"params: wanted float32 or float64 on {space.name}, got {p.dtype}")

    def _gather(self, group: dict[str, Any], names: Sequence[str]) -> tuple[list[Tensor], list[Tensor], Together]:
        """The parameters with a gradient, their gradients, and how they step.

        Args:
            names: of the state that a step needs.

        Raises:
            InputError: for a sparse gradient.
        """
        pairs = [(p, grad) for p in group["params"] if (grad := p.grad) is not None]
        params, grads = [p for p, _ in pairs], [grad for _, grad in pairs]
        for grad in grads:
            if grad.is_sparse:
                raise InputError(f"params: wanted dense gradients, got a sparse one of shape {tuple(grad.shape)}")
        key = (group["foreach"], group["anchor"] is None, names, tuple(map(id, params)))
        together = self._together.get(id(group))
        if together is None or not together.is_current(key, self.state):
            flat, curved = self._sorted(group, params)
            stacks = []
            for places in curved:
                members = [params[k] for k in places]
                stacks.append(Stack(members, places, [self.state[p] for p in members], names))
            together = self._together[id(group)] = Together(key, flat, stacks, list(self.state.values()))
        return params, grads, together

    def _sorted(self, group: dict[str, Any], params: list[Tensor]) -> tuple[list[int], list[list[int]]]:
        """Places of the parameters that torch's own function moves, and of those that can be stacked."""
        flat: list[int] = []
        curved: dict[Hashable, list[int]] = {}
        keys: dict[int, tuple[Manifold, Hashable]] = {}
        for place, p in enumerate(params):
            space = space_of(p)
            if self.torch_moves and is_flat(space) and group["anchor"] is None:
                flat.append(place)
                continue
            # with the space, so that no other one gets its id
            if id(space) not in keys:
                keys[id(space)] = space, space_key(space)
            alone = place if group["foreach"] is False else None
            # without state a parameter is at its first step
            names = frozenset(name for name, value in self.state.get(p, {}).items() if value is not None)
            curved.setdefault((keys[id(space)][1], p.shape, p.dtype, p.device, names, alone), []).append(place)
        return flat, list(curved.values())

    def _restack(self, group: dict[str, Any]) -> None:
        """Stack anew at the next step."""
        self._together.pop(id(group), None)

    def _count(self, group: dict[str, Any]) -> None:
        """Count a step of the group, after which it may be time to project."""
        group["step"] = group.get("step", 0) + 1
        if group["stabilize"] is not None and group["step"] % group["stabilize"] == 0:
            self.stabilize_group(group)

    def stabilize(self) -> None:
        """Project all parameters to their manifolds and the vectors kept for them to the tangent spaces there."""
        for group in self.param_groups:
            self.stabilize_group(group)

    @torch.no_grad()
    def stabilize_group(self, group: dict[str, Any]) -> None:
        """:meth:`stabilize` for the parameters of one group."""
        for places in self._sorted(group, group["params"])[1]:
            members = [group["params"][k] for k in places]
            space = space_of(members[0])
            x = space.projx(torch.stack(members))
            torch._foreach_copy_(members, x.unbind())
            states = [self.state.get(p, {}) for p in members]
            for name in self.vectors:
                rows = [state[name] for state in states if state.get(name) is not None]
                if rows:
                    torch._foreach_copy_(rows, space.proju(x, torch.stack(rows)).unbind())


def evaluated(closure: Callable[[], Any] | None) -> Any:
    """The closure's loss, with gradients recorded; None without a closure."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def number(value: Any) -> Any:
    """A learning rate by which tensors of any shape can be multiplied: a number or a 0-dimensional tensor."""
    return value.squeeze() if isinstance(value, Tensor) else value
