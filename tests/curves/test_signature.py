import itertools
import json
import math
import subprocess
import sys
from functools import reduce

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation

from manifoldnet.curves.homogeneous import increments
from manifoldnet.curves.signature import (
    divide_by_length,
    logsignature,
    signature,
    signature_distance,
    signature_kernel,
)
from manifoldnet.curves.tensor_algebra import (
    levels,
    logsignature_dim,
    lyndon_coordinates,
    signature_dim,
    tensor_exp,
    tensor_inverse,
    tensor_log,
    tensor_product,
)
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3, Euclidean, Power, Product, Sphere

SIZES = [(1, 3), (2, 5), (3, 3), (6, 1), (4, 2)]
KINDS = ["log", "homogeneous"]


def random_steps(cells, dim, batch=(), seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, cells, dim, generator=generator, dtype=dtype) / math.sqrt(cells)


def coefficient(s, word, dim):
    """The coefficient of a word, a tuple of letters, in s of shape (..., words)."""
    place = sum(letter * dim**i for i, letter in enumerate(reversed(word)))
    return levels(s, dim)[len(word) - 1][..., place]


def shuffles(u, w):
    """All ways to interleave two words, each as often as it arises."""
    if not u or not w:
        yield u + w
        return
    yield from (u[:1] + rest for rest in shuffles(u[1:], w))
    yield from (w[:1] + rest for rest in shuffles(u, w[1:]))


def cut(v, seed=0):
    """The same path with every cell cut in three and rests put between."""
    share = torch.rand(*v.shape[:-1], 1, generator=torch.Generator().manual_seed(seed), dtype=v.dtype)
    pieces = torch.stack([0.3 * share * v, 0.7 * share * v, torch.zeros_like(v), (1 - share) * v], -2)
    return pieces.flatten(-3, -2)


# ---- what a signature is


@pytest.mark.parametrize(("dim", "depth"), SIZES)
@pytest.mark.parametrize("cells", [1, 2, 7])
def test_signature_is_the_product_of_the_exponentials_of_its_cells(dim, depth, cells):
    v = random_steps(cells, dim, (3, 2))
    s = signature(v, depth)
    assert s.shape == (3, 2, signature_dim(dim, depth))
    higher = torch.zeros(3, 2, cells, signature_dim(dim, depth) - dim, dtype=v.dtype)
    factors = tensor_exp(torch.cat([v, higher], -1), dim).unbind(-2)
    for i, wanted in enumerate(itertools.accumulate(factors, lambda s, t: tensor_product(s, t, dim))):
        assert (signature(v, depth, stream=True)[..., i, :] - wanted).abs().max() < 1e-12
    assert (s - wanted).abs().max() < 1e-12


