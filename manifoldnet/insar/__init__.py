"""Interferograms: images whose pixels are angles, read, simulated, denoised, measured and drawn."""

from manifoldnet.insar.model import InsarDenoiser, denoise

__all__ = ["InsarDenoiser", "denoise"]
