"""Panoramas from one denoiser: Algorithm 1 against MultiDiffusion and shifted tiles, by spectrum, seams and calls.

    python benchmarks/panorama.py [--canvases N] [--seed S] [--only TEXT ...] [--report FILE]

The prior is a Gaussian texture whose crops of 16x16 have an exact denoiser and whose spectrum is known; the canvas of 48x96
wraps both ways. Canvases are drawn in groups of 16 that share the offsets of their crops. spectrum: root mean square of the
logarithm of the radial spectrum over the truth. seam: squared steps across the borders of the tiles over those elsewhere.
calls: crops denoised per canvas. All methods run in the same process on the same denoiser; what exact samples score is the
floor. --only: methods whose names hold one of these texts.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from latent_atelier.pipelines.langevin.canvas import Canvas, framed
from latent_atelier.pipelines.langevin.gaussian import GaussianDenoiser, stationary_covariance
from latent_atelier.pipelines.langevin.inversion import Inversion
from latent_atelier.pipelines.langevin.joint import shifted_tiles, tile_sigmas
from latent_atelier.pipelines.langevin.noise import CanvasNoise
from latent_atelier.pipelines.langevin.presets import PRESETS, Preset, draw_canvas
from latent_atelier.pipelines.langevin.prior import PriorSettings
from torch import Tensor

HEIGHT, WIDTH, CROP = 48, 96, 16
BINS, GROUP = 16, 16
NAIVE = PriorSettings(sigma_max=10.0, sigma_min=0.02, tau=1.0, inversion=Inversion("naive"))


def texture() -> tuple[Tensor, Tensor]:
    """Power [H,W] of variance 1 and autocovariance of the texture."""
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in (HEIGHT, WIDTH))
    power = 1 / (0.0064 + fy[:, None] ** 2 + fx[None] ** 2) ** 1.6
    power = power / power.mean() + 1e-4
    power = power / power.mean()
    return power, torch.fft.ifft2(power).real


Drawn = tuple[Tensor, int, int, int]
"""Canvases [B,1,H,W], calls for each, period and offset of the columns where crops meet."""


@dataclass(frozen=True)
class Row:
    """One method's result."""

    method: str
    calls: int
    spectrum: float
    seam: float
    seconds: float


def radial_error(values: Tensor, power: Tensor) -> float:
    """rms over 16 radial bands of log(power found / true). values [B,1,H,W]."""
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in (HEIGHT, WIDTH))
    radius = (fy[:, None] ** 2 + fx[None] ** 2).sqrt()
    found = torch.fft.fft2(values[:, 0].double()).abs().square().mean(dim=0) / (HEIGHT * WIDTH)
    edges = torch.linspace(0, 0.5, BINS + 1, dtype=torch.float64)
    logs = [math.log(float(found[band].mean() / power[band].mean()))
            for low, high in pairwise(edges) for band in [(radius >= low) & (radius < high)]]
    return math.sqrt(sum(x * x for x in logs) / len(logs))


def seam_ratio(values: Tensor, period: int, offset: int) -> float:
    """Squared horizontal steps across columns offset + k * period over the other columns."""
    steps = (values - values.roll(1, 3)).double().square().mean(dim=(0, 1, 2))
    at = torch.zeros(WIDTH, dtype=torch.bool)
    at[[(offset + k) % WIDTH for k in range(0, WIDTH, period)]] = True
    return float(steps[at].mean() / steps[~at].mean())


