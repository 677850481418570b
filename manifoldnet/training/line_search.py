"""Descent by line searches on manifolds, along gradients or conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from manifoldnet.errors import InputError
from manifoldnet.training.moves import move, move_along
from manifoldnet.training.stacks import RiemannianOptimizer, Stack, eager, evaluated
from manifoldnet.training.step_lengths import armijo, strong_wolfe

SEARCHES: dict[str, Callable[..., float | None]] = {"armijo": armijo, "wolfe": strong_wolfe}
# each with another name of geoopt's
DIRECTIONS = {"steepest": "steepest", "fr": "fr", "fletcher-reeves": "fr", "pr": "pr", "polak-ribiere": "pr"}
DIRECTION, GRADIENT = "direction", "gradient"


class RiemannianLineSearch(RiemannianOptimizer):
    """Descent along a line search, for parameters on manifolds mixed with plain ones; geoopt's signature.

    A step goes along d from x to R_x(a d), R being the retraction, where a comes from a search on the function
    phi(a) = f(R_x(a d)). Its derivative is that of the composed function, not the approximation by a vector transport
    that geoopt takes, so the conditions are meant for what is really computed. The loss never rises: where no trial
    has sufficient decrease, which happens at a minimum, there is no step. That holds for a closure that returns the
    same loss each time, and up to the projection of ``stabilize``.

    Directions are d = -g + beta T d_old with g = grad f and the vector transport T along the last step: beta is 0,
    |g|^2 / |g_old|^2 (Fletcher and Reeves) or max(0, <g, g - T g_old>) / |g_old|^2 (Polak and Ribière, kept positive;
    Sato 2021); -g alone where d does not descend.

    The first trial of the first step has at most the length ``lr``, later ones are a_old phi_old'(0) / phi'(0) (Nocedal
    and Wright 2006, section 3.5).

    Args:
        params: parameters, (name, parameter) pairs, or dicts of them with a ``stabilize`` of their own; all other
            options are those of the first group.
        line_search_method: "armijo" for sufficient decrease alone, "wolfe" for the strong Wolfe conditions, or a
            function (phi, derphi, **known) -> a or None, where ``known`` has phi0, derphi0 and start at least.
        line_search_params: keyword arguments of the search: c1, c2, amax, trials, as in
            :func:`manifoldnet.training.step_lengths.strong_wolfe`.
        cg_method: "steepest", "fr" or "pr".
        stabilize: after how many steps parameters are projected to their manifolds, or None for never.
        lr: greatest length of the first trial step, in the metric of the product of all parameters' spaces.
        retraction: "retr" for the spaces' retractions, "expmap" for exponential maps.

    Attributes:
        last_step_size: a of the last step, None if there was none.
        evaluations: how often closures were called, all steps together.

    Raises:
        InputError: for an unknown method, or options out of range.
    """

    vectors = (DIRECTION, GRADIENT)
    torch_moves = False

    def __init__(
        self,
        params: Any,
        line_search_method: str | Callable[..., float | None] = "armijo",
        line_search_params: dict[str, Any] | None = None,
        cg_method: str = "steepest",
        stabilize: int | None = None,
        *,
        lr: float = 1.0,
        retraction: str = "retr",
    ) -> None:
        defaults = {
            "line_search_method": line_search_method,
            "line_search_params": line_search_params or {},
            "cg_method": cg_method,
            "stabilize": stabilize,
            "lr": lr,
            "retraction": retraction,
            "foreach": None,
            "anchor": None,
        }
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        search, cg = group["line_search_method"], group["cg_method"]
        if not callable(search) and search not in SEARCHES:
            raise InputError(f"line_search_method: wanted 'armijo', 'wolfe' or a function, got {search!r}")
        if cg not in DIRECTIONS:
            raise InputError(f"cg_method: wanted one of {', '.join(map(repr, DIRECTIONS))}, got {cg!r}")

    @property
    def last_step_size(self) -> float | None:
        size: float | None = self.param_groups[0].get("step_size")
        return size

    @property
    def evaluations(self) -> int:
        return int(self.param_groups[0].get("evaluations", 0))

    @eager
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One search and the step that it finds.

        Args:
            closure: clears the gradients, evaluates the loss and its gradients and returns the loss; called at least
                twice. Gradients of the parameters are those of its last call.

        Returns:
            What the closure returned at the new parameters.

        Raises:
            InputError: without a closure.
        """
        if closure is None:
            raise InputError("closure: wanted a function that evaluates the loss and its gradients, got None")
        line = _Line(self, closure)
        options = self.param_groups[0]
        derphi0 = line.aim(DIRECTIONS[options["cg_method"]], options.get("squared_norm"))
        options.update(step_size=None, squared_norm=None)
        if derphi0 < 0:
            search = options["line_search_method"]
            a = (search if callable(search) else SEARCHES[search])(
                line.phi,
                line.derphi,
                phi0=line.phi0,
                derphi0=derphi0,
                start=self._start(line, derphi0),
                **options["line_search_params"],
            )
            if a is not None and line.phi(a) <= line.phi0:
                options.update(step_size=a, first_slope=a * derphi0, squared_norm=line.squared_norm)
        loss = line.finish(options["step_size"], DIRECTIONS[options["cg_method"]])
        for group in self.param_groups:
            self._count(group)
        return loss

    def _start(self, line: _Line, derphi0: float) -> float:
        options = self.param_groups[0]
        if "first_slope" in options:
            return options["first_slope"] / derphi0
        return min(1.0, options["lr"] / line.squared_norm**0.5)


