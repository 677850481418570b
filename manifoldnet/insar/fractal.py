"""Random fields whose power spectrum is a power of the wave number, and the quantiles at which they are cut."""

import torch
from jaxtyping import Float32
from torch import Tensor

from manifoldnet.insar.draws import Draws


def fractal(size: int, exponent: Float32[Tensor, " count"], draw: Draws) -> Float32[Tensor, "count size size"]:
    """Fields with two-dimensional power spectrum k^-exponent, each with zero mean and unit variance.

    Gaussian, by spectral synthesis. Cut out of a field of 1.5 times the side, because the whole is periodic.
    """
    whole = 2 * -(-3 * size // 4)  # even, so that the last column of the half spectrum is the Nyquist frequency
    device = exponent.device
    k = torch.hypot(torch.fft.fftfreq(whole, device=device)[:, None], torch.fft.rfftfreq(whole, device=device))
    gain = torch.exp(-0.5 * exponent[:, None, None] * torch.log(k.clamp_min(0.5 / whole)))
    gain[:, 0, 0] = 0
    spectrum = torch.view_as_complex(draw.normal(whole, whole // 2 + 1, 2))
    # the spectrum of a real field is Hermitian: its first and last column are their own mirror images
    ends = spectrum[..., :: whole // 2]
    spectrum[..., :: whole // 2] = (ends + ends.flip(-2).roll(1, -2).conj()) * 0.5**0.5
    field = torch.fft.irfft2(gain * spectrum, (whole, whole))[:, :size, :size]
    field = field - field.mean((-2, -1), keepdim=True)
    return field / field.std((-2, -1), correction=0, keepdim=True)


def quantile(image: Float32[Tensor, "count h w"], share: Float32[Tensor, "count 1 1"]) -> Float32[Tensor, "count 1 1"]:
    """The value below which ``share`` of an image's pixels lie, interpolated linearly; each image has its own share.

    torch.quantile has one share for all images and reads it back from the device.
    """
    ordered = image.flatten(1).sort(1).values
    place = (share.flatten(1) * (ordered.shape[1] - 1)).clamp(0, ordered.shape[1] - 1)
    below, above = (ordered.gather(1, index.long()) for index in (place.floor(), place.ceil()))
    return torch.lerp(below, above, place.frac())[..., None]
