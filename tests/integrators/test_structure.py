"""What structure-preserving steps preserve over long times, beside closed forms and identities."""

import math

import pytest
import torch
from scipy.integrate import solve_ivp

from manifoldnet import SE3, SO3, SPD, Circle, Euclidean, Hyperbolic, LiePoisson, Product, Sphere, odeint
from manifoldnet.fields import from_tangent
from manifoldnet.integrators import METHODS, Shear, SplitField, shears
from manifoldnet.integrators.discrete_gradients import gonzalez, gradient, itoh_abe, mean_value, symmetrised_itoh_abe

F64 = torch.float64


def times(*values):
    return torch.tensor(values, dtype=F64)


def rng(seed):
    return torch.Generator().manual_seed(seed)


# discrete gradients --------------------------------------------------------------------------------------------------
class Coupled:
    """H = (1 + q1^2) p1^2 / 2 + p2^2 / 2 + p1 p2 sin(q2) / 4 + q1^4 / 4 - cos(q2 - q1), not separable."""

    def __call__(self, t, y):
        raise AssertionError("discrete gradients see the Hamiltonian alone")

    def hamiltonian(self, t, y):
        q1, q2, p1, p2 = y.unbind(-1)
        kinetic = (1 + q1**2) * p1**2 / 2 + p2**2 / 2 + p1 * p2 * torch.sin(q2) / 4
        return kinetic + q1**4 / 4 - torch.cos(q2 - q1)


Y = times(0.4, -0.3, 0.5, 0.8)
DISCRETE = [n for n in METHODS if n.startswith("discrete-gradient")]


@pytest.mark.slow
@pytest.mark.parametrize("name", DISCRETE)
def test_energy_is_kept_over_ten_thousand_steps(name):
    with torch.no_grad():
        y = odeint(Coupled(), Y, torch.linspace(0, 1000, 101, dtype=F64), method=name, steps=100)
    energy = Coupled().hamiltonian(0, y)
    assert (energy - energy[0]).abs().max() < 1e-12
    assert (y - Y).abs().max() > 0.5


@pytest.mark.parametrize("name", DISCRETE)
def test_energy_is_kept_by_every_step_of_a_batch(name):
    y0 = Y + 0.3 * torch.randn(20, 4, dtype=F64, generator=rng(0))
    with torch.no_grad():
        y = odeint(Coupled(), y0, times(0, 5), method=name, steps=50)
    energy = Coupled().hamiltonian(0, y)
    assert (energy[1] - energy[0]).abs().max() < 2e-13


@pytest.mark.parametrize("function", [gonzalez, mean_value, itoh_abe, symmetrised_itoh_abe])
def test_discrete_gradients_keep_their_promise(function):
    """g . (y - x) = H(y) - H(x), g(x, x) = grad H(x), and symmetry where it is claimed."""

    def H(y):
        return Coupled().hamiltonian(0, y)

    x = Y + 0.2 * torch.randn(50, 4, dtype=F64, generator=rng(1))
    for size in (1.0, 1e-2, 1e-4, 1e-8, 1e-13, 0.0):
        y = x + size * torch.randn(50, 4, dtype=F64, generator=rng(2))
        g = function(H, x, y)
        assert ((g * (y - x)).sum(-1) - (H(y) - H(x))).abs().max() < 2e-14
        if function is not itoh_abe:
            assert (g - function(H, y, x)).abs().max() < 1e-10
    assert (function(H, x, x) - gradient(H, x)).abs().max() < 1e-12
    halfway = x.clone()
    halfway[:, ::2] += 0.3  # some coordinates move, others do not
    assert ((function(H, x, halfway) * (halfway - x)).sum(-1) - (H(halfway) - H(x))).abs().max() < 1e-14


def test_a_dissipative_structure_lets_the_energy_fall():
    class Damped(Coupled):
        def structure(self, v):
            q, p = v.chunk(2, -1)
            return torch.cat([p, -q - 0.2 * p], -1)

    with torch.no_grad():
        y = odeint(Damped(), Y, torch.linspace(0, 20, 201, dtype=F64), method="discrete-gradient-gonzalez")
    energy = Coupled().hamiltonian(0, y)
    assert (energy.diff() < 1e-14).all()
    assert energy[-1] < energy[0] - 0.1


