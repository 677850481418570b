import copy
import math

import geoopt
import pytest
import torch
from optimiser_cases import F64, combinations, curved, distance, gradients, plain, rng, saved, twins, values, walk

from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3, SPD, Circle, Sphere
from manifoldnet.training.riemannian_sgd import RiemannianSGD

OPTIONS = [
    options
    for options in combinations(
        momentum=(0.0, 0.9),
        dampening=(0.0, 0.3),
        weight_decay=(0.0, 0.1),
        nesterov=(False, True),
        maximize=(False, True),
        foreach=(None, False, True),
    )
    if not options["nesterov"] or (options["momentum"] and not options["dampening"])
]
MOMENTUM = {"lr": 0.05, "momentum": 0.9}


@pytest.mark.parametrize("lr", [0.07, torch.tensor(0.07)], ids=["number", "tensor"])
@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.bfloat16])
def test_plain_parameters_are_torchs_to_the_last_bit(dtype, lr):
    for options in OPTIONS:
        tensors, parameters = plain(dtype)
        ours = RiemannianSGD(parameters, lr=lr, **options)
        others = [torch.nn.Parameter(t.clone()) for t in tensors]
        torchs = torch.optim.SGD(others, lr=lr, **options)
        for optimizer, chosen in ((ours, parameters), (torchs, others)):
            walk(optimizer, chosen, 5, absent=lambda step, place: step < 2 and place == 1)
        assert all(torch.equal(a, b) for a, b in zip(parameters, others, strict=True)), options


def test_momentum_on_the_sphere_by_hand():
    """Three steps of momentum, written with the formulas of the great circles."""
    x = torch.tensor([1.0, 0.0, 0.0], dtype=F64)
    parameter = geoopt.ManifoldParameter(x.clone(), manifold=Sphere(3))
    optimizer = RiemannianSGD([parameter], lr=0.3, momentum=0.8, dampening=0.1, retraction="expmap")
    b = None
    for step in range(3):
        gradients([parameter], step)
        g = parameter.grad - (parameter.grad @ x) * x
        b = g if b is None else 0.8 * b + 0.9 * g
        u = -0.3 * b
        angle = u.norm()
        ahead = u / angle
        across = b - (b @ ahead) * ahead
        y = angle.cos() * x + angle.sin() * ahead
        b = across + (b @ ahead) * (angle.cos() * ahead - angle.sin() * x)
        x = y
        optimizer.step()
        assert distance([parameter], [x]) < 1e-14
        assert distance([optimizer.state[parameter]["momentum_buffer"]], [b]) < 1e-14


def test_nesterov_on_the_circle_is_torchs_on_angles():
    """The circle is flat: its angles are torch's modulo a turn."""
    start = torch.linspace(-3.0, 3.0, 7, dtype=F64)
    angle = geoopt.ManifoldParameter(start.clone(), manifold=Circle())
    number = torch.nn.Parameter(start.clone())
    options = {"lr": 0.5, "momentum": 0.9, "nesterov": True}
    for optimizer, p in ((RiemannianSGD([angle], **options), angle), (torch.optim.SGD([number], **options), number)):
        walk(optimizer, [p], 20)
    turns = (angle - number).detach() / (2 * math.pi)
    assert (turns - turns.round()).abs().max() < 1e-12
    assert turns.abs().max() > 0.5


@pytest.mark.parametrize("foreach", [None, False, True])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_gradients_are_not_changed(foreach, nesterov, weight_decay):
    parameters = curved(each=1)[:3] + plain()[1]
    optimizer = RiemannianSGD(parameters, foreach=foreach, nesterov=nesterov, weight_decay=weight_decay, **MOMENTUM)
    gradients(parameters, 0)
    for _ in range(2):
        before = [p.grad.clone() for p in parameters]
        optimizer.step()
        assert all(torch.equal(p.grad, g) for p, g in zip(parameters, before, strict=True))


@pytest.mark.parametrize("retraction", ["retr", "expmap"])
def test_mixed_parameters_are_those_of_separate_optimisers(retraction):
    """And one by one is the same as stacked, also where some have no gradient for a while."""
    options = {"momentum": 0.9, "dampening": 0.3, "retraction": retraction}
    results = []
    for foreach, separate in ((None, False), (False, False), (None, True)):
        parameters = curved(each=2) + plain()[1]
        groups = [[p] for p in parameters] if separate else [parameters]
        optimizers = [RiemannianSGD(group, lr=0.02, foreach=foreach, **options) for group in groups]
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


class Counted(SO3):
    calls = 0

    def exp(self, v):
        Counted.calls += 1
        return super().exp(v)


