"""Interferograms: images whose pixels are angles, read, simulated, denoised, measured and drawn."""

from manifoldnet.insar.dask_arrays import denoise_array, denoise_dataarray
from manifoldnet.insar.model import InsarDenoiser, denoise

__all__ = ["InsarDenoiser", "denoise", "denoise_array", "denoise_dataarray"]