def test_iterated_integrals_of_a_smooth_path_at_second_order():
    def x(t):
        return np.stack([np.sin(3 * t), t**2, np.exp(-t) * np.cos(5 * t)], -1)

    def velocity(t):
        return np.array([3 * np.cos(3 * t), 2 * t, -np.exp(-t) * (np.cos(5 * t) + 5 * np.sin(5 * t))])

    def rate(t, s):
        parts = [np.ones(1), s[:3], s[3:12]]
        return np.concatenate([np.outer(part, velocity(t)).ravel() for part in parts])

    exact = solve_ivp(rate, (0, 1), np.zeros(39), method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    errors = []
    for cells in (50, 100, 200, 400):
        path = torch.from_numpy(x(np.linspace(0, 1, cells + 1)))
        errors.append(np.abs(signature(path.diff(dim=0), 3).numpy() - exact).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert errors[-1] < 1e-4
    assert np.all(np.abs(orders - 2) < 0.02), (errors, orders)


def test_first_level_is_the_end_and_second_level_the_area():
    v = random_steps(20, 3, (4,))
    first, second = levels(signature(v, 2), 3)
    assert (first - v.sum(-2)).abs().max() < 1e-13
    matrix = second.unflatten(-1, (3, 3))
    after = v.flip(-2).cumsum(-2).flip(-2) - v
    area = 0.5 * (v.mT @ after - after.mT @ v)
    assert ((matrix - matrix.mT) / 2 - area).abs().max() < 1e-13
    # a closed polygon encloses the area of the shoelace formula
    corners = torch.randn(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, y = corners.unbind(-1)
    shoelace = (x * y.roll(-1) - x.roll(-1) * y).sum() / 2
    s = signature(corners.roll(-1, 0) - corners, 2)
    assert (s[3] - s[4]) / 2 == pytest.approx(shoelace.item(), abs=1e-13)


@pytest.mark.parametrize(("u", "w"), [((0,), (1,)), ((0,), (1, 2)), ((2, 1), (0, 1)), ((1,), (1, 0, 1))])
def test_products_of_coefficients_are_sums_over_shuffles(u, w):
    s = signature(random_steps(12, 3, (5,)), 4)
    product = coefficient(s, u, 3) * coefficient(s, w, 3)
    total = sum(coefficient(s, word, 3) for word in shuffles(u, w))
    assert (product - total).abs().max() < 1e-13


# ---- laws of paths


@pytest.mark.parametrize(("dim", "depth"), SIZES)
def test_chen_identity(dim, depth):
    v, w = random_steps(9, dim, (3,), 1), random_steps(5, dim, (3,), 2)
    joined = signature(torch.cat([v, w], -2), depth)
    assert (joined - tensor_product(signature(v, depth), signature(w, depth), dim)).abs().max() < 1e-12


@pytest.mark.parametrize(("dim", "depth"), SIZES)
def test_path_run_backwards_has_the_inverse_with_reversed_words(dim, depth):
    v = random_steps(9, dim, (3,))
    s, back = signature(v, depth), signature(-v.flip(-2), depth)
    assert (back - tensor_inverse(s, dim)).abs().max() < 1e-12
    for word in itertools.chain(*(itertools.product(range(dim), repeat=k) for k in range(1, min(depth, 3) + 1))):
        sign = (-1) ** len(word)
        assert (coefficient(back, word, dim) - sign * coefficient(s, word[::-1], dim)).abs().max() < 1e-12
    # a path and its way back are no path
    assert signature(torch.cat([v, -v.flip(-2)], -2), depth).abs().max() < 1e-12


@pytest.mark.parametrize(("dim", "depth"), SIZES)
def test_cutting_cells_and_repeating_samples_changes_nothing(dim, depth):
    v = random_steps(9, dim, (3,))
    assert (signature(cut(v), depth) - signature(v, depth)).abs().max() < 1e-12
    assert (logsignature(cut(v), depth) - logsignature(v, depth)).abs().max() < 1e-12
    assert signature_distance(v, cut(v), depth).max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_reparametrised_smooth_curves_come_close_at_second_order(kind):
    def curve(t):
        angles = np.stack([np.sin(3 * t), 0.8 * np.cos(4 * t), t**2], -1)
        return torch.from_numpy(Rotation.from_rotvec(angles).as_matrix())

    def distance(cells):
        t = np.linspace(0, 1, cells + 1)
        v, w = (increments(curve(time), SO3()) for time in (t, t + 0.12 * np.sin(2 * np.pi * t)))
        return signature_distance(v, w, 2, kind).item()

    # the homogeneous distance takes a square root of level 2
    wanted = 2 if kind == "log" else 1
    orders = np.diff(-np.log2([distance(n) for n in (100, 200, 400)]))
    assert np.all(np.abs(orders - wanted) < 0.05), orders


# ---- logarithms


@pytest.mark.parametrize(("dim", "depth"), SIZES)
def test_logarithm_is_a_lie_element_that_its_lyndon_words_determine(dim, depth):
    v = random_steps(11, dim, (40,))
    log, lyndon = logsignature(v, depth, "tensor"), logsignature(v, depth)
    assert lyndon.shape == (40, logsignature_dim(dim, depth))
    assert torch.equal(lyndon, lyndon_coordinates(log, dim))
    assert (tensor_exp(log, dim) - signature(v, depth)).abs().max() < 1e-12
    # primitive: sums over shuffles vanish
    letters = range(min(dim, 2))
    for lengths in [(1, 1), (1, 2), (2, 2), (2, 3)]:
        if sum(lengths) > depth:
            continue
        for u, w in itertools.product(*(itertools.product(letters, repeat=k) for k in lengths)):
            total = sum(coefficient(log, word, dim) for word in shuffles(u, w))
            assert torch.as_tensor(total).abs().max() < 1e-13
    # the linear map from the Lyndon words to all words, fitted to 40 paths, holds on others
    fit = torch.linalg.lstsq(lyndon, log).solution
    other = random_steps(11, dim, (10,), seed=9)
    assert (logsignature(other, depth) @ fit - logsignature(other, depth, "tensor")).abs().max() < 1e-11


def test_straight_lines_have_the_logarithm_of_their_end():
    v = torch.linspace(0.1, 1, 6, dtype=torch.float64)[:, None] * torch.tensor([1.0, -2, 0.5], dtype=torch.float64)
    wanted = torch.cat([v.sum(0), torch.zeros(36, dtype=torch.float64)])
    assert (logsignature(v, 3, "tensor") - wanted).abs().max() < 1e-12


# ---- curves


@pytest.mark.parametrize("side", ["left", "right"])
def test_increments_against_scipy(side):
    rng = np.random.default_rng(0)
    attitude = [Rotation.from_rotvec(rng.normal(size=3))]
    for rate in rng.normal(0, 0.5, (25, 3)):
        attitude.append(attitude[-1] * Rotation.from_rotvec(rate))
    pairs = itertools.pairwise(attitude)
    wanted = [((a.inv() * b) if side == "left" else (b * a.inv())).as_rotvec() for a, b in pairs]
    curve = torch.from_numpy(np.stack([a.as_matrix() for a in attitude]))
    assert (increments(curve, SO3(), side) - torch.from_numpy(np.stack(wanted))).abs().max() < 1e-12
    g = torch.from_numpy(Rotation.from_rotvec([0.3, 2, -1]).as_matrix())
    moved = g @ curve if side == "left" else curve @ g
    moved_steps = increments(moved, SO3(), side)
    assert (signature(moved_steps, 3) - signature(increments(curve, SO3(), side), 3)).abs().max() < 1e-12


def test_increments_of_products_and_homogeneous_spaces():
    v = random_steps(6, 3)
    rotations = reduce(lambda c, u: [*c, c[-1] @ SO3().exp(u)], v, [torch.eye(3, dtype=torch.float64)])
    curve = torch.stack(rotations)
    power = Power(SO3(), 2)
    assert (increments(torch.stack([curve, curve], 1), power) - torch.cat([v, v], -1)).abs().max() < 1e-12
    product = Product([SO3(), Euclidean(1, shape=(2,))])
    points = torch.cat([curve.flatten(-2), torch.arange(14.0, dtype=torch.float64).view(7, 2)], -1)
    wanted = torch.cat([v, torch.full((6, 2), 2.0, dtype=torch.float64)], -1)
    assert (increments(points, product) - wanted).abs().max() < 1e-12
    meridian = torch.linspace(0, 1, 7, dtype=torch.float64)
    arc = torch.stack([meridian.cos(), meridian.sin(), 0 * meridian], -1)
    turns = torch.tensor([0, 0, 1 / 6], dtype=torch.float64).expand(6, 3)
    assert (increments(arc, Sphere(3)) - turns).abs().max() < 1e-12


def test_masked_samples_count_for_nothing():
    curve = torch.from_numpy(Rotation.random(24, rng=0).as_matrix()).view(2, 12, 3, 3)
    lengths = torch.tensor([12, 7])
    mask = torch.arange(12) < lengths[:, None]
    padded = curve.masked_fill(~mask[..., None, None], torch.nan).requires_grad_()
    s = signature(increments(padded, SO3(), mask=mask), 3)
    for i, n in enumerate(lengths):
        assert (s[i] - signature(increments(curve[i, :n], SO3()), 3)).abs().max() < 1e-12
    (grad,) = torch.autograd.grad(s.square().sum(), padded)
    assert bool(grad.isfinite().all())
    assert bool((grad[1, 7:] == 0).all())
    assert bool((grad[1, :7] != 0).any())


# ---- blocks


def test_blocks_are_signatures_of_their_own():
    v = random_steps(8, 6, (2,))
    parts = v.split(3, -1)
    assert torch.allclose(signature(v, 3, blocks=2), torch.cat([signature(p, 3) for p in parts], -1), atol=1e-14)
    streams = torch.cat([signature(p, 3, stream=True) for p in parts], -1)
    assert torch.allclose(signature(v, 3, stream=True, blocks=2), streams, atol=1e-14)
    for basis in ("words", "tensor"):
        logs = torch.cat([logsignature(p, 3, basis) for p in parts], -1)
        assert torch.allclose(logsignature(v, 3, basis, blocks=2), logs, atol=1e-14)
    w = random_steps(5, 6, (2,), seed=1)
    for kind in KINDS:
        squares = sum(signature_distance(*pair, 3, kind) ** 2 for pair in zip(parts, w.split(3, -1), strict=True))
        assert torch.allclose(signature_distance(v, w, 3, kind, blocks=2), squares.sqrt(), atol=1e-14)
    assert signature(random_steps(4, 69), 3, blocks=23).shape == (23 * (3 + 9 + 27),)


# ---- distances and kernel


@pytest.mark.parametrize("kind", KINDS)
def test_distance_laws(kind):
    v, w, u = (random_steps(n, 3, (50,), seed) for seed, n in enumerate((7, 9, 8)))

    def d(v, w):
        return signature_distance(v, w, 4, kind)

    assert bool((d(v, w) > 0.1).all())
    assert bool((d(v, v) == 0).all())
    assert (d(v, w) - d(w, v)).abs().max() < 1e-12
    assert bool((d(v, u) <= d(v, w) + d(w, u)).all())
    if kind == "log":
        assert (
            d(v, w) - (logsignature(v, 4, "tensor") - logsignature(w, 4, "tensor")).norm(dim=-1)
        ).abs().max() < 1e-12
    else:
        # left invariant and of degree 1
        assert (d(torch.cat([u, v], -2), torch.cat([u, w], -2)) - d(v, w)).abs().max() < 1e-10
        assert (d(2.5 * v, 2.5 * w) - 2.5 * d(v, w)).abs().max() < 1e-12
        # at most the length of the way back along v and out along w, and all of it where that is straight
        assert bool((d(v, w) <= (v.norm(dim=-1).sum(-1) + w.norm(dim=-1).sum(-1))).all())
        assert (d(v[:, :1], -2 * v[:, :1]) - 3 * v[:, 0].norm(dim=-1)).abs().max() < 1e-12


def test_homogeneous_distance_is_the_largest_root_of_a_level():
    v, w = random_steps(7, 2, (200,)), random_steps(9, 2, (200,), seed=1)
    w = w - w.mean(-2, keepdim=True) + v.mean(-2, keepdim=True) * 7 / 9  # the ends meet, so that level 1 is 0
    g = tensor_product(tensor_inverse(signature(v, 4), 2), signature(w, 4), 2)
    roots = [(math.factorial(k) * level.norm(dim=-1)) ** (1 / k) for k, level in enumerate(levels(g, 2), 1)]
    largest, level = torch.stack(roots).max(0)
    assert set(level.tolist()) == {2, 3}  # counted from 0
    assert (signature_distance(v, w, 4, "homogeneous") - largest).abs().max() < 1e-12
    # once around a square of side 3, level 2 is the area 9 times e_1 ⊗ e_2 - e_2 ⊗ e_1
    square = 3 * torch.tensor([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=torch.float64)
    still = torch.zeros(1, 2, dtype=torch.float64)
    wanted = math.sqrt(2 * 9 * math.sqrt(2))
    assert signature_distance(square, still, 2, "homogeneous") == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_homogeneous_distance_of_a_resampled_path_is_rounding(dtype):
    v = random_steps(100, 3, (20,), dtype=dtype)
    length = v.norm(dim=-1).sum(-1)
    bound = 3 * torch.finfo(dtype).eps ** (1 / 3)
    assert bool((signature_distance(v, cut(v), 3, "homogeneous") < bound * length).all())


@pytest.mark.parametrize("kind", KINDS)
def test_distance_of_all_pairs(kind):
    v, w = random_steps(6, 2, (4,)), random_steps(8, 2, (3,), seed=1)
    matrix = signature_distance(v[:, None], w[None], 3, kind)
    assert matrix.shape == (4, 3)
    for i, j in itertools.product(range(4), range(3)):
        assert matrix[i, j] == pytest.approx(signature_distance(v[i], w[j], 3, kind).item(), abs=1e-13)


def test_kernel():
    v, w = random_steps(6, 3, (12,)), random_steps(9, 3, (5,), seed=1)
    gram = signature_kernel(v[:, None], v[None], 3)
    assert torch.linalg.eigvalsh(gram).min() > 0
    wanted = 1 + signature(v, 3) @ signature(w, 3).mT
    assert (signature_kernel(v[:, None], w[None], 3) - wanted).abs().max() < 1e-12
    # of two straight lines: sum of <a, b>^k / k!^2
    a, b = v[:, :1], w[:1, :1]
    product = (a * b).sum((-2, -1))
    series = sum(product**k / math.factorial(k) ** 2 for k in range(5))
    assert (signature_kernel(a, b, 4) - series).abs().max() < 1e-13


def test_divided_by_length_the_scale_is_gone():
    v = random_steps(30, 4, (6,))
    assert (signature(divide_by_length(7.0 * v), 3) - signature(divide_by_length(v), 3)).abs().max() < 1e-13
    assert (divide_by_length(v).norm(dim=-1).sum(-1) - 1).abs().max() < 1e-13
    for k, level in enumerate(levels(signature(divide_by_length(v), 4), 4), 1):
        assert bool((level.norm(dim=-1) <= 1 / math.factorial(k)).all())
    rest = torch.zeros(5, 4, dtype=torch.float64, requires_grad=True)
    unit = divide_by_length(rest)
    (grad,) = torch.autograd.grad(unit.sum(), rest)
    assert bool((unit == 0).all())
    assert bool(grad.isfinite().all())


# ---- gradients, dtypes, tracing


def test_gradcheck():
    v, w = (random_steps(4, 2, (2,), seed).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(lambda v: signature(v, 3), v)
    assert torch.autograd.gradcheck(lambda v: signature(v, 3, stream=True), v)
    assert torch.autograd.gradcheck(lambda v: logsignature(v, 3), v)
    assert torch.autograd.gradcheck(divide_by_length, v)
    for kind in KINDS:
        assert torch.autograd.gradcheck(lambda v, w, kind=kind: signature_distance(v, w, 3, kind), (v, w))
    assert torch.autograd.gradgradcheck(lambda v: signature(v, 3), v)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_where_nothing_moves_or_nothing_differs(kind, dtype):
    v = random_steps(6, 3, dtype=dtype)
    pause = torch.cat([v[:3], torch.zeros(2, 3, dtype=dtype), v[3:]])
    still = torch.zeros(5, 3, dtype=dtype)
    for first, second in [(pause, v), (v, v), (still, v), (still, still), (1e-12 * v, still), (v, pause)]:
        x, y = first.clone().requires_grad_(), second.clone().requires_grad_()
        d = signature_distance(x, y, 3, kind)
        grads = torch.autograd.grad(d, (x, y))
        assert all(bool(g.isfinite().all()) for g in grads)
        if first is second:
            assert d == 0
            assert all(bool((g == 0).all()) for g in grads)
        forward = torch.func.jacfwd(lambda x, y: signature_distance(x, y, 3, kind))(first, second)
        assert bool(forward.isfinite().all())
    x = pause.clone().requires_grad_()
    (grad,) = torch.autograd.grad(signature(x, 3).sum(), x)
    assert bool(grad.isfinite().all())
    # the end of the path moves with every cell, those at rest included
    assert bool((grad[3:5] != 0).all())


@pytest.mark.parametrize(("cells", "dim", "depth"), [(100, 6, 3), (1000, 3, 4)])
def test_float32_stays_close(cells, dim, depth):
    v = random_steps(cells, dim, (8,))
    for level, wanted in zip(levels(signature(v.float(), depth), dim), levels(signature(v, depth), dim), strict=True):
        assert level.dtype == torch.float32
        assert (level.double() - wanted).abs().max() < 2e-6 * wanted.abs().max()
    assert (logsignature(v.float(), depth) - logsignature(v, depth)).abs().max() < 1e-5


def everything(v, w):
    distances = [signature_distance(v, w, 3, kind, blocks=2) for kind in KINDS]
    features = [signature(v, 3, stream=True)[-1], logsignature(divide_by_length(w), 3)]
    return torch.cat([torch.stack([*distances, signature_kernel(v, w, 2)]), *features])


def compiled_deviation():
    """The largest one of values and gradients of everything."""
    results = []
    for f in (everything, torch.compile(everything, fullgraph=True, backend="aot_eager")):
        leaves = [random_steps(6, 4).requires_grad_(), random_steps(5, 4, seed=1).requires_grad_()]
        value = f(*leaves)
        results.append((value.detach(), *torch.autograd.grad(value.square().sum(), leaves)))
    return max((a - b).abs().max().item() for a, b in zip(*results, strict=True))


def messages_about_shape_and_dtype():
    messages = []
    for v in (torch.ones(3), torch.ones(4, 3, dtype=torch.int64)):
        try:
            signature(v, 2)
        except InputError as error:
            messages.append(str(error))
    return messages


@pytest.mark.slow
def test_compiled_as_one_graph():
    # as a program of its own, without the checks of annotations: they cannot be traced, and see bad shapes first
    run = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    deviation, messages = json.loads(run.stdout)
    assert deviation < 1e-12
    assert len(messages) == 2
    assert all(message.startswith("v: wanted shape (..., cells, dim) of floating point, got ") for message in messages)


def test_vmap_and_transforms():
    v, w = random_steps(6, 4, (3,)), random_steps(5, 4, (3,), seed=1)
    mapped = torch.func.vmap(everything)(v, w)
    assert torch.allclose(mapped, torch.stack([everything(*pair) for pair in zip(v, w, strict=True)]), atol=1e-13)
    jacobian = torch.func.jacrev(everything)(v[0], w[0])
    assert torch.allclose(jacobian, torch.func.jacfwd(everything)(v[0], w[0]), atol=1e-12)


def test_stream_ends_with_the_signature_and_no_cells_give_one():
    v = random_steps(9, 3, (2,))
    assert torch.allclose(signature(v, 4, stream=True)[..., -1, :], signature(v, 4), atol=1e-14)
    assert torch.equal(signature(v[:, :0], 3), torch.zeros(2, 39, dtype=torch.float64))
    assert signature(v[:, :0], 3, stream=True).shape == (2, 0, 39)
    assert torch.equal(tensor_log(signature(v[:, :0], 3), 3), torch.zeros(2, 39, dtype=torch.float64))


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("depth", lambda v: signature(v, 0)),
        ("blocks", lambda v: signature(v, 2, blocks=4)),
        ("blocks", lambda v: logsignature(v, 2, blocks=0)),
        ("basis", lambda v: logsignature(v, 2, "hall")),
        ("kind", lambda v: signature_distance(v, v, 2, "l2")),
        ("w", lambda v: signature_distance(v, v[:, :4], 2)),
        ("w", lambda v: signature_kernel(v, v.float(), 2)),
        ("curve", lambda v: increments(v[:1], Euclidean(1, shape=(6,)))),
        ("curve", lambda v: increments(v, Euclidean(1, shape=(5,)))),
        ("side", lambda v: increments(v, Euclidean(1, shape=(6,)), "both")),
        ("mask", lambda v: increments(v, Euclidean(1, shape=(6,)), mask=torch.ones(7, dtype=torch.bool))),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: "):
        call(random_steps(8, 6))


if __name__ == "__main__":
    print(json.dumps([compiled_deviation(), messages_about_shape_and_dtype()]))
