import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from sklearn.decomposition import PCA

from manifoldnet.curves import elastic_distance, srvt
from manifoldnet.curves.shape_space import warp
from manifoldnet.curves.statistics import elastic_mean, elastic_pca
from manifoldnet.errors import InputError
from manifoldnet.manifolds import SO3

KINDS = [torch.float32, torch.float64]


def random_transforms(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def curve(t, seed=0, amount=0.0):
    """A smooth curve of rotations at the times t; ``amount`` deforms its shape."""
    rng = np.random.default_rng(seed)
    amplitude, frequency, phase = (rng.uniform(0.5, 2.5, 3) for _ in range(3))
    vectors = amplitude * np.sin(3 * frequency * np.asarray(t)[:, None] + phase)
    vectors[:, 0] += amount * np.cos(4 * np.asarray(t))
    return torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix())


def rotations(t, seed=0, amount=0.0):
    return srvt(curve(t, seed, amount), SO3())


def different(n, count=5):
    return torch.stack([rotations(np.linspace(0, 1, n + 1), seed) for seed in range(count)])


def inverse_of_sine(amount, t):
    """gamma with gamma^-1(t) = t + amount sin(2 pi t)."""
    fine = np.linspace(0, 1, 20001)
    return np.interp(t, fine + amount * np.sin(2 * np.pi * fine), fine)


def sum_of_squares(mean, qs, share, slopes=6):
    return sum(w * elastic_distance(mean, q, slopes).item() ** 2 for w, q in zip(share, qs, strict=True))


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("centre", [False, True])
def test_mean_of_one_curve_is_itself(centre, dtype):
    q = random_transforms(1, 30, 3, dtype=dtype)
    found = elastic_mean(q, centre=centre)
    tolerance = 200 * torch.finfo(dtype).eps
    assert torch.allclose(found.mean, q[0], rtol=0, atol=tolerance)
    assert torch.allclose(found.warps, torch.linspace(0, 1, 31, dtype=dtype), rtol=0, atol=tolerance)
    assert found.history.abs().max() < tolerance * q.square().sum()


@pytest.mark.parametrize("kind", ["smooth", "noise", "ragged", "weighted"])
@pytest.mark.parametrize("slopes", [3, 6])
def test_history_is_the_sum_of_squares_and_never_increases(kind, slopes):
    qs = different(24) if kind == "smooth" else random_transforms(5, 20, 3, seed=slopes)
    if kind == "ragged":
        qs = [random_transforms(n, 3, seed=k) for k, n in enumerate((20, 26, 17, 20, 26))]
    weights = torch.tensor([1.0, 0.2, 3, 0, 2], dtype=torch.float64) if kind == "weighted" else None
    share = np.full(5, 0.2) if weights is None else (weights / weights.sum()).numpy()
    full = elastic_mean(qs, weights, slopes, 40, 0.0, centre=False)
    assert len(full.history) > 4
    assert bool((full.history.diff() <= 1e-12).all())
    assert full.history[-1] < full.history[0] - 0.1
    # the iterates, each by a run that stops there
    before = None
    for k in range(1, 4):
        mean, _, _, history = elastic_mean(qs, weights, slopes, k, 0.0, centre=False)
        value = sum_of_squares(mean, qs, share, slopes)
        assert full.history[k].item() == pytest.approx(value, rel=1e-10)
        assert torch.allclose(history[:k], full.history[:k], rtol=1e-12)
        # the last entry keeps the warps that the mean was made of
        assert value <= history[-1].item() + 1e-12
        if before is not None:
            assert (history[-2] - history[-1]).item() == pytest.approx((mean - before).square().sum().item(), abs=1e-11)
        before = mean


def test_a_converged_mean_is_a_stationary_point():
    qs = different(24)
    mean, _, _, history = elastic_mean(qs, iterations=100, tol=0.0, centre=False)
    assert history[-3] - history[-2] == pytest.approx(0, abs=1e-13)
    mean.requires_grad_()
    energy = elastic_distance(mean, qs).square().mean()
    (grad,) = torch.autograd.grad(energy, mean)
    assert grad.norm() < 1e-12
    for seed in range(20):
        step = random_transforms(24, 3, seed=seed)
        near = mean.detach() + 1e-3 * step / step.norm()
        assert elastic_distance(near, qs).square().mean() > energy


