"""Stacks in dask and xarray: the same as image by image, on a cluster as well."""

import dask.array as da
import numpy as np
import pytest
import torch
import xarray
from dask.distributed import Client, LocalCluster

from manifoldnet.errors import InputError
from manifoldnet.insar import denoise, denoise_array, denoise_dataarray
from manifoldnet.insar.model import InsarDenoiser

SHAPE = (2, 312, 136)
CHUNKS = (1, 156, 136)  # neither multiples of the network's factor nor as large as its margin everywhere


@pytest.fixture(scope="module")
def network() -> InsarDenoiser:
    return InsarDenoiser({"channels": [[4, 6]], "blocks": 1}, torch.Generator().manual_seed(0)).eval()


@pytest.fixture
def stack() -> np.ndarray:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    return (0.002 * ((x - 60) ** 2 + (y - 50) ** 2) + rng.normal(0, 0.5, SHAPE)).astype(np.float32)


def arc(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    return np.nanmax(np.abs(np.angle(np.exp(1j * (a - b)))))


def plain(stack, network, **options):
    return np.stack([denoise(image, model=network, tile=4096, **options) for image in stack])


def test_chunks_do_not_change_the_result(stack, network):
    lazy = denoise_array(da.from_array(stack, chunks=CHUNKS), model=network)
    assert (lazy.shape, lazy.dtype) == (SHAPE, np.float32)
    assert lazy.numblocks == (2, 2, 1)
    assert all(sum(sizes[:k]) % network.net.factor == 0 for sizes in lazy.chunks[1:] for k in range(len(sizes)))
    assert arc(lazy.compute(scheduler="synchronous"), plain(stack, network)) < 1e-5


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_on_a_cluster(stack, network, tmp_path, processes):
    network.save(tmp_path / "w.safetensors")
    model = tmp_path / "w.safetensors" if processes else network
    lazy = denoise_array(da.from_array(stack[0], chunks=CHUNKS[1:]), model=model)
    with (
        LocalCluster(1, processes=processes, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        result = client.compute(lazy).result()
    assert arc(result, plain(stack[:1], network)[0]) < 1e-5


def test_uncertainty_holes_and_coherence(stack, network):
    """Of complex images of which one has no data at all; one chunk an image."""
    z = np.exp(1j * stack[:, :60, :60]).astype(np.complex128)
    z[0, 10:20, 30:40] = 0
    z[1] = 0
    gamma = np.full(z.shape, 0.7, np.float32)
    lazy = denoise_array(da.from_array(z, chunks=(2, 60, 30)), gamma, 4, network, uncertainty=True)
    wanted = denoise(z[0], gamma[0], 4, network, uncertainty=True)
    for array, image in zip(lazy, wanted, strict=True):
        assert array.dtype == np.float64
        result = array.compute(scheduler="synchronous")
        assert arc(result[0], image) < 1e-5
        assert np.isnan(result[1]).all()


@pytest.mark.parametrize("chunks", [None, {"time": 1, "y": 70}])
def test_dataarrays_keep_coordinates_and_attributes(stack, network, chunks):
    coords = {"time": [0, 1], "y": np.arange(SHAPE[1]) * 30.0, "x": np.arange(SHAPE[2]) * 40.0, "spatial_ref": 0}
    attrs = {"units": "rad", "wavelength": 0.0555}
    array = xarray.DataArray(stack, coords, ("time", "y", "x"), "ifg", attrs)
    gamma = xarray.full_like(array, 0.6)
    given = array if chunks is None else array.chunk(chunks)
    result = denoise_dataarray(given, gamma, model=network)
    assert (result.chunks is None) == (chunks is None)
    assert (result.name, result.attrs) == ("ifg", attrs)
    xarray.testing.assert_identical(result.coords.to_dataset(), array.coords.to_dataset())
    options = {"coherence": np.full(SHAPE[1:], 0.6, np.float32)}
    assert arc(result.compute(scheduler="synchronous"), plain(stack, network, **options)) < 1e-5
    if chunks is None:
        both = denoise_dataarray(given[:, :40, :40], model=network, uncertainty=True)
        assert list(both) == ["phase", "uncertainty", "bound"]
        assert both.uncertainty.dims == ("time", "y", "x")


def test_refusals(stack, network):
    array = da.from_array(stack, chunks=CHUNKS)
    for arguments, words in (
        ((array[0, 0],), r"\(136,\) of float32"),
        ((array.astype(int),), "int64"),
        ((array, array[:, :7]), r"coherence.*\(2, 312, 136\).*\(2, 7, 136\)"),
        ((array, array.astype(complex)), "coherence.*complex"),
        ((array, None, 0.5), "looks"),
    ):
        with pytest.raises(InputError, match=words):
            denoise_array(*arguments, model=network)
    image = xarray.DataArray(stack[0], dims=("y", "x"))
    with pytest.raises(InputError, match=r"coherence: wanted dimensions \('y', 'x'\)"):
        denoise_dataarray(image, image.rename(y="lat"), model=network)
