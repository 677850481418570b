# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Filtering interferograms
#
# From a simulated interferogram, whose truth is known, to an unwrapped one: the shipped network beside the classical
# filters, what it keeps by construction, files as processors write them, how far its error bars can be trusted, and
# what a better phase is worth to an unwrapper. Everything is seeded and runs in four minutes on one CPU core.
#
# Sections 5 and 7 want more than the package itself: `pip install manifoldnet[notebooks,scenes,unwrap]`.

# %%
import math
import os
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

warnings.filterwarnings("ignore", message="IProgress")  # no progress bars here

import matplotlib.pyplot as plt
import numpy as np
import rasterio
import torch
import xarray
from rasterio.errors import NotGeoreferencedWarning
from torch import nn

from manifoldnet.certificates import certify
from manifoldnet.insar import InsarDenoiser, denoise, denoise_dataarray
from manifoldnet.insar.baselines.methods import METHODS
from manifoldnet.insar.evaluate import tuned
from manifoldnet.insar.metrics import residues, rmse_by_coherence, wrap, wrapped_rmse
from manifoldnet.insar.moduli import coherence_around
from manifoldnet.insar.scenes import denoise_file
from manifoldnet.insar.simulate import scenes
from manifoldnet.insar.speckle import observe
from manifoldnet.insar.train import shipped_config, train

plt.rcParams.update({"figure.dpi": 72, "image.interpolation": "nearest", "font.size": 8})
warnings.simplefilter("ignore", NotGeoreferencedWarning)
LOOKS = (1, 4)
ERROR = {"cmap": plt.get_cmap("magma", 12), "vmin": 0, "vmax": math.pi}  # steps make light pictures


def rng(seed):
    return torch.Generator().manual_seed(seed)


def draw(axis, image, title, **style):
    """An image of phases in cyclic colours from -pi to pi, unless ``style`` says otherwise."""
    style = style or {"cmap": "twilight", "vmin": -math.pi, "vmax": math.pi}
    mapped = axis.imshow(wrap(image) if style["cmap"] == "twilight" else image, **style)
    axis.set_title(title.replace(", ", "\n", 1), fontsize=8)
    axis.axis("off")
    return mapped


def bar(mapped, axes, label):
    plt.colorbar(mapped, ax=axes, shrink=0.8, pad=0.01).set_label(label)


# %% [markdown]
# ## 1. A scene and its noise
#
# The simulated phase is the sum of deformation sources, turbulent and stratified delays and a ramp. Coherence falls in
# patches and along rivers, and the ground is darker there. `observe` draws speckle from the circular Gaussian model with
# these three maps as its parameters. It also returns the coherence estimated from the looks of each pixel, which is 1
# everywhere at a single look. A phase is drawn in cyclic colours with fixed limits throughout: -pi and pi are the same
# phase and have the same colour, and no picture is stretched.

# %%
SIZE = 256
scene = scenes(1, SIZE, generator=rng(2))
truth, coherence, amplitude = (image[0] for image in scene)
seen = {looks: observe(truth, coherence, looks, rng(100), amplitude) for looks in LOOKS}

fig, axes = plt.subplots(1, 5, figsize=(11, 2.4), layout="compressed")
bar(draw(axes[0], truth, "true phase"), axes[0], "radians")
bar(draw(axes[1], coherence, "true coherence", cmap="gray", vmin=0, vmax=1), axes[1], "")
bar(draw(axes[2], amplitude, "amplitude", cmap="gray", vmin=0, vmax=2), axes[2], "")
for axis, (looks, (z, _)) in zip(axes[3:], seen.items(), strict=True):
    draw(axis, z.angle(), f"seen with {looks} look{'s' * (looks > 1)}")
print(f"the phase spans {(truth.max() - truth.min()) / (2 * math.pi):.1f} cycles")

