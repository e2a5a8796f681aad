"""How good the label branch gets from 4, 8, 16 or 32 annotated pictures.

    python benchmarks/annotation_count.py [--cars 60] [--report FILE]

The same 32 rendered cars are embedded once, and every count takes the first so many. Scored on held-out cars (those of
benchmarks/edit_quality.py) that are embedded as the graph embeds pictures; the truth is the renderer's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from edit_quality import HELD_OUT_SEED
from judge import mean_iou
from latent_atelier.demo.models import CAR_LABELS, build_segmenter, load_demo
from latent_atelier.demo.scenes import Car, render_batch
from latent_atelier.demo.train_label_branch import ANNOTATED_SEED
from latent_atelier.demo.workers import to_network
from latent_atelier.pipelines.editgan.inversion import InversionSettings, refine_codes
from latent_atelier.pipelines.editgan.training import SegmenterTraining, train_segmenter
from latent_atelier.pipelines.perceptual import DiscriminatorDistance
from latent_atelier.pipelines.stylegan2.generator import Generator
from torch import Tensor, nn

COUNTS = (4, 8, 16, 32)


def embedded(generator: Generator, encoder: nn.Module, distance: DiscriminatorDistance, seed: int, count: int,
             steps: int) -> tuple[list[Tensor], Tensor]:
    """The generator's features of rendered cars after embedding, and the true labels uint8 [N,64,64]."""
    rng = np.random.default_rng(seed)
    pictures, labels = render_batch([Car.sample(rng) for _ in range(count)], generator.resolution)
    levels: list[list[Tensor]] = []
    for part in to_network(pictures).split(8):
        with torch.no_grad():
            start = encoder(part)
        codes = refine_codes(generator, distance, part, start, InversionSettings(steps=steps)).codes
        with torch.no_grad():
            levels.append(list(generator.synthesis(codes)[1]))
    return [torch.cat(level) for level in zip(*levels, strict=True)], torch.from_numpy(labels)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cars", type=int, default=60)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--steps", type=int, default=SegmenterTraining.steps, help="updates of each member")
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    started = time.monotonic()
    generator, encoder = load_demo("stylegan2-generator").module, load_demo("editgan-encoder").module
    distance = DiscriminatorDistance(load_demo("stylegan2-discriminator").module)
    features, labels = embedded(generator, encoder, distance, ANNOTATED_SEED, COUNTS[-1], 300)
    held_out, truth = embedded(generator, encoder, distance, HELD_OUT_SEED, args.cars, 100)
    sys.stdout.write(f"label branch of {args.members} members, {args.steps} updates each, on {args.cars} held-out cars\n\n"
                     f"annotated   mIoU   seconds   worst parts\n")
    rows = []
    for count in COUNTS:
        begun = time.monotonic()
        segmenter = build_segmenter(generator, args.members)
        train_segmenter(segmenter, [f[:count] for f in features], labels[:count], SegmenterTraining(steps=args.steps),
                        rngs=[torch.Generator().manual_seed(i) for i in range(args.members)])
        seconds = time.monotonic() - begun
        with torch.no_grad():
            predicted = torch.cat([segmenter.label_ids([f[i:i + 10] for f in held_out]) for i in range(0, args.cars, 10)])
        score, parts = mean_iou(predicted, truth)
        worst = sorted(zip(parts, CAR_LABELS.names, strict=True))[:3]
        rows.append({"annotated": count, "mIoU": score, "seconds": seconds, "parts": dict(zip(CAR_LABELS.names, parts,
                                                                                             strict=True))})
        sys.stdout.write(f"{count:9d}  {score:5.3f}  {seconds:8.0f}   " + ", ".join(f"{n} {v:.2f}" for v, n in worst) + "\n")
        sys.stdout.flush()
    seconds = time.monotonic() - started
    sys.stdout.write(f"\n{seconds:.0f} s in all, embedding included\n")
    if args.report:
        args.report.write_text(json.dumps({"rows": rows, "seconds": seconds, "threads": torch.get_num_threads()}, indent=1))


if __name__ == "__main__":
    main()
