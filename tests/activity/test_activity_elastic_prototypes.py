"""Learned pieces of movement and the learned inner product."""

import numpy as np
import pytest
import torch
from window_examples import windows

from manifoldnet.activity.elastic_prototypes import ElasticPrototypeClassifier, ElasticPrototypeNetwork
from manifoldnet.activity.windows import mirror

OPTIONS = {"cells": 24, "length": 10, "stride": 7, "per_class": 2, "batch": 18, "steps": 25, "lr": 0.1}


@pytest.fixture(scope="module")
def fitted():
    X, y, who, _ = windows(36, 0)
    return ElasticPrototypeClassifier(**OPTIONS).fit(X, y, who)


def test_it_learns_and_knows_strangers(fitted):
    X, y, who, _ = windows(60, 1)
    X, y = X[who >= 6], y[who >= 6]
    assert np.mean(fitted.losses_[-5:]) < 0.7 * np.mean(fitted.losses_[:3])
    assert np.mean(fitted.predict(X) == y) >= 0.8


def test_the_inner_product_moved_and_is_one(fitted):
    metric = fitted.network_.metric.detach()
    torch.testing.assert_close(metric, metric.T)
    assert torch.linalg.eigvalsh(metric).min() > 0
    assert (metric - torch.eye(9)).abs().max() > 0.01


def test_a_mirror_image_has_the_same_answer(fitted):
    X = windows(6, 2)[0]
    np.testing.assert_allclose(fitted.predict_proba(mirror(X)), fitted.predict_proba(X), atol=1e-5)


def test_a_restored_one_answers_the_same(fitted):
    X = windows(6, 3)[0]
    again = ElasticPrototypeClassifier(**fitted.get_params()).restore(fitted.classes_, fitted.tensors())
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_gradients_agree_with_finite_differences():
    g = torch.Generator().manual_seed(0)
    q = torch.randn(2, 8, 3, generator=g).double()
    network = ElasticPrototypeNetwork(torch.randn(2, 5, 3, generator=g), torch.tensor([0, 1]), 2, 3, 2).double()
    network(q)[0, 0].backward()
    h, place = 1e-6, network.prototypes.data.view(-1)
    for index in (0, 7, 20):
        values = []
        for sign in (1, -1):
            place[index] += sign * h
            values.append(float(network(q)[0, 0].detach()))
            place[index] -= sign * h
        assert network.prototypes.grad.view(-1)[index].item() == pytest.approx(
            (values[0] - values[1]) / (2 * h), abs=1e-5
        )
