"""Bad input to ``denoise insar``: each case makes its files in ``p`` and returns the arguments of the command."""

import numpy as np
import rasterio
from cli_inputs import case
from rasterio.transform import from_origin

from manifoldnet.training import load_weights, save_weights

GEOTIFF = {"driver": "GTiff", "count": 1, "crs": "EPSG:4326", "transform": from_origin(10, 50, 0.001, 0.001)}


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
def insar_uncertainty_of_no_kind(p, w):
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--uncertainty", p / "u.png"]


@case
def insar_no_such_device(p, w):
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--device", "gpu"]


@case
def insar_dataset_of_a_raster(p, w):
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--weights", w["insar"], "--dataset", "x"]


@case
def insar_not_HDF5(p, w):
    (p / "a.h5").write_text("this is text\nin two lines\n")
    return ["denoise", "insar", p / "a.h5", p / "out.h5", "--weights", w["insar"]]


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
    state, config = load_weights(w["insar"], "insar")
    save_weights(p / "w.safetensors", "insar", state, {**config, "blocks": 2})
    return ["denoise", "insar", npy(p / "a.npy", phase()), p / "out.npy", "--weights", p / "w.safetensors"]
