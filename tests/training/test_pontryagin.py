import numpy as np
import pytest
import scipy
import torch
from torch import nn
from torch.func import functional_call, jacrev

from manifoldnet import SO3
from manifoldnet.errors import InputError
from manifoldnet.fields import GradientField, InTime, ManifoldGradientFlow, ResNetField, ResNetFieldConv2d
from manifoldnet.nn import Flow
from manifoldnet.training.pontryagin import certify_extremal, hamiltonian, residuals, sweeps
from manifoldnet.training.shooting import ShootingError, solve_pontryagin

F64 = torch.float64
METHODS = ["euler", "midpoint", "heun2", "rk4", pytest.param("dopri5", marks=pytest.mark.slow)]


def normal(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def flow_of(method="euler", steps=6, knots=3, kind=ResNetField, dim=3, dtype=F64, t1=1.5):
    time = {} if knots is None else {"time": "piecewise-constant", "knots": knots, "t1": t1}
    field = kind(dim, **time, generator=torch.Generator().manual_seed(1)).to(dtype)
    return Flow(field, method, steps, t1=t1)


def loss(x):
    """Not quadratic, and not the same for all samples."""
    return (x.flatten(1) @ torch.linspace(0.5, 1.0, x[0].numel()).to(x)).sin().mean() + 0.3 * x.square().sum()


class Rates(nn.Module):
    """A field and its running cost, the last component of the state."""

    def __init__(self, field, cost):
        super().__init__()
        self.field, self.cost = field, cost

    def forward(self, t, y):
        x = y[..., :-1]
        rate = self.cost(self.field, t, x)
        return torch.cat([self.field(t, x), rate.expand(x.shape[:-1])[..., None]], -1)


# the Hamiltonian and the sweeps --------------------------------------------------------------------------------------
def test_the_hamiltonian_generates_the_equations():
    """x' = d_p H and p' = -d_x H, by Jacobians of the field."""
    field, x, p, t = flow_of().field, normal(5, 3), normal(5, 3, seed=2), torch.tensor(0.7, dtype=F64)
    H_x, H_p = torch.func.grad(lambda x, p: hamiltonian(x, p, field, t), argnums=(0, 1))(x, p)
    assert torch.equal(H_p, field(t, x))
    jacobians = torch.vmap(jacrev(lambda x: field(t, x)))(x)
    assert (H_x - (p[:, None] @ jacobians)[:, 0]).abs().max() < 1e-14
    theta = {name: 2 * value.detach() for name, value in field.named_parameters()}
    wanted = (p * functional_call(field, theta, (t, x))).sum()
    assert torch.equal(hamiltonian(x, p, field, t, theta), wanted)


def test_the_costates_of_eulers_method():
    """p^k = p^{k+1} + h (d_x f)' p^{k+1} (28), and the gradient is the sum of h d_theta H."""
    flow, x0 = flow_of(steps=6, t1=1.5), normal(5, 3)
    _, (x, p, _) = sweeps(flow, loss, x0)
    p_k = jacrev(loss)(x[-1])
    assert (p[-1] - p_k).abs().max() < 1e-15
    for k in reversed(range(6)):
        t = torch.tensor(0.25 * k, dtype=F64)
        jacobians = torch.vmap(jacrev(lambda x, t=t: flow.field(t, x)))(x[k])
        p_k = p_k + 0.25 * (p_k[:, None] @ jacobians)[:, 0]
        assert (p[k] - p_k).abs().max() < 1e-14


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("knots", [None, 3])
def test_the_sweeps_leave_only_stationarity_which_is_the_gradient(method, knots):
    flow, x0 = flow_of(method, knots=knots, kind=GradientField), normal(5, 3)
    value, extremal = sweeps(flow, loss, x0)
    direct = loss(flow(x0))
    direct.backward()
    assert (value - direct).abs() < 1e-15
    found = residuals(flow, loss, x0, extremal)
    assert max(r.abs().max() for r in found[:4]) < 1e-14
    for name, parameter in flow.field.named_parameters():
        assert (found.stationarity[name] - parameter.grad).abs().max() < 1e-14
    assert found.largest() == max(r.abs().max() for r in found.stationarity.values())


def test_on_images_and_on_curved_spaces_too():
    images = Flow(ResNetFieldConv2d(2, time="piecewise-constant", knots=2).double(), "heun2", 2)
    curved = Flow(ManifoldGradientFlow(SO3(), generator=torch.Generator().manual_seed(0)).double(), "rkmk4", 2)
    rotations = SO3().random(4, 3, 3, dtype=F64, generator=torch.Generator().manual_seed(1))
    for flow, x0 in ((images, normal(4, 2, 5, 5)), (curved, rotations)):
        found = residuals(flow, loss, x0, sweeps(flow, loss, x0)[1])
        assert max(r.abs().max() for r in found[:4]) < 1e-13
        loss(flow(x0)).backward()
        for name, parameter in flow.field.named_parameters():
            assert (found.stationarity[name] - parameter.grad).abs().max() < 1e-13


@pytest.mark.parametrize(
    ("part", "place", "moved"),
    [
        ("x", 0, {"start", "state", "costate", "stationarity"}),
        ("x", -1, {"state", "end"}),
        ("p", 0, {"costate"}),
        ("p", -1, {"costate", "end", "stationarity"}),
        ("theta", 0, {"state", "costate", "stationarity"}),
    ],
)
def test_residuals_show_which_equation_is_missed(part, place, moved):
    flow, x0 = flow_of(), normal(5, 3)
    _, extremal = sweeps(flow, loss, x0)
    if part == "theta":
        changed = extremal._replace(theta={name: 1.1 * value for name, value in extremal.theta.items()})
    else:
        values = getattr(extremal, part).clone()
        values[place] += 0.1
        changed = extremal._replace(**{part: values})
    before, after = residuals(flow, loss, x0, extremal), residuals(flow, loss, x0, changed)
    for name in before._fields:
        old, new = getattr(before, name), getattr(after, name)
        pairs = zip(old.values(), new.values(), strict=True) if name == "stationarity" else [(old, new)]
        change = max((b - a).abs().max().item() for a, b in pairs)
        assert (change > 1e-4) == (name in moved)
        assert change > 1e-4 or change < 1e-14


# invariants ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("knots", [None, 3])
def test_conjugate_pairs_keep_the_product_of_costate_and_variation(method, knots):
    flow, x0 = flow_of(method, steps=12, knots=knots, kind=GradientField), normal(5, 3)
    extremal = sweeps(flow, loss, x0)[1]
    table = certify_extremal(flow, loss, x0, extremal, normal(5, 3, seed=3))
    assert table.holds
    assert table["drift of <p, v>"].measured < 1e-14
    assert (sum("drift of H" in row.property for row in table) == 1) == (knots is None)


def test_the_naive_adjoint_is_refuted():
    """Costates by d_x f at x^{k+1}, as the continuous adjoint would have them, do not keep <p, v>."""
    flow, x0 = flow_of(steps=24, knots=None), normal(5, 3)
    extremal = sweeps(flow, loss, x0)[1]
    p = extremal.p.clone()
    for k in reversed(range(24)):
        _, pull = torch.func.vjp(lambda x: flow.field(torch.zeros((), dtype=F64), x), extremal.x[k + 1])
        p[k] = p[k + 1] + 1.5 / 24 * pull(p[k + 1])[0]
    table = certify_extremal(flow, loss, x0, extremal._replace(p=p), normal(5, 3, seed=3))
    assert not table.holds
    assert not table["drift of <p, v>"].holds
    assert not table["|p' + d_x H|"].holds
    assert table["|x' - d_p H|"].holds


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun2", 2), ("rk4", 4)])
def test_the_hamiltonian_drifts_by_the_order_of_the_method(method, order):
    x0, drifts = normal(5, 3), []
    for steps in (8, 16):
        flow = flow_of(method, steps, knots=None, kind=GradientField)
        table = certify_extremal(flow, loss, x0, sweeps(flow, loss, x0)[1], torch.ones_like(x0))
        drifts.append(table["drift of H"].measured)
    assert np.log2(drifts[0] / drifts[1]) == pytest.approx(order, abs=0.25)


# solutions -----------------------------------------------------------------------------------------------------------
A = torch.tensor([[0.2, 1.0], [-0.5, 0.4]], dtype=F64)
B = torch.tensor([[0.3], [1.0]], dtype=F64)
Q, R, S = torch.diag(torch.tensor([1.0, 0.3], dtype=F64)), 0.5, 2.0
T = 2.0


class Linear(nn.Module):
    """x' = A x + B u(t), u piecewise constant."""

    def __init__(self, knots):
        super().__init__()
        self.in_time = InTime("piecewise-constant", knots, T)
        self.u = nn.Parameter(torch.zeros(knots, 1, dtype=F64))

    def forward(self, t, x):
        return x @ A.mT + self.in_time.at(self.u, t) @ B.mT


def quadratic(field, t, x):
    return 0.5 * (((x @ Q) * x).sum(-1) + R * field.in_time.at(field.u, t).square().sum())


def lq_flow(steps):
    return Flow(Rates(Linear(steps), quadratic), "euler", steps, t1=T)


def lq_loss(y):
    return (0.5 * S * y[..., :-1].square().sum(-1) + y[..., -1]).sum()


LQ_START = torch.tensor([1.0, -0.5, 0.0], dtype=F64)


def riccati(steps):
    """The optimal controls and states of the discrete problem, by the recursion of Riccati."""
    h, eye = T / steps, np.eye(2)
    a, b, q = eye + h * A.numpy(), h * B.numpy(), h * Q.numpy()
    P, gains = S * eye, []
    for _ in range(steps):
        gain = np.linalg.solve(h * R * np.eye(1) + b.T @ P @ b, b.T @ P @ a)
        gains.append(gain)
        P = q + a.T @ P @ (a - b @ gain)
    x, u = [LQ_START[:2].numpy()], []
    for gain in reversed(gains):
        u.append(-gain @ x[-1])
        x.append(a @ x[-1] + b @ u[-1])
    return np.array(x), np.array(u)


@pytest.mark.parametrize("shots", [None, 4, 1])
def test_linear_quadratic_control_by_riccatis_equation(shots):
    x, u = riccati(8)
    flow = lq_flow(8)
    found = solve_pontryagin(flow, lq_loss, LQ_START, shots=shots)
    assert np.abs(found.theta["field.u"].numpy() - u).max() < 1e-10
    assert np.abs(found.x[:, :2].numpy() - x).max() < 1e-10
    assert residuals(flow, lq_loss, LQ_START, found).largest() < 1e-9
    assert certify_extremal(flow, lq_loss, LQ_START, found, torch.ones_like(LQ_START)).holds
    assert not flow.field.field.u.any()  # the flow is not changed


def test_linear_quadratic_control_as_a_boundary_value_problem():
    """scipy's collocation of x' = A x - B B' p / R, p' = -Q x - A' p, p(T) = S x(T), and its matrix exponential."""
    M = np.block([[A.numpy(), -(B @ B.mT).numpy() / R], [-Q.numpy(), -A.numpy().T]])
    start = LQ_START[:2].numpy()
    solution = scipy.integrate.solve_bvp(
        lambda t, y: M @ y,
        lambda y0, y1: np.concatenate([y0[:2] - start, y1[2:] - S * y1[:2]]),
        np.linspace(0, T, 20),
        np.zeros((4, 20)),
        tol=1e-8,
    )
    to_T = scipy.linalg.expm(T * M)
    p0 = np.linalg.solve(to_T[2:, 2:] - S * to_T[:2, 2:], (S * to_T[:2, :2] - to_T[2:, :2]) @ start)
    assert np.abs(solution.sol(0.0)[2:] - p0).max() < 1e-6
    errors = []
    for steps in (8, 16, 32):
        found = solve_pontryagin(lq_flow(steps), lq_loss, LQ_START, shots=2)
        exact = torch.from_numpy(solution.sol(np.linspace(0, T, steps + 1)))
        errors.append((torch.cat([found.x[:, :2], found.p[:, :2]], 1) - exact.mT).abs().max().item())
        assert (found.p[:, 2] - 1).abs().max() < 1e-12  # the costate of the running cost
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.1)


