"""Finding parameters: the training loop, optimisers on manifolds and with structure, optimal control; weights."""

from manifoldnet.training.bregman import BregmanDescent
from manifoldnet.training.callbacks import Callback, EarlyStopping, TensorBoard, Training
from manifoldnet.training.config import read_config
from manifoldnet.training.conformal import ConformalDescent
from manifoldnet.training.discrete_gradient_descent import DiscreteGradientDescent
from manifoldnet.training.discrete_weights import DiscreteMSA
from manifoldnet.training.fit import fit, riemannian_sgd
from manifoldnet.training.gauss_newton import GaussNewton
from manifoldnet.training.gradient_gap import gradient_gap
from manifoldnet.training.hamiltonian_descent import HamiltonianDescent
from manifoldnet.training.itoh_abe import ItohAbeDescent
from manifoldnet.training.line_search import RiemannianLineSearch
from manifoldnet.training.msa import msa
from manifoldnet.training.multilevel import fit_multilevel, prolong
from manifoldnet.training.pontryagin import certify_extremal
from manifoldnet.training.regularisers import time_smoothness
from manifoldnet.training.riemannian_adam import RiemannianAdam
from manifoldnet.training.riemannian_sgd import RiemannianSGD
from manifoldnet.training.saved import SavedModel
from manifoldnet.training.shooting import solve_pontryagin
from manifoldnet.training.weights import load_weights, save_weights

__all__ = [
    "BregmanDescent",
    "Callback",
    "ConformalDescent",
    "DiscreteGradientDescent",
    "DiscreteMSA",
    "EarlyStopping",
    "GaussNewton",
    "HamiltonianDescent",
    "ItohAbeDescent",
    "RiemannianAdam",
    "RiemannianLineSearch",
    "RiemannianSGD",
    "SavedModel",
    "TensorBoard",
    "Training",
    "certify_extremal",
    "fit",
    "fit_multilevel",
    "gradient_gap",
    "load_weights",
    "msa",
    "prolong",
    "read_config",
    "riemannian_sgd",
    "save_weights",
    "solve_pontryagin",
    "time_smoothness",
]
