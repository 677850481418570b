"""Tuning and running the methods of a table."""

import pytest
import torch

from manifoldnet.dti import evaluate
from manifoldnet.dti.baselines import euclidean_gaussian, log_euclidean_gaussian
from manifoldnet.dti.methods import METHODS, Method, Tuned, networks, results, tune
from manifoldnet.dti.metrics import distance_to_truth
from manifoldnet.dti.model import DtiDenoiser, denoise
from manifoldnet.dti.protocol import TUNING, splits

SIGMAS = [{"sigma": sigma} for sigma in (0.0, 0.6, 3.0)]
FIRST = Method("first", "tensors", lambda case, sigma: euclidean_gaussian(case.noisy, case.mask, sigma), SIGMAS)
SECOND = Method(
    "second", "tensors", lambda case, sigma: log_euclidean_gaussian(case.noisy, case.mask, sigma), SIGMAS, after="first"
)


@pytest.fixture(scope="module")
def case():
    (one,) = evaluate.phantom_cases(1, 12, 8.0, 3, evaluate.TEST)
    return one


def error(tensors, case):
    return float(distance_to_truth(tensors[case.mask], case.reference[case.mask]).mean())


def test_tune_takes_the_least_distance(case):
    first, second = tune([FIRST, SECOND], [case])
    errors = [error(euclidean_gaussian(case.noisy, case.mask, p["sigma"]), case) for p in SIGMAS]
    assert first.parameters == SIGMAS[errors.index(min(errors))]
    assert first.parameters["sigma"] > 0
    given = euclidean_gaussian(case.noisy, case.mask, first.parameters["sigma"])
    errors = [error(log_euclidean_gaussian(given, case.mask, p["sigma"]), case) for p in SIGMAS]
    assert second.parameters == SIGMAS[errors.index(min(errors))]
    assert second.before is first


def test_a_method_after_another_has_its_output_for_input(case):
    first = Tuned(FIRST, {"sigma": 0.6})
    out = results([first, Tuned(SECOND, {"sigma": 0.5}, first)], case)
    smooth = euclidean_gaussian(case.noisy, case.mask, 0.6)
    assert torch.equal(out["first"].tensors[case.mask], smooth[case.mask])
    expected = log_euclidean_gaussian(smooth, case.mask, 0.5)
    assert torch.equal(out["second"].tensors[case.mask], expected[case.mask])
    assert out["second"].seconds > out["first"].seconds > 0


def test_networks_are_the_public_denoiser(case):
    config = {"members": 1, "width": 4, "embedding": 2, "radius2": 1}
    model = DtiDenoiser(config, torch.Generator().manual_seed(0)).eval()
    alone, both = networks(model)
    assert (alone.sees, both.sees) == ("tensors", "signals")
    given = 1e-3 * case.noisy
    for method, parts in ((alone, ()), (both, (case.signals, case.bvals, case.bvecs))):
        expected = denoise(given, case.mask, *parts, model=model, directions=evaluate.DIRECTIONS)
        torch.testing.assert_close(method.run(case)[case.mask], 1e3 * expected[case.mask])


def test_labels():
    assert FIRST.label({"sigma": 0.6}) == "first, sigma 0.6"
    assert Method("x", "tensors", lambda case: case.noisy).label({}) == "x"


@pytest.mark.parametrize("method", [m for m in METHODS if len(m.grid) > 1], ids=lambda m: m.name)
def test_chosen_parameters_are_in_the_grid(method):
    assert method.chosen in method.grid


@pytest.mark.slow
def test_chosen_parameters_are_the_best_on_training_slices():
    cases = next(splits(TUNING, [0]))
    methods = [method for method in METHODS if not method.name.startswith("affine-invariant")]  # minutes
    for tuned in tune(methods, cases):
        assert tuned.parameters == tuned.method.chosen
