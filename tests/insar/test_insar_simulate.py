"""Batches of scenes have the stated statistics, depend on the generator only, and never wait for the device."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.utils._python_dispatch import TorchDispatchMode

from manifoldnet.errors import InputError
from manifoldnet.insar.coherence_maps import coherence_map, with_land_cover
from manifoldnet.insar.delays import delays
from manifoldnet.insar.draws import Draws
from manifoldnet.insar.fractal import fractal, quantile
from manifoldnet.insar.plateaus import plateaus
from manifoldnet.insar.simulate import DISTRIBUTIONS, scenes
from manifoldnet.insar.sources import deformation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def steepness(phase: torch.Tensor) -> np.ndarray:
    return np.percentile(np.hypot(*np.gradient(phase.numpy(), axis=(1, 2))), 99, axis=(1, 2))


def spectral_slope(fields: torch.Tensor) -> float:
    """Exponent of the mean power spectrum, away from the taper's leakage and the Nyquist frequency."""
    size = fields.shape[-1]
    taper = np.outer(np.hanning(size), np.hanning(size))
    power = (abs(np.fft.fft2(fields.numpy() * taper)) ** 2).mean(0)
    k = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    band = (k > 0.06) & (k < 0.4)
    return np.polyfit(np.log(k[band]), np.log(power[band]), 1)[0]


@pytest.mark.parametrize("size", [8, 17, 96])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_scenes_are_finite_float32(size, distribution):
    batch = scenes(5, size, generator=generator(), distribution=distribution)
    for image in batch:
        assert image.shape == (5, size, size)
        assert image.dtype == torch.float32
        assert image.isfinite().all()
    assert batch.coherence.min() >= 0
    assert batch.coherence.max() <= 0.851
    assert batch.amplitude.min() > 0
    assert_allclose(batch.amplitude.square().mean((1, 2)), 1, rtol=1e-5)


def test_mixed_scenes_have_the_stated_statistics():
    phase, coherence, amplitude = scenes(64, 96, generator=generator())
    steep = steepness(phase)
    assert 0.599 < steep.min() < 0.75
    assert 1.65 < steep.max() < 1.801
    assert 0.06 < (coherence < 0.3).float().mean() < 0.16
    assert 0.8 < (coherence > 0.4).float().mean() < 0.95
    brighter = np.corrcoef(coherence.flatten(), amplitude.log().flatten())[0, 1]
    assert 0.2 < brighter < 0.9


def test_training_scenes_have_plateaus_and_land_cover():
    phase, coherence, _ = scenes(300, 32, generator=generator(), distribution="training")
    flat = ((phase.diff(dim=-1) == 0).float().mean((1, 2)) > 0.5).float().mean().item()
    assert abs(flat - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 300)
    water = ((coherence < 0.03).float().mean((1, 2)) > 0.015).float().mean().item()
    plain = scenes(300, 32, generator=generator()).coherence
    assert water > 0.15 + ((plain < 0.03).float().mean((1, 2)) > 0.015).float().mean().item()
    assert coherence.mean() < plain.mean() - 0.03


def test_scenes_depend_on_the_generator_only():
    first = scenes(3, 32, generator=generator(5))
    torch.manual_seed(0)
    second, third = scenes(3, 32, generator=generator(5)), scenes(3, 32, generator=generator(6))
    for a, b, c in zip(first, second, third, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
        assert len({image.sum().item() for image in a}) == 3  # and every scene of a batch is another


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_nothing_is_read_back_from_the_device(distribution):
    """On a GPU each such operation would wait for all work before it; none of them may be called."""

    class Recorded(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = set()

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.names.add(function.overloadpacket.__name__)
            return function(*args, **(kwargs or {}))

    with Recorded() as recorded:
        scenes(2, 16, generator=generator(), distribution=distribution)
    assert "irfft2" in recorded.names or "_fft_c2r" in recorded.names
    assert not recorded.names & {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_scenes_on_a_gpu(distribution):
    drawn = torch.Generator("cuda").manual_seed(0)
    scenes(4, 64, generator=drawn, distribution=distribution)  # plans and workspaces
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = scenes(64, 64, generator=drawn, distribution=distribution)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(image.is_cuda and image.isfinite().all() for image in batch)
    if distribution == "mixed":
        assert_allclose(steepness(batch.phase.cpu()).mean(), 1.2, atol=0.2)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"count": 0}, "count: 0"), ({"size": 7}, "size: 7"), ({"distribution": "all"}, "distribution: 'all'.*mixed")],
)
def test_scenes_refuse(change, words):
    with pytest.raises(InputError, match=words):
        scenes(**{"count": 2, "size": 16, "generator": generator()} | change)


