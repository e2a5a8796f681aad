"""Train the toy-car generator: `python -m latent_atelier.demo.train_gan --out runs/cars`.

Checkpoints, curves and samples go to --out; started again it goes on from there. At the end the averaged generator
and the discriminator, which serves as perceptual network, are written to demo/weights.
"""

from __future__ import annotations

import argparse
import logging

import torch

from ..pipelines.stylegan2.recipe import GanJob
from ..pipelines.stylegan2.training import GanSettings, GanTrainer
from ..pipelines.training.data import PictureArray, PictureStream, seeded
from ..pipelines.training.loop import Run, run
from .models import build_discriminator, build_generator, save_demo
from .workers import Report, add_arguments, identity, join, launch, own_seed, training_pictures


def train(rank: int, args: argparse.Namespace) -> None:
    """One process of the training."""
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")
    group = join(rank, args)
    torch.manual_seed(0)  # equal initial weights in every process
    trainer = GanTrainer(build_generator(), build_discriminator(),
                         GanSettings(r1_gamma=args.r1_gamma, lr=args.lr, ema_images=args.ema_images),
                         rng=seeded(own_seed(rank, args)), average_gradients=group.average)
    pictures = PictureArray(training_pictures(args.pictures, args.out))
    job = GanJob(trainer, PictureStream(pictures, rng=seeded(own_seed(rank, args) + 1)), batch=args.batch // args.workers,
                 images=args.kimg * 1000, decay_images=args.decay_kimg * 1000, joint_batch=args.batch, own_stream=rank > 0)
    plan = Run(args.out, -(-job.images // args.batch), identity("stylegan2", args), save_seconds=60 * args.save_minutes,
               sample_every=500)
    run(job, plan, on_step=Report(), group=group)
    if rank == 0:
        save_demo("stylegan2-generator", trainer.ema)
        save_demo("stylegan2-discriminator", trainer.discriminator)


def main() -> None:
    """Parse the arguments and start the processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--kimg", type=int, default=200, help="training length in thousands of images")
    parser.add_argument("--decay-kimg", type=int, default=60, help="the learning rate falls to zero over these")
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--r1-gamma", type=float, default=0.3)
    parser.add_argument("--ema-images", type=float, default=10000)
    parser.add_argument("--save-minutes", type=float, default=3)
    launch(train, parser.parse_args())


if __name__ == "__main__":
    main()
