import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from manifoldnet.curves import best_path as operators
from manifoldnet.curves import dynamic_programming, soft_path, sweep
from manifoldnet.curves.best_path import best_path, best_value, solve_by_rows
from manifoldnet.curves.lattice import crossings, segments, stencils
from manifoldnet.curves.path import pieces
from manifoldnet.curves.soft_path import soft_value
from manifoldnet.errors import InputError


def random_pair(n, m, batch=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    q0 = torch.randn(batch, n, 3, generator=generator, dtype=dtype)
    return q0, torch.randn(batch, m, 3, generator=generator, dtype=dtype)


def random_gram(*arguments, **options):
    q0, q1 = random_pair(*arguments, **options)
    return q0 @ q1.mT


def all_cells(gram):
    return torch.tensor(gram.shape[1:], device=gram.device).expand(len(gram), 2)


def best(gram, slopes, band=None, refine=None, cells=None):
    """Value and nodes of the best paths for given products."""
    cells = all_cells(gram) if cells is None else cells
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device).expand(len(gram), -1, -1)
    return best_path(identity, gram.mT, cells, slopes, None if band is None else float(band), refine)


def soft(gram, slopes, band=None, smoothing=1.0, cells=None):
    return soft_value(gram, all_cells(gram) if cells is None else cells, slopes, band, smoothing)


def in_torch(gram, slopes, band=None, cells=None):
    """Value and nodes as devices other than the CPU find them."""
    n, m = gram.shape[1:]
    identity = torch.eye(n, dtype=gram.dtype, device=gram.device).expand(len(gram), -1, -1)
    value, nodes = gram.new_empty(len(gram)), torch.empty(len(gram), min(n, m) + 1, 2, dtype=torch.int64)
    solve_by_rows(
        identity,
        gram.mT,
        all_cells(gram) if cells is None else cells,
        slopes,
        None if band is None else float(band),
        value,
        nodes,
    )
    return value, nodes


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
def test_crossings_have_the_known_number_and_fill_the_segments(slopes, crossed):
    steps, cells, dense = segments(slopes, True), crossings(slopes, True), stencils(slopes, True)
    assert len(cells.weights) == (dense != 0).sum() == crossed
    products = torch.tensor([math.sqrt(a * b) for a, b in steps], dtype=torch.float64)
    assert torch.allclose(dense.sum((1, 2)), products, rtol=1e-14)
    swapped = [steps.index((b, a)) for a, b in steps]
    assert torch.equal(dense[swapped], dense.mT)


@pytest.mark.parametrize("solver", [best, in_torch])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 3), (7, 7), (5, 9), (9, 5), (12, 4), (9, 45)])
@pytest.mark.parametrize("slopes", [3, 5])
def test_value_against_the_recursion_node_by_node(n, m, slopes, solver):
    gram = random_gram(n, m, batch=3)
    if max(n, m) > slopes * min(n, m):
        pytest.skip("no path")
    value, _ = solver(gram, slopes)
    for k in range(3):
        wanted = reference_value(gram[k].numpy(), slopes)
        assert value[k].item() == pytest.approx(wanted, abs=1e-12)
        # a segment with a common divisor adds nothing
        everything = reference_value(gram[k].numpy(), slopes, coprime=False)
        assert everything == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("solver", [best, in_torch])
@pytest.mark.parametrize(("n", "m", "band"), [(8, 8, 0), (8, 8, 1), (8, 8, 2.5), (9, 6, 1.5), (6, 9, 1.5)])
def test_band_against_the_recursion_node_by_node(n, m, band, solver):
    gram = random_gram(n, m, batch=6, seed=4)
    value, _ = solver(gram, 3, band)
    wanted = [reference_value(gram[k].numpy(), 3, band) for k in range(6)]
    np.testing.assert_allclose(value.numpy(), wanted, rtol=0, atol=1e-12)
    assert bool((value <= best(gram, 3)[0] + 1e-12).all())


@pytest.mark.parametrize("solver", [best, in_torch])
@pytest.mark.parametrize("band", [None, 4])
def test_ragged_batches_give_what_each_pair_gives_alone(solver, band):
    gram = random_gram(20, 17, batch=5, seed=3)
    cells = torch.tensor([[20, 17], [9, 12], [20, 11], [6, 17], [1, 1]])
    value, nodes = solver(gram, 4, band, cells=cells)
    for k, (n, m) in enumerate(cells.tolist()):
        alone, path = best(gram[k : k + 1, :n, :m], 4, band)
        assert value[k].item() == pytest.approx(alone.item(), abs=1e-12)
        assert torch.equal(nodes[k, : path.shape[1]], path[0])
        assert not nodes[k, path.shape[1] :].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "m", "slopes"), [(70, 70, 4), (33, 90, 7), (100, 64, 10), (257, 255, 5)])
