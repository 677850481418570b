import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from manifoldnet.curves import dynamic_programming
from manifoldnet.curves.dynamic_programming import best_paths, best_value
from manifoldnet.errors import InputError


def random_gram(n, m, batch=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    q0 = torch.randn(batch, n, 3, generator=generator, dtype=dtype)
    q1 = torch.randn(batch, m, 3, generator=generator, dtype=dtype)
    return (q0 @ q1.mT).permute(1, 2, 0).contiguous()


def segment_value(gram, i, j, a, b):
    """Integral over a segment: cut where it crosses a grid line, one product for each piece."""
    times = sorted({Fraction(k, a) for k in range(a + 1)} | {Fraction(k, b) for k in range(b + 1)})
    total = 0.0
    for begin, end in pairwise(times):
        middle = (begin + end) / 2
        total += float(end - begin) * gram[i - a + math.floor(a * middle), j - b + math.floor(b * middle)]
    return math.sqrt(a * b) * total


def allowed(i, j, n, m, band):
    return band is None or abs(Fraction(i, n) - Fraction(j, m)) <= Fraction(band) / max(n, m)


def reference_value(gram, slopes, band=None, coprime=True):
    """The recursion written out node by node."""
    n, m = gram.shape
    best = {(0, 0): 0.0}
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            values = [
                best[i - a, j - b] + segment_value(gram, i, j, a, b)
                for a in range(1, slopes + 1)
                for b in range(1, slopes + 1)
                if (i - a, j - b) in best and (math.gcd(a, b) == 1 or not coprime)
            ]
            if values and allowed(i, j, n, m, band):
                best[i, j] = max(values)
    return best.get((n, m))


def all_paths(gram, slopes, band=None):
    """Value of every path, one by one."""
    n, m = gram.shape

    def to(i, j):
        if (i, j) == (0, 0):
            return [0.0]
        if i <= 0 or j <= 0 or not allowed(i, j, n, m, band):
            return []
        return [
            value + segment_value(gram, i, j, a, b)
            for a in range(1, slopes + 1)
            for b in range(1, slopes + 1)
            for value in to(i - a, j - b)
        ]

    return np.array(to(n, m))


@pytest.mark.parametrize(("slopes", "crossed"), [(4, 39), (7, 237), (10, 587)])
def test_stencils_have_the_known_number_of_weights(slopes, crossed):
    steps = dynamic_programming.segments(slopes, True)
    stencils = dynamic_programming._stencils(slopes, True)
    assert (stencils != 0).sum() == crossed
    products = torch.tensor([math.sqrt(a * b) for a, b in steps], dtype=torch.float64)
    assert torch.allclose(stencils.sum((1, 2)), products, rtol=1e-14)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 3), (7, 7), (5, 9), (9, 5), (12, 4)])
@pytest.mark.parametrize("slopes", [3, 5])
def test_value_against_the_recursion_node_by_node(n, m, slopes):
    gram = random_gram(n, m, batch=3)
    if max(n, m) > slopes * min(n, m):
        pytest.skip("no path")
    value = best_value(gram, slopes)
    for k in range(3):
        wanted = reference_value(gram[..., k].numpy(), slopes)
        assert value[k].item() == pytest.approx(wanted, abs=1e-12)
        # a segment with a common divisor adds nothing
        everything = reference_value(gram[..., k].numpy(), slopes, coprime=False)
        assert everything == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("n", "m", "band"), [(8, 8, 0), (8, 8, 1), (8, 8, 2.5), (9, 6, 1.5), (6, 9, 1.5)])
def test_band_against_the_recursion_node_by_node(n, m, band):
    gram = random_gram(n, m, batch=6, seed=4)
    value = best_value(gram, 3, band)
    wanted = [reference_value(gram[..., k].numpy(), 3, band) for k in range(6)]
    np.testing.assert_allclose(value.numpy(), wanted, rtol=0, atol=1e-12)
    assert bool((value <= best_value(gram, 3)).all())


@pytest.mark.parametrize(("n", "m", "band"), [(1, 2, None), (4, 4, None), (5, 3, None), (5, 5, 1)])
@pytest.mark.parametrize("smoothing", [0.05, 2.0])
def test_soft_value_and_gradient_against_all_paths(n, m, band, smoothing):
    gram = random_gram(n, m, seed=2).requires_grad_()
    value = best_value(gram, 3, band, smoothing)
    paths = all_paths(gram.detach()[..., 0].numpy(), 3, band) / smoothing
    wanted = smoothing * (paths.max() + np.log(np.exp(paths - paths.max()).sum()))
    assert value.item() == pytest.approx(wanted, abs=1e-12)
    assert torch.autograd.gradcheck(lambda g: best_value(g, 3, band, smoothing), gram)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_soft_value_tends_to_the_hard_one(dtype):
    gram = random_gram(12, 10, batch=4, dtype=dtype).requires_grad_()
    hard = best_value(gram, 4)
    (hard_grad,) = torch.autograd.grad(hard.sum(), gram)
    gaps = []
    for smoothing in (1.0, 0.1, 1e-2, 1e-4):
        soft = best_value(gram, 4, smoothing=smoothing)
        gaps.append((soft - hard).min().item())
        (grad,) = torch.autograd.grad(soft.sum(), gram)
        assert bool(grad.isfinite().all())
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert gaps[0] > gaps[1] > gaps[2] > -tolerance
    assert (soft - hard).abs().max() < 1e-3
    # one path carries all the weight, unless another comes within gamma
    assert (grad - hard_grad).abs().amax((0, 1)).median() < 1e-3