def test_tolerance_and_iterations_stop():
    qs = different(24)
    full = elastic_mean(qs, iterations=100, tol=0.0).history
    decrease = (-full[:-1].diff() / full[1:-1]).tolist()
    # steps that are smaller than all before them, the exact end left out
    small = [k for k, d in enumerate(decrease) if 1e-9 < d < min([1.0, *decrease[:k]])]
    assert len(small) > 1
    for k in small[:3]:
        # iterates 0..k + 1, and the last average
        assert len(elastic_mean(qs, tol=1.001 * decrease[k]).history) == k + 3
        assert len(elastic_mean(qs, tol=0.999 * decrease[k]).history) > k + 3
    assert len(elastic_mean(qs, iterations=3, tol=0.0).history) == 4


def test_mean_of_one_shape_at_several_speeds_is_that_shape():
    errors, plain, spread = [], [], []
    for n in (50, 100):
        t = np.linspace(0, 1, n + 1)
        q = rotations(t)
        qs = torch.stack([rotations(inverse_of_sine(a, t)) for a in np.linspace(-0.14, 0.14, 7)])
        found = elastic_mean(qs)
        # the average speed is that of q, so that the means can be compared as they stand
        errors.append(((found.mean - q).norm() / q.norm()).item())
        plain.append(((qs.mean(0) - q).norm() / q.norm()).item())
        spread.append(found.history[-1].sqrt().item() / (qs - qs.mean(0)).square().sum((1, 2)).mean().sqrt().item())
    assert errors[1] < 0.7 * errors[0] < 0.35 * plain[0]
    assert spread[1] < 0.7 * spread[0] < 0.2


