"""Classical filters of interferograms, to hold a network against.

Every filter takes complex images (..., H, W) and returns complex images of that shape; the filtered phase
is their angle. NaN marks pixels without data: they carry no weight in any average and come back as NaN. Pass unit
phasors to weigh all pixels alike, amplitudes to weigh by amplitude.
"""

from manifoldnet.insar.baselines.block_matching import bm3d
from manifoldnet.insar.baselines.goldstein_werner import baran, goldstein
from manifoldnet.insar.baselines.local_means import boxcar, gaussian
from manifoldnet.insar.baselines.patch_means import nonlocal_means
from manifoldnet.insar.baselines.variation import total_variation
from manifoldnet.insar.baselines.window_spectra import windowed_fourier

__all__ = ["baran", "bm3d", "boxcar", "gaussian", "goldstein", "nonlocal_means", "total_variation", "windowed_fourier"]