# %% [markdown]
# Fringes are visible at once with four looks. With one look the eye has to average, which is what filters do.
#
# ## 2. Beside the classical filters
#
# A boxcar averages phasors, Goldstein's filter (Goldstein & Werner 1998) raises the spectrum of overlapping patches to a
# power, the windowed Fourier filter (Kemao 2007) keeps the strong coefficients of a windowed transform. The parameters
# of the latter two are those with the least error on three other scenes with as many looks. All of them and "ours,
# phase" see phases alone. "Complex" is the same network with the moduli of the interferogram, which tell it which pixels
# to trust.
#
# The error is the root mean square of the arc between estimate and truth, in radians, over all pixels and by *true*
# coherence. A residue is a 2 by 2 loop round which the phase does not close: each is a place round
# which unwrapping depends on the path.

# %%
CLASSICAL = ("noisy", "boxcar 5x5", "Goldstein", "WFF")
filtered = {}
print(f"{'looks':>5}  {'filter':34}{'RMSE':>7}{'< .3':>8}{'.3-.6':>8}{'> .6':>8}{'residues':>10}")
for looks, (z, estimate) in seen.items():
    results = {}
    for name in CLASSICAL:
        method, parameters = METHODS[name], tuned(METHODS[name], SIZE, looks, seed=0)
        results[method.label(parameters)] = method(z[None], None, looks, **parameters)[0].angle()
    results["ours, phase"] = denoise(z.angle())
    if looks > 1:  # from one look there is no estimate of each pixel's coherence
        results["ours, phase and coherence"] = denoise(z.angle(), estimate, looks)
    results["ours, complex"] = denoise(z)
    for name, phase in results.items():
        figures = [wrapped_rmse(phase, truth), *rmse_by_coherence(phase, truth, coherence).values()]
        print(f"{looks:5d}  {name:34}{figures[0]:7.3f}" + "".join(f"{x:8.3f}" for x in figures[1:]), end="")
        print(f"{residues(phase):10d}")
    filtered[looks] = results
print(f"the truth has {residues(wrap(truth))} residues")

# %%
shown = list(filtered[1].items())[1:]
fig, axes = plt.subplots(2, len(shown), figsize=(11, 4.8), layout="compressed")
for column, (name, phase) in zip(axes.T, shown, strict=True):
    above = draw(column[0], phase, name)
    below = draw(column[1], wrap(phase - truth).abs(), "distance to the truth", **ERROR)
bar(above, axes[0], "radians")
bar(below, axes[1], "radians")

# %% [markdown]
# One look. The boxcar is too short where nothing can be seen and too long where fringes are dense: it breaks at the
# steepest ones. The spectral filters follow fringes, as these are narrow lines in a spectrum, and leave the noise where
# there is next to nothing else. What is left of any filter's error sits where the coherence is low. This is one scene:
# `manifoldnet evaluate insar` measures all filters on more.
#
# ## 3. What is kept by construction
#
# The reference of an interferogram is arbitrary: a filter has no business with it. Adding a constant to the phase
# must add it to the result, and exchanging the two images, which conjugates the interferogram, must change the sign. The
# network works on phases relative to a local reference that turns along, so both hold whatever its weights are. Measured
# as the largest arc over all pixels, in float32:

# %%
z = seen[1][0]
plain = denoise(z)
for a in (0.5, 2.0, math.pi):
    turned = denoise(z * torch.polar(torch.tensor(1.0), torch.tensor(a)))
    print(f"denoise(exp({a:.2f} i) z) - denoise(z) - {a:.2f}: at most {wrap(turned - plain - a).abs().max():.1e} rad")
print(f"denoise(conj z) + denoise(z): at most {wrap(denoise(z.conj().resolve_conj()) + plain).abs().max():.1e} rad")

# %% [markdown]
# A certificate says the same of any network: the claim (a defect of 0, up to rounding) beside the measurement, relative
# to the largest output. A plain convolutional network on real and imaginary part, here with random weights, does not
# have the symmetry; training can bring it close where there were data.


# %%
class Filter(nn.Module):
    """Interferograms (n, H, W) to unit phasors of the filtered phase."""

    def forward(self, z):
        return torch.stack([torch.polar(torch.ones(image.shape), denoise(image)) for image in z])


