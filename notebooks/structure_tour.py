# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # A tour of structure
#
# A layer that keeps a structure should say so, and the claim should be measured. Each section shows one structure from
# *Structure preserving deep learning* (Celledoni et al. 2021) kept by one method and lost by another, and ends with the
# certificate that says it in numbers. Everything is in float64 and seeded; the notebook runs in a minute on a CPU.

# %%
import math

import matplotlib.pyplot as plt
import torch

import manifoldnet as mn
from manifoldnet.certificates import (
    RotatingField,
    certify,
    contact_form,
    contact_residual,
    extended_drift,
    max_step,
    modified_hamiltonian,
    spectral_abscissa,
)
from manifoldnet.fields import DivergenceFree, GradientField, HaberRuthotto, HamiltonianField, SkewDissipative
from manifoldnet.integrators import METHODS
from manifoldnet.nn import Flow

torch.set_default_dtype(torch.float64)
plt.rcParams["figure.dpi"] = 72


def rng(seed):
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## Contraction
#
# $\dot x = -A^\top\sigma(Ax+b)$ is the gradient field of a convex potential: two trajectories never move apart, and
# with slopes above $\alpha$ they approach each other like $e^{-\alpha\mu^2t}$. An explicit step inherits this only up to
# $h = 2r/(L\|A\|^2)$, where $r$ is the method's radius of circle contractivity; implicit Euler and the Gauss methods for
# every step. Below, the distance of many pairs over 30 steps, relative to the start.

# %%
field = GradientField(3, 6, activation="strong", generator=rng(0)).double()
x, y = 3 * torch.randn(2, 300, 3, generator=rng(1))
bound = max_step(field, METHODS["euler"])
fig, axes = plt.subplots(1, 3, figsize=(12, 3.2), sharey=True)
for axis, (method, share) in zip(axes, (("euler", 0.99), ("euler", 1.5), ("implicit-euler", 50.0)), strict=True):
    flow = Flow(field, method, steps=30, t1=30 * share * bound)
    with torch.no_grad():
        distance = (flow.points(x) - flow.points(y)).norm(dim=-1)
    axis.semilogy(distance / distance[0], color="tab:blue", alpha=0.1)
    axis.axhline(1, color="black", linewidth=0.8)
    axis.set(title=f"{method}, h = {share:g} of Euler's bound", xlabel="step")
axes[0].set_ylabel("distance / distance at the start")
fig.tight_layout()

# %%
print(certify(field, x))
print(certify(Flow(field, "euler", steps="certified", t1=10.0), x))

# %% [markdown]
# A skew matrix does **not** make $\sigma(Ax+b)$ non-expansive: its one-sided Lipschitz constant can reach $\|A\|/2$.

# %%
print(certify(SkewDissipative(4, generator=rng(3)).double(), 3 * torch.randn(300, 4, generator=rng(4))))

# %% [markdown]
# ## The eigenvalue test is not a proof
#
# Every Jacobian of this field has eigenvalues with real part $-1/4$. Solutions grow like $e^{t/2}$.

# %%
field, t = RotatingField(), torch.linspace(0, 10, 401)
y = mn.odeint(field, torch.tensor([[-1.0, 0.0]]), t, method="rk4")[:, 0]
largest = max(spectral_abscissa(field, s, y[:1]).item() for s in t[::20])
print(f"largest real part of all eigenvalues: {largest:.4f}; |y(10)| / |y(0)| = {y[-1].norm():.1f}")
plt.figure(figsize=(4, 4))
plt.plot(*y.T)
plt.axis("equal")
plt.title("eigenvalues say stable");

# %% [markdown]
# ## Energy
#
# Symplectic methods follow the flow of a modified Hamiltonian, so the error of $H$ stays bounded over very long times;
# RK4's grows. A discrete gradient method keeps $H$ itself. For symplectic Euler the first correction,
# $H + \tfrac h2\langle\partial_pH,\partial_qH\rangle$, is kept one order better than $H$.

# %%
field = HamiltonianField(2, 6, generator=rng(5)).double()
start, n, h = torch.randn(4, generator=rng(6)), 2500, 0.3
t = h * torch.arange(n + 1)
fig, axis = plt.subplots(figsize=(8, 3.5))
for method in ("rk4", "symplectic-euler", "stormer-verlet", "discrete-gradient-gonzalez"):
    with torch.no_grad():
        points = mn.odeint(field, start, t, method=method, step_size=h)
        error = (field.hamiltonian(t[0], points) - field.hamiltonian(t[0], start)).abs()
    axis.loglog(t[1:], error[1:].cummax(0).values, label=method)
    if method == "symplectic-euler":
        modified = modified_hamiltonian(field, t[0], points, torch.tensor(h)).detach()
        axis.loglog(t[1:], (modified - modified[0]).abs()[1:].cummax(0).values, label="its modified Hamiltonian")
axis.set(xlabel="time", ylabel="largest error of H so far")
axis.legend(loc="center right", fontsize=8)
fig.tight_layout()

# %% [markdown]
# ## Two nets called Hamiltonian
#
# The two-layer model of Chang et al. is symplectic in the usual sense. Haber and Ruthotto's is not: it keeps a form of
# its own that changes with its weights, so that the structure is lost between layers.

# %%
sample = torch.randn(20, 6, generator=rng(7))
print(certify(Flow(HamiltonianField(3, generator=rng(8)).double(), "stormer-verlet"), sample))
other = HaberRuthotto(3, generator=rng(8)).double()
with torch.no_grad():
    other.K.mul_(2.0)
