"""Train the toy-car label branch from exactly 16 annotated renderings: `python -m latent_atelier.demo.train_label_branch`.

The renderings are embedded in W+ (encoder, then optimisation) and their labels are the renderer's; nothing else is
annotated. Needs the trained generator, discriminator and encoder in demo/weights.
"""

from __future__ import annotations

import argparse
import logging
import sys

import numpy as np
import torch
from tqdm import tqdm

from ..pipelines.editgan.inversion import InversionSettings, refine_codes
from ..pipelines.editgan.training import SegmenterTraining, train_segmenter
from ..pipelines.perceptual import DiscriminatorDistance
from .models import CAR_LABELS, build_segmenter, load_demo, save_demo
from .scenes import Car, render_batch
from .workers import to_network

log = logging.getLogger(__name__)

ANNOTATED_SEED = 16
ANNOTATED = 16
INVERSION = InversionSettings(steps=300)


def main() -> None:
    """Embed, train, save."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1500, help="updates of each member")
    args = parser.parse_args()
    checkpoint = load_demo("stylegan2-generator")
    generator = checkpoint.module
    distance = DiscriminatorDistance(load_demo("stylegan2-discriminator").module)
    encoder = load_demo("editgan-encoder").module

    rng = np.random.default_rng(ANNOTATED_SEED)
    pictures, labels = render_batch([Car.sample(rng) for _ in range(ANNOTATED)], generator.resolution)
    images = to_network(pictures)
    with tqdm(total=INVERSION.steps, file=sys.stderr, desc="embed") as bar, torch.no_grad():
        start = encoder(images)
        with torch.enable_grad():
            codes = refine_codes(generator, distance, images, start, INVERSION, on_step=lambda _: bar.update() or None)
        shown, features = generator.synthesis(codes.codes)
    psnr = -10 * ((shown - images) / 2).square().mean(dim=(1, 2, 3)).log10()
    log.info("embedded %d pictures, PSNR %.1f dB (worst %.1f)", ANNOTATED, float(psnr.mean()), float(psnr.min()))

    segmenter = build_segmenter(generator, args.members)
    rngs = [torch.Generator().manual_seed(i) for i in range(args.members)]
    settings = SegmenterTraining(steps=args.steps)
    with tqdm(total=args.steps * args.members, file=sys.stderr, desc="train") as bar:
        train_segmenter(segmenter, [f.clone() for f in features], torch.from_numpy(labels), settings, rngs=rngs,
                        on_step=lambda _: bar.update() or None)
    agreement = (segmenter.label_ids(features) == torch.from_numpy(labels)).float().mean()
    log.info("pixels of the 16 pictures labelled as annotated: %.1f %%", 100 * float(agreement))
    save_demo("editgan-segmenter", segmenter, labels=CAR_LABELS, generator=checkpoint.fingerprint,
              config={"feature_channels": list(generator.feature_channels())})


if __name__ == "__main__":
    main()
