"""The gradient whose steps are undone: exact, with memory that does not depend on the number of steps."""

import pytest
import torch
from torch import nn

from manifoldnet import SO3, SPD, Circle, odeint
from manifoldnet.errors import InputError
from manifoldnet.fields import (
    DampedHamiltonianField,
    DivergenceFree,
    GradientField,
    HamiltonianField,
    ManifoldGradientFlow,
    ProjectedField,
    ResNetField,
)
from manifoldnet.integrators import METHODS, SplitField
from manifoldnet.integrators.reversible import ReconstructionError, check_reversible
from manifoldnet.nn import Flow

F64 = torch.float64
IN_TIME = {"time": "piecewise-linear", "knots": 5}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Turning(nn.Module):
    """Generators tanh(W y + b (1 + t)) on matrices, or on angles."""

    def __init__(self, space, dim, size):
        super().__init__()
        self.space = space
        self.W = nn.Parameter(torch.randn(dim, size, dtype=F64, generator=rng(1)))
        self.b = nn.Parameter(torch.randn(dim, dtype=F64, generator=rng(2)))

    def forward(self, t, y):
        flat = y.flatten(-2) if self.space.ndim else y.sin()[..., None]
        return torch.tanh(flat @ self.W.mT + self.b * (1 + t))


def hamiltonian(**options):
    return HamiltonianField(2, 6, generator=rng(), **options).double()


FIELDS = {
    "hamiltonian": (lambda: hamiltonian(**IN_TIME), (2, 4)),
    "constant": (hamiltonian, (2, 4)),
    "shears": (lambda: DivergenceFree(3, generator=rng()).double(), (2, 3)),
    "resnet": (lambda: ResNetField(3, generator=rng(), **IN_TIME).double(), (2, 3)),
    "SO3": (lambda: Turning(SO3(), 3, 9), (2, 3, 3)),
    "SPD": (lambda: Turning(SPD("affine-invariant", n=2), 4, 4), (2, 2, 2)),
    "circle": (lambda: Turning(Circle(), 1, 1), (5,)),
}
CASES = [
    ("hamiltonian", "symplectic-euler", 9), ("hamiltonian", "stormer-verlet", 9), ("constant", "yoshida4", 5),
    ("constant", "suzuki4", 5), ("constant", "implicit-midpoint", 3),
    ("shears", "lie-trotter", 9), ("shears", "strang", 9),
    ("resnet", "cf-ees25", 8), ("resnet", "cf-ees27", 8), ("resnet", "cf-williamson3", 8),
    ("SO3", "cf-ees25", 8), ("SO3", "cf-ees27", 6), ("SO3", "lie-midpoint", 3), ("SPD", "cf-ees25", 8),
    ("circle", "cf-ees25", 8),
]  # fmt: skip
QUICK = [
    ("hamiltonian", "stormer-verlet", 9), ("constant", "yoshida4", 5), ("shears", "lie-trotter", 9),
    ("shears", "strang", 9), ("SO3", "cf-ees25", 8), ("SO3", "cf-ees27", 6),
]  # fmt: skip


def gradients(field, y0, gradient, method, steps):
    t = torch.tensor([0.0, 0.3, 1.0], dtype=y0.dtype)
    leaves = [x.detach().clone().requires_grad_() for x in (y0, t)]
    points = odeint(field, *leaves, space=field.space, method=method, steps=steps, gradient=gradient)
    weights = torch.linspace(-1, 1, points.numel(), dtype=y0.dtype).reshape(points.shape)
    return torch.autograd.grad((weights * points.sin()).sum(), [*leaves, *field.parameters()])


@pytest.mark.parametrize(
    ("name", "method", "steps"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES],
)
def test_the_gradient_is_that_of_autograd(name, method, steps):
    make, shape = FIELDS[name]
    field = make()
    y0 = field.space.random(*shape, dtype=F64, generator=rng(3))
    found = gradients(field, y0, "reversible", method, steps)
    wanted = gradients(field, y0, "autograd", method, steps)
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).norm() <= 1e-12 * b.norm()


def saved_bytes(run):
    size = 0

    def pack(x):
        nonlocal size
        size += x.numel() * x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        run()
    return size


@pytest.mark.parametrize(("name", "method"), [("constant", "stormer-verlet"), ("SO3", "cf-ees25")])
def test_saved_bytes_do_not_grow_with_the_steps(name, method):
    make, shape = FIELDS[name]
    field = make()
    y0 = field.space.random(*shape, dtype=F64, generator=rng(3))
    few, many = (
        saved_bytes(lambda: Flow(field, method, steps=steps, gradient="reversible")(y0))  # noqa: B023
        for steps in (16, 1024 if name == "constant" else 64)
    )
    assert few == many
    assert many < saved_bytes(lambda: Flow(field, method, steps=2)(y0))


