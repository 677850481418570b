import subprocess
import sys
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import nn

from manifoldnet.curves import elastic_distance, inverse_srvt, pairwise_elastic_distance, srvt, srvt_of_increments
from manifoldnet.curves.signature import logsignature
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SE3, SO3, Circle, Euclidean, Power, Product, Sphere
from manifoldnet.nn.curves import SRVT, ElasticPrototypes, LogSignature, medoids

F64 = torch.float64


def noise(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rotations(*shape, seed=0, dtype=F64):
    """Curves (*shape, 3, 3) of which the last number in ``shape`` is the number of samples."""
    return SO3().exp(0.3 * noise(*shape, 3, seed=seed).cumsum(-2)).to(dtype)


def motions(count, seed):
    """Turns about the three axes in one of six orders, in random time and from random starts; and their orders."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(count) % 6
    knots = np.cumsum(np.exp(rng.normal(0, 1.5, (count, 4))).clip(0.25, 4), 1)
    knots = np.pad(knots / knots[:, -1:], ((0, 0), (1, 0)))
    t = 6 * np.stack([np.interp(np.linspace(0, 1, 25), np.linspace(0, 1, 5), row) for row in knots])[..., None]
    curve = Rotation.random(count, rng=rng).as_matrix()[:, None]
    axes = np.eye(3)[np.array(list(permutations(range(3))))[kinds]]
    for k, axis in enumerate([*axes.swapaxes(0, 1), *-axes.swapaxes(0, 1)]):
        turn = 0.8 * axis[:, None] * np.clip(t - k, 0, 1)
        curve = curve @ Rotation.from_rotvec(turn.reshape(-1, 3)).as_matrix().reshape(count, 25, 3, 3)
    return torch.from_numpy(curve).float(), torch.from_numpy(kinds)


# transform -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "side", "norm"),
    [(SO3(), "left", "joint"), (SO3(), "right", "joint"), (Power(SO3(), 2), "left", "perfactor")],
    ids=str,
)
def test_srvt_is_the_function(group, side, norm):
    curve = rotations(2, 5, seed=1) if isinstance(group, SO3) else rotations(2, 2, 5, seed=1).transpose(1, 2)
    layer = SRVT(group, side, norm)
    assert torch.equal(layer(curve), srvt(curve, group, side, norm))
    assert not list(layer.parameters())
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    assert torch.equal(layer(curve, mask), srvt(curve, group, side, norm, mask=mask))
    assert not layer(curve, mask)[0, 2:].any()


@pytest.mark.parametrize(
    ("group", "factors", "coordinates"),
    [
        (SO3(), 1, 3),
        (SE3(), 1, 6),
        (Power(SO3(), 4), 4, 12),
        (Product([SO3(), Euclidean(1, shape=(2,)), Circle()]), 3, 6),
        (Sphere(3), 1, 3),
    ],
    ids=str,
)
def test_one_weight_for_each_factor_or_coordinate(group, factors, coordinates):
    curve = group.random(2, 4, *group.point_shape, dtype=F64)
    for weights, count in (("factor", factors), ("coordinate", coordinates)):
        layer = SRVT(group, weights=weights)
        assert layer.log_weights.shape == (count,)
        torch.testing.assert_close(layer(curve), srvt(curve, group))
        layer(curve).square().sum().backward()
        assert (layer.log_weights.grad > 0).all()


def test_weights_scale_the_inner_product():
    """Twice the weight of a factor is sqrt 2 times its increments."""
    group = Product([SO3(), Euclidean(1, shape=(2,))])
    v = 0.2 * noise(7, 5, seed=1)
    curve = inverse_srvt(srvt_of_increments(v), group, group.identity(dtype=F64))
    layer = SRVT(group, weights="factor")
    with torch.no_grad():
        layer.log_weights.copy_(torch.tensor([2.0, 0.5]).log())
    scaled = v * torch.tensor([2.0, 2, 2, 0.5, 0.5], dtype=F64).sqrt()
    torch.testing.assert_close(layer(curve), srvt_of_increments(scaled), rtol=1e-6, atol=1e-7)


# prototypes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [None, 0.3])
@pytest.mark.parametrize("shape", [(12, 3), (5, 12, 3), (2, 3, 9, 3)])
def test_prototypes_are_at_the_elastic_distances(shape, smoothing):
    layer = ElasticPrototypes(4, 10, 3, slopes=5, band=6, smoothing=smoothing).double()
    q = noise(*shape)
    distances = layer(q)
    assert distances.shape == (*shape[:-2], 4)
    for k, prototype in enumerate(layer.prototypes):
        torch.testing.assert_close(distances[..., k], elastic_distance(q, prototype, 5, 6, smoothing))


def test_scale_and_lengths():
    layer = ElasticPrototypes(2, 10, 3, scale="chord").double()
    q = noise(3, 12, 3)
    torch.testing.assert_close(layer(7 * q), layer(q))
    q[1, 9:] = torch.nan
    counted = layer(torch.nan_to_num(q), torch.tensor([12, 9, 12]))
    torch.testing.assert_close(counted[1], layer(q[1, :9]))
    torch.testing.assert_close(counted[::2], layer(q[::2]))


def test_weights_of_coordinates():
    layer = ElasticPrototypes(2, 10, 3, weighted=True).double()
    q = noise(4, 10, 3)
    torch.testing.assert_close(layer(q), elastic_distance(q[:, None], layer.prototypes, 4))
    with torch.no_grad():
        layer.log_weights.copy_(torch.tensor([4.0, 1.0, 0.25]).log())
    root = torch.tensor([2.0, 1.0, 0.5], dtype=F64)
    torch.testing.assert_close(layer(q), elastic_distance((q * root)[:, None], layer.prototypes * root, 4))


@pytest.mark.parametrize("smoothing", [None, 0.4])
@pytest.mark.parametrize("scale", [None, "angle"])
def test_gradients_of_prototypes(smoothing, scale):
    layer = ElasticPrototypes(1, 4, 2, smoothing=smoothing, scale=scale, weighted=True).double()
    names, values = zip(*layer.named_parameters(), strict=True)

    def call(q, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (q,))

    assert torch.autograd.gradcheck(call, (noise(2, 3, 2).requires_grad_(), *values))


def test_gradients_of_weights_of_the_transform():
    group = Power(SO3(), 2)
    curve = rotations(2, 4).transpose(0, 1).requires_grad_()
    for norm in ("joint", "perfactor"):
        layer = SRVT(group, norm=norm, weights="factor").double()

        def call(points, log_weights, layer=layer):
            return torch.func.functional_call(layer, {"log_weights": log_weights}, (points,))

        # off the group the logarithm has a derivative too, the one that autograd takes
        assert torch.autograd.gradcheck(lambda w, call=call: call(curve.detach(), w), layer.log_weights)
        (grad,) = torch.autograd.grad(layer(curve).sum(), curve)
        assert bool(grad.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("smoothing", [None, 0.5])
def test_curves_at_rest(dtype, smoothing):
    torch.manual_seed(0)
    curve = rotations(2, 9, dtype=dtype)
    curve[0] = torch.eye(3)
    curve[1, 3:6] = curve[1, 3]
    curve.requires_grad_()
    prototypes = ElasticPrototypes(3, 8, 3, smoothing=smoothing, weighted=True)
    with torch.no_grad():
        prototypes.prototypes[0] = 0
    model = nn.Sequential(SRVT(SO3(), weights="coordinate"), prototypes).to(dtype)
    value = model(curve)
    assert value.dtype == dtype
    assert value[0, 0] == 0
    for grad in torch.autograd.grad(value.sum(), (curve, *model.parameters())):
        assert grad.dtype == dtype
        assert bool(grad.isfinite().all())


def test_float32_against_float64():
    curve = rotations(3, 9)
    for model in (
        nn.Sequential(SRVT(SO3(), weights="coordinate"), ElasticPrototypes(3, 8, 3, weighted=True)),
        LogSignature(3, group=SO3()),
    ):
        narrow = model(curve.float())
        assert narrow.dtype == torch.float32
        torch.testing.assert_close(narrow.double(), model.double()(curve), rtol=1e-4, atol=1e-5)


def test_speed_and_start_do_not_matter():
    """Half of the cells cut in two, and moved as a whole: the same points of the curve, more slowly there."""
    curve = rotations(4, 30)
    q = SRVT(SO3())(curve)
    cut = torch.cat([q[:, :15].repeat_interleave(2, 1) / 2**0.5, q[:, 15:]], 1)
    slower = inverse_srvt(cut, SO3(), rotations(4, 1, seed=3)[:, 0])
    model = nn.Sequential(SRVT(SO3()), ElasticPrototypes.from_curves(q, 4))
    assert model(slower).diagonal().abs().max() < 1e-6
    assert model(slower)[~torch.eye(4, dtype=torch.bool)].min() > 1
    signature = LogSignature(3, group=SO3())
    torch.testing.assert_close(signature(slower), signature(curve))


ONE_GRAPH = """
import torch
from torch import nn
from manifoldnet.manifolds import SO3
from manifoldnet.nn.curves import SRVT, ElasticPrototypes, LogSignature
curve = SO3().exp(0.3 * torch.randn(2, 9, 3).cumsum(1))
for layer in (
    nn.Sequential(SRVT(SO3(), weights="factor"), ElasticPrototypes(3, 8, 3, weighted=True)),
    nn.Sequential(SRVT(SO3()), ElasticPrototypes(3, 8, 3, smoothing=0.3)),
    nn.Sequential(LogSignature(3, group=SO3()), nn.Linear(14, 2)),
):
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    values, wanted = compiled(curve), layer(curve)
    torch.testing.assert_close(values, wanted)
    for pair in zip(*(torch.autograd.grad(v.sum(), list(layer.parameters())) for v in (values, wanted)), strict=True):
        torch.testing.assert_close(*pair)
"""


@pytest.mark.slow
def test_one_graph():
    """Compiled without a break, and with the same gradients; the type checks of the tests cannot be traced."""
    subprocess.run([sys.executable, "-c", ONE_GRAPH], check=True, timeout=300)


# where they start ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_medoids(seed):
    points = noise(12, 2, seed=seed)
    distances = torch.cdist(points, points)
    chosen = medoids(distances, 3)
    assert len(set(chosen.tolist())) == 3
    assert chosen[0] == distances.sum(0).argmin()
    for k in (1, 2):
        totals = [distances[:, [*chosen[:k], other]].amin(1).sum() for other in range(12)]
        assert distances[:, chosen[: k + 1]].amin(1).sum() == pytest.approx(min(totals))
    assert sorted(medoids(torch.zeros(4, 4), 4).tolist()) == [0, 1, 2, 3]
    with pytest.raises(InputError, match=r"^count: .*12.*13"):
        medoids(distances, 13)


def test_prototypes_from_curves():
    X, kinds = motions(24, seed=1)
    q = SRVT(SO3())(X).requires_grad_()
    layer = ElasticPrototypes.from_curves(q, 6)
    distances = layer(q)
    same = (distances == 0).int()
    assert (same.sum(0) == 1).all()  # each prototype is one of the curves
    assert sorted(kinds[same.argmax(0)].tolist()) == list(range(6))  # and one of each kind
    assert torch.equal(kinds[same.argmax(0)][distances.argmin(1)], kinds)
    everyone = ElasticPrototypes.from_curves(q, 24)
    assert torch.equal(everyone.prototypes, q)
    with torch.no_grad():
        everyone.prototypes.zero_()
    assert q.any()
    with pytest.raises(InputError, match=r"^count: "):
        ElasticPrototypes.from_curves(q, 25)
    matrix = pairwise_elastic_distance(q, slopes=2, band=3, scale="angle")
    other = ElasticPrototypes.from_curves(q, 2, slopes=2, band=3, scale="angle", weighted=True)
    assert torch.equal(other.prototypes, q[medoids(matrix, 2)])
    assert (other.slopes, other.band, other.scale, len(other.log_weights)) == (2, 3, "angle", 3)


def test_random_start_is_of_its_generator():
    layers = [ElasticPrototypes(100, 7, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    first, again, other = (layer.prototypes for layer in layers)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.square().sum((1, 2)).mean().item() == pytest.approx(1, abs=0.1)


def test_state_dict_round_trip():
    q = noise(5, 8, 3)

    def model():
        return nn.Sequential(
            SRVT(Euclidean(1, shape=(3,)), weights="factor"), ElasticPrototypes(4, 7, 3, weighted=True)
        ).double()

    one, other = model(), model()
    assert sorted(one.state_dict()) == ["0.log_weights", "1.log_weights", "1.prototypes"]
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.normal_()
    assert not torch.equal(one(q), other(q))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(q), other(q))
    assert "4, cells=7, dim=3, slopes=4" in repr(one)


# log-signature -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_log_signature_is_the_function(side):
    v = 0.4 * noise(3, 6, 3)
    layer = LogSignature(3, basis="tensor")
    assert torch.equal(layer(v), logsignature(v, 3, "tensor"))
    curve = inverse_srvt(srvt_of_increments(v), SO3(), torch.eye(3, dtype=F64), side=side)
    torch.testing.assert_close(LogSignature(3, "tensor", group=SO3(), side=side)(curve), layer(v))
    joints = torch.stack([curve, curve.mT], 2)
    blocks = LogSignature(2, blocks=2, group=Power(SO3(), 2), side=side)(joints)
    torch.testing.assert_close(blocks[:, :6], LogSignature(2, group=SO3(), side=side)(curve))
    assert torch.autograd.gradcheck(layer, v.requires_grad_())
    assert "depth=3" in repr(layer)


# learning ------------------------------------------------------------------------------------------------------------


def accuracies(model, steps, lr):
    """On motions that the model did not see, before and after training on 48 others."""
    (X, y), (unseen, truth) = motions(48, 0), motions(120, 50)
    optimiser = torch.optim.Adam(model.parameters(), lr)

    def accuracy():
        with torch.no_grad():
            return (model(unseen).argmax(-1) == truth).float().mean().item()

    before = accuracy()
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(X), y).backward()
        optimiser.step()
    return before, accuracy()


@pytest.mark.parametrize("smoothing", [None, pytest.param(0.05, marks=pytest.mark.slow)])
def test_prototypes_learn_shapes_that_a_linear_layer_does_not(smoothing):
    """Six classes of SO(3) curves under random reparametrisation; both models have 432 weights and biases besides."""
    torch.manual_seed(0)
    prototypes = nn.Sequential(ElasticPrototypes(6, 24, 3, smoothing=smoothing), nn.Linear(6, 6))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(72, 6))
    before, after = accuracies(nn.Sequential(SRVT(SO3()), prototypes), 30 if smoothing else 60, 0.1)
    assert before < 0.4  # chance is 1 / 6
    assert after > 0.95
    assert accuracies(nn.Sequential(SRVT(SO3()), linear), 100, 0.05)[1] < 0.8


def test_log_signatures_tell_shapes_too():
    torch.manual_seed(0)
    model = nn.Sequential(LogSignature(3, group=SO3()), nn.Linear(14, 6))
    assert accuracies(model, 100, 0.1)[1] > 0.95


# refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("weights", lambda: SRVT(SO3(), weights="learned")),
        ("side", lambda: SRVT(SO3(), side="up")(rotations(4))),
        ("group", lambda: SRVT(Euclidean(), weights="coordinate")),
        ("slopes", lambda: ElasticPrototypes(2, 4, 3, slopes=2)(torch.zeros(9, 3))),
        ("depth", lambda: LogSignature(0)(torch.zeros(9, 3))),
        ("basis", lambda: LogSignature(2, "lyndon")(torch.zeros(9, 3))),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: "):
        call()