class Plain(nn.Module):
    """Interferograms (n, H, W) through convolutions of real and imaginary part."""

    def __init__(self, channels=8):
        super().__init__()
        first, last = nn.Conv2d(2, channels, 5, padding=2), nn.Conv2d(channels, 2, 5, padding=2)
        self.net = nn.Sequential(first, nn.ReLU(), last)

    def forward(self, z):
        return torch.complex(*self.net(torch.stack([z.real, z.imag], 1)).unbind(1))


def turn(z):
    return z * torch.polar(torch.tensor(1.0), torch.tensor(2.0))


torch.manual_seed(0)
crops = torch.stack([z[:128, :128], z[128:, 128:]])
for network in (Filter(), Plain()):
    print(certify(network, crops, {"common phase": (turn, turn), "conjugation": (torch.conj_physical,) * 2}))

# %% [markdown]
# ## 4. A network of one's own
#
# `train` takes a configuration and returns a model that `denoise` accepts. Below: few channels, few scenes, small
# patches and a minute or two on a core. The full training has the configuration that is printed first, the one in
# `configs/insar.yaml`, and wants a GPU:
# `manifoldnet train insar --config configs/insar.yaml --device cuda --out weights.safetensors`.

# %%
full = shipped_config()
print("full: ", full)
changes = {"scenes": 48, "scene_size": 128, "patch": 64, "batch": 8, "steps": 250, "calibration": 8}
small = full | changes | {"lr": 0.005, "precision": "float32", "channels": [[8, 12, 16]]}
print("small:", {name: value for name, value in small.items() if full[name] != value})
torch.set_num_threads(1)
start = time.perf_counter()
own = train(small)
print(f"\ntrained in {time.perf_counter() - start:.0f} s on one core")
models = {"small": own, "shipped": InsarDenoiser.named("default")}
print(f"\n{'network':9}{'parameters':>12}{'phase, 1 look':>15}{'complex':>9}{'phase, 4 looks':>16}{'complex':>9}")
for name, model in models.items():
    count = sum(p.numel() for p in model.parameters())
    errors = [
        wrapped_rmse(denoise(image, model=model), truth) for z, _ in seen.values() for image in (z.angle(), z)
    ]
    print("{:9}{:12,d}{:15.3f}{:9.3f}{:16.3f}{:9.3f}".format(name, count, *errors))

# %% [markdown]
# The table is the wrapped RMSE in radians on the scene of section 1. A minute or two bring a small network into the company of
# the classical filters. The shipped one has more channels, more stages, and has seen many more patches.
#
# ## 5. Files as processors write them
#
# `denoise_file` reads, filters and writes window by window, so memory depends on the size of its tiles only. The output
# is a file of the same kind: georeference, tags, headers and moduli stay, the phase is replaced. First a pair of
# GeoTIFFs named as those of HyP3, wrapped phase and coherence; the coherence beside the phase is found by its name. Then
# a complex interferogram with the XML of ISCE, and with an ENVI header. GDAL writes all of them and reads the results.

# %%
WIDE = 2 * SIZE
wide = scenes(1, WIDE, generator=rng(9))
phase, estimate = (image[0] for image in observe(wide.phase, wide.coherence, 4, rng(101), wide.amplitude))
phase = phase.angle()
grid = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(355000, 4752000, 80, 80)}
network = models["shipped"]  # read once for all calls
at_once = denoise(phase, estimate, 4, network)


def write(path, image, **how):
    array = image.numpy()
    shape = dict(zip(("height", "width"), array.shape, strict=True))
    with rasterio.open(path, "w", **shape, count=1, dtype=array.dtype, **how) as file:
        file.write(array, 1)


def read(path):
    with rasterio.open(path) as file:
        return torch.from_numpy(file.read(1)), file.driver, file.crs