def weights(field, t, x):
    return 0.05 * sum(field.in_time.at(p, t).square().sum() for p in field.parameters())


@pytest.mark.parametrize("method", ["euler", pytest.param("heun2", marks=pytest.mark.slow)])
def test_a_network_against_scipys_minimisation(method):
    layers = ResNetField(2, time="piecewise-constant", knots=3, generator=torch.Generator().manual_seed(0)).double()
    flow = Flow(Rates(layers, weights), method, 3)
    x0 = torch.cat([normal(6, 2), torch.zeros(6, 1, dtype=F64)], 1)
    target = 0.5 * x0[:, :2].flip(1)

    def loss(y):
        return (0.5 * (y[:, :-1] - target).square().sum(-1) + y[:, -1]).mean()

    parameters = list(flow.parameters())

    def value(flat):
        torch.nn.utils.vector_to_parameters(torch.from_numpy(flat), parameters)
        value = loss(flow(x0))
        gradient = torch.autograd.grad(value, parameters)
        return value.item(), torch.cat([g.flatten() for g in gradient]).numpy()

    start = torch.nn.utils.parameters_to_vector(parameters).detach().numpy().copy()
    best = scipy.optimize.minimize(value, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 500})
    value(start)
    for shots in (None, 2, 1):
        found = solve_pontryagin(flow, loss, x0, shots=shots)
        theta = torch.cat([found.theta[name].flatten() for name, _ in flow.field.named_parameters()])
        assert best.fun - 1e-9 < loss(found.x[-1]).item() < best.fun + 1e-12
        assert np.abs(theta.numpy() - best.x).max() < 1e-4
        assert np.abs(value(theta.numpy())[1]).max() < 1e-10
        value(start)


def test_what_cannot_be_solved_is_said():
    x0 = normal(4, 3)
    with pytest.raises(InputError, match="shots: wanted 1 to 6"):
        solve_pontryagin(flow_of(), loss, x0, shots=7)
    with pytest.raises(InputError, match="wanted a vector space, got SO3"):
        solve_pontryagin(Flow(ManifoldGradientFlow(SO3()), "rkmk4"), loss, torch.eye(3)[None])
    with pytest.raises(InputError, match="got adaptive ones"):
        sweeps(Flow(ResNetField(3).double(), "dopri5", "adaptive"), loss, x0)
    with pytest.raises(InputError, match="got learned ones"):
        sweeps(Flow(ResNetField(3).double(), step_sizes="free"), loss, x0)
    with pytest.raises(InputError, match="wanted at most 2048 unknowns"):
        solve_pontryagin(flow_of(), loss, normal(200, 3))
    with pytest.raises(ShootingError, match="after 1 Newton steps"):
        solve_pontryagin(flow_of(), loss, x0, iterations=1)
