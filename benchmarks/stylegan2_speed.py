"""Our synthesis against the official forms: same weights, same run, forward and forward+backward to W+.

    python benchmarks/stylegan2_speed.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from latent_atelier.pipelines.stylegan2.generator import Generator, standard_channels
from official_forms import AdaForm, EditGanForm
from timing import Case, interleaved, peak_of, peaks, table
from torch import Tensor

EDITGAN, FUSED, UNFUSED = "EditGAN's form", "stylegan2-ada, fused", "stylegan2-ada, unfused"
OURS, BF16 = "ours", "ours, bfloat16"


def build(*, quick: bool) -> tuple[Generator, Tensor]:
    """A full-width generator with random weights, and W+ codes."""
    torch.manual_seed(0)
    size, base, top = (64, 4096, 128) if quick else (256, 32768, 512)
    generator = Generator(z_dim=512, c_dim=0, w_dim=512, resolution=size, mapping_layers=2,
                          channels=standard_channels(size, channel_base=base, channel_max=top))
    generator.eval().requires_grad_(False)
    for layer in generator.synthesis.layers():
        layer.noise_strength.fill_(0.1)
    return generator, torch.randn(1, generator.num_ws, 512)


def forms(generator: Generator) -> dict[str, Callable[[Tensor], Tensor]]:
    """Every form: W+ -> picture."""
    return {EDITGAN: EditGanForm(generator), FUSED: AdaForm(generator, fused=True),
            UNFUSED: AdaForm(generator, fused=False), OURS: lambda ws: generator.synthesis(ws)[0],
            BF16: lambda ws: generator.synthesis(ws, dtype=torch.bfloat16)[0]}


def forward(form: Callable[[Tensor], Tensor], ws: Tensor) -> Case:
    """A picture."""
    def run() -> None:
        with torch.no_grad():
            form(ws)
    return run


def backward(form: Callable[[Tensor], Tensor], ws: Tensor) -> Case:
    """A picture and the gradient of its sum of squares."""
    def run() -> None:
        codes = ws.clone().requires_grad_(True)
        torch.autograd.grad(form(codes).square().sum(), codes)
    return run


def main() -> None:
    """Check that all forms agree, then measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64 pixels, narrow: to see that it works")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    args = parser.parse_args()
    generator, ws = build(quick=args.quick)
    cases = forms(generator)
    modes = {"forward": forward, "forward+backward": backward}
    if args.memory:
        mode, _, name = args.memory.partition(":")
        sys.stdout.write(f"{peak_of(modes[mode](cases[name], ws))}\n")
        return
    with torch.no_grad():
        pictures = {name: form(ws) for name, form in cases.items()}
    scale = pictures[OURS].std()
    for name, picture in pictures.items():
        error = picture - pictures[EDITGAN]
        sys.stdout.write(f"{name:34s} error against EditGAN's form: rms {error.square().mean().sqrt() / scale:.1e}, max "
                         f"{error.abs().max() / scale:.1e} of the picture's deviation\n")
    sys.stdout.write(f"{generator.resolution}x{generator.resolution}, {torch.get_num_threads()} threads, batch 1\n")
    for mode, make in modes.items():
        seconds = interleaved({name: make(form, ws) for name, form in cases.items()}, repeats=args.repeats)
        memory = peaks(Path(__file__), [f"{mode}:{name}" for name in cases], ["--quick"] if args.quick else [])
        table(mode, seconds, {name: memory[f"{mode}:{name}"] for name in cases}, [EDITGAN, FUSED, UNFUSED])


if __name__ == "__main__":
    main()
