"""Every public map of every space on every shape of batch: types kept, batches broadcast, vmap and both modes agree."""

import torch
from law_cases import F64, both_precisions, close, every_space, near, points, rng, singular_points
from public_maps import arguments, public_maps, trailing
from torch.autograd import grad
from torch.func import hessian, jacrev, jvp, vjp, vmap

EPS = {torch.float32: 2e-5, F64: 1e-12}
BATCHES = ((), (4,), (2, 3), (2, 1, 3), (0,), (0, 2))
DIFFERENTIATED = ("expmap", "logmap", "dist2", "transp", "retr", "act_exp", "exp", "log", "dexp", "dexpinv", "lift")


def strided(t):
    """The same numbers with gaps between them and the dimensions in another order in memory."""
    wide = torch.zeros(*reversed(t.shape), 2, dtype=t.dtype)[..., 1]
    return wide.permute(*reversed(range(t.dim()))).copy_(t)


@every_space
@both_precisions
def test_maps_take_every_batch(space, dtype):
    """Batches of one element each, with dimensions of size 1 and 0, give the values of one batch of six."""
    whole, maps, dims = arguments(space, 6, dtype=dtype), public_maps(space), trailing(space)
    results = {name: f(*(whole[a] for a in names)) for name, (f, names) in maps.items()}
    for batch in BATCHES:
        count = torch.Size(batch).numel()
        for name, (f, names) in maps.items():
            parts = [whole[a][:count].reshape((*batch, *whole[a].shape[1:])) for a in names]
            value = f(*parts)
            wanted = results[name][:count].reshape((*batch, *results[name].shape[1:]))
            assert value.shape == wanted.shape, name
            assert value.dtype == dtype, name
            assert value.device == parts[0].device, name
            close(value, wanted, EPS[dtype])
            assert all(p.dim() == len(batch) + dims[a] for p, a in zip(parts, names, strict=True)), name


@every_space
def test_maps_take_any_layout_in_memory(space):
    whole = arguments(space, 2, 3)
    for f, names in public_maps(space).values():
        parts = [whole[a] for a in names]
        close(f(*map(strided, parts)), f(*parts), 1e-13)
        assert all(torch.equal(strided(p), p) for p in parts)


@every_space
def test_arguments_broadcast_against_each_other(space):
    """One of the arguments without a batch, or with dimensions of size 1, against a batch of (2, 3)."""
    x = points(space).expand(2, 3, *space.point_shape)  # vectors are tangent at one point only
    whole = {**arguments(space, 2, 3), "x": x, "y": near(space, x, 1.0), "u": arguments(space)["u"].expand_as(x)}
    whole["u"] = whole["u"] * torch.linspace(0.5, 1.0, 6, dtype=F64).reshape(2, 3, *[1] * space.ndim)
    for name, (f, names) in public_maps(space).items():
        parts = [whole[a] for a in names]
        if len(names) == 1:
            close(f(parts[0][:1, :1].expand_as(parts[0])), f(parts[0][:1, :1]).expand_as(f(parts[0])), 1e-13)
        for k, part in enumerate(parts if len(names) > 1 else ()):
            for small in (part[0, 0], part[:1, :1]):
                spread = small.expand_as(part)
                value, wanted = f(*parts[:k], small, *parts[k + 1 :]), f(*parts[:k], spread, *parts[k + 1 :])
                # what does not depend on an argument may leave its batch out
                if name in ("Ad", "bracket", "dexp", "dexpinv", "dexpinv of order 4"):
                    value = value.expand_as(wanted)
                close(value, wanted, 1e-12)


@every_space
def test_gradients_broadcast_too(space):
    """The gradient of an argument without a batch is the sum over the batch of the other."""
    x = points(space)
    whole = arguments(space, 3)
    whole.update(x=x.expand(3, *space.point_shape), y=near(space, x, 1.0).expand(3, *space.point_shape))
    whole["u"] = arguments(space)["u"].expand_as(whole["x"])
    for f, names in public_maps(space).values():
        parts = [whole[a] for a in names]
        batch = f(*parts).shape
        for k in range(len(names) if len(names) > 1 else 0):
            found = []
            for spread in (False, True):
                leaf = parts[k][0].clone().requires_grad_()
                value = f(*parts[:k], leaf.expand_as(parts[k]) if spread else leaf, *parts[k + 1 :]).expand(batch)
                total = torch.sin(value).sum()
                found.append(grad(total, leaf)[0] if value.requires_grad else torch.zeros_like(leaf))
            close(*found, 1e-11)


@every_space
def test_two_levels_of_vmap_give_the_batched_values(space):
    whole = arguments(space, 2, 3)
    for f, names in public_maps(space).values():
        parts = [whole[a] for a in names]
        wanted = f(*parts)
        close(vmap(f)(*parts), wanted, 1e-12)
        close(vmap(vmap(f))(*parts), wanted, 1e-12)
        # the other dimension first
        close(vmap(vmap(f), in_dims=1, out_dims=1)(*parts), wanted, 1e-12)


def direction(space, name, value):
    noise = torch.randn(value.shape, dtype=F64, generator=rng(90))
    return space.proju(value, noise) if name in "xy" else noise


@every_space
def test_forward_mode_agrees_with_reverse_mode(space):
    one, maps = arguments(space), public_maps(space)
    for f, names in (maps[name] for name in DIFFERENTIATED if name in maps):
        parts = tuple(one[a] for a in names)
        moves = tuple(direction(space, a, one[a]) for a in names)
        value, forward = jvp(f, parts, moves)
        weights = torch.randn(value.shape, dtype=F64, generator=rng(91))
        backward = sum((g * m).sum() for g, m in zip(vjp(f, *parts)[1](weights), moves, strict=True))
        close((weights * forward).sum(), backward, 1e-10)


@every_space
def test_forward_mode_runs_under_vmap(space):
    several, maps = arguments(space, 3), public_maps(space)
    for f, names in (maps[name] for name in DIFFERENTIATED if name in maps):
        parts = tuple(several[a] for a in names)
        moves = tuple(direction(space, a, several[a]) for a in names)
        _, wanted = jvp(f, parts, moves)
        close(vmap(lambda p, m, f=f: jvp(f, p, m)[1])(parts, moves), wanted, 1e-10)


@every_space
def test_hessians_of_the_squared_distance_agree(space):
    """Forward over reverse and reverse over reverse: between two points, and finite where eigenvalues repeat."""
    x = points(space)
    y = near(space, x, 1.0)
    for a, b in ((x, y), (y, x)):
        for k in (0, 1):
            forward, backward = hessian(space.dist2, k)(a, b), jacrev(jacrev(space.dist2, k), k)(a, b)
            close(forward, backward, 1e-9)
    plain = singular_points(space, F64)
    # torch takes a matrix on the right for vectors where a batch has as many members as the matrix rows
    for some in (plain[:2], plain[:3], plain[:4]):
        for k in (0, 1):
            assert vmap(hessian(space.dist2, k))(some, some).isfinite().all()
