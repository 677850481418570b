"""The measurements and certificates of the two demonstrations of structure, on small networks."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

import manifoldnet as mn


def load(name: str) -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


spirals, digits = load("nested_spirals"), load("certified_digits")
SMALL = replace(digits.CERTIFIED, blocks=2, features=64, width=16)
IMAGES = replace(SMALL, is_convolutional=True, features=4, width=6)


@pytest.fixture(scope="module", params=[SMALL, IMAGES], ids=["dense", "convolutions"])
def certified(request):
    """A network trained a little on few images, and others to test it on."""
    train, _, test = digits.digits(0)
    few = torch.arange(256)
    return digits.trained(replace(request.param, epochs=8), train[few], 0, True), test[few[:64]].double()


def points(count: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, 6, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", [0.3, 1.0, 3.0])
def test_no_layer_of_a_hamiltonian_network_shrinks_all_gradients(size):
    net = spirals.hamiltonian_net(0, features=6, layers=9, t1=9.0).double()
    with torch.no_grad():
        for p in net.body.parameters():
            p.mul_(size)
    found = spirals.sensitivities(net.body, points())
    assert found.shape == (9, 20)
    assert found.min() >= 1 - spirals.ROUNDING


def test_all_gradients_of_a_plain_network_shrink():
    net = spirals.plain_net(0, features=6, layers=64).double()
    found = spirals.sensitivities(net.body, points())
    assert found[0].max() < 0.5


@pytest.mark.parametrize("make", [spirals.hamiltonian_net, spirals.plain_net, spirals.residual_net])
def test_sensitivities_are_norms_of_the_whole_jacobian(make):
    body = make(1, features=6, layers=5).double().body
    found = spirals.sensitivities(body, points(4))[0]
    whole = torch.stack([torch.autograd.functional.jacobian(body, y) for y in points(4)])
    torch.testing.assert_close(found, torch.linalg.matrix_norm(whole, 2))


def test_spirals_are_the_same_every_time():
    for one, other in zip(spirals.spirals(50, 7), spirals.spirals(50, 7), strict=True):
        assert torch.equal(one, other)


def test_no_adversarial_example_is_nearer_than_the_certified_radius(certified):
    net, data = certified
    radii = digits.certified_radii(net, data)
    assert digits.lipschitz(net) == 1
    sure = radii > 0
    data, radii = data[sure], radii[sure]
    assert len(radii) > 20
    fooled_any = 0
    for factor in (1.0, 1.5, 4.0):
        worst = digits.attack(net, data, factor * radii, steps=15, restarts=2)
        fooled = ~digits.recognised(net, digits.Data(worst, data.digit))
        distance = (worst - data.x).norm(dim=1)
        assert (distance <= factor * radii * (1 + 1e-12)).all()
        assert (distance[fooled] >= radii[fooled]).all()
        fooled_any += int(fooled.sum())
    assert fooled_any > 20  # or the attack would show nothing


def test_a_certified_network_does_not_expand_distances(certified):
    net, data = certified
    x, z = data.x, data.x + 0.1 * torch.randn(data.x.shape, generator=torch.Generator().manual_seed(0)).double()
    features = [net.lift(x), net.lift(z)]
    for flow in net.flows:
        features = [flow(y) for y in features]
    assert ((features[0] - features[1]).flatten(1).norm(dim=1) <= (x - z).norm(dim=1)).all()


def test_longer_steps_than_certified_count():
    net = digits.finished(digits.certified_net(SMALL, 0))
    net.flows[0].t1 *= 1.5
    assert digits.lipschitz(net) > 1


def test_the_bound_of_a_plain_network_holds():
    train, _, test = digits.digits(0)
    data = test[torch.arange(32)].double()
    net = digits.trained(replace(digits.PLAIN, blocks=2, epochs=2), train, 0, False)
    radii = digits.certified_radii(net, data)
    assert digits.lipschitz(net) > 1
    worst = digits.attack(net, data, radii.clamp_min(0.0), steps=10, restarts=2)
    assert digits.recognised(net, digits.Data(worst, data.digit))[radii > 0].all()


def test_norm_of_convolutions_of_known_size():
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(3, 2, 3, 3, generator=generator, dtype=torch.float64)
    maps = digits.KnownSize(4)
    basis = torch.eye(2 * 16, dtype=torch.float64).reshape(-1, 2, 4, 4)
    matrix = maps.apply(A, basis).flatten(1)
    assert torch.linalg.matrix_norm(matrix, 2) <= maps.norm(A)
    assert maps.norm(A) <= mn.fields.ConvolutionMaps(3, "zeros").norm(A)


def test_margins_are_distances_to_the_planes_between_digits():
    net = digits.finished(digits.certified_net(replace(SMALL, blocks=0), 0))
    x = torch.rand(5, 64, generator=torch.Generator().manual_seed(0)).double()
    scores = net(x)
    best = scores.argmax(1)
    assert (digits.certified_radii(net, digits.Data(x, best)) > 0).all()
    assert (digits.certified_radii(net, digits.Data(x, (best + 1) % 10)) < 0).all()
    # the network is linear: the nearest other digit lies exactly at the radius
    m = digits.margins(net, digits.Data(x, best))
    radius, other = m.min(1)
    towards = net.head.weight[other] - net.head.weight[best]
    edge = x + radius[:, None] * towards / towards.norm(dim=1, keepdim=True)
    at_edge = net(edge)
    torch.testing.assert_close(at_edge.gather(1, other[:, None]), at_edge.gather(1, best[:, None]))
