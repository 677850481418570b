"""The command ``manifoldnet``.

Bad input ends with one line on the error stream and exit code 2, and leaves no output file; what can be known to fail
is refused before the work. Libraries that only some commands need are imported inside these commands, so that every
command starts fast.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from manifoldnet.errors import InputError
from manifoldnet.linalg import compilation

SUMMARY = "Deep learning on manifolds: denoise interferograms and diffusion tensors, recognise activities."
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=SUMMARY)
denoise_app = typer.Typer(no_args_is_help=True, help="Denoise an image whose pixels live on a manifold.")
evaluate_app = typer.Typer(no_args_is_help=True, help="Measure the shipped models on data they were not trained on.")
data_app = typer.Typer(no_args_is_help=True, help="Public data sets that package registries carry.")
app.add_typer(denoise_app, name="denoise")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(data_app, name="data")
# a pipe has no width: tables must not be cut there; names of files may hold what rich takes for markup
console = Console(width=None if sys.stdout.isatty() else 1000, soft_wrap=True, markup=False, emoji=False)


class Job(str, Enum):
    """What there is a model for."""

    insar = "insar"
    dti = "dti"
    activity = "activity"


Weights = Annotated[Path | None, typer.Option(help="File of weights; the shipped ones by default.")]


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table; their keys are the columns, numbers get three or four digits."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)


@denoise_app.command("insar")
def denoise_insar(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="GeoTIFF, ENVI, ROI_PAC, ISCE or GAMMA raster, HDF5, NetCDF, or .npy")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="file of the same kind")],
    coherence: Annotated[Path | None, typer.Option(help="coherence, of the same size")] = None,
    looks: Annotated[float | None, typer.Option(help="looks of the interferogram")] = None,
    width: Annotated[int | None, typer.Option(help="pixels a line of a raw complex64 file without header")] = None,
    dataset: Annotated[str | None, typer.Option(help="name of the phases in HDF5, where there are several")] = None,
    uncertainty: Annotated[Path | None, typer.Option(help="GeoTIFF or .npy of uncertainties in rad to write")] = None,
    tile: Annotated[int, typer.Option(min=1, help="side in pixels of what is filtered at once")] = 512,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    weights: Weights = None,
) -> None:
    """Filter the phase of an interferogram of any size; georeferencing, amplitude and missing pixels are kept."""
    from manifoldnet.insar.raster import kind_of
    from manifoldnet.insar.scenes import denoise_file

    kind = kind_of(source)
    _check_target(target, (".tif", ".tiff") if kind == ".tif" else (kind,))
    if uncertainty is not None:
        _check_target(uncertainty, (".tif", ".tiff", ".npy"))
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("filtering", total=None)
        report = denoise_file(
            source, target, coherence, looks, "default" if weights is None else weights, uncertainty=uncertainty,
            width=width, dataset=dataset, tile=tile, device=device,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    size = f"{report.shape[0]} x {report.shape[1]} pixels"
    what = size if report.layers == 1 else f"{report.layers} interferograms of {size}"
    used = "phase and coherence" if report.with_coherence else "phase only"
    pace = f"{report.seconds:.1f} s, {report.megapixels_per_second:.3g} megapixels per second{_peak_memory()}"
    console.print(f"{target}: {what} from {used}, {pace}")


@denoise_app.command("dti")
def denoise_dti(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="NIfTI of tensors or diffusion-weighted signals, NRRD of tensors")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="NIfTI of tensors; maps appear beside it")],
    bvals: Annotated[Path | None, typer.Option(help="b-values of a scan, s/mm^2")] = None,
    bvecs: Annotated[Path | None, typer.Option(help="gradient directions of a scan")] = None,
    mask: Annotated[Path | None, typer.Option(help="NIfTI, non-zero = use")] = None,
    order: Annotated[str | None, typer.Option(help="component order of a tensor file: fsl, dipy or mrtrix")] = None,
    repair: Annotated[bool, typer.Option(help="raise eigenvalues of tensors that are not SPD")] = False,
    fit: Annotated[str | None, typer.Option(help="of a scan: wls (default), or restore, slow, for outliers")] = None,
    directions: Annotated[
        int | None, typer.Option(help="to how many directions the tensors of a tensor file were fitted, if known")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="how far to go towards the network's tensors, 0 to 1; by default as was tuned")
    ] = None,
    maps: Annotated[str, typer.Option(help="to write: some of fa,md,ad,rd,v1,rgb")] = "fa,md",
    uncertainty: Annotated[bool, typer.Option(help="write OUT_uncertainty as well, expected distances")] = False,
    glyphs: Annotated[Path | None, typer.Option(help=".png to write: ellipsoids of a slice before and after")] = None,
    weights: Weights = None,
) -> None:
    """Denoise a volume of diffusion tensors; every tensor written is positive definite.

    Of a scan the signals are used too, which takes longer and is better.
    """
    from manifoldnet.dti import io
    from manifoldnet.dti.model import DtiDenoiser, denoise

    start = time.perf_counter()
    _check_target(target, (".nii", ".nii.gz"))
    names = [name.strip() for name in maps.split(",") if name.strip()]
    io.check_maps(names)
    if glyphs is not None:
        _check_target(glyphs, (".png",))
    model = DtiDenoiser.named("default" if weights is None else weights)
    volume = io.read(source, bvals=bvals, bvecs=bvecs, mask=mask, order=order, repair=repair, fit=fit)
    dwi, b, v = (None, None, None) if volume.scan is None else volume.scan
    run = partial(denoise, volume.tensors, volume.mask, dwi, b, v, model, directions=directions, strength=strength)
    result, spread = run(uncertainty=True) if uncertainty else (run(), None)
    io.write(target, result, volume, names, spread)
    if glyphs is not None:
        from manifoldnet.dti.glyphs import glyphs as draw

        draw({"before": volume.tensors, "after": result}, glyphs)
    voxels = f"{int(volume.mask.sum())} of {' x '.join(map(str, volume.mask.shape))} voxels"
    unit = f" in {volume.unit}" if volume.unit else ""
    repaired = f", {volume.floored} tensors had eigenvalues raised" if volume.floored else ""
    spent = f"{time.perf_counter() - start:.1f} s{_peak_memory()}"
    console.print(f"{target}: {voxels}{unit}{repaired}, {spent}")


def _peak_memory() -> str:
    """Largest resident size of this process so far, in words; nothing on systems that do not tell it."""
    try:
        import resource
    except ImportError:
        return ""
    unit = 1 if sys.platform == "darwin" else 1024
    return f", peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB"


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
    _check_target(out, (".safetensors",))
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


def _check_target(path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a file that cannot be written before the work, not after it."""
    if not path.name.lower().endswith(endings):
        raise InputError(f"{path}: wanted a file name that ends in {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; wanted the name of a file")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"{path}: the folder {path.parent} cannot be written ({error.strerror})") from error


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
    models: Annotated[str, typer.Option(help="ours to fit: some of fast,best,inception,invariant,elastic")] = "fast",
    sides: Annotated[bool, typer.Option("--sides", help="tell which wrist wore the sensor")] = False,
    peers: Annotated[bool, typer.Option(help="fit ROCKET and others as well; most want manifoldnet[peers]")] = True,
    folds: Annotated[int, typer.Option(min=2, help="by subject")] = 5,
    pictures: Annotated[Path | None, typer.Option(help="folder for confusion matrices and motions")] = None,
) -> None:
    """Accuracy on people not seen in the fit, beside other classifiers; on hapt with sensors mounted otherwise too."""
    from manifoldnet.activity.report import report

    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)  # what cannot be made is refused before the work
    names = [name.strip() for name in models.split(",") if name.strip()]
    with console.status("fitting") as status:
        tables = report(
            data, names, sides=sides, peers_too=peers, folds=folds, pictures=pictures,
            progress=lambda line: status.update(Text(line)),
        )  # fmt: skip
    for title, rows in tables.items():
        show(title, rows)


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


if __name__ == "__main__":
    main()