def test_equal_spaces_step_in_one_call():
    parameters = [geoopt.ManifoldParameter(torch.eye(3), manifold=Counted()) for _ in range(50)]
    optimizer = RiemannianSGD(parameters, **MOMENTUM)
    Counted.calls = 0
    for calls in (1, 2, 3):
        gradients(parameters, calls)
        optimizer.step()
        assert Counted.calls == calls
    buffers = [optimizer.state[p]["momentum_buffer"] for p in parameters]
    assert len({b.untyped_storage().data_ptr() for b in buffers}) == 1


def test_late_parameters_join_the_others_after_their_first_step():
    parameters = [geoopt.ManifoldParameter(torch.eye(3), manifold=Counted()) for _ in range(5)]
    optimizer = RiemannianSGD(parameters, **MOMENTUM)
    Counted.calls, calls = 0, []
    for step in range(4):
        gradients(parameters, step)
        if step == 0:
            parameters[0].grad = None
        optimizer.step()
        calls.append(Counted.calls)
    assert calls == [1, 3, 4, 5]


def test_other_settings_of_a_space_step_apart():
    """Spheres of two radii of geoopt's, and metrics of SPD matrices."""
    metrics = ("affine-invariant", "log-euclidean", "log-cholesky", "bures-wasserstein")
    spaces = [SPD(metric, n=3) for metric in metrics]
    start = spaces[0].random(3, 3, dtype=F64, generator=rng(0))
    parameters = [geoopt.ManifoldParameter(start.clone(), manifold=space) for space in spaces]
    for p in parameters:
        p.grad = torch.eye(3, dtype=F64)
    RiemannianSGD(parameters, lr=0.01).step()
    for p, space in zip(parameters, spaces, strict=True):
        wanted = space.retr(start, -0.01 * space.egrad2rgrad(start, p.grad))
        assert distance([p], [wanted]) < 1e-14
    scaled = [geoopt.Scaled(geoopt.Sphere(), scale) for scale in (1.0, 2.0)]
    parameters = [geoopt.ManifoldParameter(torch.tensor([1.0, 0.0]), manifold=space) for space in scaled]
    for p in parameters:
        p.grad = torch.tensor([0.0, 1.0])
    RiemannianSGD(parameters, lr=0.1).step()
    assert not torch.allclose(*parameters)


def test_weight_decay_is_the_gradient_of_the_distance_to_the_anchor():
    space = SPD("affine-invariant", n=3)
    start, anchor = space.random(2, 3, 3, dtype=F64, generator=rng(1)).unbind()
    for chosen, wanted in ((anchor, anchor), (None, torch.eye(3, dtype=F64))):
        decayed = geoopt.ManifoldParameter(start.clone(), manifold=space)
        penalised = geoopt.ManifoldParameter(start.clone(), manifold=space)
        decayed.grad = torch.zeros_like(start)
        (0.5 * 0.3 * space.dist2(penalised, wanted)).backward()
        RiemannianSGD([decayed], lr=0.1, weight_decay=0.3, anchor=chosen).step()
        RiemannianSGD([penalised], lr=0.1).step()
        assert distance([decayed], [penalised]) < 1e-13
        assert distance([decayed], [start]) > 1e-3


def test_an_anchor_of_plain_parameters():
    p = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=F64))
    p.grad = torch.zeros(2, dtype=F64)
    RiemannianSGD([p], lr=0.5, weight_decay=0.5, anchor=torch.ones(2, dtype=F64)).step()
    assert p.tolist() == [1.0, 1.75]


def test_ascent_is_descent_on_the_negative():
    up, down = curved(), curved()
    ascent, descent = RiemannianSGD(up, maximize=True, **MOMENTUM), RiemannianSGD(down, **MOMENTUM)
    for step in range(3):
        gradients(up, step)
        gradients(down, step)
        for p in down:
            p.grad.neg_()
        ascent.step()
        descent.step()
    assert all(torch.equal(a, b) for a, b in zip(up, down, strict=True))


@pytest.mark.parametrize("how", ["state dict", "file", "copy"])
def test_a_run_goes_on_from_its_state(how, tmp_path):
    whole = curved() + plain()[1]
    walk(RiemannianSGD(whole, **MOMENTUM), whole, 6)
    parameters = curved() + plain()[1]
    optimizer = RiemannianSGD(parameters, **MOMENTUM)
    walk(optimizer, parameters, 3)
    if how == "copy":
        optimizer = copy.deepcopy(optimizer)
        parameters = optimizer.param_groups[0]["params"]
    else:
        state = saved(optimizer, tmp_path) if how == "file" else copy.deepcopy(optimizer.state_dict())
        assert all(state["state"][place]["momentum_buffer"].shape == p.shape for place, p in enumerate(parameters))
        parameters = twins(parameters)
        optimizer = RiemannianSGD(parameters, lr=1.0)
        optimizer.load_state_dict(state)
    walk(optimizer, parameters, 3, first=3)
    assert all(torch.equal(a, b) for a, b in zip(parameters, whole, strict=True))


