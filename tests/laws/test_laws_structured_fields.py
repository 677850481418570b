"""Laws of the structured fields of vectors and images: their constants, and what they declare to preserve."""

import numpy as np
import pytest
import torch
from law_cases import F64, both_precisions, close, rng
from structured_cases import (
    FIELDS,
    PAIRED,
    TIMES,
    ZERO,
    every_field,
    every_field_of_images,
    every_layered_field,
    every_time,
    images_of,
    made,
    made_of_images,
    points_of,
)

from manifoldnet import certify
from manifoldnet.certificates import pair_quotients
from manifoldnet.fields import ACTIVATIONS

SOME_TIMES = (0.0, 0.31, 0.5, 0.77, 1.0)
SLACK = 1e-9  # of quotients of pairs as close as 1e-3


def violations(field, pairs, size):
    """The largest excess of a measured quotient over its constant, relative to that if it is large."""
    generator = rng(72)
    x = 3 * torch.randn(pairs, size, dtype=F64, generator=generator)
    # from close to far: local slopes and chords
    y = x + torch.logspace(-3, 1, pairs, dtype=F64)[:, None] * torch.randn(pairs, size, dtype=F64, generator=generator)
    t = torch.rand((), dtype=F64, generator=generator)
    with torch.no_grad():
        found = pair_quotients(field, t, x, y)
    constants = {"nu": field.nu(), "lipschitz": field.lipschitz()}
    if hasattr(field, "cocoercivity") and getattr(field, "kind", "transposed") == "transposed":
        constants["cocoercivity"] = field.cocoercivity()
    return max(((found[key].max() - c) / c.abs().clamp_min(1.0)).item() for key, c in constants.items())


@every_layered_field
@pytest.mark.parametrize("count", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_no_constant_is_violated_by_ten_thousand_pairs(name, count):
    """Random fields of all dependences on time, activations and sizes; the pairs are at random times too."""
    activations = list(ACTIVATIONS)
    for seed in range(count):
        dim = 1 + seed % 5
        options = {} if name.startswith("projected") or name == "gradient-strong" else {
            "activation": activations[seed % len(activations)]}  # fmt: skip
        field = made(name, dim, list(TIMES)[seed % 3], seed, **options)
        with torch.no_grad():
            for parameter in field.parameters():
                parameter.mul_(0.3 + seed % 4)
        assert violations(field, 10_000, 2 * dim if name in PAIRED else dim) <= SLACK * 100


@every_field
@every_time
def test_the_certificate_of_every_field_holds(name, time):
    table = certify(made(name, time=time), points_of(name, 12))
    assert table.holds, table
    assert len(table)


@every_field_of_images
@every_time
@pytest.mark.parametrize("padding", ["circular", "zeros"])
def test_the_certificate_of_every_field_of_images_holds(name, time, padding):
    table = certify(made_of_images(name, time=time, padding=padding), images_of(name, 4))
    assert table.holds, table


@every_field
@every_time
def test_points_may_have_times_of_their_own(name, time):
    field, y = made(name, time=time), points_of(name, len(SOME_TIMES))
    t = torch.tensor(SOME_TIMES, dtype=F64)
    close(field(t, y), torch.stack([field(s, p) for s, p in zip(t, y, strict=True)]), 1e-13)
    close(torch.vmap(field)(t, y), field(t, y), 1e-13)


@every_field_of_images
@every_time
def test_images_may_have_times_of_their_own(name, time):
    field, y = made_of_images(name, time=time), images_of(name, len(SOME_TIMES))
    t = torch.tensor(SOME_TIMES, dtype=F64)
    close(field(t, y), torch.stack([field(s, p) for s, p in zip(t, y, strict=True)]), 1e-13)


@every_field_of_images
def test_a_kernel_of_one_pixel_is_the_dense_field_at_every_pixel(name):
    field = made_of_images(name, kernel_size=1)
    options = {"kind": "general"} if name == "projected-general" else {}
    twin = FIELDS[name](2, **options).double()
    twin.load_state_dict({k: v.squeeze(-1).squeeze(-1) if v.dim() > 2 else v for k, v in field.state_dict().items()})
    x = images_of(name, 2)
    close(field(ZERO, x), twin(ZERO, x.movedim(1, -1)).movedim(-1, 1), 1e-13)


@every_field
@both_precisions
def test_the_field_has_the_type_and_shape_of_its_points(name, dtype):
    field = made(name, time="piecewise-linear").to(dtype)
    for batch in ((), (2, 3)):
        y = points_of(name, *batch).to(dtype)
        v = field(torch.zeros((), dtype=dtype), y)
        assert v.shape == y.shape
        assert v.dtype is dtype


@every_field
@every_time
def test_gradients_are_those_of_differences(name, time):
    options = {} if name.startswith("projected") else {"activation": "tanh"}  # relu has kinks
    field = made(name, 2, time, **options)
    y = points_of(name, 3, dim=2).requires_grad_()
    keys = [key for key, _ in field.named_parameters()]

    def values(t, y, *parameters):
        return torch.func.functional_call(field, dict(zip(keys, parameters, strict=True)), (t, y))

    t = torch.tensor(0.37, dtype=F64, requires_grad=time == "piecewise-linear")
    assert torch.autograd.gradcheck(values, (t, y, *field.parameters()), fast_mode=True)


@every_field
def test_a_generator_decides_the_initial_parameters(name):
    before = torch.get_rng_state()
    one, two, other = made(name), made(name), made(name, seed=1)
    for key, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[key])
        assert not torch.equal(value, other.state_dict()[key])
    assert torch.equal(before, torch.get_rng_state())


@every_field
def test_parameters_in_time_are_those_of_their_interval_or_between_their_knots(name):
    steps, lines = made(name, time="piecewise-constant"), made(name, time="piecewise-linear")
    plain, y = made(name), points_of(name, 4)
    for field, t, weights in ((steps, 0.6, {2: 1.0}), (steps, 0.75, {3: 1.0}), (lines, 0.2, {0: 0.6, 1: 0.4})):
        # what moves on a line is |B2| where A2 is not negative
        values = {k: v.abs() if k == "B2" and "non-negative" in name else v for k, v in field.state_dict().items()}
        state = {k: sum(w * v[i] for i, w in weights.items()) for k, v in values.items()}
        plain.load_state_dict(state)
        close(field(torch.tensor(t, dtype=F64), y), plain(ZERO, y), 1e-14)
    assert steps.in_time.jumps() == [0.25, 0.5, 0.75]


@every_layered_field
def test_roughness_is_the_integral_of_the_squared_slope(name):
    assert made(name).roughness() == 0
    lines = made(name, time="piecewise-linear")
    want = sum(2 * np.square(np.diff(p.detach().numpy(), axis=0)).sum() for p in lines.parameters())
    close(lines.roughness().detach(), torch.tensor(want), 1e-12)