def compare(path, wanted, report):
    got, driver, crs = read(path)
    arc = wrap((got.angle() if got.is_complex() else got) - wanted).abs().max()
    place = f", {crs.to_string()}" if crs else ""
    print(f"{path.name} ({driver}{place}): {report.shape}, coherence {'used' if report.with_coherence else 'not used'},")
    print(f"    differs from denoise on arrays by at most {arc:.1e} rad")
    return got


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    write(folder / "S1_wrapped_phase.tif", phase, driver="GTiff", **grid)
    write(folder / "S1_corr.tif", estimate, driver="GTiff", **grid)
    report = denoise_file(
        folder / "S1_wrapped_phase.tif", folder / "S1_filtered.tif", looks=4, model=network, tile=SIZE
    )
    compare(folder / "S1_filtered.tif", at_once, report)
    z = seen[4][0]
    for driver in ("ISCE", "ENVI"):
        source, target = folder / f"{driver}_fine.int", folder / f"{driver}_filt_fine.int"
        write(source, z, driver=driver)
        report = denoise_file(source, target, looks=4, model=network)
        got = compare(target, denoise(z, looks=4, model=network), report)
        print(f"    its moduli by {((got.abs() - z.abs()) / z.abs()).abs().max():.1e} of themselves from the input's")
    print(f"files: {', '.join(sorted(path.name for path in folder.iterdir()))}")

# %% [markdown]
# The GeoTIFF was filtered in four tiles. Each is read with as much round it as the network sees, so the result does not
# depend on them: what differs is rounding. The same holds for chunks of arrays with coordinates, which dask computes
# wherever it runs, so stacks of interferograms may lie on a cluster:

# %%
centres = 80 * (np.arange(WIDE) + 0.5)
places = {"y": 4752000 - centres, "x": 355000 + centres}
array = xarray.DataArray(phase.numpy(), places, ("y", "x"), "phase", {"units": "radians"}).chunk(SIZE)
result = denoise_dataarray(array, estimate.numpy(), looks=4, model=network)
print(f"{result.dims}, {result.attrs}, chunks {result.chunks}, not computed yet")
arc = np.abs(wrap(result.values - at_once.numpy())).max()
print(f"computed: at most {arc:.1e} rad from denoise at once; it sees {network.margin} pixels far")

# %% [markdown]
# ## 6. How far to trust it
#
# With `uncertainty=True` every pixel has two half-widths: the arcs within which 68.3 and 95 % of such pixels are. They
# were measured, not derived, so that wrong fringes are in them. To judge them on scenes that they were not measured on:
# sort pixels by the width predicted and look, in each group, where the errors really are.

# %%
with_width = denoise(seen[1][0].angle(), uncertainty=True)
error = wrap(with_width.phase - truth).abs()
fig, axes = plt.subplots(1, 4, figsize=(11, 2.8), layout="compressed")
draw(axes[0], with_width.phase, "filtered")
for axis, image, title in ((axes[1], with_width.uncertainty, "predicted width"), (axes[2], error, "error made")):
    mapped = draw(axis, image, title, **ERROR)
bar(mapped, axes[1:3], "radians")

several = (1, 2, 4, 9)
tests = scenes(4, SIZE, generator=rng(50))
widths, bounds, errors, levels = [], [], [], []
print("looks   within the width (68.3 %), within the bound (95 %); in brackets each of the scenes")
for looks in several:
    images, _ = observe(tests.phase, tests.coherence, looks, rng(51), tests.amplitude)
    results = [denoise(image.angle(), uncertainty=True) for image in images]
    width, bound = (torch.stack([getattr(r, name) for r in results]) for name in ("uncertainty", "bound"))
    arcs = wrap(torch.stack([r.phase for r in results]) - tests.phase).abs()
    inside, below = arcs <= width, arcs <= bound
    each = [f"({', '.join(f'{100 * part.float().mean():.0f}' for part in images)})" for images in (inside, below)]
    print(f"{looks:5d}   {100 * inside.float().mean():.1f} % {each[0]}, {100 * below.float().mean():.1f} % {each[1]}")
    for kept, new in zip((widths, bounds, errors, levels), (width, bound, arcs, tests.coherence), strict=True):
        kept.append(new.flatten())
widths, bounds, errors, levels = map(torch.cat, (widths, bounds, errors, levels))
for name, low, high in (("below .3", 0, 0.3), (".3 to .6", 0.3, 0.6), ("above .6", 0.6, 1.01)):
    there = (levels >= low) & (levels < high)
    shares = [100 * (errors[there] <= limit[there]).float().mean() for limit in (widths, bounds)]
    print(f"true coherence {name}: {shares[0]:.1f} %, {shares[1]:.1f} %")

