"""Several single-threaded processes that train together: on a CPU faster than one process with as many threads."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from ..pipelines.steps import StepInfo
from ..pipelines.training.together import ALONE, Group
from .scenes import Car, render_batch

log = logging.getLogger(__name__)

RESOLUTION = 64
TRAINING_SEED = 1
"""Training cars are drawn from this seed; held-out cars everywhere else use other seeds."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments every recipe has."""
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and samples")
    parser.add_argument("--workers", type=int, default=2, help="processes that train together")
    parser.add_argument("--pictures", type=int, default=30000, help="renderings to train on")


def launch(train: Callable[[int, argparse.Namespace], None], args: argparse.Namespace) -> None:
    """Run train(rank, args) in args.workers processes; with one worker, in this one."""
    args.out.mkdir(parents=True, exist_ok=True)
    args.run = time.time_ns()
    training_pictures(args.pictures, args.out)
    if args.workers > 1:
        mp.spawn(train, args=(args,), nprocs=args.workers)
    else:
        train(0, args)


def join(rank: int, args: argparse.Namespace) -> Group:
    """Called first by every process: returns its place among them."""
    torch.set_num_threads(1 if args.workers > 1 else torch.get_num_threads())
    if args.workers == 1:
        return ALONE
    store = dist.FileStore(str(args.out / f"store-{args.run}"), args.workers)
    dist.init_process_group("gloo", rank=rank, world_size=args.workers, store=store)
    return Group(rank, args.workers)


def own_seed(rank: int, args: argparse.Namespace) -> int:
    """Of this process's random streams: the first process repeats itself, the others draw anew whenever they start."""
    return 0 if rank == 0 else 1000 * (args.run % 10**6) + 2 * rank


def identity(training: str, args: argparse.Namespace) -> dict[str, Any]:
    """The arguments that must stay the same to go on with a checkpoint."""
    own = ("out", "run", "save_minutes")
    return {"training": training, **{name: value for name, value in vars(args).items() if name not in own}}


class Report:
    """Writes every fiftieth step to the log."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, info: StepInfo) -> None:
        if info.step % 50 == 0 or info.step == info.total:
            losses = {name: round(value, 5) for name, value in info.losses.items()}
            log.info("%s", json.dumps({"step": info.step, "seconds": round(time.monotonic() - self._started), **losses}))


def training_pictures(count: int, folder: Path) -> npt.NDArray[np.uint8]:
    """uint8 [count,64,64,3] renderings, drawn once and kept in the folder."""
    path = folder / f"cars_{count}.npy"
    if not path.exists():
        rng = np.random.default_rng(TRAINING_SEED)
        parts = [render_batch([Car.sample(rng) for _ in range(min(500, count - i))], RESOLUTION)[0]
                 for i in range(0, count, 500)]
        part = path.with_suffix(".part.npy")
        np.save(part, np.concatenate(parts))
        part.replace(path)
    return np.load(path, mmap_mode="r")


def to_network(pictures: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 [B,H,W,3] -> float32 [B,3,H,W] -1..1."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
