"""EditGAN's tool to the letter against what it was meant to be: the presets `official` and `fixed` on the same edits.

    python benchmarks/edit_presets.py [--cars 24]

The official tool keeps the last iterate, reads features by nearest neighbour, optimises 29 steps, and shows its encoder
pictures in 0..1 although it was trained on -1..1. The judge (benchmarks/judge.py) measures what comes of either.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from edit_quality import HELD_OUT_SEED, WHEEL, psnr, wheel_area
from judge import load_judge
from latent_atelier.demo.models import CAR_LABELS, load_demo
from latent_atelier.demo.scenes import Car, render_batch
from latent_atelier.demo.workers import to_network
from latent_atelier.pipelines.editgan.editing import FIXED, OFFICIAL, EditLoss, edit_region, optimise_edit
from latent_atelier.pipelines.editgan.encoder import as_official
from latent_atelier.pipelines.editgan.inversion import InversionSettings, refine_codes
from latent_atelier.pipelines.labels import LabelMap
from latent_atelier.pipelines.perceptual import DiscriminatorDistance
from latent_atelier.pipelines.regions import transform_region

FACTOR = 1.3


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cars", type=int, default=24)
    args = parser.parse_args()
    generator = load_demo("stylegan2-generator").module
    encoder, segmenter = load_demo("editgan-encoder").module, load_demo("editgan-segmenter").module
    distance, judge = DiscriminatorDistance(load_demo("stylegan2-discriminator").module), load_judge()
    rng = np.random.default_rng(HELD_OUT_SEED)
    images = to_network(render_batch([Car.sample(rng) for _ in range(args.cars)], generator.resolution)[0])
    with torch.no_grad():
        start = encoder(images)
    codes = refine_codes(generator, distance, images, start, InversionSettings()).codes
    with torch.no_grad():
        before, features = generator.synthesis(codes)
        predicted = segmenter.label_ids(features)
    asked, _ = transform_region(LabelMap(predicted, CAR_LABELS), ["tyre", "hub"], operation="scale", factor=FACTOR)
    region = edit_region(predicted, asked.ids, None, dilation=3)
    wanted = wheel_area(asked.ids) / wheel_area(predicted) - 1
    area = wheel_area(judge.label_ids(before))
    cases = {
        "official": (OFFICIAL, as_official(encoder)),
        "official, without its encoder term": (replace(OFFICIAL, encoder=0.0), None),
        "official, encoder on -1..1": (OFFICIAL, encoder),
        "official, bilinear": (replace(OFFICIAL, upsampling="bilinear"), as_official(encoder)),
        "fixed, 29 steps": (replace(FIXED, steps=OFFICIAL.steps), None),
        "fixed": (FIXED, None)}
    sys.stdout.write(f"{args.cars} held-out cars, wheels asked {float(wanted.mean()) + 1:.2f}x\n"
                     f"{'':36s} wheels  of the asked  IoU in r  PSNR outside  seconds\n")
    for name, (settings, encode) in cases.items():
        began = time.monotonic()
        edit = optimise_edit(EditLoss(generator, segmenter, distance, codes, asked.ids, region, settings, encode=encode), codes)
        seconds = time.monotonic() - began
        with torch.no_grad():
            after = generator.synthesis(codes + edit.delta)[0]
        ids = judge.label_ids(after)
        ratio = wheel_area(ids) / area
        found, want = (torch.isin(x, torch.tensor(WHEEL, dtype=x.dtype)) & region for x in (ids, asked.ids))
        iou = (found & want).flatten(1).sum(1) / (found | want).flatten(1).sum(1)
        share = ((ratio - 1) / wanted).mean()
        sys.stdout.write(f"{name:36s} {ratio.mean():5.2f}x {100 * share:10.0f} % {iou.mean():11.2f} "
                         f"{psnr(after, before, ~region).mean():10.1f} dB {seconds:8.1f}\n")


if __name__ == "__main__":
    main()
