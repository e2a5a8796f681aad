"""How fast denoisers denoise: batches, memory formats, number types, threads; and what a panorama of which size takes.

    python benchmarks/denoiser_speed.py [--repeats N] [--preset NAME] [--skip-panoramas] [--huge] [--device cuda]

The network is the demo denoiser of landscapes. First, milliseconds per crop of 64x64: the cases of a table take turns, ratios
are to the first one, and bfloat16's error is in units of the data's deviation. Then the default preset, or the one that is
named, draws panoramas of growing width, each in a process of its own: seconds, and the memory beyond what the loaded network
holds. --huge adds a canvas of 16384x1024 with two steps of tiles and one sweep.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import timing
import torch
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.headless.memory import PeakMemory
from latent_atelier.nodes.canvases import CROPS
from latent_atelier.pipelines.langevin import edm_network
from latent_atelier.pipelines.langevin.canvas import Canvas, framed
from latent_atelier.pipelines.langevin.denoiser import NetworkDenoiser
from latent_atelier.pipelines.langevin.noise import CanvasNoise
from latent_atelier.pipelines.langevin.preconditioning import EDMPrior
from latent_atelier.pipelines.langevin.presets import DEFAULT, PRESETS, Preset, draw_canvas
from latent_atelier.runtime.precision import number_type

WEIGHTS = Path(__file__).parents[1] / "demo" / "weights" / "denoisers" / "landscapes_64.safetensors"
BATCHES = (1, 4, 8, 16, 32)
LEVEL = 0.5
"""Noise of the timed crops, in units of the data's deviation; the time does not depend on it."""
WIDTHS, HEIGHT = (256, 512, 1024, 2048), 256
HUGE = (16384, 1024)
LAID_OUT = edm_network.laid_out
"""What the networks do by themselves; the tables of crops compare both layouts."""


def denoiser(device: torch.device, batch: int, dtype: torch.dtype, memory_format: torch.memory_format,
             lanes: int = 1) -> NetworkDenoiser:
    """The demo denoiser, of dusk."""
    network = cast(EDMPrior, load_checkpoint(WEIGHTS).module).eval().requires_grad_(False).to(device)
    network.to(memory_format=memory_format)
    return NetworkDenoiser(network, sigma_data=network.sigma_data, label=network.labels.condition("dusk"), batch=batch,
                           dtype=dtype, lanes=lanes)


def crops_table(device: torch.device, repeats: int) -> None:
    """Milliseconds per crop."""
    frame = framed((HEIGHT, 256), (64, 64), 0.125, (False, True))
    canvas = Canvas(0.5 * torch.randn(1, 3, HEIGHT, 256, generator=torch.Generator().manual_seed(0)), frame, batch=32,
                    device=device)
    view = next(iter(canvas.views(0)))
    x = canvas.render(view)
    ways = [(dtype, layout, 1) for dtype in (torch.float32, torch.bfloat16)
            for layout in (torch.contiguous_format, torch.channels_last)]
    for threads in ((1, torch.get_num_threads()) if device.type == "cpu" else (1,)):
        if device.type == "cpu":
            torch.set_num_threads(threads)
        cases: dict[str, timing.Case] = {}
        for dtype, layout, lanes in [*ways, (torch.float32, torch.channels_last, 2)] if threads > 1 else ways:
            for batch in BATCHES:
                run = denoiser(device, batch, dtype, layout, lanes)

                def case(run: NetworkDenoiser = run, layout: torch.memory_format = layout) -> None:
                    edm_network.laid_out = partial(torch.Tensor.contiguous, memory_format=layout)
                    with torch.inference_mode():
                        run(x, LEVEL * run.sigma_data, view)
                    if device.type == "cuda":
                        torch.cuda.synchronize()

                order = "last" if layout == torch.channels_last else "first"
                cases[f"{str(dtype)[6:]}, {order}, {f'{lanes} lanes, ' if lanes > 1 else ''}batch {batch}"] = case
        seconds = {name: value / len(x) for name, value in timing.interleaved(cases, repeats=repeats).items()}
        first = next(iter(seconds.values()))
        edm_network.laid_out = LAID_OUT
        sys.stdout.write(f"\n{device.type}, {threads} threads: type, channels, batch {'ms a crop':>16s} {'speed':>6s}\n")
        for name, value in seconds.items():
            sys.stdout.write(f"{name:40s} {1000 * value:10.2f} {first / value:6.2f}\n")
    exact, rounded = (denoiser(device, 8, dtype, torch.contiguous_format) for dtype in (torch.float32, torch.bfloat16))
    sys.stdout.write("\nnoise level   bfloat16's error, rms (levels and errors in units of the data's deviation)\n")
    for level in (0.05, 0.2, 0.5, 1.0, 5.0):
        with torch.inference_mode():
            error = (exact(x, level * exact.sigma_data, view) - rounded(x, level * exact.sigma_data, view)) / exact.sigma_data
        sys.stdout.write(f"{level:11.2f}   {float(error.square().mean().sqrt()):.5f}\n")


def panorama(size: tuple[int, int], preset: Preset, device: torch.device) -> dict[str, float]:
    """Seconds, calls and MiB of one panorama of that width and height, in the batches and at the precision of the nodes."""
    run = denoiser(device, 32, number_type("auto", device), torch.contiguous_format, lanes=2)
    memory = PeakMemory(torch.device("cpu"))
    memory.start()
    before = memory.peak() or 0
    started = time.perf_counter()
    frame = framed((size[1], size[0]), (64, 64), preset.margin, (False, True))
    canvas = Canvas(torch.zeros(1, 3, size[1], size[0]), frame, batch=CROPS, device=device)
    done = draw_canvas(canvas, run, preset, CanvasNoise([1]))
    return {"seconds": time.perf_counter() - started, "calls": done.calls, "MiB": ((memory.peak() or 0) - before) / 2**20}


def panoramas(device: str, preset: str, *, huge: bool) -> None:
    """Each size in a process of its own."""
    sizes = [(width, HEIGHT) for width in WIDTHS] + ([HUGE] if huge else [])
    sys.stdout.write(f"\n{preset:9s} {'calls':>14s} {'seconds':>8s} {'s a megapixel':>14s} {'MiB':>6s} {'canvas MiB':>11s}\n")
    for width, height in sizes:
        done = subprocess.run([sys.executable, str(Path(__file__).resolve()), "--one", f"{width}x{height}", "--preset", preset,
                               "--device", device], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        sys.stdout.write(f"{width}x{height:<8d} {found['calls']:10.0f} {found['seconds']:8.1f} "
                         f"{found['seconds'] / (width * height / 1e6):14.1f} {found['MiB']:6.0f} "
                         f"{width * height * 12 / 2**20:11.1f}\n")
        sys.stdout.flush()


def main() -> None:
    """Run the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--preset", choices=PRESETS, default=DEFAULT, help="of the panoramas")
    parser.add_argument("--skip-panoramas", action="store_true")
    parser.add_argument("--huge", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    device = torch.device(args.device)
    if args.one:
        width, height = (int(n) for n in args.one.split("x"))
        preset = PRESETS[args.preset]
        if (width, height) == HUGE:
            preset = Preset(replace(preset.prior, sweeps=1), start=2, margin=preset.margin)
        sys.stdout.write(json.dumps(panorama((width, height), preset, device)) + "\n")
        return
    crops_table(device, args.repeats)
    if not args.skip_panoramas:
        panoramas(args.device, args.preset, huge=args.huge)


if __name__ == "__main__":
    main()
