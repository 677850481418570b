"""The denoiser of interferograms: what goes in and comes out, its symmetry, its tiles, and whether it denoises."""

import os
import warnings

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from manifoldnet.errors import InputError
from manifoldnet.insar import baselines
from manifoldnet.insar.calibration import KINDS
from manifoldnet.insar.evaluate import observations
from manifoldnet.insar.metrics import wrap, wrapped_rmse
from manifoldnet.insar.model import InsarDenoiser, denoise
from manifoldnet.insar.simulate import scenes
from manifoldnet.insar.speckle import observe
from manifoldnet.insar.train import shipped_config
from manifoldnet.linalg import wrap_angle
from manifoldnet.training import load_weights, save_weights

SMALL = {"channels": [[4, 6], [4, 6]], "blocks": 1}


def observed(size=96, looks=4.0, seed=0):
    """True phase, interferogram and estimated coherence of a random scene."""
    phase, coherence, _ = (image[0] for image in scenes(1, size, generator=torch.Generator().manual_seed(seed)))
    return phase, *observe(phase, coherence, looks, torch.Generator().manual_seed(seed))


def arc(a, b):
    """Largest distance on the circle."""
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return np.abs(np.angle(np.exp(1j * difference))).max()


@pytest.fixture(scope="module")
def untrained():
    return InsarDenoiser(SMALL, torch.Generator().manual_seed(1)).eval()


def test_shipped_weights_say_what_made_them():
    assert load_weights(InsarDenoiser.shipped, "insar")[1] == shipped_config()


# what goes in and comes out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.complex64, torch.complex128, torch.float32, torch.float64])
def test_kind_and_dtype_are_kept(kind):
    _, z, gamma = observed(40)
    image = z.to(kind) if kind.is_complex else z.angle().to(kind)
    result = denoise(image, gamma)
    assert isinstance(result, torch.Tensor)
    assert result.dtype == (torch.float64 if kind in (torch.complex128, torch.float64) else torch.float32)
    assert not result.requires_grad
    assert result.abs().max() <= torch.tensor(np.pi, dtype=result.dtype)
    as_array = denoise(image.numpy(), gamma.numpy())
    assert isinstance(as_array, np.ndarray)
    np.testing.assert_array_equal(as_array, result.numpy())


def test_any_array_will_do():
    """Reversed, transposed, read-only and masked arrays, and those of other byte orders."""
    image = observed(40)[1].angle().numpy()[:, :33].copy()
    plain = denoise(image)
    np.testing.assert_array_equal(denoise(image.astype(">f4")), plain)
    np.testing.assert_array_equal(denoise(image[::-1].copy()[::-1]), plain)
    np.testing.assert_array_equal(denoise(np.asfortranarray(image)), plain)
    frozen = image.copy()
    frozen.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(denoise(frozen), plain)
    masked = np.ma.masked_array(image, mask=np.eye(40, 33, dtype=bool))
    np.testing.assert_array_equal(np.isnan(denoise(masked)), masked.mask)


def test_unwrapped_phase_gives_the_same(untrained):
    _, z, _ = observed(40)
    phase = z.angle().double()
    turns = torch.randint(-3, 4, phase.shape, generator=torch.Generator().manual_seed(0))
    assert arc(denoise(phase + 2 * np.pi * turns, model=untrained), denoise(phase, model=untrained)) < 1e-4


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 5), (2, 130), (33, 31)])
def test_any_size(shape):
    rng = np.random.default_rng(0)
    result = denoise(rng.uniform(-3, 3, shape))
    assert result.shape == shape
    assert np.isfinite(result).all()


def test_no_data():
    """NaN, infinity and complex zero are no data, stay so, and change nothing by their value."""
    _, z, gamma = observed(60)
    z[5:20, 7:30] = 0
    z[40, 3], z[41, 3] = torch.nan, torch.inf
    result = denoise(z, gamma)
    missing = (z == 0) | ~z.isfinite()
    assert torch.equal(result.isnan(), missing)
    other = z.clone()
    other[missing] = torch.complex(torch.tensor(torch.nan), torch.tensor(1e9))
    assert torch.equal(denoise(other, gamma).nan_to_num(9), result.nan_to_num(9))


def test_coherence_that_is_not_known_is_estimated():
    """NaN and 0 say that nothing is known; what is there instead is the mean of 5 x 5 phasors."""
    _, z, gamma = observed(60)
    z = torch.polar(torch.ones_like(gamma), z.angle())
    unknown = gamma.clone()
    unknown[20:40] = torch.nan
    assert torch.equal(denoise(z, unknown), denoise(z, unknown.nan_to_num(0)))
    assert torch.equal(denoise(z, torch.zeros_like(gamma)), denoise(z))
    assert not torch.equal(denoise(z, gamma), denoise(z))
    ones = np.ones((5, 5)) / 25
    parts = [convolve2d(part.numpy(), ones, "same") for part in (z.real, z.imag)]
    given = torch.from_numpy((np.hypot(*parts) / convolve2d(np.ones((60, 60)), ones, "same")).astype(np.float32))
    assert arc(denoise(z, given), denoise(z)) < 1e-4


