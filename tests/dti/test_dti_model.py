"""The denoiser of diffusion tensors: what goes in and comes out, its symmetries, and whether it denoises."""

import itertools
import warnings

import numpy as np
import pytest
import torch

from manifoldnet.dti import model as dti_model
from manifoldnet.dti.baselines import log_euclidean_gaussian, tune
from manifoldnet.dti.evaluate import clamped
from manifoldnet.dti.examples import protocol
from manifoldnet.dti.metrics import distance_to_truth
from manifoldnet.dti.model import DtiDenoiser, Known, denoise, filtered
from manifoldnet.dti.simulate import pair, phantom
from manifoldnet.dti.train import shipped_config
from manifoldnet.errors import InputError
from manifoldnet.training import load_weights, save_weights

SMALL = {"members": 2, "width": 6, "embedding": 3, "radius2": 2}
needs_weights = pytest.mark.skipif(not DtiDenoiser.shipped.is_file(), reason="no shipped weights")


@pytest.fixture(scope="module")
def untrained():
    return DtiDenoiser(SMALL, torch.Generator().manual_seed(1)).eval()


def field(*shape, seed=0, dtype=np.float32):
    """SPD tensors (*shape, 3, 3) in mm^2/s that vary from voxel to voxel."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((*shape, 3, 3)))
    tensors = (q * rng.uniform(2e-4, 2e-3, (*shape, 1, 3))) @ q.swapaxes(-1, -2)
    return (0.5 * (tensors + tensors.swapaxes(-1, -2))).astype(dtype)


def apart(a, b):
    """Largest difference in units of the largest entry."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.abs(a - b).max() / np.abs(b).max()


@needs_weights
def test_shipped_weights_say_what_made_them():
    assert load_weights(DtiDenoiser.shipped, "dti")[1] == shipped_config()


# what goes in and comes out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kind_dtype_and_spd(untrained, dtype):
    tensors = field(7, 5, 6, dtype=dtype)
    result = denoise(tensors, model=untrained)
    assert isinstance(result, np.ndarray)
    assert (result.shape, result.dtype) == (tensors.shape, tensors.dtype)
    np.testing.assert_array_equal(result, result.swapaxes(-1, -2))
    assert np.linalg.eigvalsh(result.astype(np.float64)).min() > 0
    as_tensor = denoise(torch.from_numpy(tensors), model=untrained)
    assert isinstance(as_tensor, torch.Tensor)
    assert not as_tensor.requires_grad
    np.testing.assert_array_equal(as_tensor.numpy(), result)
    assert apart(result, tensors) > 0.01


def test_any_array_will_do(untrained):
    """Those of other byte orders (NIfTI files), reversed, in Fortran's order, read-only."""
    tensors = field(5, 4, 3)
    plain = denoise(tensors, model=untrained)
    for other in (tensors.astype(">f4"), tensors[::-1].copy()[::-1], np.asfortranarray(tensors)):
        np.testing.assert_array_equal(denoise(other, model=untrained), plain)
    mask = np.ones((5, 4, 3))
    for kind in (bool, np.uint8, np.int16, np.uint16, ">i2", np.float64):
        np.testing.assert_array_equal(denoise(tensors, mask.astype(kind), model=untrained), plain)
    tensors.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(denoise(tensors, model=untrained), plain)


@pytest.mark.parametrize("factor", [1e3, 1e-3, 7.0])
def test_any_unit(untrained, factor):
    tensors = field(6, 5, 4, dtype=np.float64)
    assert apart(denoise(factor * tensors, model=untrained), factor * denoise(tensors, model=untrained)) < 1e-5


@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 5, 1), (6, 5, 2), (1, 9, 3), (9, 8, 7), (3, 3, 17)])
def test_any_size(untrained, shape):
    result = denoise(field(*shape), model=untrained)
    assert result.shape == (*shape, 3, 3)
    assert np.linalg.eigvalsh(result.astype(np.float64)).min() > 0