def test_states_of_geoopt_are_read():
    parameters = curved(each=1)[:3]
    theirs = geoopt.optim.RiemannianSGD(twins(parameters), **MOMENTUM)
    walk(theirs, theirs.param_groups[0]["params"], 2)
    ours = RiemannianSGD(parameters, lr=1.0)
    ours.load_state_dict(theirs.state_dict())
    for p, q in zip(parameters, theirs.param_groups[0]["params"], strict=True):
        assert torch.equal(ours.state[p]["momentum_buffer"], theirs.state[q]["momentum_buffer"])
    walk(ours, parameters, 2)
    assert ours.param_groups[0]["lr"] == 0.05


def test_a_state_that_someone_changes_counts():
    """Cleared, a run starts again; a buffer put into the state is used."""
    results = []
    for change in ("none", "clear", "buffer"):
        parameters = curved(each=1)
        optimizer = RiemannianSGD(parameters, **MOMENTUM)
        walk(optimizer, parameters, 2)
        start = values(parameters)
        if change == "clear":
            optimizer.state.clear()
        elif change == "buffer":
            for p in parameters:
                optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
        walk(optimizer, parameters, 1, first=2)
        results.append(values(parameters))
    with torch.no_grad():
        for p, value in zip(parameters, start, strict=True):
            p.copy_(value)
    walk(RiemannianSGD(parameters, lr=0.05), parameters, 1, first=2)
    assert distance(results[1], values(parameters)) < 1e-14
    assert distance(results[2], results[1]) < 1e-14
    assert distance(results[0], results[1]) > 1e-3


def test_groups_have_options_of_their_own():
    first, second = curved(each=1), curved(each=1)
    optimizer = RiemannianSGD([{"params": first, "lr": 0.0}], **MOMENTUM)
    optimizer.add_param_group({"params": second, "momentum": 0.0, "retraction": "expmap"})
    before = values(first)
    walk(optimizer, first + second, 2)
    assert distance(values(first), before) < 1e-14
    alone = curved(each=1)
    lone = RiemannianSGD(alone, lr=0.05, retraction="expmap")
    for step in range(2):
        gradients(first + alone, 100 + step)
        lone.step()
    assert all(torch.equal(a, b) for a, b in zip(second, alone, strict=True))


def test_named_parameters_are_accepted():
    named = [(f"p{k}", p) for k, p in enumerate(curved(each=1))]
    optimizer = RiemannianSGD(named, **MOMENTUM)
    assert optimizer.param_groups[0]["param_names"][0] == "p0"
    walk(optimizer, [p for _, p in named], 1)


def test_projection_brings_parameters_and_momentum_back():
    parameters = curved(torch.float32)
    optimizer = RiemannianSGD(parameters, stabilize=2, **MOMENTUM)
    walk(optimizer, parameters, 1)
    with torch.no_grad():
        for p in parameters:
            p.add_(0.01)
            optimizer.state[p]["momentum_buffer"].add_(1.0)
    spread = twins(parameters)
    gradients(parameters, 5)
    optimizer.step()
    for p in parameters:
        assert p.manifold.check_point_on_manifold(p.detach(), atol=1e-5)
        assert p.manifold.check_vector_on_tangent(p.detach(), optimizer.state[p]["momentum_buffer"], atol=1e-4)
    for p in spread:
        assert not p.manifold.check_point_on_manifold(p.detach(), atol=1e-5) or isinstance(p.manifold, SPD)
    with torch.no_grad():
        parameters[0].add_(0.01)
    optimizer.stabilize()
    assert parameters[0].manifold.check_point_on_manifold(parameters[0].detach(), atol=1e-5)


GEOOPT = {
    "sphere": (geoopt.Sphere(), (4,)),
    "stiefel": (geoopt.Stiefel(), (4, 2)),
    "euclidean-stiefel": (geoopt.EuclideanStiefel(), (4, 2)),
    "spd": (geoopt.SymmetricPositiveDefinite(), (3, 3)),
    "ball": (geoopt.PoincareBall(c=torch.tensor(1.0, dtype=F64)), (3,)),
    "lorentz": (geoopt.Lorentz(k=torch.tensor(1.0, dtype=F64)), (4,)),
    "scaled": (geoopt.Scaled(geoopt.Sphere(), 2.0), (4,)),
    "product": (geoopt.ProductManifold((geoopt.Sphere(), 3), (geoopt.Euclidean(1), 2)), (5,)),
}