@pytest.mark.parametrize(("n", "m"), [(6, 6), (5, 8), (9, 4)])
def test_hard_gradients(n, m):
    gram = random_gram(n, m, batch=2, seed=7).requires_grad_()
    assert torch.autograd.gradcheck(lambda g: best_value(g, 4), gram)
    assert torch.autograd.gradgradcheck(lambda g: best_value(g, 4).square(), gram)
    # the value is linear in gram along a path that stays best
    value = best_value(gram, 4)
    (grad,) = torch.autograd.grad(value.sum(), gram)
    assert torch.allclose((grad * gram).sum((0, 1)), value, rtol=1e-13)


def test_exponential_of_the_soft_value_is_a_positive_definite_kernel():
    generator = torch.Generator().manual_seed(0)
    curves = [0.7 * torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in (2, 2, 3, 3, 4, 4, 5, 5)]
    soft = [[best_value((q @ r.T)[..., None], 3, smoothing=0.8).item() for q in curves] for r in curves]
    eigenvalues = np.linalg.eigvalsh(np.exp(np.array(soft) / 0.8))
    assert eigenvalues[0] > 0


def test_blocks_do_not_change_values_or_paths(monkeypatch):
    gram = random_gram(15, 15, batch=20).requires_grad_()
    whole = best_value(gram, 4), best_value(gram, 4, smoothing=0.3)
    grads = [torch.autograd.grad(value.sum(), gram)[0] for value in whole]
    monkeypatch.setattr(dynamic_programming, "CPU_ROW_BYTES", 0)
    assert dynamic_programming.pairs_per_block(gram, 4) == 8
    parts = best_value(gram, 4), best_value(gram, 4, smoothing=0.3)
    for value, part, grad in zip(whole, parts, grads, strict=True):
        assert torch.allclose(value, part, rtol=1e-14)
        assert torch.allclose(torch.autograd.grad(part.sum(), gram)[0], grad, rtol=1e-12, atol=1e-14)


def test_paths_step_by_the_segments_and_attain_the_value():
    n, m, batch, slopes = 11, 14, 5, 4
    gram = random_gram(n, m, batch, seed=9)
    path, value = best_paths(gram, slopes), best_value(gram, slopes)
    for k in range(batch):
        nodes = [(i, j) for i, j in zip(path.rows[:, k].tolist(), path.columns[:, k].tolist(), strict=True)]
        assert nodes[0] == (n, m)
        assert nodes[-1] == (0, 0)
        total = 0.0
        for (i, j), (before_i, before_j) in pairwise(nodes):
            if (i, j) != (0, 0):
                assert 1 <= i - before_i <= slopes
                assert 1 <= j - before_j <= slopes
                total += segment_value(gram[..., k].numpy(), i, j, i - before_i, j - before_j)
        assert total == pytest.approx(value[k].item(), abs=1e-12)


@pytest.mark.parametrize("smoothing", [None, 0.1])
def test_no_path_is_an_error(smoothing):
    for n, m in [(2, 9), (9, 2)]:
        with pytest.raises(InputError, match=r"^slopes: 4 .* at least 5$"):
            best_value(random_gram(n, m), 4, None, smoothing)
        best_value(random_gram(n, m), 5, None, smoothing)
    with pytest.raises(InputError, match=r"^band: "):
        best_value(random_gram(9, 7), 4, 0, smoothing)


def test_an_empty_batch():
    gram = torch.zeros(5, 5, 0, requires_grad=True)
    for smoothing in (None, 0.1):
        value = best_value(gram, 3, smoothing=smoothing)
        assert value.shape == (0,)
        assert torch.autograd.grad(value.sum(), gram)[0].shape == gram.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("smoothing", [None, 0.1])
def test_cuda_agrees_with_the_cpu(smoothing):
    results = []
    for device in ("cpu", "cuda"):
        gram = random_gram(20, 17, batch=6).to(device).requires_grad_()
        value = best_value(gram, 5, 8, smoothing)
        results.append((value.detach().cpu(), torch.autograd.grad(value.sum(), gram)[0].cpu()))
    for on_cpu, on_cuda in zip(*results, strict=True):
        assert torch.allclose(on_cpu, on_cuda, rtol=1e-12, atol=1e-13)
