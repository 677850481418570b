"""Imports point downwards, and the package loads no file format or plot before it is asked to."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import manifoldnet

PACKAGE = Path(manifoldnet.__file__).parent
APPLICATIONS = ("insar", "dti", "activity")
# each layer may import those before it; parts of one layer do not know each other
LAYERS = [
    ("errors",),
    ("files", "arrays"),
    ("linalg",),
    ("manifolds",),
    ("integrators",),
    ("fields",),
    ("certificates", "curves"),
    ("nn",),
    ("training",),
    ("data",),
    APPLICATIONS,
    ("evaluate", "demo"),
    ("cli",),
]
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported_parts(tree):
    """First names below the package of every import in the tree, those inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names = alias.name.split(".")
                if names[0] == "manifoldnet":
                    yield names[1] if len(names) > 1 else "manifoldnet"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names = (node.module or "").split(".")
            if names == ["manifoldnet"]:
                yield from (alias.name for alias in node.names)
            elif names[0] == "manifoldnet":
                yield names[1]


def breaches(part, source):
    """The imports in a file of ``part`` that do not point downwards."""
    allowed = {other for other, rank in RANK.items() if rank < RANK[part]} | {part}
    return [name for name in imported_parts(ast.parse(source)) if name not in allowed]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part == "__init__":  # the package itself gathers the public names
        return
    assert part in RANK, f"{part} has no place among the layers of this test"
    assert breaches(part, path.read_text()) == []


def test_the_order_can_be_broken():
    assert breaches("linalg", "from manifoldnet.manifolds import SO3") == ["manifolds"]
    assert breaches("dti", "def f():\n    from manifoldnet.insar.io import read") == ["insar"]
    assert breaches("curves", "from manifoldnet import nn, linalg") == ["nn"]
    assert breaches("errors", "import manifoldnet.files") == ["files"]
    assert breaches("cli", "from manifoldnet import insar, dti\nimport numpy") == []
    with pytest.raises(AssertionError, match="relative"):
        breaches("dti", "from . import io")


def test_there_is_something_to_check():
    assert {"linalg", "manifolds", "integrators", "fields", "nn", *APPLICATIONS} <= {p.parent.name for p in FILES}


def loaded_by(statement):
    """Names of all modules in a fresh interpreter after the statement."""
    program = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_the_package_loads_no_file_format_and_no_plot():
    loaded = loaded_by("import manifoldnet")
    assert "torch" in loaded
    assert not loaded & {"rasterio", "dipy", "nibabel", "matplotlib", "sklearn", "accelerate", "geomstats"}
    assert not {name for name in loaded if name.split(".")[:2] in (["manifoldnet", a] for a in APPLICATIONS)}


def test_lazy_parts_are_there():
    loaded = loaded_by("import manifoldnet as mn; assert 'insar' in dir(mn); mn.insar, mn.training")
    assert {"manifoldnet.insar", "manifoldnet.training"} <= loaded
    with pytest.raises(AttributeError, match="nothing"):
        _ = manifoldnet.nothing


def test_importing_the_package_changes_no_global():
    """Default type, random state, threads and printing of torch and numpy stay as they were."""
    program = """
import numpy as np, torch
def state():
    random = torch.get_rng_state().sum().item(), np.random.get_state()[1].sum()
    return (*random, torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(), str(np.get_printoptions()))
before = state()
import manifoldnet, manifoldnet.training, manifoldnet.cli
assert state() == before, (before, state())
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_public_names_of_the_applications_come_with_the_package():
    assert callable(manifoldnet.insar.denoise)
    assert callable(manifoldnet.dti.denoise)
    assert manifoldnet.activity.ActivityClassifier(kind="imu", rate=50.0).get_params()["rate"] == 50.0
