"""Train the toy-car label branch from exactly 16 annotated renderings: `python -m latent_atelier.demo.train_label_branch`.

The renderings are embedded in W+ (encoder, then optimisation) and their labels are the renderer's; nothing else is
annotated. Needs the trained generator, discriminator and encoder in demo/weights.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..pipelines.editgan.inversion import InversionSettings
from ..pipelines.editgan.recipes import LabelBranchRecipe, train_label_branch
from ..pipelines.editgan.training import SegmenterTraining
from ..pipelines.labels import LabelMap
from ..pipelines.perceptual import DiscriminatorDistance
from .models import CAR_LABELS, load_demo, save_demo
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
    parser.add_argument("--out", type=Path, default=Path("runs/label_branch"), help="folder for checkpoint and curves")
    args = parser.parse_args()
    checkpoint, encoder = load_demo("stylegan2-generator"), load_demo("editgan-encoder")
    generator = checkpoint.module
    distance = DiscriminatorDistance(load_demo("stylegan2-discriminator").module)
    rng = np.random.default_rng(ANNOTATED_SEED)
    pictures, ids = render_batch([Car.sample(rng) for _ in range(ANNOTATED)], generator.resolution)
    labels = LabelMap(torch.from_numpy(ids), CAR_LABELS)
    recipe = LabelBranchRecipe(members=args.members, embedding=INVERSION, training=SegmenterTraining(steps=args.steps))
    with tqdm(total=recipe.steps(ANNOTATED), file=sys.stderr) as bar:
        found = train_label_branch(generator, distance, encoder.module, to_network(pictures), labels, recipe, args.out,
                                   identity={"generator": checkpoint.fingerprint, "encoder": encoder.fingerprint},
                                   on_step=lambda info: bar.update(info.step - bar.n) and None)
    log.info("embedded %d pictures, PSNR %.1f dB (worst %.1f)", ANNOTATED, float(found.psnr.mean()), float(found.psnr.min()))
    agreement = (found.predicted.ids == labels.ids).float().mean()
    log.info("pixels of the 16 pictures labelled as annotated: %.1f %%", 100 * float(agreement))
    save_demo("editgan-segmenter", found.segmenter, labels=CAR_LABELS, generator=checkpoint.fingerprint,
              config={"feature_channels": list(generator.feature_channels())})


if __name__ == "__main__":
    main()
