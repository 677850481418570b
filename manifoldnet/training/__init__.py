"""Finding parameters: the training loop and files of weights."""

from manifoldnet.training.fit import fit, riemannian_sgd
from manifoldnet.training.weights import load_weights, save_weights

__all__ = ["fit", "load_weights", "riemannian_sgd", "save_weights"]
