"""Training of the two networks around a frozen generator: the label branch, from a handful of pictures, and the encoder.

The label branch is trained as in EditGAN and DatasetGAN: pixels of annotated pictures that were embedded in W+, Adam,
cross-entropy, members one after another with their own initial weights. Features stay at their native resolution and
are sampled at the pixels of each step, which holds sixteen pictures in megabytes where the upsampled table takes tens
of gigabytes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InvalidInputError
from ..perceptual import PerceptualLoss
from ..steps import OnStep, StepInfo, ignore
from ..stylegan2.generator import Generator
from ..stylegan2.training import AverageGradients
from ..training.state import State
from .encoder import Encoder
from .segmentation import PixelClassifier, Pixels, PixelSampler, Segmenter

PRESETS = ("ours", "official")


@dataclass(frozen=True)
class SegmenterTraining:
    """steps: Adam updates of each member. pixels: pixels per update. lr: peak rate, falling linearly to zero.
    balance: 0 draws pixels uniformly as the official code does, 1 draws every label equally often."""

    steps: int = 1500
    pixels: int = 1024
    lr: float = 1e-3
    balance: float = 0.5

    def __post_init__(self) -> None:
        if self.steps < 1 or self.pixels < 2:
            raise InvalidInputError(f"A label branch is trained for at least 1 step of at least 2 pixels, got {self.steps} "
                                    f"and {self.pixels}.")


def initialise_classifier(member: PixelClassifier, rng: torch.Generator) -> None:
    """The official initialisation: weights N(0, 0.02), biases 0."""
    for module in member.modules():
        if isinstance(module, nn.Linear):
            with torch.no_grad():
                module.weight.copy_(torch.empty(module.weight.shape).normal_(0.0, 0.02, generator=rng))
            nn.init.zeros_(module.bias)


class SegmenterTrainer:
    """The members one after another, an update at a time; `step` draws its own pixels.

    features: the generator's features of N embedded pictures, [N,C,r,r] each; labels uint8 [N,H,W]; rngs: one generator
    per member, so that a member does not depend on how many there are.
    """

    def __init__(self, segmenter: Segmenter, features: Sequence[Tensor], labels: Tensor, settings: SegmenterTraining, *,
                 rngs: Sequence[torch.Generator]) -> None:
        if len(features[0]) != len(labels) or len(rngs) != len(segmenter.members):
            raise InvalidInputError(f"The label branch needs one label map per picture and one random generator per "
                                    f"member: {len(features[0])} pictures, {len(labels)} maps, {len(segmenter.members)} "
                                    f"members, {len(rngs)} generators.")
        self.segmenter, self.features, self.settings, self.rngs = segmenter, features, settings, rngs
        self.size = (int(labels.shape[1]), int(labels.shape[2]))
        self._flat = labels.flatten().long().cpu()
        frequency = torch.bincount(self._flat, minlength=segmenter.num_classes).clamp(min=1).double()
        self._weight = frequency.pow(-settings.balance)[self._flat]
        self.steps, self.total = 0, settings.steps * len(rngs)
        self._optimizer: torch.optim.Adam | None = None
        segmenter.eval().requires_grad_(False)

    def _member(self) -> PixelClassifier:
        return self.segmenter.classifiers()[self.steps // self.settings.steps]

    def _begin(self, member: PixelClassifier) -> torch.optim.Adam:
        member.train().requires_grad_(True)
        return torch.optim.Adam(member.parameters(), lr=self.settings.lr)

    def step(self) -> dict[str, float]:
        """One update of the member whose turn it is."""
        member, rng, s = self._member(), self.rngs[self.steps // self.settings.steps], self.settings
        local = self.steps % s.steps
        if local == 0:
            initialise_classifier(member, rng)
        if self._optimizer is None:
            self._optimizer = self._begin(member)
        optimizer, (height, width) = self._optimizer, self.size
        optimizer.param_groups[0]["lr"] = s.lr * (1 - local / s.steps)
        index = torch.multinomial(self._weight, s.pixels, replacement=True, generator=rng)
        device = self.features[0].device
        place = index.to(device)
        pixels = Pixels(place // (height * width), place // width % height, place % width)
        rows = PixelSampler(pixels, self.size).concatenated(self.features)
        loss = F.cross_entropy(member.layers(rows), self._flat[index].to(device))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        self.steps += 1
        if self.steps % s.steps == 0:
            member.eval().requires_grad_(False)
            self._optimizer = None
        return {"cross_entropy": float(loss.detach())}

    def state_dict(self) -> State:
        """Everything needed to go on, of tensors and plain values only."""
        optimizer = None if self._optimizer is None else self._optimizer.state_dict()
        return {"segmenter": self.segmenter.state_dict(), "optimizer": optimizer, "steps": self.steps,
                "rngs": [rng.get_state() for rng in self.rngs]}

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        self.segmenter.load_state_dict(state["segmenter"])
        self.segmenter.eval().requires_grad_(False)
        self.steps, self._optimizer = state["steps"], None
        for rng, value in zip(self.rngs, state["rngs"], strict=True):
            rng.set_state(value)
        if state["optimizer"] is not None:
            self._optimizer = self._begin(self._member())
            self._optimizer.load_state_dict(state["optimizer"])


def train_segmenter(segmenter: Segmenter, features: Sequence[Tensor], labels: Tensor, settings: SegmenterTraining, *,
                    rngs: Sequence[torch.Generator], on_step: OnStep = ignore) -> None:
    """Train every member in place, as SegmenterTrainer says; leaves the segmenter in eval mode."""
    trainer = SegmenterTrainer(segmenter, features, labels, settings, rngs=rngs)
    while trainer.steps < trainer.total:
        losses = trainer.step()
        on_step(StepInfo(trainer.steps, trainer.total, losses))


@dataclass(frozen=True)
class EncoderTraining:
    """steps: updates. batch: real pictures per step; sampled: sampled ones, None for as many. lr: peak rate, rising over
    `warmup` steps and, with `falling`, falling linearly to zero over the last third. psi: truncation of sampled pictures;
    mixing: half of them have codes of two latents. latent: weight of the code error on sampled pictures, with `whitened`
    in units of the variance of w; perceptual, mse: weights on the reconstruction of both kinds. separate: one update per
    kind, real pictures first, and those only after real_after steps. ema_steps: half-life, roughly, of the averaged
    encoder, 0 for none."""

    steps: int = 3000
    batch: int = 8
    lr: float = 1e-3
    latent: float = 0.3
    perceptual: float = 10.0
    mse: float = 5.0
    dtype: torch.dtype = torch.float32
    sampled: int | None = None
    betas: tuple[float, float] = (0.5, 0.99)
    warmup: int = 50
    falling: bool = True
    psi: float = 1.0
    mixing: bool = True
    whitened: bool = True
    separate: bool = False
    real_after: int = 0
    ema_steps: int = 200

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise InvalidInputError(f"An encoder is trained for at least 1 step of at least 1 picture, got {self.steps} and "
                                    f"{self.batch}.")

    @classmethod
    def official(cls, pictures: int, *, epochs: int = 100, batch: int = 8) -> EncoderTraining:
        """The schedule of EditGAN's release for a set of so many pictures: real batches of 8 with 2 sampled pictures,
        constant rate 3e-5, real pictures from the seventh epoch on, truncation 0.7, no average."""
        epoch = max(1, pictures // batch)
        return cls(steps=epochs * epoch, batch=batch, sampled=2, lr=3e-5, betas=(0.9, 0.999), warmup=0, falling=False,
                   latent=5.0, perceptual=10.0, mse=1.0, psi=0.7, mixing=False, whitened=False, separate=True,
                   real_after=6 * epoch, ema_steps=0)

    @classmethod
    def preset(cls, name: str, pictures: int, *, batch: int = 8, steps: int | None = None) -> EncoderTraining:
        """'ours' or 'official', for a set of so many pictures; steps None takes the preset's own length."""
        if name not in PRESETS:
            raise InvalidInputError(f"There is no preset '{name}' for the training of an encoder; there are "
                                    f"{' and '.join(PRESETS)}.")
        settings = cls.official(pictures, batch=batch) if name == "official" else cls(batch=batch)
        return settings if steps is None else replace(settings, steps=steps)


