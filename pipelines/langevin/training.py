"""Training of a denoiser with the loss of EDM (Karras et al. 2022): on a folder, on crops of one picture, on sound."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InvalidInputError
from ..steps import OnStep, ignore
from ..training.data import seeded
from ..training.loop import Run, run
from ..training.state import State
from ..training.statements import Precision, average, computing
from .crops import Crops, Drawn
from .edm_network import SongUNet, UNetShape
from .lapped import lapped
from .losses import denoising_loss, edm_levels, edm_weight
from .position import Labels
from .preconditioning import EDMPrior, LappedPrior, NetworkPrior
from .samplers import karras_levels, sample_heun
from .spectrogram import spectrogram_picture

COLUMNS = 8


@dataclass(frozen=True)
class DenoiserSettings:
    """noise_mean, noise_std: of ln(sigma / sigma_data), normal; EDM's own are -0.5 and 1.2. lr: of Adam, reached over `warm_up`
    steps; after `decay` steps it falls with the root of their number (0: never). ema_power: the average weighs step t with t to
    that power; 7 makes it a tenth of the training wide, however long that is (Karras et al. 2024). label_dropout: share of
    samples whose class is withheld, for guidance; pose_dropout: whose pose is. clip: largest norm of the gradient. precision:
    of the convolutions."""

    noise_mean: float = -0.5
    noise_std: float = 1.2
    lr: float = 1e-3
    warm_up: int = 200
    decay: int = 5000
    ema_power: float = 7.0
    label_dropout: float = 0.1
    clip: float = 1.0
    precision: Precision = "float32"
    pose_dropout: float = 0.1


class DenoiserTrainer:
    """A network with its optimiser; `ema` is the result. rng: of the noise, its levels, and the labels withheld."""

    def __init__(self, network: EDMPrior, labels: Labels, settings: DenoiserSettings, *, rng: torch.Generator) -> None:
        self.network, self.labels, self.settings, self.rng = network, labels, settings, rng
        self.ema = copy.deepcopy(network).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr, betas=(0.9, 0.99))
        self.steps = 0

    def step(self, data: Drawn) -> dict[str, float]:
        """One update of the network and of the average."""
        s = self.settings
        device = next(self.network.parameters()).device
        clean, classes, positions = data
        count = len(clean)
        deviation = self.network.sigma_data
        sigma = edm_levels(torch.randn(count, generator=self.rng), mean=s.noise_mean, std=s.noise_std) * deviation
        noise = torch.randn(clean.shape, generator=self.rng)
        withheld = torch.rand(count, generator=self.rng) < s.label_dropout
        if self.labels.poses:
            unposed = torch.rand(count, generator=self.rng) < s.pose_dropout
            positions = positions.masked_fill(unposed[:, None], math.nan)
        labels = self.labels.encode(classes.masked_fill(withheld, -1), positions) if self.labels.dim else None
        clean, sigma, noise = (x.to(device) for x in (clean, sigma, noise))
        fallen = math.sqrt(s.decay / max(s.decay, self.steps)) if s.decay else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = s.lr * min(1.0, (self.steps + 1) / max(1, s.warm_up)) * fallen
        with computing(s.precision, clean):
            loss = denoising_loss(self.network, clean, sigma, noise, edm_weight(sigma, deviation),
                                  None if labels is None else labels.to(device))
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss.mean())
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), s.clip)
        self.optimizer.step()
        self.steps += 1
        average(self.ema, self.network, (1 - 1 / self.steps) ** (s.ema_power + 1))
        return {"loss": float(loss.detach().mean())}

    def state_dict(self) -> State:
        """Everything needed to go on."""
        return {"network": self.network.state_dict(), "ema": self.ema.state_dict(), "optimizer": self.optimizer.state_dict(),
                "steps": self.steps, "rng": self.rng.get_state()}

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        for name in ("network", "ema", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.steps = state["steps"]
        self.rng.set_state(state["rng"])


@dataclass(frozen=True)
class DenoiserRecipe:
    """A denoiser from crops. width, multipliers, blocks: of the U-Net (`UNetShape`). patch: pixels or samples a side that are
    worked on as one. lapped: of sound, they are the bins of a lapped transform (`preconditioning.LappedPrior`). attention: in
    its middle; without, crops of any size suit it. embedding: width of the level's embedding, in units of `width`. steps of
    `batch` crops. sigma_data: deviation of the data, measured where not given. seed: of initial weights and data."""

    width: int = 32
    multipliers: tuple[int, ...] = (1, 2, 3)
    blocks: int = 1
    patch: int = 2
    lapped: bool = False
    attention: bool = False
    embedding: int = 4
    batch: int = 16
    steps: int = 20_000
    sigma_data: float | None = None
    seed: int = 0
    settings: DenoiserSettings = field(default_factory=DenoiserSettings)

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "patch", "batch", "steps"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"The {name} of a denoiser's training is at least 1, got {getattr(self, name)}.")
        if self.width % 8 or not self.multipliers or min(self.multipliers) < 1:
            raise InvalidInputError(f"The width of a denoiser is a multiple of 8 and its multipliers are positive, got "
                                    f"{self.width} and {list(self.multipliers)}.")

    @classmethod
    def preset(cls, data: Crops, **options: Any) -> DenoiserRecipe:
        """What suits pictures, or sound, whose tones need many channels and few places. Blocks of sound have up to 256 samples,
        as many as the crops allow."""
        if data.dims != 1:
            return cls(**options)
        block = next((n for n in (256, 128, 64, 32, 16, 8, 4) if data.size % (2 * n) == 0 and data.size >= 16 * n), 2)
        sound: dict[str, Any] = {"width": 256, "multipliers": (1, 1), "embedding": 1, "patch": block, "lapped": True}
        return cls(**{**sound, **options})

    def shape(self, data: Crops) -> UNetShape:
        """Of the network for such data."""
        if self.lapped and (data.dims != 1 or data.size % self.patch):
            raise InvalidInputError(f"The lapped transform is of sound, in crops of a multiple of {self.patch} samples; got "
                                    f"{data.dims} axes and crops of {data.size}.")
        bins, patch = (self.patch, 1) if self.lapped else (1, self.patch)
        return UNetShape(data.size // bins, data.channels * bins, data.channels * bins, labels=data.labels.dim,
                         width=self.width, multipliers=self.multipliers, embedding_multiplier=self.embedding,
                         blocks=self.blocks, attention=(), middle_attention=self.attention, dims=data.dims, patch=patch)

    def identity(self) -> dict[str, Any]:
        """What must stay the same to go on; the length may grow."""
        return {k: v for k, v in asdict(self).items() if k != "steps"}


class DenoiserJob:
    """A trainer and its data, as a `training.loop.Job`."""

    def __init__(self, trainer: DenoiserTrainer, data: Crops, batch: int, *, rng: torch.Generator) -> None:
        self.trainer, self.data, self.batch, self.rng = trainer, data, batch, rng

    @property
    def steps(self) -> int:
        return self.trainer.steps

    def step(self) -> Mapping[str, float]:
        return self.trainer.step(self.data.draw(self.batch, self.rng))

    def samples(self, count: int) -> Tensor:
        """A row of data and rows that the average draws from noise, with the labels of such data."""
        count = max(COLUMNS, count // COLUMNS * COLUMNS)
        shown, classes, positions = self.data.draw(count, seeded(1))
        labels = self.data.labels.encode(classes, positions) if self.data.labels.dim else None
        drawn = draw(self.trainer.ema, shown.shape, labels, rng=seeded(2))
        rows = torch.cat([shown[:COLUMNS], drawn.cpu()])
        if self.data.dims == 1:
            rows = spectrogram_picture(rows)
        return rows.reshape(-1, COLUMNS, *rows.shape[1:])

    def state_dict(self) -> State:
        return {"trainer": self.trainer.state_dict(), "rng": self.rng.get_state()}

    def load_state_dict(self, state: State) -> None:
        self.trainer.load_state_dict(state["trainer"])
        self.rng.set_state(state["rng"])


def draw(network: EDMPrior, shape: torch.Size, labels: Tensor | None, *, rng: torch.Generator, steps: int = 16) -> Tensor:
    """Samples from noise, float32 of that shape [N,C,*size]."""
    device = next(network.parameters()).device
    labels = None if labels is None else labels.to(device)
    levels = karras_levels(steps, low=0.01 * network.sigma_data, high=20 * network.sigma_data).to(device)
    latents = torch.randn(shape, generator=rng).to(device)
    with torch.no_grad():
        return sample_heun(lambda x, sigma: network(x, sigma, labels), latents, levels).float()


def measured_deviation(data: Crops, *, count: int = 512) -> float:
    """The deviation of the data, to three digits."""
    deviation = float(data.draw(count, seeded(0))[0].std())
    if not math.isfinite(deviation) or deviation < 1e-4:
        raise InvalidInputError("The data of the training are all the same, so there is nothing to learn; give other ones.")
    return float(f"{deviation:.3g}")


def measured_spectrum(data: Crops, block: int, *, count: int = 512) -> Tensor:
    """Deviations of the bins of a lapped transform, float32 [C,block]; none is below a thousandth of their largest."""
    crops = data.draw(count, seeded(0))[0]
    found = lapped(crops, block).reshape(count, crops.shape[1], block, -1).square().mean(dim=(0, 3)).sqrt()
    return found.clamp_min(1e-3 * float(found.max()))


def stated(network: NetworkPrior) -> dict[str, Any]:
    """What the shapes of a trained network do not show, for its file."""
    labels = network.labels
    return {"preconditioning": network.kind, "patch": network.model.shape.patch, "sigma_data": network.sigma_data,
            "classes": list(labels.classes), "position_features": labels.features, "poses": labels.poses,
            "sample_rate": network.sample_rate}


def build_network(recipe: DenoiserRecipe, data: Crops) -> EDMPrior:
    """Untrained, from the recipe's seed; the global random state is left alone."""
    deviation = recipe.sigma_data or measured_deviation(data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = SongUNet(recipe.shape(data))
    if recipe.lapped:
        network: EDMPrior = LappedPrior(model, sigma_data=deviation, channels=data.channels)
        network.deviations.copy_(measured_spectrum(data, recipe.patch))
    else:
        network = EDMPrior(model, sigma_data=deviation)
    network.labels = data.labels
    return network


def train_denoiser(data: Crops, recipe: DenoiserRecipe, folder: Path, *, start: EDMPrior | None = None,
                   device: torch.device | None = None, sample_every: int = 1000, on_step: OnStep = ignore) -> DenoiserTrainer:
    """Train, or go on from the checkpoint in `folder`. start: weights to begin with, of a network of the recipe's shape; left
    alone. The trainer's `ema` is the denoiser. Raises as `training.loop.run`."""
    network = build_network(recipe, data).to(device or "cpu")
    if start is not None:
        network.load_state_dict(start.state_dict())
    trainer = DenoiserTrainer(network, data.labels, recipe.settings, rng=seeded(2 * recipe.seed))
    job = DenoiserJob(trainer, data, recipe.batch, rng=seeded(2 * recipe.seed + 1))
    identity = {"training": "denoiser", "data": data.digest, **recipe.identity()}
    run(job, Run(folder, recipe.steps, identity, sample_every=sample_every), on_step=on_step)
    return trainer
