import math
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC

from manifoldnet.curves import elastic_distance, kernels
from manifoldnet.curves.kernels import alignment_kernel, elastic_kernel
from manifoldnet.errors import InputError


def random_transforms(lengths, dim=2, seed=0, size=1.0):
    rng = np.random.default_rng(seed)
    return [size * rng.normal(0, 1, (n, dim)) / np.sqrt(n * dim) for n in lengths]


def cuts(n, slopes):
    """All ways to write n as an ordered sum of parts of at most ``slopes``."""
    if n == 0:
        yield ()
    for part in range(1, min(n, slopes) + 1):
        for rest in cuts(n - part, slopes):
            yield (part, *rest)


def segment_product(x, y):
    """The integral of <x, y> of step functions stretched to [0, sqrt(ab)], a and b their numbers of cells."""
    a, b = len(x), len(y)
    times = sorted({i / a for i in range(a + 1)} | {j / b for j in range(b + 1)})
    return math.sqrt(a * b) * sum(
        (end - begin) * (x[int((begin + end) / 2 * a)] @ y[int((begin + end) / 2 * b)])
        for begin, end in pairwise(times)
    )


def all_alignments(x, y, gamma, slopes):
    """The sum over all pairs of cuts into equally many segments of exp(sum of products of segments / gamma)."""
    total = 0.0
    for first, second in product(cuts(len(x), slopes), cuts(len(y), slopes)):
        if len(first) == len(second):
            i, j = np.cumsum((0, *first)), np.cumsum((0, *second))
            pieces = zip(pairwise(i), pairwise(j), strict=True)
            total += math.exp(sum(segment_product(x[slice(*u)], y[slice(*w)]) for u, w in pieces) / gamma)
    return total


@pytest.mark.parametrize(("gamma", "slopes"), [(0.3, 4), (1.0, 3), (50.0, 2)])
def test_alignment_kernel_sums_over_all_alignments(gamma, slopes):
    qs = random_transforms([3, 4, 5, 3])
    raw = np.array([[all_alignments(x, y, gamma, slopes) for y in qs] for x in qs])
    root = np.sqrt(raw.diagonal())
    np.testing.assert_allclose(alignment_kernel(qs, None, gamma, slopes), raw / np.outer(root, root), rtol=1e-9)


@pytest.mark.parametrize(("n", "dim"), [(4, 1), (6, 2), (10, 3)])
def test_alignment_kernel_is_positive_definite_where_the_other_is_not(n, dim):
    qs = random_transforms([n] * 60, dim)
    least = [np.linalg.eigvalsh(alignment_kernel(qs, smoothing=gamma)).min() for gamma in (0.1, 1, 10)]
    assert min(least) > -1e-13
    assert max(least) > 1e-4
    assert min(np.linalg.eigvalsh(elastic_kernel(qs, gamma=gamma)).min() for gamma in (0.01, 0.1, 0.3, 1)) < -1e-3


def test_ragged_collections_are_positive_definite():
    qs = random_transforms(np.random.default_rng(0).integers(6, 14, 40))
    assert np.linalg.eigvalsh(alignment_kernel(qs, smoothing=0.2)).min() > 0


@pytest.mark.parametrize("entries", [1, 2000, 2**22])
def test_kernels_against_single_pairs(entries, monkeypatch):
    monkeypatch.setattr(kernels, "GRAM_ENTRIES", entries)
    qs, others = random_transforms([8, 10, 9, 10]), random_transforms([9, 8], seed=1)
    for left, right in ((qs, others), (qs, None)):
        pairs = [[tuple(map(torch.from_numpy, (x, y))) for y in (qs if right is None else right)] for x in left]
        hard = [[math.exp(-0.7 * elastic_distance(x, y, 4) ** 2) for x, y in row] for row in pairs]
        soft = [[math.exp(-(elastic_distance(x, y, 4, smoothing=0.2) ** 2) / 0.4) for x, y in row] for row in pairs]
        np.testing.assert_allclose(elastic_kernel(left, right, 0.7), hard, rtol=1e-10)
        np.testing.assert_allclose(alignment_kernel(left, right, 0.2), soft, rtol=1e-10)
    narrow = elastic_kernel(qs, others, 0.7, band=0.5)
    assert (narrow <= elastic_kernel(qs, others, 0.7)).all()


@pytest.mark.parametrize("kernel", [elastic_kernel, alignment_kernel])
def test_diagonal_symmetry_and_type(kernel):
    qs = random_transforms([8, 10, 9])
    matrix = kernel([q.astype(np.float32) for q in qs])
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(matrix.diagonal(), 1)
    np.testing.assert_allclose(matrix, kernel(qs), rtol=1e-5)
    moving = [torch.from_numpy(q).requires_grad_() for q in qs]
    np.testing.assert_array_equal(kernel(moving), kernel(qs))
    still = kernel([np.zeros((8, 2)), qs[0]])
    assert np.isfinite(still).all()


def noisy_copies(count, seed):
    """Three transforms, cells repeated at random (what waiting and hurrying do), with noise; and which they are."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(count) % 3
    originals = random_transforms([6, 6, 6], 2, size=3.0)
    curves = []
    for kind in kinds:
        times = rng.integers(1, 4, 6)
        q = np.repeat(originals[kind] / np.sqrt(times)[:, None], times, 0)
        curves.append(q + rng.normal(0, 0.1, q.shape))
    return curves, kinds


@pytest.mark.parametrize("kernel", [elastic_kernel, alignment_kernel])
def test_machines_with_a_kernel_given_in_advance(kernel):
    (X, y), (unseen, truth) = noisy_copies(24, 0), noisy_copies(30, 1)
    matrix, across = kernel(X), kernel(unseen, X)
    assert SVC(kernel="precomputed").fit(matrix, y).score(across, truth) >= 0.9
    ridge = KernelRidge(0.01, kernel="precomputed").fit(matrix, np.eye(3)[y])
    assert (ridge.predict(across).argmax(1) == truth).mean() >= 0.9


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("qs", lambda: elastic_kernel([])),
        ("gamma", lambda: elastic_kernel(random_transforms([4, 4]), gamma=0.0)),
        ("smoothing", lambda: alignment_kernel(random_transforms([4, 4]), smoothing=-1.0)),
        (r"others\[1\]", lambda: alignment_kernel(random_transforms([4]), [np.ones((4, 2)), np.ones((4, 3))])),
        (r"others\[0\]", lambda: elastic_kernel(random_transforms([4]), [np.full((4, 2), np.inf)])),
        ("slopes", lambda: alignment_kernel(random_transforms([4, 9]), slopes=2)),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}"):
        call()
