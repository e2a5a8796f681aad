"""UNIT as the paper and the patent have it (Liu, Breuel, Kautz 2017; US 2018/0247201): the last layers of the encoders and the
first of the generators are shared by both domains, so that a pair of pictures has one latent. Modules are named as in the
original release; padding is zero, activations are ReLU or leaky with slope 0.01."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InvalidInputError
from ..image_blocks import initialise
from ..steps import OnStep, ignore
from ..training.data import Pictures, first_pictures, seeded
from ..training.loop import Run, run
from ..training.state import State
from ..training.statements import Precision, computing, frozen
from ..training.together import ALONE, Group
from .training import Noise, shared_noise, unit_job

SLOPE = 0.01


def _leaky(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Module:
    return _Named(nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2), nn.LeakyReLU(SLOPE))


class _Named(nn.Module):
    """Layers under the name `model`."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _Residual(_Named):
    """Two 3x3 convolutions with instance norms beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Conv2d(channels, channels, 3, 1, 1), nn.InstanceNorm2d(channels), nn.ReLU(),
                         nn.Conv2d(channels, channels, 3, 1, 1), nn.InstanceNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.model(x)


def _down(channels: int) -> nn.Module:
    return _Named(nn.Conv2d(channels, channels * 2, 3, 2, 1), nn.InstanceNorm2d(channels * 2), nn.ReLU())


def _up(channels: int) -> nn.Module:
    return _Named(nn.ConvTranspose2d(channels, channels // 2, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(channels // 2),
                  nn.ReLU())


class Both(NamedTuple):
    """Pictures of either domain in either domain, and the shared latents of a and b one after the other."""

    aa: Tensor
    ba: Tensor
    ab: Tensor
    bb: Tensor
    latents: Tensor


class SharedDomains(nn.Module):
    """Generators of two domains with a shared middle.

    width: channels of the first layer, 64 in the published networks. n_downs: halvings. n_res: residual blocks of each
    domain's encoder and decoder; n_encoder_shared, n_generator_shared: shared ones.
    """

    def __init__(self, *, width: int = 64, n_downs: int = 2, n_res: int = 3, n_encoder_shared: int = 1,
                 n_generator_shared: int = 1, channels: int = 3) -> None:
        super().__init__()
        self.factor, latent = 2**n_downs, width << n_downs

        def encoder() -> nn.Sequential:
            return nn.Sequential(_leaky(channels, width, 7, 1), *(_down(width << i) for i in range(n_downs)),
                                 *(_Residual(latent) for _ in range(n_res)))

        def decoder() -> nn.Sequential:
            return nn.Sequential(*(_Residual(latent) for _ in range(n_res)), *(_up(latent >> i) for i in range(n_downs)),
                                 nn.ConvTranspose2d(width, channels, 1), nn.Tanh())

        self.encode_A, self.encode_B = encoder(), encoder()
        self.enc_shared = nn.Sequential(*(_Residual(latent) for _ in range(n_encoder_shared)))
        self.dec_shared = nn.Sequential(*(_Residual(latent) for _ in range(n_generator_shared)))
        self.decode_A, self.decode_B = decoder(), decoder()

    def encode(self, images: Tensor, domain: str) -> Tensor:
        """images float32 [B,3,H,W] in -1..1 of domain 'a' or 'b' -> shared latents [B,C,H/4,W/4]."""
        return self.enc_shared(self.encode_A(images) if domain == "a" else self.encode_B(images))

    def decode(self, latents: Tensor, domain: str) -> Tensor:
        """Shared latents -> images float32 [B,3,H,W] in -1..1 of domain 'a' or 'b'."""
        x = self.dec_shared(latents)
        return self.decode_A(x) if domain == "a" else self.decode_B(x)

    def translate(self, images: Tensor, direction: str, noise: Tensor | None = None) -> Tensor:
        """As `TwoDomains.translate`."""
        source, target = direction.split(" to ")
        latents = self.encode(images, source)
        return self.decode(latents if noise is None else latents + noise, target)

    def forward(self, a: Tensor, b: Tensor, noise: Tensor | None = None) -> Both:
        """Both domains through the shared layers as one batch. noise: added to the latents of a and b."""
        latents = self.enc_shared(torch.cat([self.encode_A(a), self.encode_B(b)]))
        latents = latents if noise is None else latents + noise
        middle = self.dec_shared(latents)
        in_a, in_b = self.decode_A(middle), self.decode_B(middle)
        return Both(in_a[:len(a)], in_a[len(a):], in_b[:len(a)], in_b[len(a):], latents)


class TwoDiscriminators(nn.Module):
    """A patch discriminator per domain. n_shared: their last layers are one and the same, as the paper has it."""

    def __init__(self, *, width: int = 64, n_layers: int = 6, channels: int = 3, n_shared: int = 0) -> None:
        super().__init__()

        def layers(first: int, last: int) -> list[nn.Module]:
            return [_leaky(channels if i == 0 else width << (i - 1), width << i, 3, 2) for i in range(first, last)]

        def head() -> nn.Module:
            return nn.Conv2d(width << (n_layers - 1), 1, 1)

        own = n_layers - n_shared
        self.model_A, self.model_B = (nn.Sequential(*layers(0, own), *([] if n_shared else [head()])) for _ in range(2))
        self.model_S = nn.Sequential(*layers(own, n_layers), head()) if n_shared else None

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of either domain's patches, flat."""
        judged = [self.model_A(a), self.model_B(b)]
        if self.model_S is not None:
            judged = [self.model_S(x) for x in judged]
        return judged[0].flatten(), judged[1].flatten()


