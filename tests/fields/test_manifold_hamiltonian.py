import math

import pytest
import torch

from manifoldnet import SO3, SPD, Circle, Euclidean, Power, Product, Sphere, odeint
from manifoldnet.fields.manifold_hamiltonian import ManifoldHamiltonian, standard_map
from manifoldnet.integrators import METHODS
from manifoldnet.manifolds import SO, Grassmann, Hyperbolic
from manifoldnet.nn import Flow

F64 = torch.float64
ZERO = torch.zeros((), dtype=F64)
CURVED = {
    "so3": SO3(),
    "sphere": Sphere(3),
    "spd": SPD("affine-invariant", n=2),
    "hyperbolic": Hyperbolic(2, -2.0),
    "log-cholesky": SPD("log-cholesky", n=2),
    "power": Power(Sphere(3), 2),
    "mixed": Product([Circle(), SPD("log-euclidean", n=2)]),
}
every_curved = pytest.mark.parametrize("space", CURVED.values(), ids=CURVED.keys())


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def number(x):
    return torch.tensor(x, dtype=F64)


def field_on(space, **options):
    return ManifoldHamiltonian(space, features=5, generator=rng(1), **options).double()


def start(field, *batch, seed=2, length=1.0):
    x = field.base.random(*batch, *field.base.point_shape, dtype=F64, generator=rng(seed))
    v = field.base.random_tangent(x, generator=rng(seed + 1))
    return field.start(x, length * v)


def stepped(field, method, h, y):
    return METHODS[method].step(field, field.space.action, ZERO, number(h), y)


class Canonical:
    """Coordinates (q, p) of T*M, of which dq ^ dp is the canonical form.

    q -> exp_c(sum_i q_i e_i) is a chart, and p_i = <v, dx/dq_i>.

    They know nothing of how a field stores momenta.
    """

    def __init__(self, field, y):
        self.field, self.base = field, field.base
        self.centre = field.point(y).detach()
        self.basis = self.base.orthonormal_basis(self.centre)

    def point(self, q):
        return self.base.expmap(self.centre, torch.tensordot(q, self.basis, 1))

    def columns(self, q):
        return torch.func.jacfwd(self.point)(q).movedim(-1, 0)

    def pair(self, x, u):
        """Inner products of the tangent vectors u (k, *point) and those of a basis."""
        return torch.stack([self.base.inner(x, a) for a in u])

    def to_bundle(self, z):
        q, p = z.chunk(2)
        x, columns = self.point(q), self.columns(q)
        gram = torch.stack([torch.stack([self.base.inner(x, a, b) for b in columns]) for a in columns])
        v = torch.tensordot(torch.linalg.inv(gram) @ p, columns, 1)
        return self.field.start(x, v)

    def from_bundle(self, y):
        x, v = self.field.point(y), self.field.velocity_at(y)
        u = self.base.logmap(self.centre, x)
        q = torch.stack([self.base.inner(self.centre, u, e) for e in self.basis])
        return torch.cat([q, torch.stack([self.base.inner(x, v, a) for a in self.columns(q)])])


def canonical_defect(field, method, y, h=0.3):
    """max |G'JG - J| of a step in canonical coordinates, and those at its ends."""
    before, after = Canonical(field, y), Canonical(field, stepped(field, method, h, y))
    z = before.from_bundle(y)
    assert torch.allclose(before.to_bundle(z), y, atol=1e-11)
    G = torch.func.jacrev(lambda z: after.from_bundle(stepped(field, method, h, before.to_bundle(z))))(z)
    d = len(z) // 2
    J = torch.zeros(2 * d, 2 * d, dtype=F64)
    J[:d, d:], J[d:, :d] = torch.eye(d, dtype=F64), -torch.eye(d, dtype=F64)
    return (G.mT @ J @ G - J).abs().max().item()


# of the mixed product's geodesics only derivatives of second order are cheap, and here four are nested
@pytest.mark.parametrize("space", [space for name, space in CURVED.items() if name != "mixed"])
def test_kick_geodesic_kick_is_symplectic_on_the_cotangent_bundle(space):
    field = field_on(space)
    y = start(field)
    assert canonical_defect(field, "strang", y) < 1e-10
    assert canonical_defect(field, "lie-trotter", y) < 1e-10
    assert canonical_defect(field, "rkmk4", y, h=0.8) > 1e-6  # the measure tells methods apart


@every_curved
def test_it_solves_the_same_equations_as_general_methods_with_order_two(space):
    field = field_on(space)
    y, t = start(field, 3), torch.tensor([0.0, 0.5], dtype=F64)
    with torch.no_grad():
        wanted = odeint(field, y, t, space=field.space, method="rkmk4", steps=12)[-1]
        errors = [
            (odeint(field, y, t, space=field.space, method="strang", steps=n)[-1] - wanted).abs().max().item()
            for n in (4, 8)
        ]
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.3)


