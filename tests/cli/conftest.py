"""The command line in this process."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from cli_inputs import recording

from manifoldnet.activity.model import ActivityClassifier
from manifoldnet.cli import main
from manifoldnet.dti.model import DtiDenoiser
from manifoldnet.insar.model import InsarDenoiser


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch, capsys) -> Iterator[Callable[..., Outcome]]:
    """Runs ``manifoldnet`` with some arguments."""
    threads = torch.get_num_threads()

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["manifoldnet", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return Outcome(stop.value.code or 0, *capsys.readouterr())

    yield run
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> dict[str, Path]:
    """Files of small untrained models, by job."""
    folder = tmp_path_factory.mktemp("weights")
    generator = torch.Generator().manual_seed(0)
    models = {
        "insar": InsarDenoiser({"channels": [[4, 6]], "blocks": 1}, generator),
        "dti": DtiDenoiser({"members": 2, "width": 4, "embedding": 2, "radius2": 1}, generator),
        "activity": ActivityClassifier(model="elastic", options={"samples": 8, "steps": 0}).fit(
            [recording(0), recording(1)], ["still", "moving"]
        ),
    }
    for job, model in models.items():
        model.save(folder / f"{job}.safetensors")
    return {job: folder / f"{job}.safetensors" for job in models}
