import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from manifoldnet.errors import InputError
from manifoldnet.nn import SPDAutoencoder
from manifoldnet.training import load_weights, save_weights

CONFIG = {"width": 3, "names": ["a", "b"], "rate": 0.5, "nothing": None}


def test_weights_and_configuration_come_back(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    save_weights(tmp_path / "w.safetensors", "toy", model.state_dict(), CONFIG)
    state, config = load_weights(str(tmp_path / "w.safetensors"), "toy")
    assert config == CONFIG
    assert state.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value)
        assert state[name].dtype == value.dtype
    nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).load_state_dict(state)


def test_manifold_parameters_and_views_are_saved(tmp_path):
    model = SPDAutoencoder(width=2, embedding=3, radius2=1)
    state = model.state_dict() | {"view": torch.arange(12.0).reshape(3, 4).mT}
    save_weights(tmp_path / "w.safetensors", "toy", state, {})
    loaded, _ = load_weights(tmp_path / "w.safetensors", "toy")
    assert torch.equal(loaded["metric"], model.metric.detach())
    assert torch.equal(loaded["view"], state["view"])


def test_the_file_is_a_safetensors_file_that_says_what_it_is(tmp_path):
    save_weights(tmp_path / "w.safetensors", "toy", {"x": torch.ones(2)}, CONFIG)
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["manifoldnet"]) == {"kind": "toy", "config": CONFIG}


def test_another_kind_is_refused(tmp_path):
    save_weights(tmp_path / "w.safetensors", "insar", {"x": torch.ones(2)}, {})
    with pytest.raises(InputError, match=r"w\.safetensors: wanted .*'dti'.*got 'insar'"):
        load_weights(tmp_path / "w.safetensors", "dti")


def test_files_of_other_programs_are_refused(tmp_path):
    save_file({"x": torch.ones(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match=r"wanted .*'dti'.*'none'"):
        load_weights(tmp_path / "plain.safetensors", "dti")


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", b"\xff" * 100])
def test_unreadable_files_are_refused(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"w\.safetensors: "):
        load_weights(path, "toy")


def test_a_cut_file_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, "toy", {"x": torch.ones(1000)}, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a readable"):
        load_weights(path, "toy")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"w\.safetensors: no such file of weights"):
        load_weights(tmp_path / "w.safetensors", "toy")


def test_a_failed_save_leaves_the_older_file(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, "toy", {"x": torch.ones(2)}, {})
    with pytest.raises(TypeError):
        save_weights(path, "toy", {"x": torch.zeros(2)}, {"config": object()})
    state, _ = load_weights(path, "toy")
    assert torch.equal(state["x"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
