"""Denoising of diffusion tensor images: fields of symmetric positive definite 3x3 matrices."""

from manifoldnet.dti.model import DtiDenoiser, denoise

__all__ = ["DtiDenoiser", "denoise"]