print(certify(Flow(other, "stormer-verlet"), sample))

# %% [markdown]
# ## Volume
#
# No Runge-Kutta method keeps the volume of all divergence-free fields in three dimensions. A composition of shears does,
# whatever the field. Below, a small ball of points carried by the same learned field, and log |det| along the way.

# %%
field = DivergenceFree(3, "shears", generator=rng(9)).double()
with torch.no_grad():
    field.a.mul_(2.0)
    field.c.mul_(2.0)
sample = torch.randn(20, 3, generator=rng(10))
for method in ("rk4", "strang"):
    print(certify(Flow(field, method, steps=40, t1=20.0), sample))

# %%
directions = torch.randn(4000, 3, generator=rng(11))
ball = sample[0] + 0.3 * directions / directions.norm(dim=1, keepdim=True)
fig, axes = plt.subplots(1, 3, figsize=(12, 3.6))
for axis, time in zip(axes, (0.0, 1.0, 2.0), strict=True):
    with torch.no_grad():
        points = ball if time == 0 else Flow(field, "strang", steps=int(20 * time), t1=time)(ball)
    axis.scatter(points[:, 0], points[:, 1], s=1, c=ball[:, 2])
    axis.set(title=f"t = {time:g}, volume kept", xlabel="x", ylabel="y")

# %% [markdown]
# ## The standard map
#
# Kick and rotate on $T^*S^1$ with $V(q) = K\cos q$ and step 1 is the Chirikov standard map. It is symplectic for every
# $K$; below $K \approx 0.97$ curves separate the cylinder, above it orbits wander.

# %%
fig, axes = plt.subplots(1, 3, figsize=(12, 3.8))
for axis, K in zip(axes, (0.5, 0.97, 2.0), strict=True):
    flow = Flow(mn.fields.standard_map(K), "lie-trotter", steps=400, t1=400.0)
    with torch.no_grad():
        q, p = flow.points(torch.stack([torch.full((60,), 3.0), torch.linspace(-math.pi, math.pi, 60)], -1)).unbind(-1)
    p = torch.remainder(p + math.pi, 2 * math.pi) - math.pi
    axis.scatter(q, p, s=0.1, c=torch.arange(60).expand_as(q), cmap="twilight")
    axis.set(title=f"K = {K}", xlabel="q", ylabel="p")
fig.tight_layout()

# %% [markdown]
# ## Time-dependent Hamiltonians and the contact form
#
# With weights that change from layer to layer $H$ is not kept, and nothing is wrong with that: on the extended phase
# space $K = H + u$, $\dot u = -\partial_tH$, is. Its error falls by 4 when Verlet's step halves, while the drift of $H$
# does not care about the step. The field $(\partial_pH, -\partial_qH, 1)$ spans the kernel of $\omega + dH\wedge dt$; with
# the other sign in front of $dH$ it does not.

# %%
field = HamiltonianField(2, 6, time="piecewise-linear", knots=2, generator=rng(12)).double()
start = torch.randn(20, 4, generator=rng(13))
print("steps   max |K|    drift of H")
for steps in (16, 32, 64, 128):
    t = torch.linspace(0, 1, steps + 1)
    with torch.no_grad():
        K = extended_drift(field, start, steps).abs().max()
        points = mn.odeint(field, start, t, method="stormer-verlet", steps=1)
        H = torch.stack([field.hamiltonian(s, y) for s, y in zip(t, points, strict=True)])
    print(f"{steps:5d}   {K:.2e}   {(H - H[0]).abs().max():.3f}")
t = torch.tensor(0.4)
print(f"|i_X (omega + dH ^ dt)| = {contact_residual(field, t, start).max():.1e}")
wrong = contact_form(lambda s, y: -field.hamiltonian(s, y), t, start)
X = torch.cat([field(t, start), torch.ones(20, 1)], -1)
print(f"|i_X (omega - dH ^ dt)| = {(wrong.mT @ X[..., None]).norm(dim=(-2, -1)).min():.2f} at least")

# %% [markdown]
# ## On curved spaces
#
# A learned potential on SPD matrices and its gradient flow, integrated along geodesics: features stay positive definite
# and the potential falls.

# %%
space = mn.SPD("affine-invariant", n=3)
flow = Flow(mn.fields.ManifoldGradientFlow(space, generator=rng(14)).double(), "rkmk4", steps=20, t1=2.0)
sample = space.random(40, 3, 3, generator=rng(15), dtype=torch.float64)
print(certify(flow, sample))

# %% [markdown]
# Contraction is not inherited from flat space: it needs a potential that is convex along geodesics and, for explicit
# steps, a bound that knows the curvature. `log-trace` potentials are convex on SPD matrices.

# %%
field = mn.fields.ManifoldGradientFlow(space, activation="sigmoid", potential="log-trace", generator=rng(16)).double()
for method, share in (("geodesic-euler", 1.0), ("geodesic-euler", 8.0), ("geodesic-implicit-euler", 8.0)):
    flow = Flow(field, method, steps=10, t1=10 * share * field.step_bound())
    close = space.expmap(sample, 0.1 * space.random_tangent(sample, generator=rng(17)))
    with torch.no_grad():
        ratio = space.dist(flow(sample), flow(close)) / space.dist(sample, close)
    print(f"{method:24s} {share:g} x the certified step: largest ratio of distances {ratio.max():.3f}")
