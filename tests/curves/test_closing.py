import math
from itertools import pairwise

import pytest
import torch
from scipy.spatial.transform import Rotation

from manifoldnet.curves.closing import close_curve, closing_defect, defect_with_jacobian
from manifoldnet.curves.srvt import inverse_srvt, srvt
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SE3, SO, SO3, Circle, Euclidean, Power, Product, Sphere

GROUPS = {
    "SO3": SO3(),
    "SE3": SE3(),
    "SO4": SO(4),
    "Circle": Circle(),
    "Euclidean": Euclidean(1, shape=(3,)),
    "Power": Power(SO3(), 2),
    "Product": Product([SO3(), Euclidean(1, shape=(2,)), Circle()]),
}
CASES = [(name, "joint") for name in GROUPS] + [("Power", "perfactor"), ("Product", "perfactor")]


def transforms(group, cells, batch=(), seed=0, length=5.0):
    """White noise of the given length."""
    q = torch.randn(*batch, cells, group.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return q * (length / q.square().sum((-2, -1), keepdim=True)).sqrt()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("name", "norm"), CASES)
def test_defect_is_that_of_the_curve(name, norm, side):
    group = GROUPS[name]
    q = transforms(group, 9, batch=(3,))
    start = group.exp(torch.linspace(-0.5, 1.0, group.dim, dtype=torch.float64))
    curve = inverse_srvt(q, group, start, side=side, norm=norm)
    first, last = curve.unbind(1)[0], curve.unbind(1)[-1]
    gap = group.compose(group.inverse(first), last) if side == "left" else group.compose(last, group.inverse(first))
    assert torch.allclose(closing_defect(q, group, side, norm), group.log(gap), rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("name", "norm"), CASES)
def test_jacobian_against_finite_differences(name, norm, side):
    group = GROUPS[name]
    q = transforms(group, 5, batch=(2,))
    defect, jacobian = defect_with_jacobian(q, group, side, norm)
    assert torch.equal(defect, closing_defect(q, group, side, norm))
    step = 1e-5 * torch.eye(5 * group.dim, dtype=torch.float64).reshape(-1, 1, 5, group.dim)
    ahead, back = (closing_defect(q + h, group, side, norm) for h in (step, -step))
    found = ((ahead - back) / 2e-5).movedim(0, 1).reshape(jacobian.shape)
    assert (found - jacobian).abs().max() < 1e-8


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("name", "norm"), CASES)
def test_gradient_against_autograd(name, norm, side):
    group = GROUPS[name]
    q = transforms(group, 6, batch=(2,)).requires_grad_()
    defect, jacobian = defect_with_jacobian(q, group, side, norm)
    (wanted,) = torch.autograd.grad(0.5 * closing_defect(q, group, side, norm).square().sum(), q)
    assert ((jacobian @ defect[..., None, :, None]).squeeze(-1) - wanted).abs().max() < 1e-12


@pytest.mark.parametrize("side", ["left", "right"])
def test_gradient_is_the_published_one_up_to_the_cell_length(side):
    """|q| t + <t, q/|q|> q with t = Ad(c_i) log c(1), or Ad(c_i^-1) log c(1) on the left."""
    group = SO3()
    errors = []
    for cells in (50, 100, 200):
        time = torch.linspace(0.5 / cells, 1 - 0.5 / cells, cells, dtype=torch.float64)
        q = torch.stack([torch.sin(3 * time), 1 + time, torch.cos(5 * time)], -1) / math.sqrt(cells)
        defect, jacobian = defect_with_jacobian(q, group, side)
        curve = inverse_srvt(q, group, torch.eye(3, dtype=torch.float64), side=side)[:-1]
        t = ((curve.mT if side == "left" else curve) @ defect[:, None]).squeeze(-1)
        length = q.norm(dim=-1, keepdim=True)
        published = length * t + (t * q / length).sum(-1, keepdim=True) * q
        errors.append(((jacobian @ defect[:, None]).squeeze(-1) - published).norm() / published.norm())
    for coarse, fine in pairwise(errors):
        assert 1.8 < coarse / fine < 2.2, errors


