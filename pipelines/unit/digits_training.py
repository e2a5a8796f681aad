"""Training of UNIT's digits networks: domain adaptation from labelled digits (a) to others without labels (b).

As in the original release there is no cycle; instead the features of a digit redrawn in its own domain and in the other one are
to be the same, in the discriminator's update.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..image_blocks import initialise
from ..training.state import State
from ..training.statements import frozen
from ..training.together import ALONE, Group
from .digits import DigitsBoth, DigitsDiscriminator, DigitsVae, gaussian_kl
from .training import Noise, shared_noise

MADE, REAL = 0, 1


@dataclass(frozen=True)
class DigitsSettings:
    """Weights of the losses; rate, betas, decay of Adam."""

    gan: float = 1.0
    classification: float = 10.0
    kl: float = 1e-4
    likelihood: float = 1e-3
    features: float = 1e-4
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 5e-4


def initialise_digits(vae: DigitsVae, judge: DigitsDiscriminator) -> None:
    """The official initialisation: weights of deviation 0.02 and biases 0 for the VAE, Xavier's weights with gain sqrt(2) and
    biases 0.1 for the judge."""
    initialise(vae, "gaussian")
    for layer in judge.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight, gain=2**0.5)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 0.1)


class DigitsTrainer:
    """Alternating updates. The judge's `classify` on domain b is what the training is for. group: of processes that train
    together; batch statistics are each process's own."""

    def __init__(self, vae: DigitsVae, judge: DigitsDiscriminator, settings: DigitsSettings, noise: Noise | None = None, *,
                 rng: torch.Generator | None = None, group: Group = ALONE) -> None:
        self.vae, self.judge, self.settings, self.group = vae, judge, settings, group
        self.rng = rng or torch.Generator().manual_seed(0)
        self.noise = noise or self._drawn
        self.optimizer_g, self.optimizer_d = (
            torch.optim.Adam(network.parameters(), lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
            for network in (vae, judge))
        self.steps = 0

    def _drawn(self, _: str, like: Tensor) -> Tensor:
        return shared_noise(like, self.rng, self.group)

    def _made(self, name: str, a: Tensor, b: Tensor) -> DigitsBoth:
        like = a.new_empty(len(a) + len(b), self.vae.g_vae.en_mu.out_channels, 1, 1)
        return self.vae(a, b, self.noise(name, like))

    def _features(self, made: DigitsBoth) -> DigitsFeatures:
        return DigitsFeatures(aa=self.judge.features(made.aa, "a"), ba=self.judge.features(made.ba, "a"),
                              ab=self.judge.features(made.ab, "b"), bb=self.judge.features(made.bb, "b"))

    def step(self, a: Tensor, labels: Tensor, b: Tensor) -> dict[str, float]:
        """One update of the judge, then of the VAE. a, b: float32 [B,C,32,32] in -1..1; labels int64 [B] of a."""
        losses = {**self.update_judge(a, labels, b), **self.update_vae(a, b)}
        self.steps += 1
        return losses

    def update_judge(self, a: Tensor, labels: Tensor, b: Tensor) -> dict[str, float]:
        """Real or made, which digit, and the same features whichever domain a digit is redrawn in."""
        s, judge = self.settings, self.judge
        with torch.no_grad():
            made = self._made("dis", a, b)
        real_a, real_b, fake = judge.features(a, "a"), judge.features(b, "b"), self._features(made)
        parts = {"real": self._judged(torch.cat([real_a, real_b]), REAL),
                 "made": 0.5 * (self._judged(fake.redrawn(), MADE) + self._judged(fake.translated(), MADE)),
                 "features_a": summed_error(fake.ab, fake.aa), "features_b": summed_error(fake.ba, fake.bb),
                 "classification": F.cross_entropy(judge.classify(real_a), labels)}
        loss = (s.gan * (parts["real"] + parts["made"]) + s.classification * parts["classification"]
                + s.features * (parts["features_a"] + parts["features_b"]))
        self.optimizer_d.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.group.average(judge.parameters())
        self.optimizer_d.step()
        return {"dis": float(loss.detach()), **{name: float(value.detach()) for name, value in parts.items()}}

    def update_vae(self, a: Tensor, b: Tensor) -> dict[str, float]:
        """Digits that pass for real in either domain, likelihood, and the prior, which counts twice."""
        s = self.settings
        with frozen(self.judge):
            made = self._made("gen", a, b)
            fake = self._features(made)
            parts = {"adversarial": self._judged(fake.translated(), REAL) + self._judged(fake.redrawn(), REAL),
                     "likelihood_a": summed_error(made.aa, a), "likelihood_b": summed_error(made.bb, b),
                     "kl": 2 * gaussian_kl(made.mean, made.deviation)}
            loss = (s.gan * parts["adversarial"] + s.kl * parts["kl"]
                    + s.likelihood * (parts["likelihood_a"] + parts["likelihood_b"]))
            self.optimizer_g.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
        self.group.average(self.vae.parameters())
        self.optimizer_g.step()
        return {"gen": float(loss.detach()), **{name: float(value.detach()) for name, value in parts.items()}}

    def _judged(self, features: Tensor, wanted: int) -> Tensor:
        logits = self.judge.judge(features)
        return F.cross_entropy(logits, torch.full((len(logits),), wanted, device=logits.device))

    def state_dict(self) -> State:
        """Everything needed to go on; dropout draws from the global generator, which is not in it."""
        return {**{name: getattr(self, name).state_dict() for name in _PARTS}, "rng": self.rng.get_state(), "steps": self.steps}

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.rng.set_state(state["rng"])
        self.steps = state["steps"]


_PARTS = ("vae", "judge", "optimizer_g", "optimizer_d")


@dataclass(frozen=True)
class DigitsFeatures:
    """Features of redrawn digits (aa, bb) and of translated ones: ab are digits of a in domain b."""

    aa: Tensor
    ba: Tensor
    ab: Tensor
    bb: Tensor

    def redrawn(self) -> Tensor:
        return torch.cat([self.aa, self.bb])

    def translated(self) -> Tensor:
        return torch.cat([self.ba, self.ab])


def summed_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared differences, summed over a picture, mean over the batch."""
    return F.mse_loss(found, wanted) * wanted[0].numel()