# the parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [2.5, 11 / 3])
def test_fractal_fields_have_the_stated_spectrum(exponent):
    fields = fractal(128, torch.full((40,), exponent), Draws(40, generator()))
    assert_allclose(spectral_slope(fields), -exponent, atol=0.1)
    assert_allclose(fields.mean((1, 2)), 0, atol=1e-5)
    assert_allclose(fields.square().mean((1, 2)), 1, rtol=1e-5)


def test_fractal_fields_are_gaussian_noise_at_exponent_zero():
    """White, so neighbours are uncorrelated along every direction, and as wide as the exponents are apart."""
    fields = fractal(64, torch.tensor([0.0, 3.0] * 20), Draws(40, generator()))
    white = fields[::2]
    for shifted in (white.roll(1, -1), white.roll(1, -2), white.roll((1, 1), (-1, -2)), white.roll((1, -1), (-1, -2))):
        assert abs((white * shifted).mean()) < 4 / math.sqrt(white.numel())
    for dim in (-1, -2):  # the lines of zero frequency, which the half spectrum treats unlike each other
        assert_allclose(64 * white.mean(dim).square().mean(), 1, rtol=0.2)
    assert_allclose(white.pow(4).mean(), 3, rtol=0.05)
    assert (fields[1::2] * fields[1::2].roll(1, -1)).mean() > 0.9


def test_turbulence_follows_kolmogorov():
    """Residual terms of a flat terrain without the ramp are steeper than k^-3; their sum keeps its slope."""
    draw = Draws(60, generator())
    total = delays(torch.zeros(60, 128, 128), draw, bilinear=False)
    u = np.stack(np.broadcast_arrays(np.arange(128.0), np.arange(128.0)[:, None], 1.0)).reshape(3, -1).T
    flat = total.numpy().reshape(60, -1).T
    left = flat - u @ np.linalg.lstsq(u, flat, rcond=None)[0]
    assert -4.1 < spectral_slope(torch.from_numpy(left.T.reshape(60, 128, 128))) < -3.2


def test_quantile_is_numpys():
    image, share = torch.randn(4, 9, 7, generator=generator()), torch.tensor([0.0, 0.31, 0.99, 1.0])
    expected = [np.quantile(one, level) for one, level in zip(image.numpy(), share.numpy(), strict=True)]
    assert_allclose(quantile(image, share[:, None, None]).ravel(), expected, rtol=1e-6)


def test_draws():
    draw = Draws(4000, generator())
    uniform, whole, sign = draw.uniform(-2, 5, 3), draw.integers(0, 4, 1), draw.sign(2)
    assert uniform.shape == (4000, 3)
    assert_allclose([uniform.min(), uniform.mean(), uniform.max()], [-2, 1.5, 5], atol=0.1)
    assert whole.unique().tolist() == [0, 1, 2, 3]
    assert sign.unique().tolist() == [-1, 1]
    assert_allclose(sign.float().mean(), 0, atol=0.05)
    assert_allclose(draw.chance(0.3).float().mean(), 0.3, atol=0.03)
    assert_allclose(draw.normal(2).std(), 1, atol=0.05)


def test_deformation_is_there_as_often_as_stated():
    """Without sources in one of eight scenes; with cracks in four fifths of that."""
    for cracks, share in ((False, 1 / 8), (True, 1 / 10)):
        phase = deformation(16, Draws(800, generator()), cracks=cracks)
        none = (phase == 0).all(-1).all(-1).float().mean().item()
        assert abs(none - share) < 4 * math.sqrt(share * (1 - share) / 800)
        assert phase.abs().max() < 3 * 60 + 80 + 60


def test_coherence_maps():
    draw = Draws(200, generator())
    plain = coherence_map(32, draw)
    terrain = fractal(32, draw.uniform(3, 4), draw)
    covered = with_land_cover(plain, terrain, draw)
    wet = (covered < 0.03) & (covered != plain)
    drowned = wet.flatten(1).any(1)
    assert abs(drowned.float().mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 200)
    for land, water in zip(terrain[drowned], wet[drowned], strict=True):  # all the low land is under water
        assert land[water].max() < torch.quantile(land.flatten(), 0.31)
    planted = (covered != plain) & ~wet
    assert covered[planted].min() >= 0.1
    assert covered[planted].max() <= 0.401


def test_plateaus():
    """Few levels; across a boundary the phase jumps."""
    phase = plateaus(48, Draws(60, generator()))
    levels = [len(np.unique(one)) for one in phase.numpy()]
    assert max(levels) <= 12
    assert np.mean(np.array(levels) > 1) > 0.9
    assert (phase.diff(dim=-1) == 0).float().mean() > 0.8
