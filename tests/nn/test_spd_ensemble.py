"""The mean of several networks: a Fréchet mean of their results, whatever they are, and one law of the error."""

import pytest
import torch
from test_spd_layers import F64, rng, small, volume

from manifoldnet import SPD
from manifoldnet.errors import InputError
from manifoldnet.linalg import sym_expm, sym_from_vector, sym_to_vector
from manifoldnet.nn import SPDAutoencoder, SPDEnsemble


@pytest.fixture
def ensemble():
    members = [SPDAutoencoder(width, 3, 2, generator=rng(width)).to(F64) for width in (4, 5, 6)]
    return SPDEnsemble(members).eval()


def test_the_mean_is_frechets(ensemble):
    given = volume(4, 5, 3)
    inside = given[1][0, 0]
    with torch.no_grad():
        results = [member(*given) for member in ensemble.members]
        mean = ensemble(*given)
    tensors = torch.stack([sym_expm(sym_from_vector(x.movedim(1, -1)[0][inside])) for x in results], 1)
    expected = SPD("log-euclidean", n=3).frechet_mean(tensors)
    found = sym_expm(sym_from_vector(mean.movedim(1, -1)[0][inside]))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert (mean[~given[1].expand_as(mean)] == 0).all()
    assert min(float((result - mean).abs().max()) for result in results) > 1e-3


def test_one_member_is_itself():
    model, given = small(), volume(4, 4, 4)
    torch.testing.assert_close(SPDEnsemble([model])(*given), model(*given), rtol=0, atol=0)


def test_turning_tensors_turns_the_mean(ensemble):
    """By a quarter turn of the grid about z that takes the tensors along."""
    logs, mask, sigma, count = volume(4, 4, 3)
    r = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=F64)

    def turned(x, tensors=False):
        x = torch.rot90(x, 1, (2, 3))
        if not tensors:
            return x
        return sym_to_vector(r @ sym_from_vector(x.movedim(1, -1)) @ r.mT).movedim(-1, 1)

    with torch.no_grad():
        expected = turned(ensemble(logs, mask, sigma, count), tensors=True)
        found = ensemble(turned(logs, tensors=True), turned(mask), turned(sigma), count)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_one_law_of_the_error(ensemble):
    features = torch.randn(2, 15, 3, 2, 2, dtype=F64, generator=rng(1))
    weight, bias = torch.randn(15, dtype=F64, generator=rng(2)), torch.tensor(-3.0, dtype=F64)
    assert ensemble.with_features(*volume(3, 4, 3))[1].shape == (1, 15, 3, 4, 3)
    ensemble.set_error(weight, bias)
    expected = torch.einsum("bcxyz,c->bxyz", features, weight)[:, None] + bias
    torch.testing.assert_close(ensemble.error(features), expected)


def test_members_of_other_neighbourhoods_are_refused():
    members = [SPDAutoencoder(4, 3, radius2, generator=rng()).to(F64) for radius2 in (1, 2)]
    with pytest.raises(InputError, match="same neighbourhood"):
        SPDEnsemble(members)(*volume(3, 3, 3))


@pytest.mark.parametrize("at_once", [None, 1, 17])
def test_what_members_share_is_what_each_finds(ensemble, at_once):
    """With both kinds of tensors, whose neighbours are found once for all."""
    logs, *others = volume(4, 5, 6)
    given = (logs, *others, logs + 0.1 * torch.randn(logs.shape, dtype=F64, generator=rng(3)))
    with torch.no_grad():
        mean, features = ensemble.with_features(*given, at_once)
        alone = [member.with_features(*given) for member in ensemble.members]
    torch.testing.assert_close(mean, torch.stack([out for out, _ in alone]).mean(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(features, torch.cat([seen for _, seen in alone], 1), rtol=0, atol=0)
