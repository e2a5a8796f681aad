"""Training of the two networks around a frozen generator: the label branch, from a handful of pictures, and the encoder.

The label branch is trained as in EditGAN and DatasetGAN: pixels of annotated pictures that were embedded in W+, Adam,
cross-entropy, members one after another with their own initial weights. Features stay at their native resolution and
are sampled at the pixels of each step, which holds sixteen pictures in megabytes where the upsampled table takes tens
of gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InvalidInputError
from ..perceptual import PerceptualLoss
from ..steps import OnStep, StepInfo, ignore
from ..stylegan2.generator import Generator
from ..stylegan2.training import AverageGradients
from .encoder import Encoder
from .segmentation import PixelClassifier, Pixels, PixelSampler, Segmenter

RealImages = Callable[[int], Tensor]
"""count -> float32 [count,3,R,R] in -1..1, fresh pictures of the domain."""


@dataclass(frozen=True)
class SegmenterTraining:
    """steps: Adam updates of each member. pixels: pixels per update. lr: peak rate, falling linearly to zero.
    balance: 0 draws pixels uniformly as the official code does, 1 draws every label equally often."""

    steps: int = 1500
    pixels: int = 1024
    lr: float = 1e-3
    balance: float = 0.5


def initialise_classifier(member: PixelClassifier, rng: torch.Generator) -> None:
    """The official initialisation: weights N(0, 0.02), biases 0."""
    for module in member.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=rng)
            nn.init.zeros_(module.bias)


def train_segmenter(segmenter: Segmenter, features: Sequence[Tensor], labels: Tensor, settings: SegmenterTraining, *,
                    rngs: Sequence[torch.Generator], on_step: OnStep = ignore) -> None:
    """Train every member in place; leaves the segmenter in eval mode.

    features: the generator's features of N embedded pictures, [N,C,r,r] each; labels uint8 [N,H,W]; rngs: one generator
    per member, so that a member does not depend on how many there are.
    """
    if len(features[0]) != len(labels) or len(rngs) != len(segmenter.members):
        raise InvalidInputError(f"The label branch needs one label map per picture and one random generator per member: "
                                f"{len(features[0])} pictures, {len(labels)} maps, {len(segmenter.members)} members, "
                                f"{len(rngs)} generators.")
    height, width = labels.shape[1:]
    flat = labels.flatten().long()
    frequency = torch.bincount(flat, minlength=segmenter.num_classes).clamp(min=1).double()
    weight = frequency.pow(-settings.balance)[flat]
    total = settings.steps * len(segmenter.members)
    for number, (member, rng) in enumerate(zip(segmenter.classifiers(), rngs, strict=True)):
        initialise_classifier(member, rng)
        member.train().requires_grad_(True)
        optimizer = torch.optim.Adam(member.parameters(), lr=settings.lr)
        for step in range(settings.steps):
            optimizer.param_groups[0]["lr"] = settings.lr * (1 - step / settings.steps)
            index = torch.multinomial(weight, settings.pixels, replacement=True, generator=rng)
            pixels = Pixels(index // (height * width), index // width % height, index % width)
            rows = PixelSampler(pixels, (height, width)).concatenated(features)
            loss = F.cross_entropy(member.layers(rows), flat[index])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            on_step(StepInfo(number * settings.steps + step + 1, total, {"cross_entropy": float(loss.detach())}))
        member.requires_grad_(False)
    segmenter.eval()


@dataclass(frozen=True)
class EncoderTraining:
    """steps: updates. batch: pictures of each kind (sampled and real). lr: peak rate, falling linearly to zero over the
    last third. latent: weight of the code error on sampled pictures, in units of the variance of w; perceptual, mse:
    weights on the reconstruction of both kinds."""

    steps: int = 3000
    batch: int = 8
    lr: float = 1e-3
    latent: float = 0.3
    perceptual: float = 10.0
    mse: float = 5.0
    dtype: torch.dtype = torch.float32


class EncoderTrainer:
    """Encoder, optimiser and settings; `step` draws its own sampled pictures and gets the real ones."""

    def __init__(self, encoder: Encoder, generator: Generator, perceptual: PerceptualLoss, settings: EncoderTraining, *,
                 rng: torch.Generator, average_gradients: AverageGradients | None = None) -> None:
        self.encoder, self.generator, self.perceptual, self.settings = encoder, generator, perceptual, settings
        self.rng, self.average_gradients = rng, average_gradients
        self.optimizer = torch.optim.Adam(encoder.parameters(), lr=settings.lr, betas=(0.5, 0.99))
        with torch.no_grad():
            encoder.w_avg.copy_(generator.mapping.w_avg)
            z = torch.randn(1024, generator.z_dim, generator=rng)
            self.variance = float(generator.mapping(z).var(dim=0).mean())
        self.steps = 0

    def step(self, real: Tensor) -> dict[str, float]:
        """One update from `real` float32 [B,3,R,R] in -1..1 and as many sampled pictures."""
        s, count = self.settings, len(real)
        with torch.no_grad():
            codes = self._sample_codes(count)
            sampled = self.generator.synthesis(codes, noise="none", dtype=s.dtype)[0]
            images = torch.cat([sampled, real])
            target = self.perceptual.features(images)
        progress = self.steps / s.steps
        self.optimizer.param_groups[0]["lr"] = s.lr * min(1.0, max(1 - progress, 0) * 3) * min(1.0, (self.steps + 1) / 50)
        predicted = self.encoder(images, dtype=s.dtype)
        shown = self.generator.synthesis(predicted, noise="none", dtype=s.dtype)[0]
        latent = (predicted[:count] - codes).square().mean() / self.variance
        perceptual = self.perceptual.distance(self.perceptual.features(shown), target)
        mse = ((shown - images) / 2).square().mean(dim=(1, 2, 3))
        loss = s.latent * latent + s.perceptual * perceptual.mean() + s.mse * mse.mean()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.average_gradients is not None:
            self.average_gradients(self.encoder.parameters())
        self.optimizer.step()
        self.steps += 1
        values = {"loss": loss, "latent": latent, "perceptual": perceptual[count:].mean(), "mse_sampled": mse[:count].mean(),
                  "mse_real": mse[count:].mean()}
        return {name: float(value.detach()) for name, value in values.items()}

    def _sample_codes(self, count: int) -> Tensor:
        """Half of the codes from one latent, half mixed from two at a random layer."""
        z = torch.randn(2 * count, self.generator.z_dim, generator=self.rng)
        first, second = self.generator.mapping(z)[:, None].split(count)
        rows = torch.arange(self.generator.num_ws)[None, :, None]
        cutoff = torch.randint(1, 2 * self.generator.num_ws, (count, 1, 1), generator=self.rng)
        return torch.where(rows >= cutoff, second, first)