class _Line:
    """The loss along the direction of one step."""

    def __init__(self, optimizer: RiemannianLineSearch, closure: Callable[[], Any]) -> None:
        self.closure = closure
        self.options = optimizer.param_groups[0]
        self.trials: dict[float, tuple[Any, list[Tensor], list[Tensor], list[Tensor]]] = {}
        self.loss = self._evaluate()
        self.phi0 = _number(self.loss)
        self.stacks: list[Stack] = []
        for group in optimizer.param_groups:
            self.stacks += optimizer._gather(group, (DIRECTION, GRADIENT))[2].stacks
        self.x = [stack.points() for stack in self.stacks]
        slopes = self._slopes()
        self.g = [s.space.egrad2rgrad(x, e) for s, x, e in zip(self.stacks, self.x, slopes, strict=True)]
        self.slopes = slopes
        self.squared_norm = _product(slopes, self.g)
        self.d: list[Tensor] = []

    def _evaluate(self) -> Any:
        self.options["evaluations"] = self.options.get("evaluations", 0) + 1
        return evaluated(self.closure)

    def _slopes(self) -> list[Tensor]:
        """The Euclidean gradients, whose products with tangent vectors are derivatives of the loss."""
        return [
            torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in stack.params])
            for stack in self.stacks
        ]

    def aim(self, cg: str, old: float | None) -> float:
        """Choose the direction; the derivative of the loss along it."""
        ready = cg != "steepest" and old is not None and all(DIRECTION in stack.rows for stack in self.stacks)
        self.d = [-g for g in self.g]
        if ready and old:
            change = self.squared_norm
            if cg == "pr":
                change -= _product(self.slopes, [stack.rows[GRADIENT] for stack in self.stacks])
            beta = max(0.0, change / old)
            conjugate = [d + beta * stack.rows[DIRECTION] for d, stack in zip(self.d, self.stacks, strict=True)]
            if _product(self.slopes, conjugate) < 0:
                self.d = conjugate
        return _product(self.slopes, self.d)

    def phi(self, a: float) -> float:
        """The loss at a."""
        if a not in self.trials:
            lengths, points = [], []
            for stack, x, d in zip(self.stacks, self.x, self.d, strict=True):
                with torch.enable_grad():
                    lengths.append(torch.full((), a, dtype=x.dtype, device=x.device, requires_grad=True))
                    points.append(move(stack.space, x, lengths[-1] * d, self.options["retraction"]))
                stack.put(points[-1].detach())
            loss = self._evaluate()
            self.trials[a] = loss, lengths, points, self._slopes()
        return _number(self.trials[a][0])

    def derphi(self, a: float) -> float:
        """Its derivative there."""
        self.phi(a)
        _, lengths, points, slopes = self.trials[a]
        both = zip(points, lengths, slopes, strict=True)
        return sum(float(torch.autograd.grad(y, length, e, retain_graph=True)[0]) for y, length, e in both)

    def finish(self, a: float | None, cg: str) -> Any:
        """Move the parameters to a, and vectors for the next direction along; the loss there."""
        if a is None:
            for stack, x in zip(self.stacks, self.x, strict=True):
                stack.put(x)
            return self.loss
        loss, _, points, _ = self.trials[a]
        for stack, x, d, g, y in zip(self.stacks, self.x, self.d, self.g, points, strict=True):
            stack.put(y.detach())
            if cg != "steepest":
                carried = {DIRECTION: d, GRADIENT: g} if cg == "pr" else {DIRECTION: d}
                for name, v in carried.items():
                    stack.keep(name, move_along(stack.space, x, a * d, v, self.options["retraction"])[1])
        return loss


def _number(loss: Any) -> float:
    return float(loss.detach() if isinstance(loss, Tensor) else loss)


def _product(a: list[Tensor], b: list[Tensor]) -> float:
    return sum(float((u * v).sum()) for u, v in zip(a, b, strict=True))
