"""The demonstration: each application once, on input whose truth or reference is known."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from rich.console import Console

from manifoldnet.activity import plot as activity_plot
from manifoldnet.activity import train as activity_train
from manifoldnet.activity.model import ActivityClassifier
from manifoldnet.data import load_diffusion
from manifoldnet.dti import io as dti_io
from manifoldnet.dti import plot as dti_plot
from manifoldnet.dti.baselines import log_euclidean_gaussian, tune
from manifoldnet.dti.metrics import distance_to_truth
from manifoldnet.dti.model import denoise as denoise_dti
from manifoldnet.dti.protocol import Trial, splits
from manifoldnet.errors import InputError
from manifoldnet.insar import baselines, simulate
from manifoldnet.insar import plot as insar_plot
from manifoldnet.insar.metrics import wrapped_rmse
from manifoldnet.insar.model import denoise as denoise_insar
from manifoldnet.insar.speckle import observe

Row = dict[str, str | float]
SEED = 11
SCAN = "small-64d"
DIRECTIONS = 12


def run(out: Path, console: Console) -> list[Row]:
    """Run the three jobs, write their pictures and files to ``out``, and return the rows of the table of errors."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for title, job in (
        ("denoising a simulated interferogram", _insar),
        ("denoising diffusion tensors of dipy's small_64D", _dti),
        ("recognising exercises from a watch's gyroscope and accelerometer", _activity),
    ):
        with console.status(title):
            rows += job(out)
    return rows


def _insar(out: Path) -> list[Row]:
    generator = torch.Generator().manual_seed(SEED)
    phase, coherence, _ = (image[0] for image in simulate.scenes(1, 256, generator=generator))
    observed, estimate = observe(phase, coherence, 4.0, generator)
    result = denoise_insar(observed, estimate, looks=4)
    np.save(out / "insar_noisy.npy", observed.numpy())
    np.save(out / "insar_denoised.npy", result.numpy())
    panels = {"noisy": observed.angle(), "denoised": result, "truth": phase, "coherence": coherence}
    insar_plot.compare({name: image.numpy() for name, image in panels.items()}, out / "insar.png")
    return [
        {
            "input": "interferogram, simulated, 4 looks",
            "figure": "wrapped RMSE, rad",
            "before": wrapped_rmse(observed.angle(), phase),
            "manifoldnet": wrapped_rmse(result, phase),
            "beside it": wrapped_rmse(baselines.boxcar(observed, 5).angle(), phase),
            "which is": "boxcar 5x5",
        }
    ]


def _dti(out: Path) -> list[Row]:
    ((one,),) = splits(Trial(SCAN, SCAN, DIRECTIONS), [0])
    noisy, reference, inside = one.noisy, one.reference, one.mask
    result = 1e3 * denoise_dti(1e-3 * noisy, inside, one.signals, one.bvals, one.bvecs)  # mm^2/s beside s/mm^2
    sigma = tune(log_euclidean_gaussian, [(noisy, reference, inside)])
    smoothed = log_euclidean_gaussian(noisy, inside, sigma)
    image = nib.Nifti1Image(np.zeros(inside.shape, np.float32), load_diffusion(SCAN).affine)
    like = dti_io.TensorVolume(noisy.numpy(), inside.numpy(), image.affine, image.header, "dipy")
    dti_io.write(out / "dti_denoised.nii.gz", 1e-3 * result.numpy(), like)  # mm^2/s, as the command writes
    panels = {f"{DIRECTIONS} directions": noisy, "denoised": result, "other 52 directions": reference}
    dti_plot.compare({name: x.numpy() for name, x in panels.items()}, out / "dti.png")
    return [
        {
            "input": f"small_64D, {DIRECTIONS} of 64 directions",
            "figure": "mean d^2 to the fit of the other 52",
            "before": _d2(noisy, reference, inside),
            "manifoldnet": _d2(result, reference, inside),
            "beside it": _d2(smoothed, reference, inside),
            "which is": f"log-Euclidean Gaussian, sigma {sigma:g}, tuned on this very volume",
        }
    ]


def _d2(tensors: torch.Tensor, reference: torch.Tensor, inside: torch.Tensor) -> float:
    return float(distance_to_truth(tensors[inside], reference[inside]).mean())


def _activity(out: Path) -> list[Row]:
    row: Row = {"input": "watch recordings of two people never seen", "figure": "share recognised"}
    try:
        data = activity_train.watch().of(activity_train.shipped_config()["held_out"])
    except InputError as error:  # the only input that is not shipped
        return [{**row, "before": np.nan, "manifoldnet": np.nan, "beside it": np.nan, "which is": f"skipped: {error}"}]
    classifier = ActivityClassifier.load(activity_train.SHIPPED)
    predicted = classifier.predict(data.samples)
    activity_plot.confusion(data.labels, predicted, out / "activity.png")
    classes = len(classifier.classes_)
    return [
        {
            **row,
            "before": np.nan,
            "manifoldnet": float(np.mean(predicted == data.labels)),
            "beside it": 1 / classes,
            "which is": f"chance, {classes} exercises",
        }
    ]
