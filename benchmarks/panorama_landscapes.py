"""Panoramas from the shipped denoiser of landscapes: crop statistics against the renderer's, by method and calls.

    python benchmarks/panorama_landscapes.py [--canvases N] [--mood day] [--slow] [--pictures FOLDER]

Canvases of 256x256 that close from left to right. What is drawn is compared with landscapes of the same mood that no network
has seen; 0 is the same. colours: mean absolute difference, of 0..1, of the means of eight bands by height; contrast: root mean
square of the logarithm of their deviations over the true ones; spectrum: the same of the radial spectrum of crops of 64x64.
seam: squared steps across the borders of the last crops over those elsewhere, 1 is none. calls: crops denoised per canvas.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import cast

import torch
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.demo.landscapes import HEIGHT, MOODS, landscapes
from latent_atelier.demo.models import WEIGHTS
from latent_atelier.pipelines.langevin.canvas import Canvas, Crops, framed
from latent_atelier.pipelines.langevin.denoiser import NetworkDenoiser
from latent_atelier.pipelines.langevin.inversion import Inversion
from latent_atelier.pipelines.langevin.joint import shifted_tiles, tile_sigmas
from latent_atelier.pipelines.langevin.noise import CanvasNoise
from latent_atelier.pipelines.langevin.preconditioning import EDMPrior
from latent_atelier.pipelines.langevin.presets import PRESETS, Preset, draw_canvas
from latent_atelier.pipelines.langevin.prior import PriorSettings
from PIL import Image
from torch import Tensor

WIDTH, CROP, BANDS, RINGS, BATCH = 256, 64, 8, 12, 8
UNSEEN = 4711
NAIVE = PriorSettings(sigma_max=1.0, tau=0.5, inversion=Inversion("naive"))


def bands(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Means and deviations by height, [8,3] each, of pictures [N,3,256,W]."""
    cut = pictures.unflatten(2, (BANDS, -1))
    return cut.mean(dim=(0, 3, 4)).T, cut.std(dim=(3, 4)).mean(dim=0).T


