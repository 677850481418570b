"""``manifoldnet denoise``: interferograms and diffusion tensors, from file to file."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from manifoldnet.cli.terminal import Weights, check_target, console, peak_memory

denoise_app = typer.Typer(no_args_is_help=True, help="Denoise an image whose pixels live on a manifold.")


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
    check_target(target, (".tif", ".tiff") if kind == ".tif" else (kind,))
    if uncertainty is not None:
        check_target(uncertainty, (".tif", ".tiff", ".npy"))
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
    pace = f"{report.seconds:.1f} s, {report.megapixels_per_second:.3g} megapixels per second{peak_memory()}"
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
    check_target(target, (".nii", ".nii.gz"))
    names = [name.strip() for name in maps.split(",") if name.strip()]
    io.check_maps(names)
    if glyphs is not None:
        check_target(glyphs, (".png",))
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
    spent = f"{time.perf_counter() - start:.1f} s{peak_memory()}"
    console.print(f"{target}: {voxels}{unit}{repaired}, {spent}")