class EncoderTrainer:
    """Encoder, its average, optimiser and settings; `step` draws its own sampled pictures and gets the real ones.

    `ema` is the result: the averaged encoder, or the encoder itself where the settings ask for no average.
    """

    def __init__(self, encoder: Encoder, generator: Generator, perceptual: PerceptualLoss, settings: EncoderTraining, *,
                 rng: torch.Generator, average_gradients: AverageGradients | None = None) -> None:
        self.encoder, self.generator, self.perceptual, self.settings = encoder, generator, perceptual, settings
        self.rng, self.average_gradients = rng, average_gradients
        self.optimizer = torch.optim.Adam(encoder.parameters(), lr=settings.lr, betas=settings.betas)
        with torch.no_grad():
            encoder.w_avg.copy_(generator.mapping.w_avg)
            z = torch.randn(1024, generator.z_dim, generator=rng).to(encoder.w_avg.device)
            self.variance = float(generator.mapping(z).var(dim=0).mean()) if settings.whitened else 1.0
        self.ema = copy.deepcopy(encoder).eval().requires_grad_(False) if settings.ema_steps else encoder
        self.steps = 0

    def step(self, real: Tensor) -> dict[str, float]:
        """One update (or two, `separate`) from `real` float32 [B,3,R,R] in -1..1 and the sampled pictures."""
        s = self.settings
        codes = self._sample_codes(len(real) if s.sampled is None else s.sampled)
        with torch.no_grad():
            sampled = self.generator.synthesis(codes, noise="none", dtype=s.dtype)[0]
        rate = min(1.0, (self.steps + 1) / s.warmup if s.warmup else 1.0)
        if s.falling:
            rate *= min(1.0, max(1 - self.steps / s.steps, 0) * 3)
        self.optimizer.param_groups[0]["lr"] = s.lr * rate
        if s.separate:
            loss_real, values = self._loss(real, codes[:0])
            if self.steps >= s.real_after:
                self._update(loss_real)
            loss, values_sampled = self._loss(sampled, codes)
            values |= values_sampled
            self._update(loss)
            total = loss.detach() + loss_real.detach()
        else:
            loss, values = self._loss(torch.cat([sampled, real]), codes)
            self._update(loss)
            total = loss.detach()
        self.steps += 1
        self._update_ema()
        return {name: float(value.detach()) for name, value in {"loss": total, **values}.items()}

    def _loss(self, images: Tensor, codes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of pictures of which the first len(codes) are sampled from known codes, and its parts."""
        s, count = self.settings, len(codes)
        with torch.no_grad():
            target = self.perceptual.features(images)
        predicted = self.encoder(images, dtype=s.dtype)
        shown = self.generator.synthesis(predicted, noise="none", dtype=s.dtype)[0]
        perceptual = self.perceptual.distance(self.perceptual.features(shown), target)
        mse = ((shown - images) / 2).square().mean(dim=(1, 2, 3))
        loss = s.perceptual * perceptual.mean() + s.mse * mse.mean()
        values: dict[str, Tensor] = {}
        if count:
            values["latent"] = (predicted[:count] - codes).square().mean() / self.variance
            values["mse_sampled"] = mse[:count].mean()
            loss = s.latent * values["latent"] + loss
        if count < len(images):
            values |= {"perceptual": perceptual[count:].mean(), "mse_real": mse[count:].mean()}
        return loss, values

    def _update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.average_gradients is not None:
            self.average_gradients(self.encoder.parameters())
        self.optimizer.step()

    @torch.no_grad()
    def _update_ema(self) -> None:
        if self.ema is not self.encoder:
            weight = max(1 / self.settings.ema_steps, 1 / self.steps)
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
                list(self.ema.parameters()), list(self.encoder.parameters()), weight)

    @torch.no_grad()
    def _sample_codes(self, count: int) -> Tensor:
        """W+ codes [count,num_ws,w_dim]: with mixing, half from one latent and half mixed from two at a random layer."""
        device, rows = self.encoder.w_avg.device, self.generator.num_ws
        if not self.settings.mixing:
            z = torch.randn(count, self.generator.z_dim, generator=self.rng)
            return self.generator.map(z.to(device), psi=self.settings.psi).contiguous()
        z = torch.randn(2 * count, self.generator.z_dim, generator=self.rng)
        codes = self.generator.map(z.to(device), psi=self.settings.psi)
        cutoff = torch.randint(1, 2 * rows, (count, 1, 1), generator=self.rng)
        return torch.where((torch.arange(rows)[None, :, None] >= cutoff).to(device), codes[count:], codes[:count])

    def state_dict(self) -> State:
        """Everything needed to go on, of tensors and plain values only."""
        return {"encoder": self.encoder.state_dict(), "ema": self.ema.state_dict(), "steps": self.steps,
                "optimizer": self.optimizer.state_dict(), "rng": self.rng.get_state()}

    def load_state_dict(self, state: State, *, restore_rng: bool = True) -> None:
        """The inverse of `state_dict`; restore_rng False keeps this process's own random stream."""
        for name in ("encoder", "ema", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        if restore_rng:
            self.rng.set_state(state["rng"])
        self.steps = state["steps"]
