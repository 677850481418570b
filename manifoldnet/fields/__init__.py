"""Structured vector fields: modules f(t, y) -> generator, which declare what they preserve and their constants."""

from collections.abc import Callable
from functools import partial

from torch import nn

from manifoldnet.fields.activations import ACTIVATIONS, Activation, leaky_relu, strong
from manifoldnet.fields.coupled_phases import CoupledPhases
from manifoldnet.fields.divergence_free import DivergenceFree
from manifoldnet.fields.extended import ExtendedHamiltonian
from manifoldnet.fields.geodesic_step import geodesic_step_bound, space_step_bound
from manifoldnet.fields.gradient import GradientField, GradientFieldConv2d, ParabolicField, ParabolicFieldConv2d
from manifoldnet.fields.haber_ruthotto import HaberRuthotto, HaberRuthottoConv2d
from manifoldnet.fields.hamiltonian import (
    HDNN,
    DampedHamiltonianField,
    DampedHamiltonianFieldConv2d,
    HamiltonianField,
    HamiltonianFieldConv2d,
    HDNNConv2d,
    HyperbolicField,
    HyperbolicFieldConv2d,
)
from manifoldnet.fields.hopfield import Hopfield, HopfieldConv2d
from manifoldnet.fields.in_time import InTime
from manifoldnet.fields.layer_field import Constant, LayerField
from manifoldnet.fields.linear_maps import ConvolutionMaps, DenseMaps, LinearMaps
from manifoldnet.fields.manifold_gradient_flow import ManifoldGradientFlow
from manifoldnet.fields.manifold_hamiltonian import ManifoldHamiltonian, standard_map
from manifoldnet.fields.projected import ProjectedField, ProjectedFieldConv2d
from manifoldnet.fields.resnet import ResNetField, ResNetFieldConv2d
from manifoldnet.fields.skew_dissipative import SkewDissipative, SkewDissipativeConv2d
from manifoldnet.fields.tangent import TangentField, from_tangent

# one of every kind, made from the number of features (or of positions, or channels): the law tests run over all of them
FIELDS: dict[str, Callable[..., nn.Module]] = {
    "resnet": ResNetField,
    "skew-dissipative": SkewDissipative,
    "skew-damped": partial(SkewDissipative, gamma=0.3),
    "gradient": GradientField,
    "gradient-strong": partial(GradientField, activation="strong"),
    "parabolic": ParabolicField,
    "projected": ProjectedField,
    "projected-non-negative": partial(ProjectedField, kind="non-negative"),
    "projected-general": partial(ProjectedField, kind="general"),
    "hopfield": Hopfield,
    "hamiltonian": HamiltonianField,
    "hyperbolic": HyperbolicField,
    "damped-hamiltonian": DampedHamiltonianField,
    "h-dnn": HDNN,
    "haber-ruthotto": HaberRuthotto,
    "divergence-free-shears": DivergenceFree,
    "divergence-free-pairs": partial(DivergenceFree, kind="pairs"),
    "divergence-free-skew": partial(DivergenceFree, kind="skew"),
}
FIELDS_OF_IMAGES: dict[str, Callable[..., nn.Module]] = {
    "resnet": ResNetFieldConv2d,
    "skew-dissipative": SkewDissipativeConv2d,
    "gradient": GradientFieldConv2d,
    "parabolic": ParabolicFieldConv2d,
    "projected": ProjectedFieldConv2d,
    "projected-general": partial(ProjectedFieldConv2d, kind="general"),
    "hopfield": HopfieldConv2d,
    "hamiltonian": HamiltonianFieldConv2d,
    "hyperbolic": HyperbolicFieldConv2d,
    "damped-hamiltonian": DampedHamiltonianFieldConv2d,
    "h-dnn": HDNNConv2d,
    "haber-ruthotto": HaberRuthottoConv2d,
}

__all__ = [
    "ACTIVATIONS",
    "FIELDS",
    "FIELDS_OF_IMAGES",
    "HDNN",
    "Activation",
    "Constant",
    "ConvolutionMaps",
    "CoupledPhases",
    "DampedHamiltonianField",
    "DampedHamiltonianFieldConv2d",
    "DenseMaps",
    "DivergenceFree",
    "ExtendedHamiltonian",
    "GradientField",
    "GradientFieldConv2d",
    "HDNNConv2d",
    "HaberRuthotto",
    "HaberRuthottoConv2d",
    "HamiltonianField",
    "HamiltonianFieldConv2d",
    "Hopfield",
    "HopfieldConv2d",
    "HyperbolicField",
    "HyperbolicFieldConv2d",
    "InTime",
    "LayerField",
    "LinearMaps",
    "ManifoldGradientFlow",
    "ManifoldHamiltonian",
    "ParabolicField",
    "ParabolicFieldConv2d",
    "ProjectedField",
    "ProjectedFieldConv2d",
    "ResNetField",
    "ResNetFieldConv2d",
    "SkewDissipative",
    "SkewDissipativeConv2d",
    "TangentField",
    "from_tangent",
    "geodesic_step_bound",
    "leaky_relu",
    "space_step_bound",
    "standard_map",
    "strong",
]