def memory_and_gradients(method, steps, mode):
    """Of 200 points, four numbers each: bytes that the graph keeps, and the gradients of a loss."""
    field = hamiltonian()
    y0 = torch.randn(200, 4, dtype=F64, generator=rng(3), requires_grad=True)
    kept = []
    size = saved_bytes(lambda: kept.append(Flow(field, method, steps=steps, t1=2.0, gradient=mode)(y0)))
    return size, torch.autograd.grad(kept[0].sin().sum(), [y0, *field.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["stormer-verlet", "cf-ees27"])
def test_a_thousand_steps_have_the_gradient_of_autograd(method, capsys):
    lines = []
    for steps in (16, 1024):
        size, found = memory_and_gradients(method, steps, "reversible")
        size_before, wanted = memory_and_gradients(method, steps, "autograd")
        gap = max(float((a - b).norm() / b.norm()) for a, b in zip(found, wanted, strict=True))
        lines.append(f"{method} {steps}: {size} bytes, autograd {size_before}; gradients differ by {gap:.1e}")
        assert gap < 1e-10
    with capsys.disabled():
        print(*lines, sep="\n")


def test_single_precision_is_undone_to_its_rounding():
    field = HamiltonianField(2, 6, generator=rng())
    y0 = torch.randn(2, 4, generator=rng(3))
    found = gradients(field, y0, "reversible", "stormer-verlet", 15)
    wanted = gradients(field, y0, "autograd", "stormer-verlet", 15)
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm()


def test_learned_steps_are_undone():
    results = []
    for mode in ("reversible", "autograd"):
        flow = Flow(hamiltonian(**IN_TIME), "stormer-verlet", steps=6, gradient=mode, step_sizes="simplex").double()
        y0 = torch.ones(2, 4, dtype=F64)
        results.append(torch.autograd.grad(flow(y0).sin().sum(), list(flow.parameters())))
    for a, b in zip(*results, strict=True):
        assert (a - b).norm() <= 1e-13 * b.norm()


# refusals ----------------------------------------------------------------------------------------------------------
def contracting():
    field = ResNetField(3, generator=rng()).double()
    with torch.no_grad():
        field.A.copy_(-3 * torch.eye(3))
    field.one_sided_lipschitz = lambda: type(ResNetField.one_sided_lipschitz(field))(torch.tensor(-0.1), False)
    return field


UNSAFE = {
    "damped": (lambda: DampedHamiltonianField(2).double(), "conformal-verlet", 4, "which is damped"),
    "convex": (lambda: GradientField(3, generator=rng()).double(), "cf-ees25", 3, "descends a convex potential"),
    "contracting": (contracting, "cf-ees25", 3, "contracts at the rate nu = -0.1"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_contracting_flows_are_refused_with_the_reason(name):
    make, method, size, reason = UNSAFE[name]
    with pytest.raises(InputError, match=f"gradient: 'reversible' is unsafe .*{reason}"):
        Flow(make(), method, gradient="reversible")
    with pytest.raises(InputError, match=reason):
        odeint(make(), torch.ones(size, dtype=F64), torch.tensor([0.0, 1.0]), method=method, steps=3,
               gradient="reversible")  # fmt: skip


def test_projections_and_parts_without_flows_are_refused():
    with pytest.raises(InputError, match="cannot undo the projections of ProjectedField"):
        Flow(ProjectedField(3), "cf-ees25", gradient="reversible")
    with pytest.raises(InputError, match="wants parts with exact flows"):
        check_reversible(METHODS["strang"], SplitField([lambda t, y: y]))


@pytest.mark.parametrize("method", ["rk4", "rkmk4", "cf4", "gauss4", "radau-iia3", "cg3", "dopri5", "stormer-verlet"])
def test_methods_whose_steps_cannot_be_undone_are_refused(method):
    if METHODS[method].adjoint is not None:
        Flow(hamiltonian(), method, gradient="reversible")
    else:
        with pytest.raises(InputError, match=f"gradient: 'reversible' wants steps that can be undone .*{method}"):
            Flow(hamiltonian(), method, gradient="reversible")


def test_fields_that_claim_nothing_on_a_curved_space_are_not_refused():
    check_reversible(METHODS["cf-ees25"], ManifoldGradientFlow(SO3(), generator=rng()))


def test_undeclared_contraction_is_noticed_instead_of_wrong_gradients():
    """Steps of y' = 60 (1 - y) lead so near to 1 that their start cannot be told from there."""
    y0 = torch.full((2,), 3.0, dtype=F64, requires_grad=True)
    t = torch.tensor([0.0, 1.0], dtype=F64)
    end = odeint(lambda t, y: 60 * (1 - y), y0, t, method="implicit-midpoint", steps=20,
                 gradient="reversible")[-1]  # fmt: skip
    with pytest.raises(ReconstructionError, match=r"gradient='reversible': .* missed their start"):
        end.sum().backward()
    end = odeint(lambda t, y: 4 * torch.sin(5 * y), y0, t, method="cf-ees25", steps=2, gradient="reversible")[-1]
    with pytest.raises(ReconstructionError, match="missed their start"):
        end.sum().backward()
