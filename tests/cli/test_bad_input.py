"""Bad input through the command line: one line on the error stream, exit code 2, and nothing written.

``python -m pytest tests/cli/test_bad_input.py -s`` prints each case with its message.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from cli_inputs import nifti, recording, six, spd_field
from rasterio.transform import from_origin

from manifoldnet.insar.train import shipped_config

CASES = {}
GEOTIFF = {"driver": "GTiff", "count": 1, "crs": "EPSG:4326", "transform": from_origin(10, 50, 0.001, 0.001)}


def case(function):
    """Register the builder of a case, which makes the input files and returns the command's arguments."""
    CASES[function.__name__.replace("_", " ")] = function
    return function


def phase(shape=(20, 24), seed=0):
    return np.random.default_rng(seed).uniform(-3, 3, shape).astype(np.float32)


def npy(path, array):
    np.save(path, array)
    return path


def tif(path, array):
    height, width = array.shape
    with rasterio.open(path, "w", **GEOTIFF, height=height, width=width, dtype=array.dtype) as file:
        file.write(array, 1)
    return path


# interferograms ------------------------------------------------------------------------------------------------------


@case
def insar_missing_input(p, w):
    return ["denoise", "insar", p / "nowhere.tif", p / "out.tif"]


@case
def insar_input_is_a_folder(p, w):
    (p / "folder.npy").mkdir()
    return ["denoise", "insar", p / "folder.npy", p / "out.npy"]


@case
def insar_not_an_image(p, w):
    (p / "a.tif").write_text("this is text\nin two lines\n")
    return ["denoise", "insar", p / "a.tif", p / "out.tif"]


