"""One step of edit optimisation against EditGAN's own procedure: same weights, same run, full width.

    python benchmarks/edit_step.py [--quick] [--size 256] [--members 1]

Generator, label branch, LPIPS (VGG), backward to W+ and Adam's update. Memory only where the official form does not fit.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

import torch
from latent_atelier.pipelines.editgan.editing import EditLoss, EditSettings
from latent_atelier.pipelines.editgan.segmentation import Segmenter
from latent_atelier.pipelines.lpips_network import LPIPS
from latent_atelier.pipelines.stylegan2.generator import Generator, standard_channels
from official_forms import EditGanForm, OfficialEditStep
from timing import Case, interleaved, peak_of, peaks, table
from torch import Tensor

OFFICIAL, OURS, BF16 = "EditGAN's procedure", "ours", "ours, bfloat16"
CLASSES = 20


def build(size: int, members: int, *, quick: bool) -> tuple[Generator, Segmenter, LPIPS, Tensor, Tensor, Tensor]:
    """Networks with random weights; codes; a target and a region of a tenth of the pixels."""
    torch.manual_seed(0)
    base, top = (2048, 64) if quick else (32768, 512)
    generator = Generator(z_dim=512, c_dim=0, w_dim=512, resolution=size, mapping_layers=2,
                          channels=standard_channels(size, channel_base=base, channel_max=top))
    segmenter = Segmenter(feature_channels=generator.feature_channels(), num_classes=CLASSES, members=members)
    lpips = LPIPS("squeeze" if quick else "vgg")
    for head in range(len(lpips.heads())):
        lpips.get_parameter(f"lin{head}.model.1.weight").data.abs_()
    for network in (generator, segmenter, lpips):
        network.eval().requires_grad_(False)
    region = torch.zeros(1, size, size, dtype=torch.bool)
    edge = round(size * 0.1**0.5)
    region[:, size // 3:size // 3 + edge, size // 3:size // 3 + edge] = True
    return (generator, segmenter, lpips, torch.randn(1, generator.num_ws, 512),
            torch.randint(CLASSES, (1, size, size)).to(torch.uint8), region)


def cases(size: int, members: int, *, quick: bool) -> dict[str, object]:
    """Loss of the codes, by name."""
    generator, segmenter, lpips, start, target, region = build(size, members, quick=quick)
    settings = EditSettings(upsampling="nearest")
    half = copy.deepcopy(lpips).to(torch.bfloat16)
    half.shift, half.scale = lpips.shift, lpips.scale
    return {"start": start,
            OFFICIAL: lambda: OfficialEditStep(EditGanForm(generator), segmenter.classifiers(), lpips, start, target, region),
            OURS: lambda: EditLoss(generator, segmenter, lpips, start, target, region, settings),
            BF16: lambda: EditLoss(generator, segmenter, half, start, target, region,
                                   EditSettings(upsampling="nearest", dtype=torch.bfloat16))}


def stepping(loss: object, start: Tensor) -> Case:
    """One update of Adam."""
    codes = (start + 0.05).requires_grad_(True)
    optimizer = torch.optim.Adam([codes], lr=0.0)  # the codes stay, so every repeat does the same work

    def run() -> None:
        found = loss(codes)
        total = found[0].sum() if isinstance(found, tuple) else found
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
    return run


def main() -> None:
    """Check that the forms agree, then measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64 pixels, narrow: to see that it works")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--without-official", action="store_true", help="where the official form does not fit into memory")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = 64 if args.quick else args.size
    made = cases(size, args.members, quick=args.quick)
    start = made.pop("start")
    if args.memory:
        loss = made[args.memory]()
        sys.stdout.write(f"{peak_of(stepping(loss, start))}\n")
        return
    forward = ["--size", str(args.size), "--members", str(args.members), *(["--quick"] if args.quick else [])]
    sys.stdout.write(f"{size}x{size}, {args.members} classifier(s), {torch.get_num_threads()} threads, region a tenth\n")
    if args.without_official:
        made.pop(OFFICIAL)
    losses = {name: make() for name, make in made.items()}
    reference = next(iter(losses))
    gradients = {}
    for name, loss in losses.items():
        codes = (start + 0.05).requires_grad_(True)
        found = loss(codes)
        total = found[0].sum() if isinstance(found, tuple) else found
        gradients[name] = torch.autograd.grad(total, codes)[0]
        apart = (gradients[name] - gradients[reference]).norm() / gradients[reference].norm()
        sys.stdout.write(f"{name:34s} loss {float(total.detach()):10.6f}, gradient off by {float(apart):.1e}\n")
    seconds = interleaved({name: stepping(loss, start) for name, loss in losses.items()}, repeats=args.repeats)
    memory = peaks(Path(__file__), list(losses), forward)
    table("one step", seconds, memory, [reference])


if __name__ == "__main__":
    main()
