import copy

import geoopt
import pytest
import torch
from optimiser_cases import F64, combinations, curved, distance, gradients, plain, rng, saved, twins, values, walk

from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3, SPD, Circle, Euclidean, Power, Product, Sphere
from manifoldnet.training.moves import squared_lengths
from manifoldnet.training.riemannian_adam import RiemannianAdam

OPTIONS = combinations(
    weight_decay=(0.0, 0.1),
    decoupled=(False, True),
    amsgrad=(False, True),
    maximize=(False, True),
    foreach=(None, False, True),
)


@pytest.mark.parametrize("lr", [0.07, torch.tensor(0.07)], ids=["number", "tensor"])
@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.bfloat16])
def test_plain_parameters_are_torchs_to_the_last_bit(dtype, lr):
    for chosen in OPTIONS:
        options = dict(chosen)
        decoupled = options.pop("decoupled")
        if isinstance(lr, torch.Tensor) and options["foreach"]:
            continue  # torch has no such option
        tensors, parameters = plain(dtype)
        ours = RiemannianAdam(parameters, lr=lr, decoupled_weight_decay=decoupled, **options)
        others = [torch.nn.Parameter(t.clone()) for t in tensors]
        torchs = (torch.optim.AdamW if decoupled else torch.optim.Adam)(others, lr=lr, **options)
        for optimizer, members in ((ours, parameters), (torchs, others)):
            walk(optimizer, members, 4, absent=lambda step, place: step < 2 and place == 1)
        assert all(torch.equal(a, b) for a, b in zip(parameters, others, strict=True)), chosen


@pytest.mark.parametrize("amsgrad", [False, True])
def test_moments_on_the_sphere_by_hand(amsgrad):
    """Scalars for the second moment, the first one carried along great circles."""
    x = torch.tensor([1.0, 0.0, 0.0], dtype=F64)
    parameter = geoopt.ManifoldParameter(x.clone(), manifold=Sphere(3))
    optimizer = RiemannianAdam([parameter], lr=0.2, betas=(0.8, 0.6), eps=0.01, amsgrad=amsgrad, retraction="expmap")
    m, v, largest = torch.zeros(3, dtype=F64), 0.0, 0.0
    for t in range(1, 5):
        gradients([parameter], t)
        parameter.grad.mul_(1.0 if t < 3 else 0.01)
        g = parameter.grad - (parameter.grad @ x) * x
        m = 0.8 * m + 0.2 * g
        v = 0.6 * v + 0.4 * (g @ g)
        largest = max(largest, v)
        root = ((largest if amsgrad else v) / (1 - 0.6**t)) ** 0.5
        u = -0.2 * m / (1 - 0.8**t) / (root + 0.01)
        angle = u.norm()
        ahead = u / angle
        along = m @ ahead
        m = m - along * ahead + along * (angle.cos() * ahead - angle.sin() * x)
        x = angle.cos() * x + angle.sin() * ahead
        optimizer.step()
        assert distance([parameter], [x]) < 1e-14
        assert distance([optimizer.state[parameter]["exp_avg"]], [m]) < 1e-14


def test_the_circle_is_torchs_on_angles():
    start = torch.linspace(-1.0, 1.0, 7, dtype=F64)
    angle = geoopt.ManifoldParameter(start.clone(), manifold=Circle())
    number = torch.nn.Parameter(start.clone())
    for optimizer, p in ((RiemannianAdam([angle], lr=0.1), angle), (torch.optim.Adam([number], lr=0.1), number)):
        walk(optimizer, [p], 10)
    assert distance([angle], [number]) < 1e-14