def test_mask(untrained):
    """Outside everything stays as it came, bit for bit, and nothing that is there matters inside."""
    tensors = field(8, 7, 6)
    mask = np.random.default_rng(0).random((8, 7, 6)) < 0.7
    outside = tensors.copy()
    outside[~mask] = np.random.default_rng(1).normal(size=(int((~mask).sum()), 3, 3)) * 1e9
    outside[np.argwhere(~mask)[0][0], np.argwhere(~mask)[0][1], np.argwhere(~mask)[0][2]] = np.nan
    result = denoise(outside, mask, model=untrained)
    assert result[~mask].tobytes() == outside[~mask].tobytes()
    np.testing.assert_array_equal(result[mask], denoise(tensors, mask, model=untrained)[mask])
    # without a mask: voxels that are finite and not zero; NaN in a mask is outside
    empty = tensors.copy()
    empty[~mask] = 0
    np.testing.assert_array_equal(denoise(empty, model=untrained), denoise(empty, mask, model=untrained))
    empty[~mask] = np.nan
    np.testing.assert_array_equal(denoise(empty, model=untrained)[mask], result[mask])
    holes = np.where(mask, 2.0, np.nan)
    np.testing.assert_array_equal(denoise(tensors, holes, model=untrained)[mask], result[mask])


def test_input_is_not_changed(untrained):
    tensors = field(5, 5, 5)
    before = tensors.copy()
    denoise(tensors, model=untrained)
    np.testing.assert_array_equal(tensors, before)


def test_strength_is_the_way_along_the_geodesic(untrained):
    tensors = field(5, 4, 3, dtype=np.float64)
    np.testing.assert_allclose(denoise(tensors, model=untrained, strength=0.0), tensors, rtol=1e-5, atol=1e-9)
    ends = [logm(x) for x in (tensors, denoise(tensors, model=untrained))]
    half = logm(denoise(tensors, model=untrained, strength=0.5))
    assert apart(half, 0.5 * (ends[0] + ends[1])) < 1e-5


