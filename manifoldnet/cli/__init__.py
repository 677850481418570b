"""The command ``manifoldnet``.

Bad input ends with one line on the error stream and exit code 2, and leaves no output file; what can be known to fail
is refused before the work. Libraries that only some commands need are imported inside these commands, so that every
command starts fast.
"""

from __future__ import annotations

import os
import sys
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from manifoldnet.cli.denoise import denoise_app
from manifoldnet.cli.evaluate import evaluate_app
from manifoldnet.cli.terminal import Weights, check_target, console, show
from manifoldnet.errors import InputError
from manifoldnet.linalg import compilation

SUMMARY = "Deep learning on manifolds: denoise interferograms and diffusion tensors, recognise activities."
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=SUMMARY)
data_app = typer.Typer(no_args_is_help=True, help="Public data sets that package registries carry.")
app.add_typer(denoise_app, name="denoise")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(data_app, name="data")


class Job(str, Enum):
    """What there is a model for."""

    insar = "insar"
    dti = "dti"
    activity = "activity"


@app.command()
def classify(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", help="CSV, Parquet, .npy, .npz, .ts; motion capture in .bvh, .amc, JSON"),
    ],
    rate: Annotated[float | None, typer.Option(help="samples per second, where the file does not say")] = None,
    units: Annotated[
        str | None, typer.Option(help="of gyroscope and acceleration, where the file does not say: deg/s,m/s^2")
    ] = None,
    content: Annotated[
        str | None, typer.Option(help="of an array: wxyz or xyzw (quaternions), 'rotation vectors' or positions")
    ] = None,
    skeleton: Annotated[
        str | None, typer.Option(help="of positions (kinect-20, ...), or the .asf file of an .amc")
    ] = None,
    weights: Weights = None,
    every: Annotated[
        float | None,
        typer.Option(min=0, help="seconds between answers along a recording; one answer by default"),
    ] = None,
) -> None:
    """Recognise the activity in recordings by their curves on Lie groups; the shipped model is for a wrist sensor."""
    from manifoldnet.activity.io import read
    from manifoldnet.activity.model import ActivityClassifier
    from manifoldnet.activity.train import SHIPPED

    both = None if units is None else tuple(unit.strip() for unit in units.split(","))
    if both is not None and len(both) != 2:
        raise InputError(f"units: {units!r}, wanted two with a comma between, such as deg/s,m/s^2")
    classifier = ActivityClassifier.load(SHIPPED if weights is None else weights)
    recordings = read(source, rate, units=both, content=content, skeleton=skeleton)
    curves = [classifier.curve_of(recording) for recording in recordings]
    sides = [recording.side for recording in recordings if recording.side is not None]
    if classifier.with_sides_ and len(sides) < len(recordings):
        raise InputError(f"{source}: wanted the side of each recording (0 left, 1 right), which these weights use")
    told = sides if classifier.with_sides_ else None
    rows = []

    def note(recording: Any, p: Any, **when: float) -> None:
        row = {"recording": recording.name, **when, "activity": str(classifier.classes_[p.argmax()])}
        row["score"] = float(p.max())
        rows.append(row if recording.label is None else {**row, "label in file": recording.label})

    if every is None:
        for recording, p in zip(recordings, classifier.predict_proba(curves, told), strict=True):
            note(recording, p)
    else:
        for k, (recording, curve) in enumerate(zip(recordings, curves, strict=True)):
            for seconds, p in classifier.stream(curve, None if told is None else told[k], every=every):
                note(recording, p, until=seconds)
    if not rows:
        raise InputError(f"{source}: no recording is as long as a window, {classifier.seconds:g} s")
    show(str(source), rows)


@app.command()
def train(
    job: Job,
    out: Annotated[Path, typer.Option(help="file of weights to write")],
    config: Annotated[Path | None, typer.Option(help="YAML or JSON; by default what made the shipped weights")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    checkpoints: Annotated[
        Path | None, typer.Option(help="folder from which a training that was killed goes on; insar and dti")
    ] = None,
    start: Annotated[Path | None, typer.Option(help="weights to start from, not at random; insar only")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="processes that draw the next batches; dti only")] = None,
) -> None:
    """Train a model as a recorded configuration says; several processes where torchrun started them."""
    import torch

    from manifoldnet.training import read_config

    training = import_module(f"manifoldnet.{job.value}.train")
    check_target(out, (".safetensors",))
    offered: list[tuple[str, Any, tuple[Job, ...]]] = [
        ("checkpoints", checkpoints, (Job.insar, Job.dti)),
        ("start", start, (Job.insar,)),
        ("workers", workers, (Job.dti,)),
    ]
    options = {name: value for name, value, _ in offered if value is not None}
    for name, _, jobs in offered:
        if name in options and job not in jobs:
            raise InputError(f"{name}: wanted job {' or '.join(one.value for one in jobs)}, got {job.value}")
    shipped = training.shipped_config()
    settings = shipped if config is None else read_config(config, shipped)
    # sums depend on the number of threads in the last bits, and those grow
    torch.set_num_threads(settings["threads"])
    model = training.train(settings, device=device, progress=f"training {job.value}", **options)
    if int(os.environ.get("RANK", "0")):
        return
    model.save(out)
    console.print(f"{out}: written")


@data_app.command("list")
def data_list() -> None:
    """The data sets, and which are in the cache."""
    from manifoldnet.data import DATASETS, cached

    rows = []
    for name, dataset in DATASETS.items():
        here = cached(name)
        row = {"name": name, "content": dataset.title, "from": dataset.source, "licence": dataset.licence}
        rows.append({**row, "MB": float(dataset.megabytes), "cached": "no" if here is None else str(here)})
    show("Data sets", rows)


@data_app.command("get")
def data_get(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Fetch a data set into the cache, check its hash and print its folder."""
    from manifoldnet.data import get

    with console.status(Text(name)) as status:
        folder = get(name, progress=lambda line: status.update(Text(line)))
    print(folder)


@app.command()
def methods(
    markdown: Annotated[bool, typer.Option("--markdown", help="print the page docs/integrators.md")] = False,
) -> None:
    """The table of integrators; structural properties are computed from their coefficients."""
    from manifoldnet.integrators import table

    if markdown:
        print(table.markdown(), end="")
    else:
        show("Integrators", table.rows())


@app.command()
def demo(out: Annotated[Path, typer.Option(help="folder for pictures and files")] = Path("demo_output")) -> None:
    """All three jobs on shipped or downloaded input: a table of errors, pictures, and the files they were made from."""
    from manifoldnet.demo import run

    rows = run(out, console)
    show("manifoldnet demo", rows)
    console.print(f"pictures and files are in {out}/")


def main() -> None:
    """Entry point: InputError and file errors become one line and exit code 2."""
    try:
        # most commands are over before a compiler is, and what they print must not depend on whether there is one
        with compilation("never"):
            app()
    except InputError as error:
        print(f"manifoldnet: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"manifoldnet: {name}{error.strerror or error}", file=sys.stderr)
        raise SystemExit(2) from None