def test_the_compiled_kernel_and_the_matrix_products_find_the_same_paths(n, m, slopes, dtype):
    gram = random_gram(n, m, batch=4, seed=8, dtype=dtype)
    (value, nodes), (wanted, path) = best(gram, slopes), in_torch(gram, slopes)
    assert torch.allclose(value, wanted, rtol=1e-5 if dtype == torch.float32 else 1e-13)
    assert torch.equal(nodes, path)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (61, 47), (200, 130)])
def test_refinement_is_never_better_and_exact_with_a_wide_strip(n, m):
    q0, q1 = random_pair(n, m, batch=6, seed=2)
    cells = torch.tensor([n, m]).expand(6, 2)
    whole, _ = best_path(q0, q1, cells, 5, None, None)
    for refine in (1, 4, 16, max(n, m)):
        value, nodes = best_path(q0, q1, cells, 5, None, refine)
        assert bool((value <= whole + 1e-12).all())
        i, j, weight = pieces(nodes, n, m)
        along = (weight * (q0 @ q1.mT)[torch.arange(6)[:, None], i, j]).sum(1)
        assert torch.allclose(along, value, rtol=1e-12)
    assert torch.equal(value, whole)
    # a path along the diagonal is found at every level
    diagonal, _ = best_path(q0, q0, torch.tensor([n, n]).expand(6, 2), 5, None, 1)
    assert torch.allclose(diagonal, q0.square().sum((1, 2)), rtol=1e-12)


@pytest.mark.parametrize(("n", "m", "band"), [(1, 2, None), (4, 4, None), (5, 3, None), (5, 5, 1)])
@pytest.mark.parametrize("smoothing", [0.05, 2.0])
def test_soft_value_and_gradient_against_all_paths(n, m, band, smoothing):
    gram = random_gram(n, m, seed=2).requires_grad_()
    value = soft(gram, 3, band, smoothing)
    paths = all_paths(gram.detach()[0].numpy(), 3, band) / smoothing
    wanted = smoothing * (paths.max() + np.log(np.exp(paths - paths.max()).sum()))
    assert value.item() == pytest.approx(wanted, abs=1e-12)
    assert torch.autograd.gradcheck(lambda g: soft(g, 3, band, smoothing), gram)


def test_soft_values_of_ragged_batches():
    gram = random_gram(9, 7, batch=3, seed=3).requires_grad_()
    cells = torch.tensor([[9, 7], [4, 6], [2, 2]])
    value = soft(gram, 4, None, 0.3, cells)
    for k, (n, m) in enumerate(cells.tolist()):
        alone = soft(gram[k : k + 1, :n, :m], 4, None, 0.3)
        assert value[k].item() == pytest.approx(alone.item(), abs=1e-12)
    assert torch.autograd.gradcheck(lambda g: soft(g, 4, None, 0.3, cells), gram)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_soft_value_tends_to_the_hard_one(dtype):
    gram = random_gram(12, 10, batch=4, dtype=dtype).requires_grad_()
    hard, nodes = best(gram.detach(), 4)
    i, j, weight = pieces(nodes, 12, 10)
    hard_grad = torch.zeros_like(gram).index_put((torch.arange(4)[:, None], i, j), weight.to(dtype), accumulate=True)
    gaps = []
    for smoothing in (1.0, 0.1, 1e-2, 1e-4):
        value = soft(gram, 4, smoothing=smoothing)
        gaps.append((value - hard).min().item())
        (grad,) = torch.autograd.grad(value.sum(), gram)
        assert bool(grad.isfinite().all())
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert gaps[0] > gaps[1] > gaps[2] > -tolerance
    assert (value - hard).abs().max() < 1e-3
    # one path carries all the weight, unless another comes within gamma
    assert (grad - hard_grad).abs().amax((1, 2)).median() < 1e-3


def test_exponential_of_the_soft_value_is_a_positive_definite_kernel():
    generator = torch.Generator().manual_seed(0)
    curves = [0.7 * torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in (2, 2, 3, 3, 4, 4, 5, 5)]
    values = [[soft((q @ r.T)[None], 3, smoothing=0.8).item() for q in curves] for r in curves]
    eigenvalues = np.linalg.eigvalsh(np.exp(np.array(values) / 0.8))
    assert eigenvalues[0] > 0