def test_the_model_knows_its_strength(untrained):
    """a / (1 + b n) at n directions, and as for 12 where nothing is said of their number."""
    tensors = field(5, 5, 4)
    laws = {"strength": {"tensors": [0.8, 0.05], "signals": [0.5, 0.0]}, "lean": {"signals": [0.25, 0.0]}}
    tuned = DtiDenoiser({**SMALL, **laws}, torch.Generator().manual_seed(1)).eval()
    for count, strength in ((None, 0.5), (20, 0.4), (44, 0.25), (6, 0.8 / 1.3)):
        told = min(count, 12) if count else None
        expected = denoise(tensors, model=untrained, directions=told, strength=strength)
        np.testing.assert_allclose(denoise(tensors, model=tuned, directions=count), expected, rtol=1e-6)
    np.testing.assert_array_equal(denoise(tensors, model=untrained), denoise(tensors, model=untrained, strength=1))
    # with signals, half the way to the mean of three parts of the network's and one of the filtered fit's
    noisy, out, fit = torch.randn(3, 6, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = 0.5 * noisy + 0.5 * (0.75 * out + 0.25 * fit)
    torch.testing.assert_close(tuned.followed(noisy, out, fit, 9), expected)
    torch.testing.assert_close(tuned.followed(noisy, out, fit, 9, strength=0.25), 0.75 * noisy + 0.25 * out)


def logm(tensors):
    """Logarithms by eigenvalues."""
    values, vectors = np.linalg.eigh(tensors)
    return (vectors * np.log(values)[..., None, :]) @ vectors.swapaxes(-1, -2)


def test_the_number_of_directions_counts(untrained):
    tensors = field(5, 4, 3)
    results = [denoise(tensors, model=untrained, directions=n) for n in (None, 8, 64)]
    assert min(apart(a, b) for a, b in itertools.combinations(results, 2)) > 1e-5
    np.testing.assert_array_equal(denoise(tensors, model=untrained, directions=90), results[2])


def test_networks_are_told_of_as_many_directions_as_in_training(untrained):
    """At the model's own strength of no more than 12, at a given one of no more than phantoms had."""
    tensors = field(5, 4, 3)

    def result(n, strength=None):
        return denoise(tensors, model=untrained, directions=n, strength=strength)

    np.testing.assert_array_equal(result(64), result(12))
    np.testing.assert_array_equal(result(90, 1), result(64, 1))
    np.testing.assert_array_equal(result(12), result(12, 1))
    assert min(apart(result(12, 1), result(64, 1)), apart(result(10), result(12))) > 1e-5


def test_noisy_fits_become_spd(untrained):
    """Eigenvalues from 1e-9 to 10 times the typical: beyond 1/16 to 5 they are noise, and do not spread."""
    tensors = field(6, 6, 6, dtype=np.float64)
    tensors[2, 2, 2] = np.diag([1e-12, 1e-3, 1e-2])
    tensors[4, 4, 4] = np.diag([1e-12, 1e-12, 1e-12])
    result = denoise(tensors, model=untrained)
    values = np.linalg.eigvalsh(result)
    scale = np.median(np.linalg.eigvalsh(tensors).mean(-1))
    assert values.min() > scale / 16 * 0.999
    assert values.max() < scale * 5 * 1.001


# refusals ------------------------------------------------------------------------------------------------------------


def test_refusals(untrained):
    tensors = field(4, 3, 2)
    bad = tensors.copy()
    bad[1, 2, 0] *= -1
    bad[3, 0, 1, 0, 0] = np.nan
    lopsided = tensors.copy()
    lopsided[2, 1, 1, 0, 2] += 1e-4
    for arguments, words in (
        ((tensors[0],), r"tensors.*\(3, 2, 3, 3\)"),
        ((tensors[..., 0],), "tensors"),
        ((np.ones((2, 2, 2, 3, 3), int),), "tensors.*int64"),
        ((np.zeros_like(tensors),), "empty"),
        ((tensors, np.zeros((4, 3, 2))), "empty"),
        ((tensors, np.ones((4, 3, 3))), r"mask.*\(4, 3, 2\).*\(4, 3, 3\)"),
        ((bad, np.ones((4, 3, 2))), r"2 in the mask are not symmetric positive definite.*\(1, 2, 0\)"),
        ((lopsided,), r"1 in the mask are not symmetric.*\(2, 1, 1\)"),
        ((tensors, None, None, None, None, "nowhere.safetensors"), "nowhere"),
    ):
        with pytest.raises(InputError, match=words):
            denoise(*arguments[:5], model=arguments[5] if len(arguments) > 5 else untrained)
    for option, words in (({"directions": 5}, "directions.*5"), ({"strength": 1.5}, r"strength.*1\.5"),
                          ({"strength": float("nan")}, "strength")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            denoise(tensors, model=untrained, **option)


def test_weights_of_another_kind_or_version(tmp_path, untrained):
    state = untrained.state_dict()
    for name, kind, config in (("insar", "insar", SMALL), ("wider", "dti", {**SMALL, "width": 7}),
                               ("poorer", "dti", {"width": 6})):  # fmt: skip
        save_weights(tmp_path / f"{name}.safetensors", kind, state, config)
        with pytest.raises(InputError, match=name):
            DtiDenoiser.load(tmp_path / f"{name}.safetensors")


def test_save_and_load(tmp_path, untrained):
    untrained.save(tmp_path / "w.safetensors")
    tensors = field(5, 5, 5)
    result = denoise(tensors, model=untrained)
    np.testing.assert_array_equal(denoise(tensors, model=tmp_path / "w.safetensors"), result)
    np.testing.assert_array_equal(denoise(tensors, model=str(tmp_path / "w.safetensors")), result)
    assert DtiDenoiser.named(tmp_path / "w.safetensors").config == SMALL


# structure -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 100])
def test_how_many_voxels_at_once_does_not_change_the_result(untrained, monkeypatch, at_once):
    tensors, mask = field(6, 5, 9), np.random.default_rng(2).random((6, 5, 9)) < 0.8
    whole = denoise(tensors, mask, model=untrained)
    monkeypatch.setattr(dti_model, "AT_ONCE", at_once)
    assert apart(denoise(tensors, mask, model=untrained), whole) < 1e-5


def test_the_field_of_view_does_not_change_the_result(untrained):
    """Once it is three voxels wider than the mask."""
    tensors = field(6, 5, 4)
    inner, outer = (np.pad(tensors, [(n, n)] * 3 + [(0, 0)] * 2) for n in (3, 9))
    expected = denoise(inner, model=untrained)
    found = denoise(outer, model=untrained, uncertainty=True)
    np.testing.assert_array_equal(found.tensors[6:-6, 6:-6, 6:-6], expected)
    np.testing.assert_array_equal(np.isnan(found.uncertainty), ~(outer != 0).any((-1, -2)))
    assert apart(denoise(tensors, model=untrained), expected[3:-3, 3:-3, 3:-3]) > 1e-5  # the network sees borders


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
@pytest.mark.parametrize("permutation", [(0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 1, 0)])
def test_turning_tensors_and_grid_turns_the_result(untrained, permutation, signs):
    """R of the cube group, in single precision: D -> R D R' at the place that R takes the voxel to."""
    tensors = field(6, 5, 4)
    r = np.zeros((3, 3), np.float32)
    r[range(3), permutation] = signs

    def turned(volume):
        moved = volume.transpose(*permutation, 3, 4)[tuple(slice(None, None, sign) for sign in signs)]
        return r @ np.ascontiguousarray(moved) @ r.T

    assert apart(denoise(turned(tensors), model=untrained), turned(denoise(tensors, model=untrained))) < 1e-5


def test_determinants_lie_near_those_of_the_neighbours(untrained):
    """No swelling: the logarithm of the determinant is a mean over the neighbourhood, corrected by less than 1."""
    tensors = field(6, 6, 6, dtype=np.float64)
    before = np.linalg.slogdet(tensors)[1]
    after = np.linalg.slogdet(denoise(tensors, model=untrained))[1]
    assert after.min() > before.min() - 1
    assert after.max() < before.max() + 1


def test_a_constant_field_stays(untrained):
    tensors = np.broadcast_to(field(1, 1, 1)[0, 0, 0], (6, 6, 6, 3, 3))
    assert apart(denoise(tensors, model=untrained), tensors) < 1e-5


# quality -------------------------------------------------------------------------------------------------------------


@needs_weights
@pytest.mark.parametrize("snr", [pytest.param(6.0, marks=pytest.mark.slow), 12.0])
def test_beats_the_tuned_gaussian(snr):
    """On a phantom it never saw, whose best Gaussian is chosen with the truth at hand; phantoms are smooth, so all the
    way is best, while a real scan chose the default strength."""
    bvals, bvecs = protocol(30)
    drawn = pair(phantom(24, np.random.default_rng([5, 123])), bvals, bvecs, snr, torch.Generator().manual_seed(8))
    noisy, true = clamped(drawn.noisy, drawn.mask), clamped(drawn.true, drawn.mask)

    def error(tensors):
        return float(distance_to_truth(tensors[drawn.mask], true[drawn.mask]).mean())

    sigma = tune(log_euclidean_gaussian, [(noisy, true, drawn.mask)])
    gaussian = error(log_euclidean_gaussian(noisy, drawn.mask, sigma))
    assert gaussian < error(noisy)
    level = drawn.sigma.nan_to_num()
    ours = [
        error(filtered(noisy, drawn.mask, Known(sigma), DtiDenoiser.named("default"), 1.0).tensors)
        for sigma in (level, 0 * level)
    ]
    assert max(ours) < 0.95 * gaussian
    assert error(denoise(noisy, drawn.mask, strength=1.0)) == pytest.approx(ours[1], rel=1e-5)
    assert error(denoise(noisy, drawn.mask)) < 0.4 * error(noisy)