def test_moduli_count():
    """Those relative to the neighbourhood: a common factor changes nothing, and phases alone are something else."""
    _, z, gamma = observed(60)
    assert arc(denoise(1e4 * z, gamma), denoise(z, gamma)) < 1e-3
    assert arc(denoise(z.angle(), gamma), denoise(z, gamma)) > 1e-2


def test_a_coherence_of_one_everywhere_is_ignored_at_a_single_look():
    _, z, gamma = observed(60, looks=1.0)
    assert (gamma > 0.9999).all()
    assert torch.equal(denoise(z, gamma, looks=1), denoise(z, looks=1))
    assert not torch.equal(denoise(z, gamma, looks=2), denoise(z, looks=2))
    assert not torch.equal(denoise(z, 0.5 * gamma, looks=1), denoise(z, looks=1))


@pytest.mark.slow
def test_uncertainty():
    """The truth lies within the two widths as often as they say, on scenes that nothing was calibrated on."""
    inside = []
    for seed in range(12):
        phase, z, gamma = observed(128, looks=(1.0, 2.0, 4.0, 9.0)[seed % 4], seed=100 + seed)
        result = denoise(z, gamma if seed % 4 else None, uncertainty=True)
        assert (result.uncertainty <= result.bound).all()
        error = wrap(result.phase - phase).abs()
        inside.append(torch.stack([(error <= width).float().mean() for width in result[1:]]))
    shares = torch.stack(inside).mean(0)
    assert abs(shares[0] - 0.683) < 0.03
    assert abs(shares[1] - 0.95) < 0.03


def test_uncertainty_comes_beside_the_phase(untrained):
    _, z, gamma = observed(48)
    result = denoise(z, gamma, model=untrained, uncertainty=True)
    assert torch.equal(result.phase, denoise(z, gamma, model=untrained))
    assert (result.uncertainty <= result.bound).all()


def test_widths_are_those_of_what_was_known():
    """A table for each of phases, with coherence, with moduli, with both; a coherence of no use is as good as none."""
    model = InsarDenoiser(SMALL, torch.Generator().manual_seed(0)).eval()
    for kind in range(KINDS):
        model.calibration.widths[kind] = 1.0 + kind
    _, z, gamma = observed(48)
    one = torch.ones_like(gamma)
    for arguments, kind in (((z.angle(),), 0), ((z.angle(), gamma), 1), ((z,), 2), ((z, gamma), 3), ((z, one, 1), 2)):
        assert (denoise(*arguments, model=model, uncertainty=True).uncertainty == 1.0 + kind).all()


def test_refusals(untrained):
    image = np.zeros((8, 9), np.float32)
    for arguments, words in (
        ((image[0],), r"phase_or_complex.*\(9,\)"),
        ((np.zeros((2, 8, 9)),), "phase_or_complex"),
        ((np.zeros((8, 9), int),), "phase_or_complex.*int64"),
        ((np.full((8, 9), np.nan),), "at least one pixel"),
        ((np.zeros((8, 9), complex),), "at least one pixel"),
        ((np.zeros((0, 9)),), "at least one pixel"),
        ((image, image[:7]), r"coherence.*\(8, 9\).*\(7, 9\)"),
        ((image, image + 255), "coherence.*255"),
        ((image, image - 0.1), "coherence.*-0.1"),
        ((image, image + 1j), "coherence.*complex"),
        ((image, image, 0.5), "looks.*0.5"),
        ((image, image, float("nan")), "looks"),
        ((image, None, None, "nowhere.safetensors"), "nowhere"),
        ((np.array([["a", "b"]]),), "phase_or_complex"),
    ):
        with pytest.raises(InputError, match=words):
            denoise(*arguments)
    denoise(image, image + 1 + 5e-5, model=untrained)  # full coherence with a rounding error


def test_weights_of_another_kind_or_version(tmp_path, untrained):
    state = untrained.state_dict()
    for name, kind, config in (("dti", "dti", SMALL), ("wider", "insar", {**SMALL, "channels": [[4, 4]]}),
                               ("older", "insar", {**SMALL, "channels": [4, 4]}),
                               ("poorer", "insar", {"channels": [[4]]})):  # fmt: skip
        save_weights(tmp_path / f"{name}.safetensors", kind, state, config)
        with pytest.raises(InputError, match=name):
            InsarDenoiser.load(tmp_path / f"{name}.safetensors")


def test_save_and_load(tmp_path, untrained):
    path = tmp_path / "w.safetensors"
    untrained.save(path)
    _, z, gamma = observed(40)
    result = denoise(z, gamma, model=untrained)
    assert torch.equal(denoise(z, gamma, model=path), result)
    assert torch.equal(denoise(z, gamma, model=str(path)), result)
    assert InsarDenoiser.named(path).config == SMALL
    # a file that was written anew is read anew
    other = InsarDenoiser(SMALL, torch.Generator().manual_seed(2))
    other.save(path)
    os.utime(path, (1, 1))
    assert not torch.equal(denoise(z, gamma, model=path), result)


