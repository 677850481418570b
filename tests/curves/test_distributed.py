import pickle
import subprocess
import sys
from threading import Lock

import numpy as np
import pytest
import torch

from manifoldnet.curves import distributed, pairwise_elastic_distance
from manifoldnet.curves.distributed import elastic_distance_array
from manifoldnet.errors import InputError

dask = pytest.importorskip("dask")
bag = pytest.importorskip("dask.bag")
da = pytest.importorskip("dask.array")


def curves(count, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 12, 3, generator=generator, dtype=dtype)


def ragged(count, seed=0):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(0, 1, (n, 2))) for n in rng.integers(8, 14, count)]


def partitions(qs, *sizes):
    """A bag of the curves, in partitions of these sizes."""
    ends = np.cumsum(sizes)
    return bag.from_delayed([dask.delayed(qs[end - size : end]) for end, size in zip(ends, sizes, strict=True)])


def computed(array):
    return array.compute(scheduler="threads", num_workers=2)


@pytest.mark.parametrize("chunk", [1, 4, 11, 500])
@pytest.mark.parametrize("make", [curves, ragged])
def test_blocks_together_are_the_whole_matrix(make, chunk):
    """Bit for bit; the norm of a curve that is padded to the longest of a chunk or of all may round otherwise."""
    qs, others = make(11), make(6, seed=1)
    square, across = elastic_distance_array(qs, chunk=chunk), elastic_distance_array(qs, others, 4, 3, chunk)
    assert isinstance(square, da.Array)
    assert square.chunks == da.core.normalize_chunks(chunk, (11, 11))
    assert across.chunks == da.core.normalize_chunks(chunk, (11, 6))
    wanted, rounding = pairwise_elastic_distance(qs).numpy(), 0 if make is curves else 1e-15
    np.testing.assert_allclose(computed(square), wanted, rtol=rounding)
    np.testing.assert_allclose(computed(square[2:5, 7]), wanted[2:5, 7], rtol=rounding)
    np.testing.assert_allclose(computed(across), pairwise_elastic_distance(qs, others, 4, 3).numpy(), rtol=rounding)


@pytest.mark.parametrize("options", [{"scale": "angle"}, {"refine": 1}, {"slopes": 2, "band": 1}])
def test_options_are_passed_on(options):
    qs = torch.randn(5, 64, 2, generator=torch.Generator().manual_seed(0))
    wanted = pairwise_elastic_distance(qs, **options).numpy()
    np.testing.assert_array_equal(computed(elastic_distance_array(qs, chunk=2, **options)), wanted)
    assert (wanted != pairwise_elastic_distance(qs).numpy()).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type(dtype):
    array = elastic_distance_array(curves(5, dtype=dtype), chunk=2)
    assert str(array.dtype) == str(computed(array).dtype) == str(dtype).removeprefix("torch.")


def test_each_pair_of_chunks_is_computed_once_from_those_two(monkeypatch):
    seen, lock = [], Lock()

    def spy(qs, others=None, *args, **kwargs):
        with lock:
            seen.append((len(qs), None if others is None else len(others)))
        return pairwise_elastic_distance(qs, others, *args, **kwargs)

    monkeypatch.setattr(distributed, "pairwise_elastic_distance", spy)
    array = elastic_distance_array(curves(10), chunk=3)
    matrix = computed(array)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert sorted(seen, key=str) == [(1, None), *[(3, 1)] * 3, *[(3, 3)] * 3, *[(3, None)] * 3]
    seen.clear()
    computed(array[3:6, :3])  # below the diagonal
    assert seen == [(3, 3)]
    graph = dict(array.dask)
    tasks = {key: graph[key] for key in graph if isinstance(key, tuple)}
    assert len(tasks) == 16
    chunks = set(graph) - set(tasks)
    assert len(chunks) == 4
    above = [key for key in tasks if key[1] < key[2]]
    assert all(len(dask.core.get_dependencies(graph, key) & chunks) == 2 for key in above)


def test_no_chunk_carries_the_collection_along():
    """A view into a tensor is pickled with all of the tensor."""
    qs = torch.zeros(100, 100, 6)
    size = qs.numel() * qs.element_size()
    for collection in (qs, list(qs)):
        assert size < len(pickle.dumps(dict(elastic_distance_array(collection, chunk=10).dask))) < 1.4 * size


