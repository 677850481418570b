"""Finding parameters: the training loop, its configurations and files of weights."""

from manifoldnet.training.config import read_config
from manifoldnet.training.fit import fit, riemannian_sgd
from manifoldnet.training.weights import load_weights, save_weights

__all__ = ["fit", "load_weights", "read_config", "riemannian_sgd", "save_weights"]