@dataclass(frozen=True)
class SharedSettings:
    """Weights: gan is lambda0, kl lambda1 and lambda3, likelihood lambda2 and lambda4 of the paper; 'cycle' ones belong to the
    translated stream. Rate, betas, decay of Adam. precision: of the convolutions."""

    gan: float = 10.0
    kl: float = 0.1
    likelihood: float = 100.0
    cycle_kl: float = 0.1
    cycle_likelihood: float = 100.0
    lr: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-4
    precision: Precision = "float32"


class SharedTrainer:
    """Alternating updates of the shared-latent UNIT. The KL divergence of a Gaussian of deviation 1 is the mean of squares of
    the latent, here with its noise, and the direct term counts twice, as in the original release. group: of
    processes that train together."""

    def __init__(self, domains: SharedDomains, judges: TwoDiscriminators, settings: SharedSettings,
                 noise: Noise | None = None, *, rng: torch.Generator | None = None, group: Group = ALONE) -> None:
        self.domains, self.judges, self.settings, self.group = domains, judges, settings, group
        self.rng = rng or torch.Generator().manual_seed(0)
        self.noise = noise or self._drawn
        self.optimizer_g, self.optimizer_d = (
            torch.optim.Adam(network.parameters(), lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
            for network in (domains, judges))
        self.steps = 0

    def _drawn(self, _: str, like: Tensor) -> Tensor:
        return shared_noise(like, self.rng, self.group)

    def _latents_like(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.no_grad():
            return self.domains.encode(torch.cat([a, b])[:1], "a").expand(len(a) + len(b), -1, -1, -1)

    def step(self, a: Tensor, b: Tensor) -> dict[str, float]:
        """One update of the discriminators, then of the generators."""
        with computing(self.settings.precision, a):
            losses = {**self.update_discriminators(a, b), **self.update_generators(a, b)}
        self.steps += 1
        return losses

    def update_discriminators(self, a: Tensor, b: Tensor) -> dict[str, float]:
        """Real pictures against translations, which are made without a graph."""
        with torch.no_grad():
            made = self.domains(a, b, self.noise("dis", self._latents_like(a, b)))
        real, fake = self.judges(a, b), self.judges(made.ba, made.ab)
        loss = self.settings.gan * torch.stack([judged_as(x, wanted) for pair, wanted in ((real, 1.0), (fake, 0.0))
                                                for x in pair]).sum()
        self.optimizer_d.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.group.average(self.judges.parameters())
        self.optimizer_d.step()
        return {"dis": float(loss.detach())}

    def update_generators(self, a: Tensor, b: Tensor) -> dict[str, float]:
        """Eqs. 1-7: VAE, GAN and cycle streams of both domains."""
        s, domains = self.settings, self.domains
        with frozen(self.judges):
            made = domains(a, b, self.noise("gen", self._latents_like(a, b)))
            judged_a, judged_b = self.judges(made.ba, made.ab)
            parts = {"adversarial_a": judged_as(judged_a, 1.0), "adversarial_b": judged_as(judged_b, 1.0),
                     "likelihood_a": (made.aa - a).abs().mean(), "likelihood_b": (made.bb - b).abs().mean(),
                     "kl": made.latents.square().mean()}
            loss = (s.gan * (parts["adversarial_a"] + parts["adversarial_b"])
                    + s.likelihood * (parts["likelihood_a"] + parts["likelihood_b"])
                    + 2 * s.kl * parts["kl"])
            if s.cycle_likelihood or s.cycle_kl:
                again_ba, again_ab = domains.encode(made.ba, "a"), domains.encode(made.ab, "b")
                again_ba = again_ba + self.noise("a2b of ba", again_ba)
                again_ab = again_ab + self.noise("b2a of ab", again_ab)
                bab, aba = domains.decode(again_ba, "b"), domains.decode(again_ab, "a")
                parts |= {"cycle_a": (aba - a).abs().mean(), "cycle_b": (bab - b).abs().mean(),
                          "cycle_kl_a": again_ab.square().mean(), "cycle_kl_b": again_ba.square().mean()}
                loss = loss + (s.cycle_likelihood * (parts["cycle_a"] + parts["cycle_b"])
                               + s.cycle_kl * (parts["cycle_kl_a"] + parts["cycle_kl_b"]))
            self.optimizer_g.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
        self.group.average(domains.parameters())
        self.optimizer_g.step()
        return {"gen": float(loss.detach()), **{name: float(value.detach()) for name, value in parts.items()}}

    def state_dict(self) -> State:
        """Everything needed to go on."""
        return {**{name: getattr(self, name).state_dict() for name in _PARTS}, "rng": self.rng.get_state(), "steps": self.steps}

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.rng.set_state(state["rng"])
        self.steps = state["steps"]


_PARTS = ("domains", "judges", "optimizer_g", "optimizer_d")


def judged_as(logits: Tensor, wanted: float) -> Tensor:
    """Cross-entropy of patches to the wanted judgement."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))


@dataclass(frozen=True)
class SharedRecipe:
    """A shared-latent UNIT from two folders. width, n_downs, n_res, n_encoder_shared, n_generator_shared: as in SharedDomains.
    dis_width, dis_layers, dis_shared: width, n_layers and n_shared of TwoDiscriminators. steps of `batch` pictures per domain.
    seed: of initial weights, data, noise."""

    resolution: int = 256
    width: int = 64
    n_downs: int = 2
    n_res: int = 3
    n_encoder_shared: int = 1
    n_generator_shared: int = 1
    dis_width: int = 64
    dis_layers: int = 6
    dis_shared: int = 4
    batch: int = 1
    steps: int = 500_000
    mirror: bool = True
    seed: int = 0
    settings: SharedSettings = field(default_factory=SharedSettings)

    def __post_init__(self) -> None:
        for name in ("width", "n_res", "dis_width", "dis_layers", "batch", "steps"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"The {name} of a UNIT training is at least 1, got {getattr(self, name)}.")
        if not 0 <= self.dis_shared < self.dis_layers:
            raise InvalidInputError(f"The discriminators of a UNIT share 0 to {self.dis_layers - 1} of their {self.dis_layers} "
                                    f"layers, got {self.dis_shared}.")
        if self.resolution < 32 or self.resolution % 2**self.n_downs:
            raise InvalidInputError(f"A UNIT with shared layers is trained on pictures of at least 32 pixels a side, a "
                                    f"multiple of {2**self.n_downs}, got {self.resolution}.")

    def identity(self) -> dict[str, Any]:
        """What must stay the same to go on; the length may grow."""
        return {k: v for k, v in asdict(self).items() if k != "steps"}


def train_shared(a: Pictures, b: Pictures, recipe: SharedRecipe, folder: Path, *, device: torch.device | None = None,
                 sample_every: int = 1000, on_step: OnStep = ignore, group: Group = ALONE) -> SharedTrainer:
    """As `training.train_unit`, in the shared-latent form."""
    shown = first_pictures(a, 8), first_pictures(b, 8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        domains = SharedDomains(width=recipe.width, n_downs=recipe.n_downs, n_res=recipe.n_res,
                                n_encoder_shared=recipe.n_encoder_shared, n_generator_shared=recipe.n_generator_shared)
        judges = TwoDiscriminators(width=recipe.dis_width, n_layers=recipe.dis_layers, n_shared=recipe.dis_shared)
        for network in (domains, judges):
            initialise(network, "gaussian")
            network.to(device or "cpu")
    trainer = SharedTrainer(domains, judges, recipe.settings, rng=seeded(3 * recipe.seed + 2), group=group)
    identity = {"training": "unit-shared", "a": a.digest, "b": b.digest, **recipe.identity()}
    plan = Run(folder, recipe.steps, identity, sample_every=sample_every)
    run(unit_job(trainer, (a, b), shown, recipe, device, group), plan, on_step=on_step, group=group)
    return trainer
