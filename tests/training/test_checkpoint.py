import os
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from manifoldnet.errors import InputError
from manifoldnet.training.checkpoint import Checkpoints, read_checkpoint, write_checkpoint
from manifoldnet.training.fit import fit
from manifoldnet.training.random_states import random_states, set_random_states


class Crash(BaseException):
    """What a kill is within one process: nothing after it runs."""


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def state(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 3, generator=generator)
    return {
        "shared": [x, x, x.mT, x[1:, ::2]],
        "types": [torch.zeros(2, dtype=t) for t in (torch.uint8, torch.int64, torch.bool, torch.bfloat16)],
        "complex": (torch.complex(x, x).conj(), torch.complex(x, x).to(torch.complex128)),
        "small": torch.tensor(1.5, dtype=torch.float64),
        "empty": [torch.zeros(0, 3), {}, [], (), ""],
        3: {"a/b": None, "sha256": '"sha256":"', "é": [True, 1, -0.1, float("inf"), 2**70]},
        "text": "line\nline",
    }


def test_states_come_back_as_they_were(tmp_path):
    write_checkpoint(tmp_path / "a", state())
    assert same(read_checkpoint(tmp_path / "a"), state())
    write_checkpoint(tmp_path / "a", random_states())
    assert same(read_checkpoint(tmp_path / "a"), random_states())
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_is_no_number_tensor_or_word_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"checkpoint: /a/0: .*got Linear"):
        write_checkpoint(tmp_path / "a", {"a": [nn.Linear(1, 1)]})
    with pytest.raises(InputError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "a")


def test_a_flipped_bit_in_any_byte_and_any_cut_are_noticed(tmp_path):
    path = tmp_path / "a"
    write_checkpoint(path, {"x": torch.arange(3), "y": [1, "word"]})
    whole = path.read_bytes()
    for place in range(len(whole)):
        torn = bytearray(whole)
        torn[place] ^= 1 << place % 8
        path.write_bytes(torn)
        with pytest.raises(InputError, match="checksum"):
            read_checkpoint(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="checksum"):
            read_checkpoint(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match="checksum"):
        read_checkpoint(path)


def test_the_last_two_are_kept_and_what_a_dead_process_left_goes(tmp_path):
    saves = Checkpoints(tmp_path / "new" / "folder")
    assert saves.newest() is None
    for step in (7, 8, 12):
        saves.save(step, {"step": step})
    (saves.folder / ".step-000000013.safetensors.part").write_bytes(b"half")
    (saves.folder / "notes.txt").write_text("mine")
    assert saves.newest()[1] == {"step": 12}
    saves.save(100, {"step": 100})
    assert sorted(p.name for p in saves.folder.iterdir()) == [
        "notes.txt",
        "step-000000012.safetensors",
        "step-000000100.safetensors",
    ]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, damage):
    saves = Checkpoints(tmp_path)
    saves.save(1, state(1))
    path = saves.save(2, state(2))
    whole = path.read_bytes()
    flipped = whole[:-5] + bytes([whole[-5] ^ 4]) + whole[-4:]
    path.write_bytes({"flip": flipped, "cut": whole[: len(whole) // 2], "empty": b""}[damage])
    with pytest.warns(UserWarning, match=r"step-000000002.*going back"):
        found = saves.newest()
    assert found[0].name == "step-000000001.safetensors"
    assert same(found[1], state(1))
    saves.save(2, state(3))
    assert same(saves.newest()[1], state(3))
    for other in saves.paths():
        other.write_bytes(b"")
    with pytest.warns(UserWarning, match="got 0 bytes") as seen:
        assert saves.newest() is None
    assert len(seen) == 2


def test_a_damaged_later_checkpoint_does_not_outlive_new_ones(tmp_path):
    saves = Checkpoints(tmp_path)
    saves.save(10, {})
    saves.save(20, {}).write_bytes(b"")
    saves.save(15, {"step": 15})
    assert saves.newest()[1] == {"step": 15}
    assert len(saves.paths()) == 2


@pytest.mark.parametrize("bad", [{"every": 0}, {"keep": 0}])
def test_bad_numbers_are_refused(tmp_path, bad):
    with pytest.raises(InputError, match=f"{next(iter(bad))}: wanted at least 1, got 0"):
        Checkpoints(tmp_path, **bad)


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace

    def noted_sync(handle):
        calls.append(("sync", Path(f"/proc/self/fd/{handle}").readlink().name))
        sync(handle)

    def noted_replace(source, target):
        calls.append(("replace", Path(target).name))
        assert Path(source).stat().st_size > 0
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_checkpoint(tmp_path / "a", state())
    assert calls == [("sync", ".a.part"), ("replace", "a"), ("sync", tmp_path.name)]


def test_random_states_are_put_back():
    def draw():
        return random.random(), random.gauss(0, 1), np.random.normal(), torch.randn(3)  # noqa: NPY002

    draw()  # normal numbers come in pairs: one is left over now
    before = random_states()
    first = draw()
    draw()
    set_random_states(before)
    assert same(list(draw()), list(first))


def training(folder, steps=12, every=3):
    """Losses and weights of a training that uses dropout, momentum and shuffling."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.3), nn.BatchNorm1d(8), nn.Linear(8, 1))
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    loader = DataLoader(
        TensorDataset(x, x.sin().sum(1, keepdim=True)),
        batch_size=4,
        shuffle=True,
        generator=torch.Generator().manual_seed(2),
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    saves = None if folder is None else Checkpoints(folder, every)
    losses = fit(model, loader, lambda m, x, y: (m(x) - y).square().mean(), optimizer, steps=steps, checkpoints=saves)
    return losses, [p.detach().clone() for p in model.state_dict().values()]


def crashes(name, place, monkeypatch, before=True):
    """Make the ``place``-th call of a function of os the process's last."""
    real, count = getattr(os, name), 0

    def deadly(*args, **options):
        nonlocal count
        count += 1
        if count == place and before:
            raise Crash
        result = real(*args, **options)
        if count == place:
            raise Crash
        return result

    monkeypatch.setattr(os, name, deadly)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", ["fsync", "replace", "unlink"])
def test_a_training_killed_at_any_call_of_the_system_goes_on_to_the_bit(tmp_path, monkeypatch, name, before):
    losses, weights = training(None)
    calls = {"fsync": 8, "replace": 4, "unlink": 2}[name]
    for place in range(1, calls + 1):
        folder = tmp_path / str(place)
        with monkeypatch.context() as patched:
            crashes(name, place, patched, before)
            with pytest.raises(Crash):
                training(folder)
        found, reached = training(folder)
        assert found == losses
        assert same(reached, weights)
    with monkeypatch.context() as patched:
        crashes(name, calls + 1, patched)
        assert training(tmp_path / "whole")[0] == losses


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_training_killed_while_it_writes_goes_on_to_the_bit(tmp_path, monkeypatch, share):
    losses, weights = training(None)
    real = os.fsync
    count = 0

    def deadly(handle):
        nonlocal count
        count += 1
        if count == 5:  # the third checkpoint's file
            os.truncate(handle, int(share * os.fstat(handle).st_size))
            raise Crash
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", deadly)
        with pytest.raises(Crash):
            training(tmp_path)
    assert any(re.fullmatch(r"\..*\.part", p.name) for p in tmp_path.iterdir())
    found, reached = training(tmp_path)
    assert found == losses
    assert same(reached, weights)
    assert len(list(tmp_path.iterdir())) == 2
