"""Interferograms: images whose pixels are angles, read, simulated, denoised, measured and drawn."""
