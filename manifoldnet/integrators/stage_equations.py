"""Solve z = G(z), the equations of an implicit step, and differentiate the solution implicitly."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from manifoldnet.integrators.anderson import anderson
from manifoldnet.linalg.kernel import is_transformed

Map = Callable[[Tensor], Tensor]

FIXED_POINT_ITERATIONS = 40
NEWTON_ITERATIONS = 50
BLIND_NEWTON_ITERATIONS = 8
HALVINGS = 12
CONTINUATIONS = 40
LARGEST_DENSE = 512  # unknowns of one sample; beyond, its Jacobian is not formed
SLOW = 0.3  # contraction above which Newton's method is cheaper than the fixed point


class StageError(RuntimeError):
    """The equations of an implicit step were not solved."""


def solve_stages(G: Map, start: Tensor, dims: int, floor: Tensor | float = 1.0) -> Tensor:
    """The solution z of z = G(z) near ``start``, one system for every sample of the batch, solved to rounding.

    The fixed point is iterated while that contracts fast; then follows a simplified Newton method, whose Jacobian is
    formed anew when it converges slowly and whose steps are shortened until the residual falls. If that fails, the
    solutions of z = s G(z) are followed from s = 0 to 1. Where a sample has more than 512 unknowns, Anderson's
    acceleration stands in for Newton's method. The derivative is that of the implicit function, so that memory does
    not depend on the number of iterations; it can be taken once. Where values cannot be looked at, inside torch.func
    and torch.compile, eight full Newton steps are taken instead and every derivative exists.

    Args:
        G: a map of tensors of the shape of ``start``, under which samples do not see each other.
        start: (*batch, *unknowns).
        dims: number of trailing dimensions that are unknowns of one sample.
        floor: size of what z is added to, number or shape (*batch): rounding of it is not resolved.

    Raises:
        StageError: if the residual does not fall to rounding.
    """
    system = _System(G, start.shape, dims)
    if torch.compiler.is_compiling() or is_transformed():
        return system.blind_newton(start)
    with torch.no_grad():
        z = system.solve(start.detach(), floor)
    if not torch.is_grad_enabled():
        return z
    image = G(z)
    if not image.requires_grad:
        return z
    return _ImplicitFunction.apply(image, z, system)


class _System:
    """The equations z = G(z), whose unknowns are seen flattened as (*batch, n)."""

    def __init__(self, G: Map, shape: torch.Size, dims: int) -> None:
        self.G = G
        self.shape = shape
        self.batch = shape[: len(shape) - dims]
        self.n = shape[len(shape) - dims :].numel()

    def flat(self, z: Tensor) -> Tensor:
        return z.reshape(*self.batch, self.n)

    def image(self, z: Tensor) -> Tensor:
        return self.flat(self.G(z.reshape(self.shape)))

    def jacobian(self, z: Tensor) -> Tensor:
        """(*batch, n, n) of G at the flat z, row by row, all rows at once."""
        with torch.enable_grad(), own_saved_tensors():
            z = z.detach().requires_grad_()
            image = self.image(z)
            if not image.requires_grad:
                return z.new_zeros(*self.batch, self.n, self.n)
            rows = _unit_rows(image, self.n)
            try:
                (jacobian,) = torch.autograd.grad(image, z, rows, is_grads_batched=True, retain_graph=True)
            except RuntimeError:  # derivatives that bring their own transforms are not batched by torch
                jacobian = torch.stack([torch.autograd.grad(image, z, row, retain_graph=True)[0] for row in rows])
        return jacobian.movedim(0, -2)

    def solve(self, start: Tensor, floor: Tensor | float) -> Tensor:
        start = self.flat(start)
        z, solved = self._fixed_point(start, floor)
        if not solved:
            if self.n <= LARGEST_DENSE:
                z, worst = self._continued_newton(z, floor)
            else:
                z, worst = anderson(self.image, z, lambda z: _tolerance(z, floor))
            if not worst <= 1.0:
                raise StageError(
                    "the equations of an implicit step were not solved: the last correction was "
                    f"{worst:.3g} times the rounding error; take a shorter step or check that the field is finite"
                )
        return z.reshape(self.shape)

    def _fixed_point(self, z: Tensor, floor: Tensor | float) -> tuple[Tensor, bool]:
        start, before = z, None
        for _ in range(FIXED_POINT_ITERATIONS):
            image = self.image(z)
            defect = (image - z).norm(dim=-1) / _tolerance(image, floor)
            worst = defect.max().item() if defect.numel() else 0.0
            if worst <= 1.0:
                return image, True
            slow = before is not None and not worst <= SLOW * before
            if slow and worst <= 30.0:  # rounding of G itself
                return image, True
            if slow or not worst < float("inf"):
                return (z if before is not None and worst < before else start), False
            z, before = image, worst
        return z, False

    def _continued_newton(self, z: Tensor, floor: Tensor | float) -> tuple[Tensor, float]:
        """Newton's method, and where it fails, for z = s G(z) with shares s that grow to 1.

        For a step these are shorter steps; of dissipative problems all have one solution each, on a path from 0.
        """
        found, worst = self._newton(z, floor, 1.0)
        share, growth, z = 0.0, 1e-3, torch.zeros_like(z)
        for _ in range(CONTINUATIONS):
            if worst <= 1.0 or growth < 1e-12 or 1.0 < growth < 1.01:
                break
            # from 0 the first share is small, later ones are multiples
            trial = min(1.0, growth if share == 0.0 else share * growth)
            candidate, defect = self._newton(z, floor, trial)
            if defect <= 1.0:
                z, share, growth = candidate, trial, 10.0 if growth < 1.0 else growth * 1.5
                found, worst = (z, defect) if share == 1.0 else (found, worst)
            else:
                growth = growth * 1e-2 if share == 0.0 else growth**0.5
        return found, worst

    def _newton(self, z: Tensor, floor: Tensor | float, share: float) -> tuple[Tensor, float]:
        """The last point towards z = share G(z) and its correction over the tolerance, 1 if accepted."""
        residual = share * self.image(z) - z
        factors, before = None, float("inf")
        for _ in range(NEWTON_ITERATIONS):
            fresh = factors is None
            if factors is None:
                eye = torch.eye(self.n, dtype=z.dtype, device=z.device)
                factors = torch.linalg.lu_factor(eye - share * self.jacobian(z))
            correction = torch.linalg.lu_solve(*factors, residual[..., None])[..., 0]
            defect = correction.norm(dim=-1) / _tolerance(z, floor)
            worst = defect.max().item()
            if worst <= 1.0:
                return z + correction, 1.0
            if fresh and worst <= 1e4 and worst > 0.5 * before:  # rounding of G, amplified by its slope
                return z, 1.0
            z, residual, shortened = self._line_search(z, residual, correction, defect <= 1.0, share)
            if shortened or worst > 0.1 * before:
                factors = None
            before = worst
            if not worst < float("inf"):
                break
        return z, worst

    def _line_search(
        self, z: Tensor, residual: Tensor, correction: Tensor, done: Tensor, share: float
    ) -> tuple[Tensor, Tensor, bool]:
        """z + a correction with a halved, sample by sample, until the residual's norm falls."""
        size = residual.norm(dim=-1)
        a = torch.ones_like(size)
        shortened = False
        for _ in range(HALVINGS):
            point = z + a[..., None] * correction
            new = share * self.image(point) - point
            rising = ~(new.norm(dim=-1) <= (1 - 1e-4 * a) * size) & ~done
            if not rising.any().item():
                break
            a = torch.where(rising, 0.5 * a, a)
            shortened = True
        return point, new, shortened

    def blind_newton(self, start: Tensor) -> Tensor:
        z = self.flat(start)
        eye = torch.eye(self.n, dtype=z.dtype, device=z.device)
        for _ in range(BLIND_NEWTON_ITERATIONS):
            image, pullback, *_ = torch.func.vjp(self.image, z)
            jacobian = torch.func.vmap(lambda row: pullback(row)[0])(_unit_rows(image, self.n))  # noqa: B023
            z = z + torch.linalg.solve(eye - jacobian.movedim(0, -2), image - z)
        return z.reshape(self.shape)

    def adjoint(self, z: Tensor, v: Tensor) -> Tensor:
        """w with w = v + G'(z)^T w."""
        with torch.enable_grad(), own_saved_tensors():
            point = self.flat(z).detach().requires_grad_()
            image = self.image(point)
        v = self.flat(v)
        if not image.requires_grad:
            return v.reshape(self.shape)

        def pull(w: Tensor) -> Tensor:
            return v + torch.autograd.grad(image, point, w, retain_graph=True)[0]

        w, before = v, None
        for _ in range(FIXED_POINT_ITERATIONS):
            new = pull(w)
            worst = ((new - w).norm(dim=-1) / _tolerance(new, 0.0)).max().item() if new.numel() else 0.0
            w = new
            if worst <= 1.0 or (before is not None and worst <= 30.0 and worst > SLOW * before):
                return w.reshape(self.shape)
            if before is not None and not worst <= SLOW * before:
                break
            before = worst
        if self.n > LARGEST_DENSE:
            w, worst = anderson(pull, v, lambda w: _tolerance(w, 0.0))
            if not worst <= 1.0:
                raise StageError(
                    f"the adjoint of an implicit step was not solved: {worst:.3g} times the rounding error"
                )
            return w.reshape(self.shape)
        matrix = torch.eye(self.n, dtype=z.dtype, device=z.device) - self.jacobian(point)
        return torch.linalg.solve(matrix.mT, v).reshape(self.shape)


