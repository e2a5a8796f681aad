"""Train the toy-car generator: `python -m latent_atelier.demo.train_gan --out runs/cars`.

Checkpoints every few minutes into --out and goes on from there when started again. With --workers N the gradients of N
single-threaded processes are averaged, which on a CPU is faster than one process with N threads.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from PIL import Image
from torch import nn

from ..pipelines.stylegan2.discriminator import Discriminator
from ..pipelines.stylegan2.generator import Generator, standard_channels
from ..pipelines.stylegan2.training import GanSettings, GanTrainer
from .scenes import Car, render_batch

log = logging.getLogger(__name__)

RESOLUTION = 64
Z_DIM, W_DIM, MAPPING_LAYERS = 64, 128, 3
CHANNEL_BASE, CHANNEL_MAX = 2048, 128
TRAINING_SEED = 1
"""Training cars are drawn from this seed; held-out cars everywhere else use other seeds."""


def build_generator() -> Generator:
    """The toy-car generator: 64x64, 1.1 M parameters."""
    channels = standard_channels(RESOLUTION, channel_base=CHANNEL_BASE, channel_max=CHANNEL_MAX)
    return Generator(z_dim=Z_DIM, c_dim=0, w_dim=W_DIM, resolution=RESOLUTION, channels=channels,
                     mapping_layers=MAPPING_LAYERS)


def build_discriminator() -> Discriminator:
    """The discriminator that goes with it."""
    channels = standard_channels(RESOLUTION, channel_base=CHANNEL_BASE, channel_max=CHANNEL_MAX)
    return Discriminator(c_dim=0, resolution=RESOLUTION, channels=channels)


def training_cars(count: int, path: Path) -> np.ndarray:
    """uint8 [count,64,64,3] renderings, drawn once and kept in `path`."""
    if not path.exists():
        rng = np.random.default_rng(TRAINING_SEED)
        parts = [render_batch([Car.sample(rng) for _ in range(min(500, count - i))], RESOLUTION)[0]
                 for i in range(0, count, 500)]
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npy")
        np.save(part, np.concatenate(parts))
        part.replace(path)
    return np.load(path, mmap_mode="r")


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Mean of the gradients over all processes, in one message."""
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    offset = 0
    for g in grads:
        g.copy_(flat[offset:offset + g.numel()].view_as(g))
        offset += g.numel()


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
    torch.set_num_threads(1 if args.workers > 1 else args.threads)
    if args.workers > 1:
        store = dist.FileStore(str(args.out / f"store-{args.run}"), args.workers)
        dist.init_process_group("gloo", rank=rank, world_size=args.workers, store=store)
    out: Path = args.out
    images = training_cars(args.pictures, out / f"cars_{args.pictures}.npy")
    torch.manual_seed(0)  # equal initial weights in every process
    rng = torch.Generator().manual_seed(1000 * (args.run % 1000) + rank)
    trainer = GanTrainer(build_generator(), build_discriminator(),
                         GanSettings(r1_gamma=args.r1_gamma, lr=args.lr, ema_images=args.ema_images), rng=rng,
                         average_gradients=average_gradients if args.workers > 1 else None)
    latest = out / "latest.pt"
    if latest.exists():
        trainer.load_state_dict(torch.load(latest, weights_only=True), restore_rng=False)
    batch = args.batch // args.workers
    total, decay = args.kimg * 1000, args.decay_kimg * 1000
    start, start_images, saved = time.monotonic(), trainer.images, time.monotonic()
    while trainer.images < total:
        rate = min(1.0, max(total - trainer.images, 0) / max(decay, 1))
        index = torch.randint(len(images), (batch,), generator=rng).sort().values.numpy()
        real = torch.from_numpy(images[index]).permute(0, 3, 1, 2).float() / 127.5 - 1
        losses = trainer.step(real, rate=rate, joint_batch=args.batch)
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


def main() -> None:
    """Parse the arguments and start the processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--kimg", type=int, default=400)
    parser.add_argument("--decay-kimg", type=int, default=80)
    parser.add_argument("--pictures", type=int, default=30000)
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--r1-gamma", type=float, default=0.1)
    parser.add_argument("--ema-images", type=float, default=10000)
    parser.add_argument("--save-minutes", type=float, default=3)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    args.run = time.time_ns()
    training_cars(args.pictures, args.out / f"cars_{args.pictures}.npy")
    if args.workers > 1:
        mp.spawn(train, args=(args,), nprocs=args.workers)
    else:
        train(0, args)


if __name__ == "__main__":
    main()