def spectrum(pictures: Tensor) -> Tensor:
    """Power in rings of frequency, of the grey values of all crops under a Hann window."""
    grey = pictures.mean(dim=1)
    crops = grey.unfold(1, CROP, CROP // 2).unfold(2, CROP, CROP // 2).flatten(0, 2)
    window = torch.hann_window(CROP, periodic=False)
    crops = (crops - crops.mean(dim=(1, 2), keepdim=True)) * window[:, None] * window
    power = torch.fft.fft2(crops).abs().square().mean(dim=0)
    frequency = torch.fft.fftfreq(CROP)
    radius = (frequency[:, None].square() + frequency.square()).sqrt()
    edges = torch.linspace(1 / CROP, 0.5, RINGS + 1)
    return torch.stack([power[(radius >= low) & (radius < high)].mean() for low, high in pairwise(edges.tolist())])


def rms_log(found: Tensor, truth: Tensor) -> float:
    """Root mean square of log(found / truth)."""
    return float((found / truth).log().square().mean().sqrt())


def seam_ratio(pictures: Tensor, columns: list[int]) -> float:
    """Squared steps into these columns over the others."""
    steps = (pictures - pictures.roll(1, 3)).square().mean(dim=(0, 1, 2))
    at = torch.zeros(WIDTH, dtype=torch.bool)
    at[[column % WIDTH for column in columns]] = True
    return float(steps[at].mean() / steps[~at].mean())


def multidiffusion(denoiser: NetworkDenoiser, x: Tensor, steps: int, stride: int) -> tuple[Tensor, int]:
    """Bar-Tal et al. 2023: overlapping crops on a fixed grid, their denoised pictures averaged, one ODE for the canvas.
    x: standard normal [1,3,256,256]."""
    sigmas = tile_sigmas(steps, denoiser.sigma_data, sigma_max=20.0)
    frame = framed((HEIGHT, WIDTH), (CROP, CROP), 0, (False, True))
    starts = list(product(range(0, HEIGHT - CROP + 1, stride), range(0, WIDTH, stride)))
    whole, calls = (slice(0, CROP), slice(0, CROP)), 0
    x = sigmas[0] * x
    for high, low in pairwise(sigmas):
        total, weight = torch.zeros_like(x), torch.zeros(HEIGHT, WIDTH)
        for first in range(0, len(starts), BATCH):
            part = starts[first:first + BATCH]
            view = Crops(frame, tuple(part), (whole,) * len(part))
            for (top, left), denoised in zip(part, denoiser(view.gather(x), high, view), strict=True):
                rows, columns = torch.arange(top, top + CROP)[:, None], (torch.arange(CROP) + left) % WIDTH
                total[0][:, rows, columns] += denoised
                weight[rows, columns] += 1
            calls += len(part)
        x = torch.lerp(x, total / weight, 1 - low / high)
    return x, calls


def methods(denoiser: NetworkDenoiser, *, slow: bool) -> dict[str, Callable[[int], tuple[Tensor, int, list[int]]]]:
    """Name -> seed -> canvas [1,3,256,256], calls, columns where crops meet."""

    def joint(stride: int) -> Callable[[int], tuple[Tensor, int, list[int]]]:
        def run(seed: int) -> tuple[Tensor, int, list[int]]:
            x = torch.randn(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
            return *multidiffusion(denoiser, x, 50, stride), list(range(0, WIDTH, stride))
        return run

    def blank(margin: float) -> Canvas:
        return Canvas(torch.zeros(1, 3, HEIGHT, WIDTH), framed((HEIGHT, WIDTH), (CROP, CROP), margin, (False, True)),
                      batch=BATCH)

    def borders(canvas: Canvas, sweep: int) -> list[int]:
        return sorted({starts[1] + kept[1].start for view in canvas.views(sweep)
                       for starts, kept in zip(view.starts, view.kept, strict=True)})

    def tiles(steps: int) -> Callable[[int], tuple[Tensor, int, list[int]]]:
        def run(seed: int) -> tuple[Tensor, int, list[int]]:
            canvas = blank(0.125)
            calls = shifted_tiles(canvas, denoiser, tile_sigmas(steps, denoiser.sigma_data), CanvasNoise([seed]))
            return canvas.values, calls, borders(canvas, 2**40 + steps)
        return run

    def ours(preset: Preset) -> Callable[[int], tuple[Tensor, int, list[int]]]:
        def run(seed: int) -> tuple[Tensor, int, list[int]]:
            canvas = blank(preset.margin)
            calls = draw_canvas(canvas, denoiser, preset, CanvasNoise([seed])).calls
            return canvas.values, calls, borders(canvas, preset.prior.sweeps - 1)
        return run

    picard = PriorSettings(sweeps=48, sigma_max=1.0, tau=0.5, inversion=Inversion("picard", 2))
    found = {"MultiDiffusion, 50 steps, stride 1/2": joint(CROP // 2), "MultiDiffusion, 50 steps, stride 1/4": joint(CROP // 4),
             "shifted tiles, 80 steps": tiles(80),
             "naive, 64 sweeps from 10": ours(Preset(replace(NAIVE, sweeps=64, sigma_max=10.0))),
             "tiles 32, then naive, 64 sweeps": ours(Preset(replace(NAIVE, sweeps=64), start=32)),
             "tiles 48, then naive, 48 sweeps": ours(Preset(replace(NAIVE, sweeps=48), start=48)),
             "tiles 16, then naive, 72 from 2, margin 1/16":
                 ours(Preset(replace(NAIVE, sweeps=72, sigma_max=2.0, tau=1.0), start=16, margin=0.0625)),
             "tiles 48, then Picard 2, 48 sweeps": ours(Preset(picard, start=48)),
             **{f"preset '{name}'": ours(PRESETS[name]) for name in ("quick", "balanced", "fine")}}
    if slow:
        found["MultiDiffusion, 50 steps, stride 1/8"] = joint(CROP // 8)
    return found


def main() -> None:
    """Run the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--canvases", type=int, default=4)
    parser.add_argument("--mood", choices=MOODS, default="day")
    parser.add_argument("--slow", action="store_true", help="also what takes tens of thousands of calls")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    network = cast(EDMPrior, load_checkpoint(WEIGHTS / "denoisers" / "landscapes_64.safetensors").module)
    denoiser = NetworkDenoiser(network.eval().requires_grad_(False), sigma_data=network.sigma_data, batch=BATCH,
                               label=network.labels.condition(args.mood))

    def renderings(count: int, seed: int) -> Tensor:
        return torch.from_numpy(landscapes(count, seed, WIDTH)[args.mood]).permute(0, 3, 1, 2).float() / 255

    truth = renderings(32, UNSEEN)
    means, deviations = bands(truth)
    power = spectrum(truth)
    head = ("calls", 6), ("colours", 7), ("contrast", 8), ("spectrum", 8), ("seam", 5), ("seconds", 8)
    sys.stdout.write(f"{'method':42s} {' '.join(f'{name:>{width}s}' for name, width in head)}\n")

    def row(name: str, pictures: Tensor, calls: int, seams: list[float], seconds: float) -> None:
        found, spread = bands(pictures)
        seam = f"{sum(seams) / len(seams):5.2f}" if seams else "     "
        sys.stdout.write(f"{name:42s} {calls:6d} {float((found - means).abs().mean()):7.3f} {rms_log(spread, deviations):8.3f} "
                         f"{rms_log(spectrum(pictures), power):8.3f} {seam} {seconds:8.1f}\n")
        sys.stdout.flush()
        if args.pictures is not None:
            args.pictures.mkdir(parents=True, exist_ok=True)
            sheet = torch.cat(list(pictures), dim=2).permute(1, 2, 0)
            Image.fromarray((sheet * 255).round().byte().numpy()).save(args.pictures / f"{name.replace('/', '_')}.png")

    row("other renderings", renderings(args.canvases, UNSEEN + 1), 0, [], 0.0)
    for name, run in methods(denoiser, slow=args.slow).items():
        began = time.perf_counter()
        with torch.no_grad():
            drawn = [run(seed) for seed in range(args.canvases)]
        pictures = torch.cat([(values.clamp(-1, 1) + 1) / 2 for values, _, _ in drawn])
        row(name, pictures, drawn[0][1], [seam_ratio(values, columns) for values, _, columns in drawn],
            (time.perf_counter() - began) / args.canvases)


if __name__ == "__main__":
    main()