@pytest.mark.parametrize("name", GEOOPT)
def test_geoopts_manifolds_and_its_steps(name):
    """Without momentum the steps are geoopt's own; with it the parameters stay where they belong."""
    space, shape = GEOOPT[name]
    start = [space.projx(torch.randn(shape, dtype=F64, generator=rng(seed))) for seed in range(3)]
    results = []
    for make in (RiemannianSGD, geoopt.optim.RiemannianSGD):
        parameters = [geoopt.ManifoldParameter(x.clone(), manifold=space) for x in start]
        walk(make(parameters, lr=0.02), parameters, 3)
        results.append(values(parameters))
    assert distance(*results) < 1e-12
    walk(RiemannianSGD(parameters, lr=0.02, momentum=0.5), parameters, 3)
    assert all(space.check_point_on_manifold(p.detach(), atol=1e-6) for p in parameters)


def test_schedulers_change_the_learning_rate():
    parameters = curved(each=1)
    optimizer = RiemannianSGD(parameters, lr=torch.tensor(0.5), momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    walk(optimizer, parameters, 1)
    schedule.step()
    before = values(parameters)
    walk(optimizer, parameters, 1)
    assert distance(values(parameters), before) < 1e-14
    cycle = torch.optim.lr_scheduler.OneCycleLR(RiemannianSGD(parameters, **MOMENTUM), 0.1, total_steps=5)
    assert cycle.get_last_lr()[0] < 0.05


def test_a_scaler_skips_steps_with_infinite_gradients():
    parameters = curved(torch.float32, each=1)
    optimizer = RiemannianSGD(parameters, **MOMENTUM)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    unscaled, scaled = twins(parameters), values(parameters)
    gradients(parameters, 0)
    scaler.scale(torch.ones(()))
    parameters[0].grad[0] = math.inf
    scaler.step(optimizer)
    scaler.update()
    assert distance(values(parameters), scaled) == 0
    scale = scaler.get_scale()
    gradients(parameters, 0)
    for p in parameters:
        p.grad.mul_(scale)
    scaler.step(optimizer)
    gradients(unscaled, 0)
    RiemannianSGD(unscaled, **MOMENTUM).step()
    assert all(torch.equal(a, b) for a, b in zip(parameters, unscaled, strict=True))


def test_the_closure_is_called_once_with_gradients_on():
    parameters = curved(each=1)
    optimizer = RiemannianSGD(parameters, lr=0.01)
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = sum(p.square().sum() for p in parameters)
        loss.backward()
        return loss.item()

    with torch.no_grad():
        first = optimizer.step(closure)
    assert calls == [True]
    assert first > optimizer.step(closure)
    assert RiemannianSGD(parameters, lr=0.0).step() is None


def test_compiled_training_steps_are_those_of_eager_ones():
    """torch.compile leaves the step out of its graphs."""
    results = []
    for compiled in (False, True):
        p = geoopt.ManifoldParameter(torch.tensor([1.0, 0.0, 0.0]), manifold=Sphere(3))
        optimizer = RiemannianSGD([p], **MOMENTUM)

        def train(p=p, optimizer=optimizer):
            p.grad = torch.ones(3)
            optimizer.step()

        run = torch.compile(train, backend="eager") if compiled else train
        for _ in range(3):
            run()
        results.append(values([p]))
    assert distance(*results) == 0


def test_empty_parameters_and_parameters_without_gradients():
    empty = geoopt.ManifoldParameter(torch.empty(0, 3, 3), manifold=SO3())
    still = geoopt.ManifoldParameter(torch.eye(3), manifold=SO3())
    empty.grad = torch.empty(0, 3, 3)
    optimizer = RiemannianSGD([empty, still], **MOMENTUM)
    for _ in range(2):
        optimizer.step()
    assert torch.equal(still.detach(), torch.eye(3))
    assert "momentum_buffer" not in optimizer.state[still]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"momentum": -0.1}, "momentum"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"nesterov": True}, "nesterov"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov"),
        ({"retraction": "cayley"}, "retraction"),
        ({"stabilize": 0}, "stabilize"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        RiemannianSGD(plain()[1], **{"lr": 0.1, **options})


def test_what_cannot_be_done_is_refused():
    half = geoopt.ManifoldParameter(torch.eye(3), manifold=SO3())
    half.data = half.data.half()
    with pytest.raises(InputError, match="float16"):
        RiemannianSGD([half], lr=0.1)
    optimizer = RiemannianSGD(plain()[1], lr=0.1)
    with pytest.raises(InputError, match="float16"):
        optimizer.add_param_group({"params": [half]})
    assert len(optimizer.param_groups) == 1
    table = torch.nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(InputError, match="sparse"):
        RiemannianSGD(table.parameters(), lr=0.1).step()
    frame = geoopt.ManifoldParameter(torch.eye(3, 2), manifold=geoopt.Stiefel())
    gradients([frame], 0)
    with pytest.raises(InputError, match="logmap"):
        RiemannianSGD([frame], lr=0.1, weight_decay=0.1).step()
