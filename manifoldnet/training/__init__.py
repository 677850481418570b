"""Finding parameters: the training loop, its configurations and files of weights."""

from manifoldnet.training.config import read_config
from manifoldnet.training.fit import fit, riemannian_sgd
from manifoldnet.training.saved import SavedModel
from manifoldnet.training.weights import load_weights, save_weights

__all__ = ["SavedModel", "fit", "load_weights", "read_config", "riemannian_sgd", "save_weights"]