def test_each_factor_has_a_second_moment():
    space = Product([SO3(), Euclidean(1, shape=(2,)), Power(Sphere(3), 2), Circle()])
    x = space.random(4, *space.point_shape, dtype=F64, generator=rng(0))
    u = space.proju(x, torch.randn(x.shape, dtype=F64, generator=rng(1)))
    (r, _, s, _), (dr, de, ds, dc) = space.split(x), space.split(u)
    wanted = space.join(
        [
            SO3().inner(r, dr)[:, None, None].expand(4, 3, 3),
            de.square(),
            Sphere(3).inner(s, ds)[..., None].expand(4, 2, 3),
            dc.square(),
        ]
    )
    assert distance([squared_lengths(space, x, u)], [wanted]) < 1e-14
    whole = geoopt.ManifoldParameter(x.clone(), manifold=space)
    parts = [geoopt.ManifoldParameter(p.clone(), manifold=f) for p, f in zip(space.split(x), space.spaces, strict=True)]
    one, many = RiemannianAdam([whole], lr=0.05, amsgrad=True), RiemannianAdam(parts, lr=0.05, amsgrad=True)
    for step in range(4):
        gradients([whole], step)
        for p, g in zip(parts, space.split(whole.grad), strict=True):
            p.grad = g.clone()
        one.step()
        many.step()
    assert distance([whole], [space.join(values(parts))]) < 1e-13


def test_steps_have_the_length_of_the_learning_rate_at_first():
    """d has length 1 at the first step on every space, because the moments cancel."""
    for p in curved(each=1)[:3]:
        before = p.detach().clone()
        gradients([p], 0)
        RiemannianAdam([p], lr=1e-3, retraction="expmap").step()
        assert torch.allclose(p.manifold.dist(before, p.detach()), torch.tensor(1e-3, dtype=F64), rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"amsgrad": True, "retraction": "expmap"}])
def test_mixed_parameters_are_those_of_separate_optimisers(options):
    """And one by one is the same as stacked, also where some have taken fewer steps."""
    results = []
    for foreach, separate in ((None, False), (False, False), (None, True)):
        parameters = curved(each=2) + plain()[1]
        groups = [[p] for p in parameters] if separate else [parameters]
        optimizers = [RiemannianAdam(group, lr=0.02, foreach=foreach, **options) for group in groups]
        for step in range(5):
            gradients(parameters, step)
            for place, p in enumerate(parameters):
                if (place + step) % 3 == 0 and step < 3:
                    p.grad = None
            for optimizer in optimizers:
                optimizer.step()
        results.append(values(parameters))
    assert distance(results[1], results[0]) < 1e-12
    assert distance(results[2], results[0]) < 1e-12


def test_decoupled_decay_goes_towards_the_anchor_and_leaves_the_moments_alone():
    """Without a gradient it is the geodesic to the anchor; the other kind is seen by the moments."""
    space = SPD("affine-invariant", n=3)
    start, anchor = space.random(2, 3, 3, dtype=F64, generator=rng(1)).unbind()
    p = geoopt.ManifoldParameter(start.clone(), manifold=space)
    p.grad = torch.zeros_like(start)
    optimizer = RiemannianAdam(
        [p], lr=0.1, weight_decay=0.5, decoupled_weight_decay=True, anchor=anchor, retraction="expmap"
    )
    for share in (0.05, 1 - 0.95**2):
        optimizer.step()
        assert distance([p], [space.geodesic(start, anchor, share)]) < 1e-12
    assert optimizer.state[p]["exp_avg"].abs().max() == 0
    coupled = geoopt.ManifoldParameter(start.clone(), manifold=space)
    coupled.grad = torch.zeros_like(start)
    optimizer = RiemannianAdam([coupled], lr=0.1, weight_decay=0.5, anchor=anchor, retraction="expmap")
    optimizer.step()
    assert optimizer.state[coupled]["exp_avg"].abs().max() > 0
    length = space.dist(start, anchor)
    assert distance([coupled], [space.geodesic(start, anchor, 0.1 / length)]) < 1e-6


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("foreach", [None, False, True])
def test_gradients_are_not_changed(foreach, decoupled):
    parameters = curved(each=1)[:3] + plain()[1]
    optimizer = RiemannianAdam(
        parameters, foreach=foreach, weight_decay=0.1, decoupled_weight_decay=decoupled, maximize=True
    )
    gradients(parameters, 0)
    before = [p.grad.clone() for p in parameters]
    optimizer.step()
    assert all(torch.equal(p.grad, g) for p, g in zip(parameters, before, strict=True))


