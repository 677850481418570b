"""``manifoldnet evaluate``: the tables of the README."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from manifoldnet.cli.terminal import Weights, console, show

evaluate_app = typer.Typer(no_args_is_help=True, help="Measure the shipped models on data they were not trained on.")


@evaluate_app.command("insar")
def evaluate_insar(
    scenes: Annotated[int, typer.Option(min=1, help="simulated scenes of 256 x 256 pixels")] = 8,
    shapes: Annotated[
        bool, typer.Option("--shapes", help="cone, peaks and squares at coherence .3, .5 and .7 instead of scenes")
    ] = False,
    pictures: Annotated[Path | None, typer.Option(help="folder for pictures of what the rows are made from")] = None,
    weights: Weights = None,
) -> None:
    """Errors on simulated interferograms at 1 and 4 looks, beside classical filters tuned on other scenes."""
    from manifoldnet.insar.evaluate import default_methods, evaluate, evaluate_shapes, left_out

    methods = default_methods("default" if weights is None else weights)
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)  # what cannot be made is refused before the work
    with console.status("simulating") as status:

        def tell(line: str) -> None:
            status.update(Text(line))

        if shapes:
            rows = evaluate_shapes(methods=methods, pictures=pictures, progress=tell)
        else:
            rows = evaluate(scenes, methods=methods, pictures=pictures, progress=tell)
    show("Plain shapes, RMSE in radians" if shapes else "Simulated interferograms", rows)
    for name, package in left_out().items():
        console.print(f"{name} is left out: pip install 'manifoldnet[{package}]' brings it")


@evaluate_app.command("dti")
def evaluate_dti(
    scan: Annotated[str | None, typer.Option(help="only this data set: tractseg, mdt-b1k-b2k or small-64d")] = None,
    phantoms: Annotated[int | None, typer.Option(min=1, help="only phantoms, and how many of 32^3 voxels")] = None,
    splits: Annotated[int, typer.Option(min=1, help="subsets of the directions of a scan")] = 3,
    weights: Weights = None,
) -> None:
    """Errors on real scans, a part of whose directions is denoised, and on phantoms, beside classical filters."""
    from manifoldnet.dti.evaluate import evaluate_phantoms, evaluate_scans, trials_of
    from manifoldnet.dti.protocol import TRIALS

    model = "default" if weights is None else weights
    real = trials_of(scan) if scan else [] if phantoms else TRIALS
    with console.status("loading") as status:

        def tell(line: str) -> None:
            status.update(Text(line))

        rows = evaluate_scans(real, range(splits), model=model, progress=tell)
        if phantoms or not scan:
            rows += evaluate_phantoms(phantoms or 3, model=model, progress=tell)
    show("Diffusion tensors", rows)


@evaluate_app.command("activity")
def evaluate_activity(
    data: Annotated[str, typer.Option(help="watch, hapt, basic-motions, or a file of recordings")] = "watch",
    models: Annotated[str, typer.Option(help="ours to fit: best,fast,network,inception,pieces,elastic,...")] = "fast",
    sides: Annotated[bool, typer.Option("--sides", help="tell which wrist wore the sensor")] = False,
    peers: Annotated[
        str, typer.Option(help="fitted as well: all, none, or ROCKET,MiniROCKET,...; most want manifoldnet[peers]")
    ] = "all",
    folds: Annotated[int, typer.Option(min=2, help="by subject")] = 5,
    pictures: Annotated[Path | None, typer.Option(help="folder for confusion matrices and motions")] = None,
) -> None:
    """Accuracy on people not seen in the fit, beside other classifiers; on hapt with sensors mounted otherwise too."""
    from manifoldnet.activity.report import report

    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)  # what cannot be made is refused before the work
    names, chosen = ([name.strip() for name in given.split(",") if name.strip()] for given in (models, peers))
    others = {"all": None, "none": []}.get(peers, chosen)
    with console.status("fitting") as status:
        tables = report(
            data, names, sides=sides, others=others, folds=folds, pictures=pictures,
            progress=lambda line: status.update(Text(line)),
        )  # fmt: skip
    for title, rows in tables.items():
        show(title, rows)