@case
def insar_truncated_geotiff(p, w):
    content = tif(p / "whole.tif", phase((300, 300))).read_bytes()
    (p / "a.tif").write_bytes(content[: len(content) // 2])
    return ["denoise", "insar", p / "a.tif", p / "out.tif"]


@case
def insar_not_a_npy(p, w):
    (p / "a.npy").write_bytes(b"\x93NUMPY\x01\x00 nothing that follows")
    return ["denoise", "insar", p / "a.npy", p / "out.npy"]


@case
def insar_integer_raster(p, w):
    return ["denoise", "insar", tif(p / "a.tif", (100 * phase()).astype(np.int16)), p / "out.tif"]


@case
def insar_three_dimensions(p, w):
    return ["denoise", "insar", npy(p / "a.npy", phase((2, 20, 24))), p / "out.npy"]


@case
def insar_all_NaN(p, w):
    return ["denoise", "insar", npy(p / "a.npy", np.full((20, 24), np.nan, np.float32)), p / "out.npy"]


@case
def insar_empty_array(p, w):
    return ["denoise", "insar", npy(p / "a.npy", phase((0, 24))), p / "out.npy"]


@case
def insar_coherence_of_another_size(p, w):
    coherence = npy(p / "c.npy", np.full((20, 23), 0.5, np.float32))
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--coherence", coherence]


@case
def insar_coherence_outside_0_to_1(p, w):
    coherence = npy(p / "c.npy", np.full((20, 24), 200, np.float32))
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--coherence", coherence]


@case
def insar_coherence_missing(p, w):
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--coherence", p / "nowhere.npy"]


@case
def insar_looks_below_1(p, w):
    coherence = npy(p / "c.npy", np.full((20, 24), 0.5, np.float32))
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--coherence", coherence, "--looks", "0.5"]


@case
def insar_OUT_of_another_kind(p, w):
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.tif"]


@case
def insar_OUT_folder_missing(p, w):
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "nowhere" / "out.npy"]


@case
def insar_OUT_is_a_folder(p, w):
    (p / "out.npy").mkdir()
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy"]


@case
def insar_raw_without_header(p, w):
    np.exp(1j * phase()).astype("<c8").tofile(p / "a.int")
    return ["denoise", "insar", p / "a.int", p / "out.int"]


@case
def insar_raw_of_another_width(p, w):
    np.exp(1j * phase()).astype("<c8").tofile(p / "a.int")
    return ["denoise", "insar", p / "a.int", p / "out.int", "--width", "23"]


@case
def insar_weights_missing(p, w):
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--weights", p / "nowhere.safetensors"]


@case
def insar_weights_unreadable(p, w):
    (p / "w.safetensors").write_bytes(np.random.default_rng(0).bytes(300))
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--weights", p / "w.safetensors"]


@case
def insar_weights_of_another_kind(p, w):
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--weights", w["activity"]]


@case
def insar_weights_of_another_version(p, w):
    from manifoldnet.training import load_weights, save_weights

    state, config = load_weights(w["insar"], "insar")
    save_weights(p / "w.safetensors", "insar", state, {**config, "blocks": 2})
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--weights", p / "w.safetensors"]


# diffusion tensors ---------------------------------------------------------------------------------------------------


def scan(p, volumes=7, shape=(4, 4, 3)):
    """A scan of one b0 and directions enough, and its b-values."""
    directions = np.concatenate([np.zeros((1, 3)), np.random.default_rng(0).standard_normal((volumes - 1, 3))])
    directions[1:] /= np.linalg.norm(directions[1:], axis=1, keepdims=True)
    np.savetxt(p / "s.bval", [0, *[1000] * (volumes - 1)])
    np.savetxt(p / "s.bvec", directions)
    signal = np.random.default_rng(1).uniform(300, 500, (*shape, volumes)).astype(np.float32)
    signal[..., 0] = 1000
    return nifti(p / "dwi.nii.gz", signal)


def dti(w, source, *rest):
    return ["denoise", "dti", source, source.parent / "out.nii.gz", "--weights", w["dti"], *rest]


def not_spd(path):
    """Six components of tensors of which two, the first at (1, 2, 0), are not SPD."""
    tensors = spd_field((4, 3, 2))
    tensors[1, 2, 0, 0, 0] = -1e-3
    tensors[3, 0, 1, 2, 2] = 0
    return nifti(path, six(tensors))


@case
def dti_missing_file(p, w):
    return dti(w, p / "nowhere.nii.gz")


@case
def dti_not_NIfTI(p, w):
    (p / "a.nii").write_text("no image")
    return dti(w, p / "a.nii")


@case
def dti_truncated_NIfTI(p, w):
    content = nifti(p / "whole.nii.gz", six(spd_field((9, 9, 9)))).read_bytes()
    (p / "a.nii.gz").write_bytes(content[: len(content) // 2])
    return dti(w, p / "a.nii.gz", "--order", "fsl")


@case
def dti_scan_without_bvals(p, w):
    return dti(w, scan(p))


@case
def dti_bvals_without_bvecs(p, w):
    return dti(w, scan(p), "--bvals", p / "s.bval")


@case
def dti_count_of_bvals(p, w):
    np.savetxt(p / "s6.bval", [0, *[1000] * 5])
    return dti(w, scan(p), "--bvals", p / "s6.bval", "--bvecs", p / "s.bvec")


@case
def dti_bvals_no_numbers(p, w):
    (p / "words.bval").write_text("zero one two")
    return dti(w, scan(p), "--bvals", p / "words.bval", "--bvecs", p / "s.bvec")


@case
def dti_six_components_without_order(p, w):
    return dti(w, nifti(p / "t.nii.gz", six(spd_field((4, 3, 2)))))


@case
def dti_unknown_order(p, w):
    return dti(w, nifti(p / "t.nii.gz", six(spd_field((4, 3, 2)))), "--order", "xyz")


@case
def dti_not_SPD(p, w):
    return dti(w, not_spd(p / "t.nii.gz"), "--order", "fsl")


@case
def dti_mask_of_another_shape(p, w):
    mask = nifti(p / "mask.nii.gz", np.ones((4, 3, 3), np.uint8))
    return dti(w, nifti(p / "t.nii.gz", six(spd_field((4, 3, 2)))), "--order", "fsl", "--mask", mask)


@case
def dti_empty_mask(p, w):
    mask = nifti(p / "mask.nii.gz", np.zeros((4, 3, 2), np.uint8))
    return dti(w, nifti(p / "t.nii.gz", six(spd_field((4, 3, 2)))), "--order", "fsl", "--mask", mask)


@case
def dti_all_NaN(p, w):
    return dti(w, nifti(p / "t.nii.gz", np.full((4, 3, 2, 6), np.nan, np.float32)), "--order", "fsl")


@case
def dti_OUT_not_NIfTI(p, w):
    source = nifti(p / "t.nii.gz", six(spd_field((4, 3, 2))))
    return ["denoise", "dti", source, p / "out.npy", "--order", "fsl", "--weights", w["dti"]]


@case
def dti_weights_of_another_kind(p, w):
    return dti({"dti": w["insar"]}, nifti(p / "t.nii.gz", six(spd_field((4, 3, 2)))), "--order", "fsl")


# recordings ----------------------------------------------------------------------------------------------------------


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
def classify_too_short(p, w):
    return classify(w, table(p / "a.csv", recording(0)[:15]))


@case
def classify_rate_missing(p, w):
    return ["classify", table(p / "a.csv", recording(0)), "--weights", w["activity"]]


@case
def classify_rotations(p, w):
    return classify(w, npy(p / "a.npy", np.tile(np.eye(3), (40, 2, 1, 1))))


@case
def classify_weights_of_another_kind(p, w):
    return classify({"activity": w["dti"]}, table(p / "a.csv", recording(0)))


# data sets and training ----------------------------------------------------------------------------------------------


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
def train_config_even_window(p, w):
    return train(p, "--config", config(p / "c.json", window=4))


@case
def train_config_unknown_parameter(p, w):
    from manifoldnet.activity.train import shipped_config as activity

    settings = activity()
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


# -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report():
    """Collects case -> message and prints them at the end (see them with ``-s``)."""
    rows = {}
    yield rows
    width = max(map(len, rows), default=0)
    print("\n" + "\n".join(f"{name:{width}}  {message}" for name, message in rows.items()))


def checked(err, folder, before):
    """The message, if it is one line and the folder is as it was."""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("manifoldnet: ")
    assert len(lines[0]) > len("manifoldnet: ") + 10
    assert sorted(folder.rglob("*")) == before
    return lines[0].replace(f"{folder}/", "")


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name, cli, weights, report, tmp_path, monkeypatch):
    monkeypatch.setenv("MANIFOLDNET_CACHE", str(tmp_path / "cache"))
    arguments = CASES[name](tmp_path, weights)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = cli(*arguments)
    report[name] = checked(err, tmp_path, before)
    assert code == 2
    assert "Traceback" not in out + err


def test_not_spd_is_counted_and_located(cli, weights, tmp_path):
    arguments = CASES["dti not SPD"](tmp_path, weights)
    message = cli(*arguments).err
    assert "2 of 24" in message
    assert "(1, 2, 0)" in message
    repaired = cli(*arguments, "--repair")
    assert repaired.code == 0, repaired.err
    assert "2 tensors had eigenvalues raised" in repaired.out
    assert (tmp_path / "out.nii.gz").is_file()


def test_older_output_stays(cli, weights, tmp_path):
    """A failed run does not touch what an earlier one has written."""
    (tmp_path / "out.npy").write_text("older")
    arguments = CASES["insar all NaN"](tmp_path, weights)
    assert cli(*arguments).code == 2
    assert (tmp_path / "out.npy").read_text() == "older"


@pytest.mark.parametrize("name", ["insar truncated geotiff", "dti not SPD"])
def test_as_a_process(name, weights, tmp_path):
    """The same from a shell, where libraries could print warnings of their own."""
    arguments = CASES[name](tmp_path, weights)
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, "-m", "manifoldnet.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 2, done.stderr
    checked(done.stderr, tmp_path, before)
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [["--nothing"], ["denoise", "insar", "--nothing", "a", "b"], ["train", "music", "--out", "w.safetensors"],
     ["denoise", "insar", "a"], ["evaluate", "insar", "--scenes", "0"], ["evaluate", "dti", "--phantoms", "-1"]],
)  # fmt: skip
def test_usage_errors(arguments, cli):
    """Typer's own messages may have more lines."""
    code, _, err = cli(*arguments)
    assert code == 2
    assert "Error" in err
    assert "Traceback" not in err