def test_centring():
    qs = different(40)
    weights = torch.tensor([1.0, 2, 1, 3, 0.5], dtype=torch.float64)
    share = weights / weights.sum()
    identity = torch.linspace(0, 1, 41, dtype=torch.float64)
    as_found, centred = (elastic_mean(qs, weights, centre=centre) for centre in (False, True))
    average = torch.tensordot(share, as_found.warps, 1)
    assert (average - identity).abs().max() > 0.01
    assert torch.allclose(torch.tensordot(share, centred.warps, 1), identity, rtol=0, atol=1e-14)
    # the same shape at another speed, phi_k o psi with psi the inverse of the average
    psi = np.interp(identity, average, identity)
    for k in range(5):
        np.testing.assert_allclose(centred.warps[k], np.interp(psi, identity, as_found.warps[k]), atol=1e-13)
    assert elastic_distance(as_found.mean, centred.mean) < 0.1 * as_found.mean.norm()
    value = sum_of_squares(centred.mean, qs, share.tolist())
    assert value == pytest.approx(sum_of_squares(as_found.mean, qs, share.tolist()), rel=0.03)
    for found in (as_found, centred):
        assert torch.equal(found.aligned, warp(qs, found.warps))
        assert torch.allclose(found.mean, torch.tensordot(share, found.aligned, 1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("centre", [False, True])
def test_whole_weights_are_copies_and_zero_is_absence(centre):
    qs = different(20)
    weighted = elastic_mean(qs, torch.tensor([1.0, 2, 1, 0, 3], dtype=torch.float64), centre=centre)
    copies = elastic_mean(qs[[0, 1, 1, 2, 4, 4, 4]], centre=centre)
    assert torch.allclose(weighted.mean, copies.mean, rtol=0, atol=1e-12)
    assert torch.allclose(weighted.history, copies.history, rtol=1e-12)


def test_mean_ignores_a_fixed_rotation_of_each_curve_and_their_order():
    t = np.linspace(0, 1, 31)
    curves = torch.stack([curve(t, seed) for seed in range(5)])
    moved = torch.from_numpy(Rotation.random(5, random_state=0).as_matrix())[:, None] @ curves
    found, again = elastic_mean(srvt(curves, SO3())), elastic_mean(srvt(moved, SO3()))
    assert torch.allclose(found.mean, again.mean, rtol=0, atol=1e-10)
    order = torch.tensor([3, 1, 4, 0, 2])
    shuffled = elastic_mean(srvt(curves, SO3())[order])
    assert torch.allclose(shuffled.mean, found.mean, rtol=0, atol=1e-12)
    assert torch.allclose(shuffled.warps, found.warps[order], rtol=0, atol=1e-12)


def test_curves_of_any_length():
    lengths = [24, 30, 36, 24, 30]
    qs = [rotations(np.linspace(0, 1, n + 1), seed) for seed, n in enumerate(lengths)]
    found = elastic_mean(qs)
    assert found.mean.shape == (30, 3)
    assert found.warps.shape == (5, 31)
    for q, phi, aligned in zip(qs, found.warps, found.aligned, strict=True):
        assert torch.equal(aligned, warp(q, phi))
    equal = different(24)
    assert torch.equal(elastic_mean(list(equal)).mean, elastic_mean(equal).mean)
    # a coarser sampling of the same curves has almost the same mean
    whole = elastic_mean(different(30))
    assert elastic_distance(found.mean, whole.mean) < 0.15 * whole.mean.norm()


@pytest.mark.parametrize("centre", [False, True])
def test_gradient_of_the_mean(centre):
    qs = random_transforms(3, 4, 2, seed=1).requires_grad_()
    weights = torch.tensor([1.0, 2, 1.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q, w: elastic_mean(q, w, 3, 2, centre=centre).mean, (qs, weights))


@pytest.mark.parametrize("dtype", KINDS)
def test_constant_curves_and_pauses_are_finite(dtype):
    qs = random_transforms(4, 12, 3, dtype=dtype)
    qs[0] = 0
    qs[1, 3:9] = 0
    for sample in (qs, torch.zeros_like(qs)):
        leaf = sample.clone().requires_grad_()
        found = elastic_mean(leaf)
        (grad,) = torch.autograd.grad(found.mean.square().sum() + found.mean.sum(), leaf)
        assert not found.history.requires_grad
        components = elastic_pca(sample, 2)
        for value in (*found, grad, components.scores, components.variance, components.directions):
            assert value.dtype == dtype
            assert bool(value.isfinite().all())


def test_float32_against_float64():
    qs = different(40)
    wide, narrow = elastic_mean(qs), elastic_mean(qs.float())
    assert torch.allclose(narrow.mean.double(), wide.mean, rtol=0, atol=1e-5)
    assert torch.allclose(narrow.history.double(), wide.history, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_components_against_numpy(weighted):
    qs = different(20, 6)
    weights = torch.tensor([1.0, 2, 0.5, 1, 1, 3], dtype=torch.float64) if weighted else None
    share = np.full(6, 1 / 6) if weights is None else (weights / weights.sum()).numpy()
    found, mean = elastic_pca(qs, 4, weights), elastic_mean(qs, weights)
    assert torch.equal(found.mean, mean.mean)
    rows = (mean.aligned - mean.mean).flatten(1).numpy()
    eigenvalues, vectors = np.linalg.eigh((rows.T * share) @ rows)
    np.testing.assert_allclose(found.variance, eigenvalues[::-1][:4], rtol=1e-11)
    assert found.total_variance.item() == pytest.approx(eigenvalues.sum(), rel=1e-12)
    directions = found.directions.flatten(1).numpy()
    np.testing.assert_allclose(np.abs(directions @ vectors[:, ::-1][:, :4]), np.eye(4), atol=1e-10)
    assert np.all(directions[np.arange(4), np.abs(directions).argmax(1)] > 0)
    np.testing.assert_allclose(found.scores, rows @ directions.T, atol=1e-12)
    if not weighted:
        peer = PCA(4).fit(mean.aligned.flatten(1).numpy())
        np.testing.assert_allclose(found.variance, peer.explained_variance_ * 5 / 6, rtol=1e-10)
        ratio = found.variance / found.total_variance
        np.testing.assert_allclose(ratio, peer.explained_variance_ratio_, rtol=1e-10)


def test_all_components_give_the_curves_back():
    qs = different(20, 6)
    found, mean = elastic_pca(qs, 6), elastic_mean(qs)
    assert torch.allclose(found.inverse(found.scores), mean.aligned, rtol=0, atol=1e-12)
    assert found.variance.sum().item() == pytest.approx(found.total_variance.item(), rel=1e-12)
    # the average takes one
    assert found.variance[5] < 1e-20 * found.variance[0]
    few = elastic_pca(qs, 2)
    rest = (few.inverse(few.scores) - mean.aligned).square().sum((1, 2)).mean()
    assert rest.item() == pytest.approx((few.total_variance - few.variance.sum()).item(), rel=1e-12)


def test_one_deformation_at_many_speeds_is_one_component():
    t = np.linspace(0, 1, 101)
    amounts = np.linspace(-0.6, 0.6, 9)
    speeds = 0.14 * np.cos(5 * np.arange(9))
    qs = torch.stack([rotations(inverse_of_sine(b, t), amount=a) for a, b in zip(amounts, speeds, strict=True)])
    found = elastic_pca(qs, 2)
    assert found.variance[0] > 0.9 * found.total_variance
    assert abs(np.corrcoef(found.scores[:, 0], amounts)[0, 1]) > 0.995
    plain = PCA(2).fit(qs.flatten(1).numpy())
    assert plain.explained_variance_ratio_[0] < 0.75
    # a curve that was not there before, at a speed of its own
    new = found.transform(rotations(inverse_of_sine(-0.1, t), amount=0.3))
    expected = np.interp(0.3, amounts, found.scores[:, 0])
    assert new[0].item() == pytest.approx(expected, abs=0.1 * np.ptp(found.scores[:, 0].numpy()))


def test_scores_and_back():
    qs = different(20, 6)
    found = elastic_pca(qs, 3)
    scores = found.scores[:2].clone().requires_grad_()
    back = found.inverse(scores)
    assert back.shape == (2, 20, 3)
    small = 0.02 * found.scores
    assert torch.allclose(found.transform(found.inverse(small)), small, rtol=0, atol=1e-12)
    new = random_transforms(2, 4, 17, 3).requires_grad_()
    found_scores = found.transform(new)
    assert found_scores.shape == (2, 4, 3)
    for grad in torch.autograd.grad(found_scores.sum() + back.sum(), (new, scores)):
        assert bool(grad.isfinite().all() & (grad != 0).any())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu():
    qs = different(20)
    on_cpu, on_cuda = elastic_pca(qs, 2), elastic_pca(qs.cuda(), 2)
    for name in ("mean", "directions", "variance", "scores"):
        assert torch.allclose(getattr(on_cuda, name).cpu(), getattr(on_cpu, name), rtol=0, atol=1e-9)


Q = torch.ones(4, 6, 3)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("qs", lambda: elastic_mean([])),
        ("qs", lambda: elastic_mean(Q[:0])),
        ("qs", lambda: elastic_mean(Q[:, :0])),
        ("qs", lambda: elastic_mean(Q.half())),
        ("qs", lambda: elastic_mean(Q * torch.nan)),
        (r"qs\[1\]", lambda: elastic_mean([Q[0], Q[0, :, :2]])),
        (r"qs\[1\]", lambda: elastic_mean([Q[0], Q[0].double()])),
        ("weights", lambda: elastic_mean(Q, torch.ones(3))),
        ("weights", lambda: elastic_mean(Q, torch.ones(4).double())),
        ("weights", lambda: elastic_mean(Q, torch.zeros(4))),
        ("weights", lambda: elastic_mean(Q, torch.tensor([1.0, -1, 1, 1]))),
        ("slopes", lambda: elastic_mean(Q, slopes=0)),
        ("slopes", lambda: elastic_mean([Q[0], Q[0, :1]], slopes=4)),
        ("iterations", lambda: elastic_mean(Q, iterations=0)),
        ("tol", lambda: elastic_mean(Q, tol=-1.0)),
        ("components", lambda: elastic_pca(Q, 0)),
        ("components", lambda: elastic_pca(Q, 5)),
        ("scores", lambda: elastic_pca(Q, 2).inverse(torch.ones(3))),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: ") as error:
        call()
    assert "\n" not in str(error.value)