# structure -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [1, pytest.param(64, marks=pytest.mark.slow)])
def test_tiles_do_not_change_the_result(untrained, tile):
    _, z, gamma = observed(400 if tile == 64 else 40)
    z[30:60, 90:100] = 0
    model = untrained if tile == 1 else "default"  # 1 is raised to the smallest that is possible
    seams = arc(denoise(z, gamma, model=model, tile=tile)[z != 0], denoise(z, gamma, model=model)[z != 0])
    assert seams < 1e-3


def test_margin_is_needed(untrained, monkeypatch):
    """The test above could tell: with blocks that overlap less seams appear."""
    _, z, _ = observed(190)
    whole = denoise(z, model=untrained)
    monkeypatch.setattr(InsarDenoiser, "margin", untrained.net.factor)
    assert arc(denoise(z, model=untrained, tile=64), whole) > 1e-2


@pytest.mark.parametrize("angle", [0.5, 2.5, np.pi])
def test_equivariance_to_a_global_phase(angle):
    """The filter of a rotated interferogram is the rotated filter, to rounding, next to missing pixels as well."""
    _, z, gamma = observed(96)
    z[30:50, 40:70] = 0
    turned, result = denoise(z * np.exp(1j * angle), gamma), denoise(z, gamma)
    data = z != 0
    assert arc(turned[data], result[data] + angle) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("looks", [1.0, 4.0])
def test_equivariance_to_a_global_phase_of_whole_scenes(looks):
    """From phases alone in float32, where next to nothing is left of the fringes as well.

    But for at most one of 524,288 pixels: one that rounding errors move over a threshold of what replaces its phase.
    """
    scenes = observations(8, 256, looks, seed=61, stream=9)
    above = 0
    for number, z in enumerate(scenes.observed):
        phase, angle = z.angle(), 0.4 + 0.7 * number
        turned = denoise(wrap_angle(phase.double() + angle).float())
        above += int((wrap_angle(turned.double() - denoise(phase).double() - angle).abs() > 1e-5).sum())
    assert above <= 1


def test_steady_replaces_phases_that_rounding_errors_could_turn(untrained):
    """Those of short phasors and of short frames: by what is round them, or by the pixel's own."""
    _, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    fringes = torch.polar(torch.ones(64, 64), 0.3 * x)[None]
    own = torch.polar(torch.ones(1, 64, 64), torch.full((1, 64, 64), 2.0))
    mean, frame = fringes.clone(), torch.ones(1, 64, 64)
    mean[0, 20, 20] *= 1e-3j
    frame[0, 40, 41] = 1e-3
    mean[0, 40, 40] *= -1
    out = untrained.steady(mean, frame, own)
    torch.testing.assert_close(out.abs(), mean.abs())
    for place in ((0, 20, 20), (0, 40, 40)):
        assert arc(out[place].angle(), fringes[place].angle()) < 0.05
    near = torch.zeros(1, 64, 64, dtype=torch.bool)
    near[0, 20, 20] = near[0, 38:43, 39:44] = True
    assert torch.equal(out[~near], mean[~near])
    nothing = untrained.steady(1e-3 * mean, frame, own)
    torch.testing.assert_close(nothing, nothing.abs() * own)


def test_equivariance_to_conjugation():
    _, z, gamma = observed(96)
    z[30:50, 40:70] = 0
    conjugate, result = denoise(z.conj().resolve_conj(), gamma), denoise(z, gamma)
    data = z != 0
    assert arc(conjugate[data], -result[data]) < 1e-4


def test_rows_and_columns_are_alike(untrained):
    """Transposing the interferogram transposes the result."""
    _, z, gamma = observed(96)
    z[30:50, 40:70] = 0
    transposed, result = denoise(z.mT, gamma.mT, model=untrained), denoise(z, gamma, model=untrained)
    assert arc(transposed[z.mT != 0], result.mT[z.mT != 0]) < 1e-4


# quality -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("looks", "margin"), [(1.0, 0.85), (4.0, 0.75)])
def test_beats_boxcar(looks, margin):
    """On each of three scenes it never saw, and by a margin on average; a plain mean is what there is without it."""
    ratios = []
    for seed in range(3):
        phase, z, gamma = observed(128, looks, seed)
        ours = wrapped_rmse(denoise(z, gamma, looks), phase)
        ratios.append(ours / wrapped_rmse(baselines.boxcar(z, 5).angle(), phase))
        assert ours < 0.7 * wrapped_rmse(z.angle(), phase)
    assert max(ratios) < 0.95
    assert np.mean(ratios) < margin


def test_constant_phase_stays():
    z = torch.polar(torch.full((80, 80), 3.0), torch.full((80, 80), 1.25))
    assert arc(denoise(z, torch.ones(80, 80))[20:-20, 20:-20], 1.25) < 0.02