def test_blocks_do_not_change_soft_values(monkeypatch):
    gram = random_gram(15, 15, batch=20).requires_grad_()
    whole = soft(gram, 4, smoothing=0.3)
    (grad,) = torch.autograd.grad(whole.sum(), gram)
    monkeypatch.setattr(dynamic_programming, "CPU_ROW_BYTES", 0)
    assert dynamic_programming.pairs_per_block(gram, 4) == 8
    parts = soft(gram, 4, smoothing=0.3)
    assert torch.allclose(whole, parts, rtol=1e-14)
    assert torch.allclose(torch.autograd.grad(parts.sum(), gram)[0], grad, rtol=1e-12, atol=1e-14)


def test_threads_do_not_change_values_or_paths(monkeypatch):
    gram = random_gram(30, 30, batch=7)
    value, nodes = best(gram, 4)
    monkeypatch.setattr(operators, "CELLS_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    again, path = best(gram, 4)
    assert torch.equal(value, again)
    assert torch.equal(nodes, path)


@pytest.mark.parametrize("solver", [best, in_torch])
def test_paths_step_by_the_segments_and_attain_the_value(solver):
    n, m, batch, slopes = 11, 14, 5, 4
    gram = random_gram(n, m, batch, seed=9)
    value, paths = solver(gram, slopes)
    i, j, weight = pieces(paths, n, m)
    for k in range(batch):
        nodes = paths[k].tolist()
        assert nodes[0] == [n, m]
        assert nodes[-1] == [0, 0]
        total = 0.0
        for (row, column), (before_i, before_j) in pairwise(nodes):
            if (row, column) != (0, 0):
                assert 1 <= row - before_i <= slopes
                assert 1 <= column - before_j <= slopes
                total += segment_value(gram[k].numpy(), row, column, row - before_i, column - before_j)
        assert total == pytest.approx(value[k].item(), abs=1e-12)
        assert (weight[k] * gram[k, i[k], j[k]]).sum().item() == pytest.approx(total, abs=1e-12)


def test_no_path_is_an_error():
    for solver in (best, lambda gram, slopes, band=None: soft(gram, slopes, band, 0.1)):
        for n, m in [(2, 9), (9, 2)]:
            with pytest.raises(InputError, match=r"^slopes: 4 .* at least 5$"):
                solver(random_gram(n, m), 4)
            solver(random_gram(n, m), 5)
        with pytest.raises(InputError, match=r"^band: .* 9 x 7"):
            solver(random_gram(9, 7), 4, 0)


def test_an_empty_batch():
    gram = torch.zeros(0, 5, 5, requires_grad=True)
    value, nodes = best(gram.detach(), 3)
    assert value.shape == (0,)
    assert nodes.shape == (0, 6, 2)
    value = soft(gram, 3, smoothing=0.1)
    assert value.shape == (0,)
    assert torch.autograd.grad(value.sum(), gram)[0].shape == gram.shape


def test_operators_keep_their_promises_to_torch():
    q0, q1 = random_pair(8, 7, batch=3)
    cells = torch.tensor([[8, 7], [5, 6], [2, 2]])
    torch.library.opcheck(best_path, (q0, q1, cells, 4, None, 3))
    torch.library.opcheck(best_value, (q0, q1, cells, 4, 5.0, None))
    gram = (q0 @ q1.mT).requires_grad_()
    torch.library.opcheck(soft_path._soft, (gram, cells, 4, None, 0.5))


def test_the_kernel_is_compiled_once_for_each_dtype():
    for dtype in (torch.float32, torch.float64):
        for band, refine in ((None, None), (9, None), (None, 3)):
            best(random_gram(30, 30, dtype=dtype), 4, band, refine)
    assert len(sweep.solve.signatures) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu():
    gram = random_gram(20, 17, batch=6)
    value, nodes = best(gram, 5, 8)
    on_cuda, path = best(gram.cuda(), 5, 8)
    assert torch.allclose(value, on_cuda.cpu(), rtol=1e-12)
    assert torch.equal(nodes, path.cpu())
    results = []
    for device in ("cpu", "cuda"):
        at = gram.to(device).requires_grad_()
        value = soft(at, 5, 8, 0.1)
        results.append((value.detach().cpu(), torch.autograd.grad(value.sum(), at)[0].cpu()))
    for on_cpu, on_cuda in zip(*results, strict=True):
        assert torch.allclose(on_cpu, on_cuda, rtol=1e-12, atol=1e-13)
