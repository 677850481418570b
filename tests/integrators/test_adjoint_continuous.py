"""The gradient of the exact flow, by the costate's own equation."""

import math

import pytest
import torch
from torch import nn

from manifoldnet import SE3, SO3, SPD, Circle, Euclidean, Sphere, odeint
from manifoldnet.errors import InputError
from manifoldnet.fields import ProjectedField
from manifoldnet.nn import Flow

F64 = torch.float64
TIMES = torch.tensor([0.0, 0.4, 1.0], dtype=F64)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Turning(nn.Module):
    """Generators tanh(W y + b (1 + t)) on any space."""

    def __init__(self, space, dim, size, scale=1.0):
        super().__init__()
        self.space = space
        self.W = nn.Parameter(scale * torch.randn(dim, size, dtype=F64, generator=rng(1)))
        self.b = nn.Parameter(scale * torch.randn(dim, dtype=F64, generator=rng(2)))

    def forward(self, t, y):
        flat = y.flatten(y.dim() - self.space.ndim) if self.space.ndim else y.sin()[..., None]
        return torch.tanh(flat @ self.W.mT + self.b * (1 + t))


def gradients(field, y0, gradient, method, steps, t=TIMES):
    """The loss's gradients in y0 (its tangential part), t and the parameters."""
    leaves = [x.detach().clone().requires_grad_() for x in (y0, t)]
    points = odeint(field, *leaves, space=field.space, method=method, steps=steps, gradient=gradient)
    weights = torch.linspace(-1, 1, points.numel(), dtype=F64).reshape(points.shape)
    loss = (weights * points.sin()).sum()
    by_y0, *others = torch.autograd.grad(loss, [*leaves, *field.parameters()])
    return [field.space.egrad2rgrad(y0, by_y0), *others]


def distances(field, y0, method, steps):
    found = gradients(field, y0, "continuous-adjoint", method, steps)
    wanted = gradients(field, y0, "autograd", method, steps)
    return [float((a - b).norm() / b.norm()) for a, b in zip(found, wanted, strict=True)]


SPACES = {
    "R3": (Euclidean(1), 3, 3, (2, 3)),
    "SO3": (SO3(), 3, 9, (2, 3, 3)),
    "SE3": (SE3(), 6, 16, (2, 4, 4)),
    "sphere": (Sphere(), 3, 3, (2, 3)),
    "circle": (Circle(), 1, 1, (2,)),
    "SPD": (SPD("log-euclidean", n=2), 3, 4, (2, 2, 2)),
    "SPD affine": (SPD("affine-invariant", n=2), 4, 4, (2, 2, 2)),
}
# cg3, rkmk4-two-brackets and the others differ in their stages' places, which the quadrature must follow
CASES = [
    ("R3", "euler", 20), ("R3", "heun2", 5), ("R3", "midpoint", 5), ("R3", "rk4", 4),
    ("SO3", "lie-euler", 20), ("SO3", "rkmk4", 4), ("SO3", "cf4", 4), ("SO3", "cg3", 4), ("SO3", "cf-ees25", 5),
    ("SO3", "rkmk4-two-brackets", 4), ("SE3", "cf4", 4), ("sphere", "rkmk4", 4), ("circle", "rkmk4", 4),
    ("SPD", "rkmk4", 3), ("SPD affine", "rkmk4", 6),
]  # fmt: skip
QUICK = [("R3", "euler", 20), ("R3", "midpoint", 5), ("R3", "rk4", 4), ("SO3", "rkmk4", 4), ("SO3", "cf4", 4)]


@pytest.mark.parametrize(
    ("name", "method", "steps"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES],
)
def test_it_differs_from_the_steps_gradient_by_the_methods_order(name, method, steps):
    space, dim, size, shape = SPACES[name]
    field = Turning(space, dim, size, 0.3 if name.startswith("SPD") else 1.0)
    y0 = space.random(*shape, dtype=F64, generator=rng(3))
    coarse, fine = distances(field, y0, method, steps), distances(field, y0, method, 2 * steps)
    order = {"euler": 1, "lie-euler": 1, "heun2": 2, "midpoint": 2, "cf-ees25": 2, "cg3": 3}.get(method, 4)
    for a, b in zip(coarse, fine, strict=True):
        assert math.log2(a / b) > order - 0.45
    assert max(fine) < 0.2


def test_images_may_be_points():
    space = Euclidean(2)
    w = torch.randn(3, 3, dtype=F64, generator=rng(1)).requires_grad_()
    found = []
    for mode in ("continuous-adjoint", "autograd"):
        y0 = torch.ones(2, 3, dtype=F64)
        end = odeint(lambda t, y: torch.tanh(y @ w), y0, TIMES, space=space, method="rk4", steps=20, gradient=mode)[-1]
        found.append(torch.autograd.grad(end.square().sum(), w)[0])
    assert (found[0] - found[1]).norm() < 1e-5 * found[1].norm()


def test_it_is_theorem_3_1_on_a_linear_problem():
    """x' = A x and L = c'x(T): p(0) = exp(A' T) c and dL/dA = int p x' dt, both by matrix exponentials."""
    A = torch.randn(3, 3, dtype=F64, generator=rng(1))
    x, c = torch.randn(2, 3, dtype=F64, generator=rng(2))
    leaf, start = A.clone().requires_grad_(), x.clone().requires_grad_()
    end = odeint(lambda t, y: y @ leaf.mT, start, TIMES[[0, 2]], method="rk4", steps=40, gradient="continuous-adjoint")
    by_A, by_x = torch.autograd.grad((end[-1] * c).sum(), (leaf, start))
    assert (by_x - torch.linalg.matrix_exp(A.mT) @ c).abs().max() < 1e-6
    # the upper right block of exp([[A', c x'], [0, A']]) is the integral (Van Loan 1978)
    block = torch.zeros(6, 6, dtype=F64)
    block[:3, :3] = block[3:, 3:] = A.mT
    block[:3, 3:] = c[:, None] * x
    assert (by_A - torch.linalg.matrix_exp(block)[:3, 3:]).abs().max() < 1e-6


def test_only_the_ends_of_intervals_are_kept():
    field = Turning(Euclidean(1), 3, 3)
    sizes = []
    for steps in (16, 1024):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()), lambda x: x):  # noqa: B023
            Flow(field, "euler", steps=steps, gradient="continuous-adjoint")(torch.ones(2, 3, dtype=F64))
        sizes.append(sum(kept))
    assert sizes[0] == sizes[1]


def test_projected_fields_have_no_such_equation():
    field = ProjectedField(3).double()
    with pytest.raises(InputError, match="gradient: 'continuous-adjoint' has no equation for a projected field"):
        Flow(field, "euler", gradient="continuous-adjoint")(torch.ones(2, 3, dtype=F64))
