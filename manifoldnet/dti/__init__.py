"""Denoising of diffusion tensor images: fields of symmetric positive definite 3x3 matrices."""