def test_potentials_that_change_with_time_keep_the_order():
    field = field_on(Sphere(3), time="piecewise-linear", knots=2, t1=1.0)
    y, t = start(field, 3), torch.tensor([0.0, 1.0], dtype=F64)
    assert field.gradient_flow.A.shape == (2, 5, 3)
    with torch.no_grad():
        wanted = odeint(field, y, t, space=field.space, method="rkmk4", steps=32)[-1]
        errors = [
            (odeint(field, y, t, space=field.space, method="strang", steps=n)[-1] - wanted).abs().max().item()
            for n in (8, 16)
        ]
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.3)
    late, early = field.force(number(0.9), field.point(y)), field.force(number(0.1), field.point(y))
    assert (late - early).abs().max() > 0.1


@every_curved
def test_a_step_back_leads_back(space):
    field = field_on(space)
    y = start(field, 4)
    forth = stepped(field, "strang", 0.3, y)
    assert (stepped(field, "strang", -0.3, forth) - y).abs().max() < 1e-12
    # and turning the momentum round turns time round
    turned = field.start(field.point(forth), -field.velocity_at(forth))
    back = stepped(field, "strang", 0.3, turned)
    assert (field.point(back) - field.point(y)).abs().max() < 1e-12
    assert (field.velocity_at(back) + field.velocity_at(y)).abs().max() < 1e-11


@pytest.mark.parametrize("space", [SO3(), SO(4), Product([Circle(), SO3()])], ids=["so3", "so4", "product"])
def test_on_groups_it_is_the_variational_method(space):
    """Of a bi-invariant metric dexp_u^T p = p for u along p, so that lie-verlet's equation is solved by h p."""
    field = field_on(space)
    y = start(field, 4)
    assert (stepped(field, "lie-verlet", 0.3, y) - stepped(field, "strang", 0.3, y)).abs().max() < 1e-13


def test_energy_errors_fall_fourfold_and_orbits_stay_on_the_space():
    field = field_on(SO3())
    y = start(field)
    drifts = []
    with torch.no_grad():
        for h in (0.1, 0.05):
            t = torch.arange(0, round(10 / h) + 1, dtype=F64) * h
            path = odeint(field, y, t, space=field.space, method="strang", steps=1)
            energy = field.hamiltonian(ZERO, path)
            drifts.append((energy - energy[0]).abs().max().item())
    assert drifts[0] / drifts[1] == pytest.approx(4.0, abs=0.4)
    assert drifts[0] < 5e-3
    assert field.base.check_point_on_manifold(field.point(path), atol=1e-13, explain=True)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("so3", 10_000), ("sphere", 10_000), ("spd", 2_000)])
def test_energy_is_bounded_over_thousands_of_steps(name, steps):
    """No quarter of the orbit is much further from the first energy than the first quarter; explicit Euler's end is."""
    field = field_on(CURVED[name], potential=_well(CURVED[name]))
    y, h = start(field, length=0.5), 0.05
    with torch.no_grad():
        t = h * torch.arange(steps + 1, dtype=F64)
        path = odeint(field, y, t, space=field.space, method="strang", steps=1)
        euler = odeint(field, y, number([0.0, 50.0]), space=field.space, method="lie-euler", steps=1000)[-1]
    energy = field.hamiltonian(ZERO, path)
    errors = [(quarter - energy[0]).abs().max().item() for quarter in energy.chunk(4)]
    assert max(errors) < 1.5 * errors[0]
    assert errors[0] < 1e-2
    assert (field.hamiltonian(ZERO, euler) - energy[0]).abs() > 10 * max(errors)
    x = field.point(path)
    assert (field.base.projx(x) - x).abs().max() < 1e-10


def _well(space):
    """A potential with a single well, so that orbits on SPD stay bounded."""
    if space.ndim == 2 and space.name == "SO3":
        return lambda t, x: -(x[..., 0, 0] + 2 * x[..., 1, 1] + 0.5 * x[..., 1, 2])
    if space.name.startswith("Sphere"):
        return lambda t, x: x[..., 0] + 2 * x[..., 1] ** 2
    return lambda t, x: space.dist2(x, torch.eye(2, dtype=x.dtype)) + 0.1 * x[..., 0, 1]


def test_free_motion_follows_geodesics_beyond_the_cut_locus():
    """One step round the whole sphere, and one of a turn and a half in SO(3)."""

    def free(t, x):
        return 0 * x.flatten(1).sum(-1)

    sphere = ManifoldHamiltonian(Sphere(3), potential=free)
    y = start(sphere, 4)
    speed = sphere.base.norm(sphere.point(y), sphere.velocity_at(y))
    y = sphere.start(sphere.point(y), sphere.velocity_at(y) / speed[:, None])
    assert (stepped(sphere, "strang", 2 * math.pi, y) - y).abs().max() < 1e-13
    half = stepped(sphere, "strang", math.pi, y)
    assert (half + y).abs().max() < 1e-13  # the antipode, with the opposite velocity
    plane = ManifoldHamiltonian(Grassmann(3, 1), potential=free)
    y = start(plane, 4)
    length = plane.base.norm(plane.point(y), plane.velocity_at(y))
    y = plane.start(plane.point(y), plane.velocity_at(y) / length[:, None, None])
    full = stepped(plane, "strang", math.pi, y)
    assert (plane.point(full) - plane.point(y)).abs().max() < 1e-12
    assert (full - y).abs().max() < 1e-12


