"""Train the toy-car encoder: `python -m latent_atelier.demo.train_encoder --out runs/encoder`.

Needs the trained generator and discriminator in demo/weights. Goes on from its checkpoint when started again; at the
end the averaged encoder is written to demo/weights.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import os
import time
from pathlib import Path

import torch

from ..pipelines.editgan.training import EncoderTrainer, EncoderTraining
from ..pipelines.perceptual import DiscriminatorDistance
from .models import build_encoder, load_demo, save_demo
from .workers import add_arguments, join, launch, to_network, training_pictures

log = logging.getLogger(__name__)
EMA_STEPS = 200


def train(rank: int, args: argparse.Namespace) -> None:
    """One process of the training."""
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")
    average = join(rank, args)
    out: Path = args.out
    pictures = training_pictures(args.pictures, out)
    generator = load_demo("stylegan2-generator")
    distance = DiscriminatorDistance(load_demo("stylegan2-discriminator").module)
    torch.manual_seed(0)  # equal initial weights in every process
    encoder = build_encoder()
    rng = torch.Generator().manual_seed(2000 * (args.run % 1000) + rank)
    settings = EncoderTraining(steps=args.steps, batch=args.batch // args.workers, dtype=torch.bfloat16)
    trainer = EncoderTrainer(encoder, generator.module, distance, settings, rng=rng, average_gradients=average)
    ema = copy.deepcopy(encoder)
    latest = out / "latest.pt"
    if latest.exists():
        state = torch.load(latest, weights_only=True)
        encoder.load_state_dict(state["encoder"])
        ema.load_state_dict(state["ema"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        trainer.steps = state["steps"]
    saved = started = time.monotonic()
    while trainer.steps < args.steps:
        index = torch.randint(len(pictures), (settings.batch,), generator=rng).sort().values.numpy()
        losses = trainer.step(to_network(pictures[index]))
        with torch.no_grad():
            weight = max(1 / EMA_STEPS, 1 / trainer.steps)
            torch._foreach_lerp_(list(ema.parameters()), list(encoder.parameters()), weight)
        last = trainer.steps >= args.steps
        if rank == 0 and (last or trainer.steps % 50 == 0):
            log.info("%s", json.dumps({"step": trainer.steps, "seconds": round(time.monotonic() - started),
                                       **{k: round(v, 5) for k, v in losses.items()}}))
        if rank == 0 and (last or time.monotonic() - saved > args.save_minutes * 60):
            saved = time.monotonic()
            torch.save({"encoder": encoder.state_dict(), "ema": ema.state_dict(), "steps": trainer.steps,
                        "optimizer": trainer.optimizer.state_dict()}, out / "latest.tmp")
            os.replace(out / "latest.tmp", latest)
    if rank == 0:
        save_demo("editgan-encoder", ema, generator=generator.fingerprint)


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
