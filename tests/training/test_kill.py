"""Trainings that are killed by SIGKILL at random moments. Run as a program, this file is such a training."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from manifoldnet.training.callbacks import Callback
from manifoldnet.training.checkpoint import Checkpoints
from manifoldnet.training.fit import fit

STEPS = 150
READY, RESULT = "ready", "losses.json"


class Ready(Callback):
    """Tells the killer that imports are done."""

    def __init__(self, folder):
        self.folder = folder

    def on_start(self, training):
        (self.folder / READY).touch()


def train(folder):
    """Shuffling, dropout, augmentation by the states of python and numpy, momenta; half of the time it writes."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002
    model = nn.Sequential(nn.Linear(8, 400), nn.Dropout(0.2), nn.Linear(400, 400), nn.Tanh(), nn.Linear(400, 1))
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(3))
    data = TensorDataset(x, x.sin().sum(1, keepdim=True))
    loader = DataLoader(data, batch_size=24, shuffle=True, generator=torch.Generator().manual_seed(4))

    def loss(model, x, y):
        scale = 1 + 0.1 * random.random() + 0.1 * np.random.normal()  # noqa: NPY002
        return (model(scale * x) - y).square().mean()

    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    saves = Checkpoints(folder / "checkpoints", every=2)
    losses = fit(model, loader, loss, optimizer, steps=STEPS, checkpoints=saves, callbacks=[Ready(folder)])
    (folder / RESULT).write_text(json.dumps(losses))


def start(folder):
    (folder / READY).unlink(missing_ok=True)
    return subprocess.Popen([sys.executable, __file__, folder])


def is_torn(folder):
    return any((folder / "checkpoints").glob(".*.part"))


def killed(folder, moment, in_write):
    """Whether the training in ``folder``, started or resumed, was killed ``moment`` seconds after its imports.

    With ``in_write`` the kill waits for the next checkpoint to be under way.
    """
    process = start(folder)
    while not (folder / READY).exists():
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(moment)
    while in_write and process.poll() is None and not is_torn(folder):
        pass
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def saved_losses(folder):
    newest = Checkpoints(folder / "checkpoints").newest()
    return [] if newest is None else newest[1]["training"]["losses"].tolist()


def losses_after(kills, folder, longest, rng):
    """Check ``kills`` kills; the loss curves of all trainings that came to an end, and what was torn."""
    curve = None
    finished, torn, resumed = [], 0, set()
    for number in range(1000):
        home = folder / str(number)
        home.mkdir(parents=True)
        if curve is None:  # the first is left alone
            assert start(home).wait() == 0
            curve = json.loads((home / RESULT).read_text())
            continue
        while kills and killed(home, rng.uniform(0, longest), in_write=kills % 2 == 0):
            kills -= 1
            reached = saved_losses(home)
            assert reached == curve[: len(reached)]
            resumed.add(len(reached))
            torn += is_torn(home)
        if not (home / RESULT).exists():
            assert start(home).wait() == 0
        finished.append(json.loads((home / RESULT).read_text()))
        if not kills:
            return curve, finished, torn, resumed
    raise AssertionError("wanted trainings that last longer")


@pytest.mark.slow
def test_twenty_kills_leave_the_loss_curve_as_it_is(tmp_path):
    curve, finished, torn, resumed = losses_after(20, tmp_path, 1.0, random.Random(0))
    assert len(curve) == STEPS
    assert all(losses == curve for losses in finished)
    assert len(resumed) > 5
    assert torn > 3
    print(f"{torn} of 20 kills while a checkpoint was written; resumed after steps {sorted(resumed)}")


if __name__ == "__main__":
    train(Path(sys.argv[1]))
