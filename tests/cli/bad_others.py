"""Bad input to the other commands: each case makes its files in ``p`` and returns the arguments of the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_inputs import case, recording

from manifoldnet.activity.train import shipped_config as activity_config
from manifoldnet.insar.train import shipped_config


def table(path, samples, header="gx,gy,gz,ax,ay,az"):
    np.savetxt(path, samples, delimiter=",", header=header, comments="")
    return path


def classify(w, source):
    return ["classify", source, "--rate", "50", "--weights", w["activity"]]


@case
def classify_missing_file(p, w):
    return classify(w, p / "nowhere.csv")


@case
def classify_wrong_columns(p, w):
    return classify(w, table(p / "a.csv", recording(0), "gx,gy,gz,u,v,w"))


@case
def classify_NaN(p, w):
    samples = recording(0)
    samples[7, 2] = np.nan
    return classify(w, table(p / "a.csv", samples))


@case
def classify_degrees_a_second(p, w):
    return classify(w, table(p / "a.csv", recording(0) * [90, 90, 90, 1, 1, 1]))


@case
def classify_one_unit(p, w):
    return [*classify(w, table(p / "a.csv", recording(0))), "--units", "deg/s"]


@case
def classify_unknown_skeleton(p, w):
    np.save(p / "a.npy", np.zeros((40, 20, 3)))
    return [*classify(w, p / "a.npy"), "--content", "positions", "--skeleton", "octopus"]


@case
def classify_too_short(p, w):
    return classify(w, table(p / "a.csv", recording(0)[:15]))


@case
def classify_rate_missing(p, w):
    return ["classify", table(p / "a.csv", recording(0)), "--weights", w["activity"]]


@case
def classify_rotations(p, w):
    np.save(p / "a.npy", np.tile(np.eye(3), (40, 2, 1, 1)))
    return classify(w, p / "a.npy")


@case
def classify_weights_of_another_kind(p, w):
    return classify({"activity": w["dti"]}, table(p / "a.csv", recording(0)))


def config(path, **changes):
    path.write_text(json.dumps({**shipped_config(), **changes}))
    return path


def train(p, *rest):
    return ["train", "insar", "--out", p / "w.safetensors", *rest]


@case
def data_unknown_name(p, w):
    return ["data", "get", "nothing"]


@case
def evaluate_unknown_scan(p, w):
    return ["evaluate", "dti", "--scan", "nothing", "--weights", w["dti"]]


@case
def train_unknown_device(p, w):
    return train(p, "--device", "abacus")


@case
def train_cuda_absent(p, w):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    return train(p, "--device", "cuda")


@case
def train_cuda_absent_dti(p, w):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    return ["train", "dti", "--out", p / "w.safetensors", "--device", "cuda"]


@case
def train_checkpoints_of_activity(p, w):
    return ["train", "activity", "--out", p / "w.safetensors", "--checkpoints", p]


@case
def train_start_of_dti(p, w):
    return ["train", "dti", "--out", p / "w.safetensors", "--start", p]


@case
def train_workers_of_insar(p, w):
    return train(p, "--workers", 2)


@case
def train_config_missing(p, w):
    return train(p, "--config", p / "nowhere.json")


@case
def train_config_not_JSON(p, w):
    (p / "c.json").write_text("{'seed': 1}")
    return train(p, "--config", p / "c.json")


@case
def train_config_not_text(p, w):
    (p / "c.json").write_bytes(b"\xff\xfe\x00\x81")
    return train(p, "--config", p / "c.json")


@case
def train_config_no_object(p, w):
    (p / "c.json").write_text("[1, 2]")
    return train(p, "--config", p / "c.json")


@case
def train_config_lacks_keys(p, w):
    (p / "c.json").write_text('{"seed": 1, "scenes": 2}')
    return train(p, "--config", p / "c.json")


@case
def train_config_of_wrong_type(p, w):
    return train(p, "--config", config(p / "c.json", steps="many"))


@case
def train_config_without_steps(p, w):
    return train(p, "--config", config(p / "c.json", steps=0))


@case
def train_config_list_of_words(p, w):
    return train(p, "--config", config(p / "c.json", channels=["four"]))


@case
def train_config_patch_too_large(p, w):
    return train(p, "--config", config(p / "c.json", scenes=1, scene_size=32, patch=64))


@case
def train_config_unknown_optimizer(p, w):
    return train(p, "--config", config(p / "c.json", optimizer="newton"))


@case
def train_config_bad_yaml(p, w):
    (p / "c.yaml").write_text("steps: [3\n")
    return train(p, "--config", p / "c.yaml")


@case
def train_config_unknown_parameter(p, w):
    settings = activity_config()
    settings["classifier"]["neighbors"] = 3
    (p / "c.json").write_text(json.dumps(settings))
    return ["train", "activity", "--out", p / "w.safetensors", "--config", p / "c.json"]


@case
def train_OUT_of_another_kind(p, w):
    return ["train", "insar", "--out", p / "w.bin"]


@case
def train_OUT_folder_missing(p, w):
    return ["train", "insar", "--out", p / "nowhere" / "w.safetensors"]


@case
def train_OUT_is_a_folder(p, w):
    (p / "w.safetensors").mkdir()
    return train(p)


@case
def train_OUT_unwritable(p, w):
    # the superuser may write anywhere but into the kernel's own files
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no folder here that nobody can write")
    return ["train", "insar", "--out", "/proc/self/w.safetensors"]


@case
def demo_folder_is_a_file(p, w):
    (p / "out").write_text("")
    return ["demo", "--out", p / "out"]