@pytest.mark.parametrize("how", ["state dict", "file", "copy"])
def test_a_run_goes_on_from_its_state(how, tmp_path):
    options = {"lr": 0.05, "amsgrad": True}
    whole = curved() + plain()[1]
    walk(RiemannianAdam(whole, **options), whole, 4)
    parameters = curved() + plain()[1]
    optimizer = RiemannianAdam(parameters, **options)
    walk(optimizer, parameters, 2)
    if how == "copy":
        optimizer = copy.deepcopy(optimizer)
        parameters = optimizer.param_groups[0]["params"]
    else:
        state = saved(optimizer, tmp_path) if how == "file" else copy.deepcopy(optimizer.state_dict())
        parameters = twins(parameters)
        optimizer = RiemannianAdam(parameters)
        optimizer.load_state_dict(state)
    walk(optimizer, parameters, 2, first=2)
    assert all(torch.equal(a, b) for a, b in zip(parameters, whole, strict=True))


def test_states_of_geoopt_are_read():
    """Its counts of steps are plain numbers; the next steps are geoopt's as well."""
    parameters = curved(each=1)[:3]
    theirs = geoopt.optim.RiemannianAdam(twins(parameters), lr=0.05)
    others = theirs.param_groups[0]["params"]
    walk(theirs, others, 2)
    ours = RiemannianAdam(parameters)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    with torch.no_grad():
        for p, q in zip(parameters, others, strict=True):
            p.copy_(q)
    walk(theirs, others, 2, first=2)
    walk(ours, parameters, 2, first=2)
    assert distance(values(parameters), values(others)) < 1e-10


def test_counts_of_steps_can_live_on_the_device():
    parameters = curved(each=1)
    optimizer = RiemannianAdam(parameters, lr=torch.tensor(0.05), capturable=True)
    walk(optimizer, parameters, 3)
    state = optimizer.state[parameters[0]]
    assert state["step"].item() == 3
    assert state["step"].device == parameters[0].device
    others = curved(each=1)
    walk(RiemannianAdam(others, lr=0.05), others, 3)
    assert distance(values(parameters), values(others)) < 1e-7


def test_projection_brings_the_first_moment_back():
    parameters = curved(torch.float32, each=1)
    optimizer = RiemannianAdam(parameters, lr=1e-3, stabilize=2)
    walk(optimizer, parameters, 1)
    with torch.no_grad():
        for p in parameters:
            p.add_(0.01)
    gradients(parameters, 5)
    optimizer.step()
    for p in parameters:
        assert p.manifold.check_point_on_manifold(p.detach(), atol=1e-5)
        assert p.manifold.check_vector_on_tangent(p.detach(), optimizer.state[p]["exp_avg"], atol=1e-4)


def test_empty_parameters_and_parameters_without_gradients():
    empty = geoopt.ManifoldParameter(torch.empty(0, 3, 3), manifold=SPD(n=3))
    still = geoopt.ManifoldParameter(torch.eye(3), manifold=SPD(n=3))
    empty.grad = torch.empty(0, 3, 3)
    optimizer = RiemannianAdam([empty, still])
    for _ in range(2):
        optimizer.step()
    assert torch.equal(still.detach(), torch.eye(3))
    assert still not in optimizer.state


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"betas": (-0.1, 0.9)}, "betas"),
        ({"eps": -1.0}, "eps"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"retraction": "cayley"}, "retraction"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        RiemannianAdam(plain()[1], **options)


def test_sparse_gradients_are_refused():
    table = torch.nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(InputError, match="sparse"):
        RiemannianAdam(table.parameters()).step()