# Lie-Poisson ---------------------------------------------------------------------------------------------------------
INERTIA = times(1.0, 2.0, 3.0)


class Body:
    """A rigid body whose energy is not quadratic, as generators -dH."""

    def hamiltonian(self, t, m):
        return 0.5 * (m**2 / INERTIA).sum(-1) + 0.075 * m[..., 0] ** 4 + 0.2 * torch.sin(m[..., 1])

    def __call__(self, t, m):
        return -gradient(lambda m: self.hamiltonian(t, m), m)


@pytest.mark.slow
def test_momenta_turn_by_eulers_equations():
    space = LiePoisson(SO3())
    m0 = times(0.9, 0.6, -0.7)

    def right_hand_side(t, m):
        return torch.linalg.cross(torch.tensor(m), -Body()(t, torch.tensor(m)).detach()).numpy()

    wanted = solve_ivp(right_hand_side, (0, 2), m0.numpy(), method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    for name in ("rkmk-dopri5", "cf4", "lie-gauss4"):
        found = odeint(Body(), m0, times(0, 2), space=space, method=name, steps=200)[-1]
        assert (found - torch.tensor(wanted)).abs().max() < 1e-7
        assert found.norm().item() == pytest.approx(m0.norm().item(), abs=1e-13)
    errors = []
    for n in (40, 80, 160):
        found = odeint(Body(), m0, times(0, 2), space=space, method="lie-poisson-discrete-gradient", steps=n)[-1]
        errors.append((found - torch.tensor(wanted)).norm().item())
    assert math.log2(errors[1] / errors[2]) == pytest.approx(2.0, abs=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("group", [SO3(), SE3()], ids=["so3", "se3"])
def test_energy_and_casimirs_are_kept_over_ten_thousand_steps(group):
    """On se(3)* the Casimirs are |p|^2 and p . m (Marsden and Ratiu 1999, section 14.7)."""

    class Kirchhoff(Body):
        def hamiltonian(self, t, m):
            rest = m[..., 3:]
            extra = (rest**2 * times(0.5, 0.7, 0.2)).sum(-1) + 0.1 * torch.cos(rest[..., 0]) if rest.numel() else 0.0
            return super().hamiltonian(t, m[..., :3]) + extra

    space, field = LiePoisson(group), Kirchhoff()
    m0 = times(0.9, 0.6, -0.7, 0.4, -0.2, 0.3)[: group.dim]
    t = torch.linspace(0, 1000, 101, dtype=F64)
    with torch.no_grad():
        m = odeint(field, m0, t, space=space, method="lie-poisson-discrete-gradient", steps=100)
    energy = field.hamiltonian(0, m)
    assert (energy - energy[0]).abs().max() < 1e-12
    rest = m[:, 3:]
    casimirs = [m.square().sum(-1)] if group.dim == 3 else [rest.square().sum(-1), (m[:, :3] * rest).sum(-1)]
    for casimir in casimirs:
        assert (casimir - casimir[0]).abs().max() < 1e-12


# T*SO(3) -------------------------------------------------------------------------------------------------------------
class HeavyTop:
    """U(R) = 0.5 e3' R chi, momentum in the body's frame; the vertical momentum e3' R p is kept."""

    chi = times(0.0, 0.0, 1.0)

    def __call__(self, t, y):
        raise AssertionError("the method sees velocity and force alone")

    def velocity(self, t, p):
        return p / INERTIA

    def force(self, t, r):
        return -0.5 * torch.linalg.cross(self.chi.expand(r.shape[:-1]), r[..., 2, :])

    def energy(self, r, p):
        return 0.5 * (p**2 / INERTIA).sum(-1) + 0.5 * (r[..., 2, :] * self.chi).sum(-1)


T_SO3 = Product([SO3(), Euclidean(1, shape=(3,))])


def top_start():
    return torch.cat([SO3().exp(times(0.3, -0.2, 0.5)).flatten(), times(0.3, 0.2, 1.5)])


def top_errors():
    def right_hand_side(t, y):
        r, p = torch.tensor(y[:9]).reshape(3, 3), torch.tensor(y[9:])
        w = p / INERTIA
        return torch.cat([(r @ SO3().hat(w)).flatten(), torch.linalg.cross(p, w) + HeavyTop().force(t, r)]).numpy()

    wanted = solve_ivp(right_hand_side, (0, 2), top_start().numpy(), method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    for n in (32, 48, 64, 96, 128):
        found = odeint(HeavyTop(), top_start(), times(0, 2), space=T_SO3, method="lie-verlet", steps=n)[-1]
        yield n, (found - torch.tensor(wanted)).norm().item()


@pytest.mark.slow
def test_lie_verlet_has_order_two():
    (n, first), *_, (m, last) = top_errors()
    assert math.log(first / last) / math.log(m / n) == pytest.approx(2.0, abs=0.15)


@pytest.mark.slow
def test_lie_verlet_is_symplectic_symmetric_and_keeps_the_momentum_map():
    action, t, h = T_SO3.action, times(0.0)[0], times(0.2)[0]
    method = METHODS["lie-verlet"]

    def chart(v, p):
        return torch.cat([(SO3().exp(times(0.3, -0.2, 0.5)) @ SO3().exp(v)).flatten(), p])

    def step(z):
        """Body-frame coordinates (v, p) about fixed points, in which the form at the base point is canonical."""
        y = method.step(HeavyTop(), action, t, h, chart(z[:3], z[3:]))
        return torch.cat([SO3().log(end.mT @ y[:9].reshape(3, 3)), y[9:]])

    start = torch.cat([times(0, 0, 0), times(0.3, 0.2, 1.5)])
    end = method.step(HeavyTop(), action, t, h, chart(start[:3], start[3:]))[:9].reshape(3, 3)
    g = torch.func.jacrev(step)(start)

    def form(p):
        """omega((v, a), (w, b)) = v.b - w.a + p.[v, w]: the canonical form of T*G in the body's frame."""
        block = SO3().hat(p)
        eye = torch.eye(3, dtype=F64)
        # p . (v x w) = v . (w x p) = -v . hat(p) w
        return torch.cat([torch.cat([-block, eye], 1), torch.cat([-eye, torch.zeros(3, 3, dtype=F64)], 1)])

    p1 = method.step(HeavyTop(), action, t, h, chart(start[:3], start[3:]))[9:]
    defect = (g.mT @ form(p1) @ g - form(start[3:])).abs().max()
    assert defect < 1e-12
    y0 = top_start()
    forth = method.step(HeavyTop(), action, t, h, y0)
    assert (method.step(HeavyTop(), action, h, -h, forth) - y0).abs().max() < 1e-14
    with torch.no_grad():
        y = odeint(HeavyTop(), y0, torch.linspace(0, 50, 11, dtype=F64), space=T_SO3, method="lie-verlet", steps=100)
    r, p = y[:, :9].reshape(-1, 3, 3), y[:, 9:]
    vertical = (r @ p[..., None])[:, 2, 0]
    assert (vertical - vertical[0]).abs().max() < 1e-13
    energy = HeavyTop().energy(r, p)
    assert (energy - energy[0]).abs().max() < 2e-3
    assert (r.mT @ r - torch.eye(3, dtype=F64)).abs().max() < 1e-13


# splitting -----------------------------------------------------------------------------------------------------------
def test_shears_keep_volume_whatever_the_field():
    w = torch.randn(5, 5, dtype=F64, generator=rng(3))
    field = shears(lambda t, y: torch.tanh(y @ w) + t * y**2, 5)
    y = torch.randn(5, dtype=F64, generator=rng(4))
    t, h = times(0.3)[0], times(0.7)[0]
    for name in ("lie-trotter", "strang"):
        jacobian = torch.func.jacrev(lambda y: METHODS[name].step(field, Euclidean(1).action, t, h, y))(y)  # noqa: B023
        assert torch.linalg.det(jacobian).item() == pytest.approx(1.0, abs=1e-13)
    back = METHODS["strang"].step(field, Euclidean(1).action, t + h, -h,
                                  METHODS["strang"].step(field, Euclidean(1).action, t, h, y))  # fmt: skip
    assert (back - y).abs().max() < 1e-13


def test_a_shear_is_blind_to_what_it_moves():
    mask = torch.tensor([True, False, True])
    shear = Shear(lambda t, y: y.flip(-1) + 1, mask)
    y = times(2, 3, 5)
    assert shear(times(0)[0], y).tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(ValueError, match="moved: "):
        Shear(lambda t, y: y, times(1, 0, 1))
    with pytest.raises(ValueError, match="parts: "):
        SplitField([])


def test_parts_on_a_group_are_composed():
    """Two constant generators on SO(3): the composition of their flows, in closed form."""
    u, v = times(0.3, -0.1, 0.2), times(-0.2, 0.5, 0.4)
    field = SplitField([lambda t, r: u, lambda t, r: v])
    r, h = torch.eye(3, dtype=F64), times(0.5)[0]
    exp = lambda w: torch.linalg.matrix_exp(SO3().hat(w))  # noqa: E731
    found = odeint(field, r, times(0, 0.5), space=SO3(), method="lie-trotter")[-1]
    assert (found - exp(h * v) @ exp(h * u)).abs().max() < 1e-14
    found = odeint(field, r, times(0, 0.5), space=SO3(), method="strang")[-1]
    assert (found - exp(h / 2 * u) @ exp(h * v) @ exp(h / 2 * u)).abs().max() < 1e-14
    assert torch.equal(field(times(0)[0], r), u + v)


# damped Hamiltonian systems ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["conformal-euler", "conformal-verlet"])
def test_the_symplectic_form_shrinks_at_the_damping_rate(name):
    class Damped:
        damping = 0.7

        def __call__(self, t, y):
            q, p = y.chunk(2, -1)
            return torch.cat([p, -torch.sin(q) - 0.3 * q.flip(-1) - self.damping * p], -1)

        def velocity(self, t, p):
            return p

        def force(self, t, q):
            return -torch.sin(q) - 0.3 * q.flip(-1)

    class Whole:
        damping = 0.7
        __call__ = Damped.__call__

    y, t, h = times(0.3, -0.5, 0.7, 0.2), times(0.1)[0], times(0.3)[0]
    step = METHODS[name].step
    action = Euclidean(1).action
    assert (step(Damped(), action, t, h, y) - step(Whole(), action, t, h, y)).abs().max() < 1e-15
    g = torch.func.jacrev(lambda y: step(Damped(), action, t, h, y))(y)
    eye, zero = torch.eye(2, dtype=F64), torch.zeros(2, 2, dtype=F64)
    j = torch.cat([torch.cat([zero, eye], 1), torch.cat([-eye, zero], 1)])
    assert (g.mT @ j @ g - math.exp(-0.7 * 0.3) * j).abs().max() < 1e-14


# geodesics -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["geodesic-euler", "geodesic-implicit-euler"])
@pytest.mark.parametrize(
    "space", [SO3(), Sphere(3), SPD("affine-invariant", n=3), Hyperbolic(3), Circle()], ids=lambda s: s.name
)
def test_geodesic_steps_follow_geodesics(space, method):
    """The field that points at a fixed point, of speed dist: both methods stay on the geodesic, at known places."""
    x, goal = space.random(2, *space.point_shape, dtype=F64, generator=rng(5))
    goal = space.expmap(x, 0.5 * space.logmap(x, goal))
    field = from_tangent(space, lambda t, y: space.logmap(y, goal))
    found = odeint(field, x, times(0, 0.2), space=space, method=method)[-1]
    share = 0.2 if method == "geodesic-euler" else 0.2 / 1.2
    assert space.dist(found, space.expmap(x, share * space.logmap(x, goal))) < 1e-7
    y = odeint(field, x, times(0, 1), space=space, method=method, steps=10)[-1]
    left = 0.9**10 if method == "geodesic-euler" else 1.1**-10
    assert space.dist(y, goal).item() == pytest.approx(left * space.dist(x, goal).item(), rel=1e-5)


def test_the_implicit_geodesic_method_takes_long_steps():
    """A stiff attraction to a point of the hyperbolic plane: one step of length 100 comes as near as 1 / 101."""
    space = Hyperbolic(3)
    x, goal = space.random(2, *space.point_shape, dtype=F64, generator=rng(6))
    field = from_tangent(space, lambda t, y: space.logmap(y, goal))
    found = odeint(field, x, times(0, 5), space=space, method="geodesic-implicit-euler")[-1]
    assert space.dist(found, goal).item() == pytest.approx(space.dist(x, goal).item() / 6, rel=1e-6)