# standard map --------------------------------------------------------------------------------------------------------
def wrap(q):
    return torch.atan2(q.sin(), q.cos())


def test_lie_trotter_on_the_circle_is_the_standard_map():
    K = 1.3
    field = standard_map(K)
    q = Circle().random(200, dtype=F64, generator=rng(3))
    p = torch.randn(200, dtype=F64, generator=rng(4))
    y = torch.stack([q, p], -1)
    for _ in range(5):
        moved = stepped(field, "lie-trotter", 1.0, y)
        p = y[:, 1] + K * y[:, 0].sin()
        gap = wrap(moved[:, 0] - (y[:, 0] + p))
        assert gap.abs().max() < 1e-14
        assert (moved[:, 1] - p).abs().max() < 1e-14
        y = moved
    jacobian = torch.vmap(torch.func.jacrev(lambda y: stepped(field, "lie-trotter", 1.0, y)))(y)
    assert (torch.linalg.det(jacobian) - 1).abs().max() < 1e-13


def test_the_standard_map_is_chaotic_as_chirikov_found():
    """The Lyapunov exponent at large K is ln(K / 2) (Chirikov 1979)."""
    K = 10.0
    field = standard_map(K)
    y = torch.stack([Circle().random(400, dtype=F64, generator=rng(5)), torch.zeros(400, dtype=F64)], -1)
    w = torch.ones_like(y)
    total = torch.zeros(400, dtype=F64)
    for _ in range(150):
        y, w = torch.func.jvp(lambda y: stepped(field, "lie-trotter", 1.0, y), (y,), (w,))
        y = torch.stack([y[:, 0], wrap(y[:, 1])], -1)  # the map has the period 2 pi in p as well
        size = w.norm(dim=-1, keepdim=True)
        total, w = total + size.log().squeeze(-1), w / size
    assert (total / 150).mean().item() == pytest.approx(math.log(K / 2), rel=0.03)


# interface -----------------------------------------------------------------------------------------------------------
def test_momenta_are_the_velocities_that_they_came_from():
    for space in CURVED.values():
        field = field_on(space)
        x = space.random(3, *space.point_shape, dtype=F64, generator=rng(6))
        v = space.random_tangent(x, generator=rng(7))
        y = field.start(x, v)
        assert y.shape == (3, *field.space.point_shape)
        assert torch.allclose(field.velocity_at(y), v, atol=1e-12)
        assert torch.allclose(field.point(y), x, atol=1e-15)
        kinetic = field.hamiltonian(ZERO, y) - field.potential(ZERO, x)
        assert torch.allclose(kinetic, 0.5 * space.inner(x, v), atol=1e-12)


def test_on_the_line_it_is_newtons_equation():
    field = field_on(Euclidean(1, shape=(3,)))
    y = start(field, 4)
    q, v = y.chunk(2, -1)
    flow = field.gradient_flow
    wanted = torch.cat([v, -torch.tanh(q @ flow.A.T + flow.b) @ flow.A], -1)
    assert torch.allclose(field(ZERO, y), wanted, atol=1e-15)


@pytest.mark.parametrize("name", ["so3", "spd"])
def test_parameters_have_one_name_each_and_learn(name):
    field = field_on(CURVED[name])
    assert set(field.state_dict()) == {"gradient_flow.A", "gradient_flow.b"}
    Flow(field, method="strang", steps=2)(start(field, 3)).square().sum().backward()
    for parameter in field.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("space", [SO3(), SPD("affine-invariant", n=2)], ids=["so3", "spd"])
def test_a_given_function_is_as_good_as_the_learned_potential(space):
    learned = field_on(space)
    given = ManifoldHamiltonian(space, potential=learned.potential)
    y = start(learned, 3)
    assert torch.allclose(given(ZERO, y), learned(ZERO, y), atol=1e-12)
    assert torch.allclose(given.hamiltonian(ZERO, y), learned.hamiltonian(ZERO, y), atol=1e-14)


def test_what_cannot_run_is_refused():
    with pytest.raises(ValueError, match=r"space: .*SPD"):
        ManifoldHamiltonian(SPD())
    with pytest.raises(ValueError, match=r"space: .*Sphere"):
        field_on(Sphere(3)).velocity(ZERO, torch.zeros(3))
    with pytest.raises(ValueError, match=r"potential: .*'default'.*'log-trace'"):
        ManifoldHamiltonian(SO3(), potential="log-trace")