class _ImplicitFunction(torch.autograd.Function):
    """The solution z; its derivative is that of the image G(z), z being held, after the adjoint has been solved."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, z: Tensor, system: _System) -> Tensor:
        ctx.save_for_backward(z)
        ctx.system = system
        return z.clone()

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "an implicit step is differentiated once by autograd: wanted create_graph=False, or torch.func, "
                "inside which every derivative exists"
            )
        (z,) = ctx.saved_tensors
        return ctx.system.adjoint(z, v), None, None


def _tolerance(z: Tensor, floor: Tensor | float) -> Tensor:
    """(*batch): what rounding leaves of z and of what it is added to."""
    eps = torch.finfo(z.dtype).eps
    return 2 * eps * z.norm(dim=-1) + 0.25 * eps * floor + torch.finfo(z.dtype).tiny


def _unit_rows(image: Tensor, n: int) -> Tensor:
    """(n, *batch, n): the unit vectors, the same for every sample."""
    eye = torch.eye(n, dtype=image.dtype, device=image.device)
    return eye.reshape(n, *(1,) * (image.dim() - 1), n).expand(n, *image.shape)


def own_saved_tensors() -> contextlib.AbstractContextManager[Any]:
    """Keep what a graph inside saves from hooks of others: torch.utils.checkpoint counts it, offloading moves it."""
    if torch._C._autograd._top_saved_tensors_default_hooks(True) is None:
        return contextlib.nullcontext()
    return torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)