@pytest.mark.parametrize(
    ("name", "norm", "side"),
    [(*case, "left") for case in CASES if case[0] != "Circle"] + [(name, "joint", "right") for name in ("SO3", "SE3")],
)
def test_curves_become_closed(name, norm, side):
    group = GROUPS[name]
    q = transforms(group, 30, batch=(4,))
    open_by = closing_defect(q, group, side, norm).norm(dim=-1)
    assert open_by.min() > 0.05
    closed = close_curve(q, group, side, norm)
    assert closing_defect(closed, group, side, norm).norm(dim=-1).max() < 1e-12
    assert (closed - q).norm(dim=(-2, -1)).max() < q.norm(dim=(-2, -1)).max()
    # a closed curve is left as it is
    assert (close_curve(closed, group, side, norm, iterations=1) - closed).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["SO3", "SE3", "Euclidean"])
def test_defects_decrease_quadratically(name):
    group = GROUPS[name]
    closed = close_curve(transforms(group, 20, batch=(5,)), group)
    q = closed + 1e-3 * transforms(group, 20, batch=(5,), seed=1)
    before = closing_defect(q, group).norm(dim=-1)
    after = closing_defect(close_curve(q, group, iterations=1), group).norm(dim=-1)
    assert (after < 2 * before.square()).all()


def test_closed_curve_against_scipy():
    curve = torch.from_numpy(
        Rotation.from_rotvec([[0.9 * math.sin(2 * t), t, 0.4 * t * t] for t in torch.linspace(0, 1.5, 40)]).as_matrix()
    )
    closed = inverse_srvt(close_curve(srvt(curve, SO3()), SO3()), SO3(), curve[0])
    found = Rotation.from_matrix(closed.numpy())
    assert (found[0].inv() * found[-1]).magnitude() < 1e-12
    assert found.magnitude().max() > 0.1


def test_the_step_is_the_shortest():
    """In R^2 with unit cells: the change of q to first order is the least of all that close the curve."""
    group = Euclidean(1, shape=(2,))
    q = close_curve(transforms(group, 12), group) + 1e-5 * transforms(group, 12, seed=3)
    step = (close_curve(q, group, iterations=1) - q).flatten()
    defect, jacobian = defect_with_jacobian(q, group)
    shortest = -torch.linalg.pinv(jacobian.flatten(0, 1).mT) @ defect
    assert torch.allclose(step, shortest, rtol=0, atol=1e-14)


def test_a_curve_forth_on_a_line_shrinks_by_a_fixed_factor():
    group = Euclidean(1, shape=(3,))
    q = torch.tensor([0.3, 0.0, 0.4]).double().expand(10, 3)
    before, after = (closing_defect(close_curve(q, group, iterations=k), group).norm() for k in (3, 4))
    assert torch.allclose(after, before / 4, rtol=1e-10, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "norm"), CASES)
def test_rest_stays_rest(name, norm, dtype):
    group = GROUPS[name]
    q = transforms(group, 12, batch=(2,)).to(dtype)
    q[0, 3:6] = 0
    q[1] = 0
    q.requires_grad_()
    closed = close_curve(q, group, norm=norm, iterations=5)
    assert bool((closed[0, 3:6] == 0).all())
    assert bool((closed[1] == 0).all())
    (grad,) = torch.autograd.grad(closed.square().sum() + closed.sum(), q)
    assert bool(grad.isfinite().all())


def test_whole_turns_are_closed():
    q = torch.full((8, 1), math.sqrt(2 * math.pi / 8), dtype=torch.float64)
    assert closing_defect(q, Circle()).abs() < 1e-14
    assert torch.allclose(close_curve(q, Circle()), q, rtol=0, atol=1e-14)


def test_float32():
    q = transforms(SO3(), 30, batch=(4,)).float()
    assert closing_defect(close_curve(q, SO3()), SO3()).abs().max() < 1e-5


def test_gradcheck():
    q = transforms(SO3(), 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: close_curve(q, SO3(), iterations=2), q)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("group", lambda q: closing_defect(q, Sphere(3))),
        ("group", lambda q: close_curve(q, Sphere(3))),
        ("side", lambda q: closing_defect(q, SO3(), side="both")),
        ("norm", lambda q: close_curve(q, SO3(), norm="perfactor")),
        ("iterations", lambda q: close_curve(q, SO3(), iterations=-1)),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: "):
        call(transforms(SO3(), 5))
