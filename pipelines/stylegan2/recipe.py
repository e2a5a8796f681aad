"""A StyleGAN2 from pictures: networks, data, schedule and loop in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InvalidInputError
from ..steps import OnStep, ignore
from ..training.data import Pictures, PictureStream, seeded
from ..training.loop import Run, run
from ..training.state import State
from .discriminator import Discriminator
from .generator import Generator, standard_channels
from .training import GanSettings, GanTrainer

COLUMNS = 8


@dataclass(frozen=True)
class StyleGAN2Recipe:
    """resolution: of the pictures, a power of two. images: length of the training, in pictures shown to the discriminator.
    decay_images: over the last so many the rate falls to zero; 0 keeps it. channel_base, channel_max: width, as in
    `standard_channels`. mirror: show every other picture mirrored. seed: of initial weights, data order and latents.
    """

    resolution: int = 256
    images: int = 1_000_000
    batch: int = 16
    decay_images: int = 0
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    channel_base: int = 16384
    channel_max: int = 512
    mirror: bool = False
    seed: int = 0
    gan: GanSettings = field(default_factory=GanSettings)

    def __post_init__(self) -> None:
        if self.batch < 1 or (self.batch > 4 and self.batch % 8):
            raise InvalidInputError(f"The batch of a StyleGAN2 training is 1 to 4, or a multiple of 8, got {self.batch}.")
        for name in ("images", "z_dim", "w_dim", "mapping_layers", "channel_max"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"The {name} of a StyleGAN2 training is at least 1, got {getattr(self, name)}.")
        if self.channel_base < self.resolution:
            raise InvalidInputError(f"The channel_base of a StyleGAN2 is at least its resolution, {self.resolution}, got "
                                    f"{self.channel_base}.")

    @property
    def steps(self) -> int:
        """Of `batch` pictures each."""
        return -(-self.images // self.batch)

    def identity(self) -> dict[str, Any]:
        """What must stay the same to go on; the length may grow where the rate does not depend on it."""
        values = asdict(self)
        gan = values.pop("gan")
        gan["dtype"] = str(self.gan.dtype).removeprefix("torch.")
        if not self.decay_images:
            del values["images"]
        return values | gan


class GanJob:
    """A GanTrainer and its stream of pictures, as a `training.loop.Job`.

    batch: pictures per step of this process, joint_batch: of all. own_stream: of several processes, every one but the
    first goes on with a random stream of its own.
    """

    def __init__(self, trainer: GanTrainer, stream: PictureStream, *, batch: int, images: int, decay_images: int = 0,
                 joint_batch: int | None = None, own_stream: bool = False) -> None:
        self.trainer, self.stream, self.batch, self.joint_batch = trainer, stream, batch, joint_batch
        self.images, self.decay_images, self.own_stream = images, decay_images, own_stream

    @property
    def steps(self) -> int:
        return self.trainer.steps

    def step(self) -> Mapping[str, float]:
        left = max(self.images - self.trainer.images, 0)
        rate = min(1.0, left / self.decay_images) if self.decay_images else 1.0
        real = self.stream.next(self.batch).to(self.trainer.generator.mapping.w_avg.device)
        losses = self.trainer.step(real, rate=rate, joint_batch=self.joint_batch)
        return losses | self.stream.count_of_skipped()

    def samples(self, count: int) -> Tensor:
        """Pictures of the averaged generator, of the same latents each time."""
        generator = self.trainer.ema
        count = count if count < COLUMNS else count // COLUMNS * COLUMNS
        z = torch.randn(count, generator.z_dim, generator=seeded(0)).to(generator.mapping.w_avg.device)
        with torch.no_grad():
            rows = [generator(z[i:i + COLUMNS], noise="none") for i in range(0, count, COLUMNS)]
        return torch.stack(rows)

    def state_dict(self) -> State:
        return {"trainer": self.trainer.state_dict(), "stream": self.stream.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self.trainer.load_state_dict(state["trainer"], restore_rng=not self.own_stream)
        if not self.own_stream:
            self.stream.load_state_dict(state["stream"])


def build_networks(recipe: StyleGAN2Recipe) -> tuple[Generator, Discriminator]:
    """Untrained networks, from the recipe's seed; the global random state is left alone."""
    channels = standard_channels(recipe.resolution, channel_base=recipe.channel_base, channel_max=recipe.channel_max)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        generator = Generator(z_dim=recipe.z_dim, c_dim=0, w_dim=recipe.w_dim, resolution=recipe.resolution,
                              channels=channels, mapping_layers=recipe.mapping_layers)
        return generator, Discriminator(c_dim=0, resolution=recipe.resolution, channels=channels)


def train_stylegan2(pictures: Pictures, recipe: StyleGAN2Recipe, folder: Path, *, device: torch.device | None = None,
                    sample_every: int = 1000, on_step: OnStep = ignore) -> GanTrainer:
    """Train, or go on from the checkpoint in `folder`. The trainer's `ema` is the generator, its `discriminator` serves
    as perceptual network. Raises as `training.loop.run`."""
    generator, discriminator = build_networks(recipe)
    generator.to(device or "cpu")
    discriminator.to(device or "cpu")
    trainer = GanTrainer(generator, discriminator, recipe.gan, rng=seeded(2 * recipe.seed))
    stream = PictureStream(pictures, rng=seeded(2 * recipe.seed + 1), mirror=recipe.mirror)
    job = GanJob(trainer, stream, batch=recipe.batch, images=recipe.images, decay_images=recipe.decay_images)
    identity = {"training": "stylegan2", "pictures": pictures.digest, **recipe.identity()}
    run(job, Run(folder, recipe.steps, identity, sample_every=sample_every), on_step=on_step)
    trainer.discriminator.eval().requires_grad_(False)
    return trainer
