"""The same operations by other packages, each in its fastest correct form; a package that is absent is left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version

import torch
from torch import Tensor

Operation = Callable[..., Tensor]


def load() -> tuple[dict[str, str], list[str]]:
    """Versions of the peers that can be imported, and the names of those that cannot with the reason."""
    found: dict[str, str] = {}
    missing: list[str] = []
    os.environ["GEOMSTATS_BACKEND"] = "pytorch"
    before = torch.get_default_dtype()
    for name in ADAPTERS:
        try:
            import_module(name)
            found[name] = version(name)
        except Exception as error:  # geomstats with a newer numpy raises AttributeError
            missing.append(f"{name} ({error})")
    # geomstats' torch backend changes the default type of every tensor that is made later
    torch.set_default_dtype(before)
    return found, missing


def operations(packages: dict[str, str]) -> dict[str, dict[str, Operation]]:
    """Operation -> peer -> function. ``torch.linalg`` is what a skilled user composes from it by hand."""
    table: dict[str, dict[str, Operation]] = {
        "eigh": {"torch.linalg": lambda x: torch.linalg.eigh(x)[0]},
        "logm": {"torch.linalg": lambda x: _spectral(x, torch.log)},
        "expm": {"torch.linalg": lambda x: _spectral(x, torch.exp), "torch.matrix_exp": torch.matrix_exp},
        "sqrtm": {"torch.linalg": lambda x: _spectral(x, torch.sqrt)},
        "expmap": {
            "torch.linalg": _expmap,
            "torch.matrix_exp": lambda x, u: torch.matrix_exp(torch.linalg.solve(x, u, left=False)) @ x,
        },
        "logmap": {"torch.linalg": _logmap},
        "dist": {"torch.linalg": _dist},
        "so3 exp": {"torch.matrix_exp": lambda v: torch.matrix_exp(_hat(v))},
        "so3 log": {},
    }
    for name in packages:
        for operation, function in ADAPTERS[name]().items():
            table[operation][name] = function
    return table


def _spectral(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    values, v = torch.linalg.eigh(x)
    return (v * f(values)[..., None, :]) @ v.mT


def _hat(v: Tensor) -> Tensor:
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


def _whiten(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    # for batches of 3x3 the inverse and two products take less time than two triangular solves
    factor = torch.linalg.cholesky(x)
    inverse = torch.linalg.inv(factor)
    return factor, inverse @ y @ inverse.mT


def _expmap(x: Tensor, u: Tensor) -> Tensor:
    factor, w = _whiten(x, u)
    return factor @ _spectral(w, torch.exp) @ factor.mT


def _logmap(x: Tensor, y: Tensor) -> Tensor:
    factor, w = _whiten(x, y)
    return factor @ _spectral(w, torch.log) @ factor.mT


def _dist(x: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(_whiten(x, y)[1]).log().square().sum(-1).sqrt()


def _geoopt() -> dict[str, Operation]:
    import geoopt

    space = geoopt.SymmetricPositiveDefinite()
    symmetric = geoopt.linalg
    return {
        "logm": symmetric.sym_logm,
        "expm": symmetric.sym_expm,
        "sqrtm": symmetric.sym_sqrtm,
        "expmap": space.expmap,
        "logmap": space.logmap,
        "dist": space.dist,
    }


def _geomstats() -> dict[str, Operation]:
    from geomstats.geometry.hermitian_matrices import expmh, powermh
    from geomstats.geometry.spd_matrices import SPDAffineMetric, SPDMatrices, logmh
    from geomstats.geometry.special_orthogonal import SpecialOrthogonal

    space = SPDMatrices(3, equip=False)
    space.equip_with_metric(SPDAffineMetric)
    rotations = SpecialOrthogonal(3, point_type="vector", equip=False)
    return {
        "logm": logmh,
        "expm": expmh,
        "sqrtm": lambda x: powermh(x, 0.5),
        "expmap": lambda x, u: space.metric.exp(u, x),
        "logmap": lambda x, y: space.metric.log(y, x),
        "dist": space.metric.dist,
        "so3 exp": rotations.matrix_from_rotation_vector,
        "so3 log": rotations.rotation_vector_from_matrix,
    }


def _spd_learn() -> dict[str, Operation]:
    import spd_learn.functional as f

    return {
        "logm": f.matrix_log.apply,
        "expm": f.matrix_exp.apply,
        "sqrtm": f.matrix_sqrt.apply,
        "expmap": f.exp_map_airm,
        "logmap": f.log_map_airm,
        "dist": f.airm_distance,
    }


def _pyriemann() -> dict[str, Operation]:
    from pyriemann.utils.base import expm, logm, sqrtm
    from pyriemann.utils.distance import distance_riemann
    from pyriemann.utils.tangentspace import exp_map_riemann, log_map_riemann

    return {
        "logm": logm,
        "expm": expm,
        "sqrtm": sqrtm,
        "expmap": lambda x, u: exp_map_riemann(u, x, Cm12=True),
        "logmap": lambda x, y: log_map_riemann(y, x, C12=True),
        "dist": distance_riemann,
    }


def _pypose() -> dict[str, Operation]:
    import pypose

    return {
        "so3 exp": lambda v: pypose.so3(v).Exp().matrix(),
        "so3 log": lambda r: pypose.mat2SO3(r, check=False).Log().tensor(),
    }


def _roma() -> dict[str, Operation]:
    import roma

    return {"so3 exp": roma.rotvec_to_rotmat, "so3 log": roma.rotmat_to_rotvec}


def _scipy() -> dict[str, Operation]:
    from scipy.spatial.transform import Rotation

    return {
        "so3 exp": lambda v: torch.from_numpy(Rotation.from_rotvec(v.detach().numpy()).as_matrix()),
        "so3 log": lambda r: torch.from_numpy(Rotation.from_matrix(r.detach().numpy()).as_rotvec()),
    }


ADAPTERS: dict[str, Callable[[], dict[str, Operation]]] = {
    "geoopt": _geoopt,
    "geomstats": _geomstats,
    "spd_learn": _spd_learn,
    "pyriemann": _pyriemann,
    "pypose": _pypose,
    "roma": _roma,
    "scipy": _scipy,
}