axis = axes[3]
for predicted, level, colour in ((widths, 0.683, "tab:blue"), (bounds, 0.95, "tab:orange")):
    groups = predicted.argsort().tensor_split(20)
    means = [predicted[group].mean().item() for group in groups]
    found = [torch.quantile(errors[group], level).item() for group in groups]
    axis.plot(means, found, "o-", markersize=3, color=colour, label=f"{100 * level:g} %")
axis.plot([0.03, math.pi], [0.03, math.pi], color="black", linewidth=0.8)
axis.set(xscale="log", yscale="log", xlabel="predicted (rad)", ylabel="found (rad)", title="reliability", aspect="equal")
axis.legend();

# %% [markdown]
# Points on the diagonal are groups of pixels whose errors are as large as predicted. The widths are true on average
# over scenes and looks like those simulated here. They are not a promise for each scene: where one fringe is guessed
# wrong, thousands of pixels are wrong together. Real noise that is correlated between pixels was never seen either.
#
# ## 7. What it is worth to an unwrapper
#
# SNAPHU (Chen & Zebker 2001) unwraps the interferogram before and after filtering. It gets the same coherence each time,
# the usual estimate from 5 by 5 pixels of the interferogram, so only the phase differs. An error is a pixel that ends
# more than pi away from the truth, after the best multiple of 2 pi is taken off the whole image: it is in the wrong
# cycle.

# %%
try:
    import snaphu
except ImportError:
    snaphu = None
    print("snaphu is not installed; this section wants the extra `unwrap`: pip install manifoldnet[unwrap]")


@contextmanager
def silence():
    """Without what other programs write to the standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def unwrapped_error(phase, known, looks):
    """Unwrapped phase minus truth, free of the multiple of 2 pi that leaves the fewest pixels out by more than pi."""
    phasors = np.exp(1j * phase.numpy()).astype(np.complex64)
    with silence():
        unwrapped, _ = snaphu.unwrap(phasors, known.numpy(), nlooks=looks, cost="smooth")
    off = unwrapped - truth.numpy()
    cycles = np.arange(np.floor(off.min() / (2 * np.pi)), np.ceil(off.max() / (2 * np.pi)) + 1)
    shares = [(np.abs(off - 2 * np.pi * k) > np.pi).mean() for k in cycles]
    return off - 2 * np.pi * cycles[np.argmin(shares)]


# %%
if snaphu is not None:
    fig, axes = plt.subplots(len(LOOKS), len(CLASSICAL) + 1, figsize=(11, 4.8), layout="compressed")
    print(f"{'looks':>5}  {'unwrapped after':34}{'wrong cycle':>12}")
    for row, (looks, (z, estimate)) in zip(axes, seen.items(), strict=True):
        known = coherence_around(z[None], (z.abs() / estimate)[None], 5)[0]
        phases = [*list(filtered[looks].items())[: len(CLASSICAL)], ("ours, complex", filtered[looks]["ours, complex"])]
        for axis, (name, phase) in zip(row, phases, strict=True):
            off = unwrapped_error(phase, known, 25.0 * looks)
            share = 100 * (np.abs(off) > np.pi).mean()
            print(f"{looks:5d}  {name:34}{share:10.2f} %")
            mapped = draw(axis, off, name, cmap=plt.get_cmap("RdBu", 15), vmin=-3 * math.pi, vmax=3 * math.pi)
        bar(mapped, row, f"radians off, {looks} look{'s' * (looks > 1)}")

# %% [markdown]
# White is right, saturated colour is a cycle or more away. Before filtering the residues of noise lie so densely that
# paths between them are a matter of chance, and single pixels end in the wrong cycle by their noise alone. A filter takes
# residues away, and with them the choices that unwrapping can get wrong, as long as it does not average over fringes:
# where it does, it moves the truth before the unwrapper sees it, and whole areas follow.
