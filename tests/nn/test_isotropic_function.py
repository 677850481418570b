import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from manifoldnet.linalg import sym_from_vector, sym_to_vector
from manifoldnet.nn.isotropic_function import IsotropicFunction, shape_of, trace_and_deviator

F64 = torch.float64


def volume(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 6, 3, 4, 5, dtype=F64, generator=generator)


def layer():
    out = IsotropicFunction(7, torch.Generator().manual_seed(1)).double()
    torch.nn.init.normal_(out.coefficients.weight, generator=torch.Generator().manual_seed(2))
    return out


def features():
    return torch.randn(2, 7, 3, 4, 5, dtype=F64, generator=torch.Generator().manual_seed(3))


def matrices(logs):
    return sym_from_vector(logs.movedim(1, -1))


def test_it_commutes_with_every_rotation_and_moves_something():
    logs, seen, rough = volume(), features(), torch.rand(2, 1, 3, 4, 5, dtype=F64)
    turn = torch.from_numpy(Rotation.random(rng=np.random.default_rng(0)).as_matrix())
    turned = sym_to_vector(turn @ matrices(logs) @ turn.T).movedim(-1, 1)
    first, second = (matrices(layer()(x, seen, rough)) for x in (logs, turned))
    torch.testing.assert_close(turn @ first @ turn.T, second, rtol=1e-12, atol=1e-12)
    assert (first - matrices(logs)).abs().max() > 0.1


def test_eigenvectors_stay():
    logs = volume()
    before, after = matrices(logs), matrices(layer()(logs, features(), torch.ones(2, 1, 3, 4, 5, dtype=F64)))
    torch.testing.assert_close(before @ after, after @ before, rtol=0, atol=1e-12)


def test_a_factor_on_the_tensors_goes_through():
    """It adds a multiple of the identity to the logarithms."""
    logs, rough = volume(), torch.ones(2, 1, 3, 4, 5, dtype=F64)
    scaled = logs + 3.0 * torch.tensor([1.0, 0, 1, 0, 0, 1], dtype=F64)[:, None, None, None]
    first, second = (layer()(x, features(), rough) for x in (logs, scaled))
    torch.testing.assert_close(second - first, scaled - logs, rtol=1e-12, atol=1e-12)


def test_nothing_moves_without_roughness():
    logs = volume()
    assert torch.equal(layer()(logs, features(), torch.zeros(2, 1, 3, 4, 5, dtype=F64)), logs)


def test_shapes_are_those_of_eigenvalues():
    trace, deviator = trace_and_deviator(volume())
    torch.testing.assert_close(trace + deviator, volume())
    values = torch.linalg.eigvalsh(matrices(deviator))
    size, shape, squares = shape_of(deviator)
    assert values.sum(-1).abs().max() < 1e-12
    torch.testing.assert_close(size[:, 0], values.norm(dim=-1))
    torch.testing.assert_close(shape[:, 0] ** 3, values.prod(-1), rtol=1e-4, atol=2e-6)
    torch.testing.assert_close(torch.linalg.eigvalsh(squares), values.square().sort(-1).values)


@pytest.mark.parametrize("where", ["isotropic", "two equal eigenvalues"])
def test_gradients_are_finite_where_eigenvalues_coincide(where):
    diagonal = torch.tensor([1.0, 1, 1] if where == "isotropic" else [1.0, 1, -2], dtype=F64)
    logs = sym_to_vector(torch.diag(diagonal))[None, :, None, None, None].repeat(2, 1, 3, 4, 5).requires_grad_()
    layer()(logs, features(), torch.ones(2, 1, 3, 4, 5, dtype=F64)).square().sum().backward()
    assert logs.grad.isfinite().all()