@pytest.mark.parametrize("make", [curves, ragged])
def test_bags(make):
    qs, others = make(11), make(6, seed=1)
    whole, empty = partitions(qs, 5, 2, 4), partitions(qs, 5, 0, 6)
    square = pairwise_elastic_distance(qs).numpy()
    assert elastic_distance_array(whole).chunks == ((5, 2, 4),) * 2
    assert elastic_distance_array(empty).chunks == ((5, 6),) * 2
    for array in (whole, empty, bag.from_sequence(list(qs), npartitions=3), whole.map(lambda q: 1 * q)):
        np.testing.assert_allclose(computed(elastic_distance_array(array)), square, rtol=1e-15)
    across = pairwise_elastic_distance(qs, others).numpy()
    np.testing.assert_allclose(computed(elastic_distance_array(whole, others, chunk=4)), across, rtol=1e-15)
    np.testing.assert_allclose(computed(elastic_distance_array(others, whole, chunk=4)), across.T, rtol=1e-15)


def test_a_matrix_on_disk(tmp_path):
    qs = curves(9)
    target = np.lib.format.open_memmap(tmp_path / "d.npy", "w+", dtype=np.float64, shape=(9, 9))
    da.store(elastic_distance_array(qs, chunk=4), target, lock=False, scheduler="threads")
    target.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "d.npy"), pairwise_elastic_distance(qs).numpy())


def test_two_threads_of_a_cluster():
    distributed_ = pytest.importorskip("distributed")
    qs = curves(10)
    with (
        distributed_.LocalCluster(1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed_.Client(cluster),
    ):
        matrix = elastic_distance_array(qs, chunk=3).compute()
    np.testing.assert_array_equal(matrix, pairwise_elastic_distance(qs).numpy())


@pytest.mark.slow
def test_two_processes_of_a_cluster(tmp_path):
    """As in the docstring: chunks that the workers hold, and a target that all of them write."""
    program = f"""
import sys
import dask.array, numpy as np, torch
from dask import bag, delayed, distributed
from manifoldnet.curves import pairwise_elastic_distance
from manifoldnet.curves.distributed import elastic_distance_array

class File:
    def __setitem__(self, place, block):
        np.lib.format.open_memmap({str(tmp_path / "d.npy")!r}, "r+")[place] = block

if __name__ == "__main__":
    qs = torch.randn(23, 20, 3, generator=torch.Generator().manual_seed(0))
    np.lib.format.open_memmap({str(tmp_path / "d.npy")!r}, "w+", dtype=np.float32, shape=(23, 23)).flush()
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client:
            assert set(client.run(torch.get_num_threads).values()) == {{1}}
            chunks = client.scatter([qs[k : k + 5] for k in range(0, len(qs), 5)])
            array = elastic_distance_array(bag.from_delayed([delayed(chunk) for chunk in chunks]))
            dask.array.store(array, File(), lock=False)
            gathered = array.compute()
    wanted = pairwise_elastic_distance(qs).numpy()
    assert np.array_equal(gathered, wanted)
    assert np.array_equal(np.load({str(tmp_path / "d.npy")!r}), wanted)
"""
    script = tmp_path / "program.py"
    script.write_text(program)
    subprocess.run([sys.executable, script], check=True, timeout=300)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("qs", lambda: elastic_distance_array([])),
        ("others", lambda: elastic_distance_array(curves(2), [])),
        ("qs", lambda: elastic_distance_array(partitions(curves(2), 0, 0))),
        ("chunk", lambda: elastic_distance_array(curves(2), chunk=0)),
        ("slopes", lambda: computed(elastic_distance_array(curves(2), slopes=0))),
        (r"qs\[1\]", lambda: computed(elastic_distance_array([torch.zeros(5, 3), torch.zeros(5, 2)]))),
    ],
)
def test_bad_input(argument, call):
    with pytest.raises(InputError, match=f"^{argument}: "):
        call()


def test_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(InputError, match=r"^dask: .*pip install manifoldnet\[cluster\]"):
        elastic_distance_array(curves(3))