def multidiffusion(denoiser: GaussianDenoiser, count: int, steps: int, stride: int, rng: torch.Generator) -> tuple[Tensor, int]:
    """Bar-Tal et al. 2023: overlapping crops on a fixed grid, their denoised pictures averaged, one ODE for the canvas."""
    sigmas = tile_sigmas(steps, denoiser.sigma_data, sigma_max=20.0)
    x = sigmas[0] * torch.randn(count, 1, HEIGHT, WIDTH, generator=rng)
    rows, columns = ((torch.arange(0, n, stride)[:, None] + torch.arange(CROP)) % n for n in (HEIGHT, WIDTH))
    calls = 0
    for high, low in pairwise(sigmas):
        total, weight = torch.zeros_like(x), torch.zeros(HEIGHT, WIDTH)
        for r in rows:
            for c in columns:
                total[:, :, r[:, None], c[None]] += denoiser(x[:, :, r[:, None], c[None]], high)
                weight[r[:, None], c[None]] += 1
                calls += 1
        x = torch.lerp(x, total / weight, 1 - low / high)
    return x, calls


def main() -> None:
    """Run the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--canvases", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0, help="of the first canvas")
    parser.add_argument("--only", nargs="*", default=[""], metavar="TEXT", help="of the names of the methods")
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    power, autocovariance = texture()
    denoiser = GaussianDenoiser(stationary_covariance(autocovariance, (CROP, CROP)).float(), (CROP, CROP))
    rows: list[Row] = []
    groups = [range(first, min(first + GROUP, args.canvases)) for first in range(0, args.canvases, GROUP)]

    def add(method: str, run: Callable[[range], Drawn]) -> None:
        if not any(text in method for text in args.only):
            return
        started = time.perf_counter()
        drawn = [run(group) for group in groups]
        seams = [seam_ratio(values, period, offset) for values, _, period, offset in drawn]
        row = Row(method, drawn[0][1], radial_error(torch.cat([values for values, *_ in drawn]), power),
                  sum(seams) / len(seams), time.perf_counter() - started)
        rows.append(row)
        sys.stdout.write(f"{row.method:44s} {row.calls:6d} {row.spectrum:7.3f} {row.seam:6.2f} {row.seconds:7.1f} s\n")
        sys.stdout.flush()

    def blank(margin: float, group: range) -> tuple[Canvas, CanvasNoise]:
        """Canvases, and their noise."""
        frame = framed((HEIGHT, WIDTH), (CROP, CROP), margin, (True, True))
        return (Canvas(torch.zeros(len(group), 1, HEIGHT, WIDTH), frame, batch=10**6, seed=args.seed + group.start),
                CanvasNoise([args.seed + i for i in group]))

    def last_border(canvas: Canvas, sweep: int) -> tuple[int, int]:
        """Period and offset of the columns where the cells of a sweep meet."""
        view = next(iter(canvas.views(sweep)))
        inner = canvas.frame.crop[1] - 2 * canvas.frame.margin[1]
        return inner, view.starts[0][1] + canvas.frame.margin[1]

    def exact(group: range) -> Drawn:
        rng = torch.Generator().manual_seed(1 + group.start)
        white = torch.randn(len(group), HEIGHT, WIDTH, generator=rng, dtype=torch.float64)
        return torch.fft.ifft2(torch.fft.fft2(white) * power.sqrt()).real[:, None], 0, CROP, 0

    sys.stdout.write(f"{'method':44s} {'calls':>6s} {'spectrum':>7s} {'seam':>6s}\n")
    add("exact samples", exact)
    for stride in (CROP // 2, CROP // 4, CROP // 8):
        def joint(group: range, stride: int = stride) -> Drawn:
            rng = torch.Generator().manual_seed(2 + group.start)
            return *multidiffusion(denoiser, len(group), 50, stride, rng), stride, 0
        add(f"MultiDiffusion, 50 steps, stride {stride}", joint)
    for steps, margin in ((50, 0.0), (100, 0.125), (200, 0.125)):
        def tiles(group: range, steps: int = steps, margin: float = margin) -> Drawn:
            canvas, noise = blank(margin, group)
            shifted_tiles(canvas, denoiser, tile_sigmas(steps, denoiser.sigma_data, sigma_max=20.0), noise)
            return canvas.values, steps * len(canvas.frame.cells(0)), *last_border(canvas, 2**40 + steps)
        add(f"shifted tiles, {steps} steps, margin {margin:g}", tiles)

    def ours(preset: Preset, group: range) -> Drawn:
        preset = preset.on(denoiser)
        canvas, noise = blank(preset.margin, group)
        calls = draw_canvas(canvas, denoiser, preset, noise).calls // len(group)
        return canvas.values, calls, *last_border(canvas, preset.prior.sweeps - 1)

    tried = {
        "naive, 44 sweeps, tau 1, no margin": Preset(replace(NAIVE, sweeps=44), margin=0.0),
        "naive, 64 sweeps, tau 1, no margin": Preset(replace(NAIVE, sweeps=64), margin=0.0),
        "naive, 64 sweeps, tau 1": Preset(replace(NAIVE, sweeps=64)),
        "naive, 128 sweeps, tau 1": Preset(replace(NAIVE, sweeps=128)),
        "naive, 128 sweeps, tau 0.5": Preset(replace(NAIVE, sweeps=128, tau=0.5)),
        "naive, 64 sweeps, tau 2": Preset(replace(NAIVE, sweeps=64, tau=2.0)),
        "naive, 256 sweeps, tau 2": Preset(replace(NAIVE, sweeps=256, tau=2.0)),
        "Picard 2, 64 sweeps, tau 0.5": Preset(replace(NAIVE, sweeps=64, tau=0.5, inversion=Inversion("picard", 2))),
        "tiles 32, then naive, 32 sweeps from 1": Preset(replace(NAIVE, sweeps=32, sigma_max=1.0), start=32),
        "tiles 32, then naive, 64 sweeps from 1": Preset(replace(NAIVE, sweeps=64, sigma_max=1.0), start=32),
        "tiles 64, then naive, 32 sweeps from 1": Preset(replace(NAIVE, sweeps=32, sigma_max=1.0), start=64),
        "Picard 3, 128 sweeps, tau 0.5": Preset(replace(NAIVE, sweeps=128, tau=0.5, inversion=Inversion("picard", 3))),
        **{f"tiles {start}, then naive, {sweeps} sweeps, tau {tau:g}":
           Preset(PriorSettings(sweeps=sweeps, sigma_max=1.0, tau=tau, inversion=Inversion("naive")), start=start)
           for start, sweeps in ((64, 24), (32, 64), (96, 32), (64, 64)) for tau in (0.5, 1.0)},
        "tiles 48, then naive, 48 sweeps, tau 0.5":
            Preset(PriorSettings(sweeps=48, sigma_max=1.0, tau=0.5, inversion=Inversion("naive")), start=48),
        "tiles 32, then naive, 56 sweeps, tau 1": Preset(replace(NAIVE, sweeps=56, sigma_max=1.0, sigma_min=0.05), start=32),
        "naive, 80 sweeps, tau 1, margin 1/16": Preset(replace(NAIVE, sweeps=80), margin=0.0625),
        **{f"tiles {start}, then naive, {sweeps} from {level:g}, margin 1/16":
           Preset(replace(NAIVE, sweeps=sweeps, sigma_max=level, sigma_min=0.05), start=start, margin=0.0625)
           for start, sweeps, level in ((16, 72, 1.0), (16, 72, 2.0), (24, 68, 1.5), (32, 64, 1.0), (32, 64, 1.4),
                                        (32, 64, 2.0))},
        "tiles 48, then Picard 2, 48 sweeps, tau 0.5":
            Preset(PriorSettings(sweeps=48, sigma_max=1.0, tau=0.5, inversion=Inversion("picard", 2)), start=48),
        **{f"preset '{name}'": preset for name, preset in PRESETS.items()},
    }
    for name, preset in tried.items():
        add(name, lambda group, preset=preset: ours(preset, group))
    if args.report is not None:
        args.report.write_text(json.dumps([row.__dict__ for row in rows], indent=1))


if __name__ == "__main__":
    main()
