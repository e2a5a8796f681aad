"""Train the toy-car generator: `python -m latent_atelier.demo.train_gan --out runs/cars`.

Checkpoints every few minutes into --out and goes on from there when started again. At the end the averaged generator
and the discriminator, which serves as perceptual network, are written to demo/weights.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from pathlib import Path

import torch
from PIL import Image

from ..pipelines.stylegan2.generator import Generator
from ..pipelines.stylegan2.training import GanSettings, GanTrainer
from .models import Z_DIM, build_discriminator, build_generator, save_demo
from .workers import add_arguments, join, launch, to_network, training_pictures

log = logging.getLogger(__name__)


def save_samples(generator: Generator, path: Path, count: int = 32) -> None:
    """A sheet of samples of fixed latents, 8 to a row."""
    z = torch.randn(count, Z_DIM, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        images = generator(z, noise="none")
    grid = images.unflatten(0, (-1, 8)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    sheet = Image.fromarray(((grid + 1) * 127.5).round().clamp(0, 255).byte().numpy())
    sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(path)


def train(rank: int, args: argparse.Namespace) -> None:
    """One process of the training."""
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")
    average = join(rank, args)
    out: Path = args.out
    pictures = training_pictures(args.pictures, out)
    torch.manual_seed(0)  # equal initial weights in every process
    rng = torch.Generator().manual_seed(1000 * (args.run % 1000) + rank)
    trainer = GanTrainer(build_generator(), build_discriminator(),
                         GanSettings(r1_gamma=args.r1_gamma, lr=args.lr, ema_images=args.ema_images), rng=rng,
                         average_gradients=average)
    latest = out / "latest.pt"
    if latest.exists():
        trainer.load_state_dict(torch.load(latest, weights_only=True), restore_rng=False)
    batch = args.batch // args.workers
    total, decay = args.kimg * 1000, args.decay_kimg * 1000
    start, start_images, saved = time.monotonic(), trainer.images, time.monotonic()
    while trainer.images < total:
        rate = min(1.0, max(total - trainer.images, 0) / max(decay, 1))
        index = torch.randint(len(pictures), (batch,), generator=rng).sort().values.numpy()
        losses = trainer.step(to_network(pictures[index]), rate=rate, joint_batch=args.batch)
        last = trainer.images >= total
        if rank == 0 and trainer.steps % 50 == 0:
            speed = (trainer.images - start_images) / (time.monotonic() - start)
            log.info("%s", json.dumps({"images": trainer.images, "per_second": round(speed, 1), "rate": round(rate, 3),
                                       **{k: round(v, 4) for k, v in losses.items()}}))
        if rank == 0 and (last or time.monotonic() - saved > args.save_minutes * 60):
            saved = time.monotonic()
            torch.save(trainer.state_dict(), out / "latest.tmp")
            os.replace(out / "latest.tmp", latest)
            save_samples(trainer.ema, out / f"samples_{trainer.images // 1000:05d}.png")
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
