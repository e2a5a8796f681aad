"""Train the toy-car encoder: `python -m latent_atelier.demo.train_encoder --out runs/encoder`.

Needs the trained generator and discriminator in demo/weights. Goes on from its checkpoint when started again; at the
end the averaged encoder is written to demo/weights.
"""

from __future__ import annotations

import argparse
import logging

import torch

from ..pipelines.editgan.recipes import EncoderJob
from ..pipelines.editgan.training import EncoderTrainer, EncoderTraining
from ..pipelines.perceptual import DiscriminatorDistance
from ..pipelines.training.data import PictureArray, PictureStream, seeded
from ..pipelines.training.loop import Run, run
from .models import build_encoder, load_demo, save_demo
from .workers import Report, add_arguments, identity, join, launch, own_seed, training_pictures


def train(rank: int, args: argparse.Namespace) -> None:
    """One process of the training."""
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")
    group = join(rank, args)
    generator = load_demo("stylegan2-generator")
    distance = DiscriminatorDistance(load_demo("stylegan2-discriminator").module)
    torch.manual_seed(0)  # equal initial weights in every process
    settings = EncoderTraining(steps=args.steps, batch=args.batch // args.workers, dtype=torch.bfloat16)
    trainer = EncoderTrainer(build_encoder(), generator.module, distance, settings, rng=seeded(own_seed(rank, args)),
                             average_gradients=group.average)
    pictures = PictureArray(training_pictures(args.pictures, args.out))
    job = EncoderJob(trainer, PictureStream(pictures, rng=seeded(own_seed(rank, args) + 1)), own_stream=rank > 0)
    plan = Run(args.out, args.steps, identity("encoder", args), save_seconds=60 * args.save_minutes, sample_every=500)
    run(job, plan, on_step=Report(), group=group)
    if rank == 0:
        save_demo("editgan-encoder", trainer.ema, generator=generator.fingerprint)


def main() -> None:
    """Parse the arguments and start the processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--batch", type=int, default=16, help="real pictures per step, and as many sampled ones")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--save-minutes", type=float, default=3)
    launch(train, parser.parse_args())


if __name__ == "__main__":
    main()
