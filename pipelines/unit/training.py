"""Training of UNIT's current release: two VAE-GANs whose latent spaces the cycle ties together (Liu et al. 2017, eqs. 1-7, with
the release's least-squares GAN and its mean of squares in the place of the KL divergence)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import InvalidInputError
from ..image_blocks import initialise
from ..steps import OnStep, ignore
from ..training.data import Pictures, PictureStream, first_pictures, seeded
from ..training.loop import Run, run
from ..training.state import State
from ..training.statements import Precision, computing, frozen
from ..training.together import ALONE, Group
from .network import MultiScaleDiscriminator, TwoDomains

Noise = Callable[[str, Tensor], Tensor]
"""What is added to latents: the name of the draw, and a tensor of their shape. The draws of a step come in the order dis a,
dis b, gen a, gen b, recoded by a, recoded by b."""


@dataclass(frozen=True)
class UnitSettings:
    """Weights of the losses; rate, betas, decay of Adam; the rate halves every half_life steps. precision: of the
    convolutions."""

    gan: float = 1.0
    reconstruction: float = 10.0
    kl: float = 0.01
    cycle: float = 10.0
    cycle_kl: float = 0.01
    lr: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-4
    half_life: int = 100_000
    precision: Precision = "float32"


class UnitTrainer:
    """Both generators and both discriminators with their optimisers. group: of processes that train together."""

    def __init__(self, domains: TwoDomains, dis_a: MultiScaleDiscriminator, dis_b: MultiScaleDiscriminator,
                 settings: UnitSettings, *, rng: torch.Generator | None = None, noise: Noise | None = None,
                 group: Group = ALONE) -> None:
        self.domains, self.dis_a, self.dis_b, self.settings, self.group = domains, dis_a, dis_b, settings, group
        self.rng = rng or torch.Generator().manual_seed(0)
        self.noise = noise or self._drawn
        parameters = (list(domains.parameters()), [*dis_a.parameters(), *dis_b.parameters()])
        self.optimizer_g, self.optimizer_d = (
            torch.optim.Adam(p, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay) for p in parameters)
        self.steps = 0

    def _drawn(self, _: str, like: Tensor) -> Tensor:
        return shared_noise(like, self.rng, self.group)

    def step(self, a: Tensor, b: Tensor) -> dict[str, float]:
        """One update of the discriminators, then of the generators. a, b: float32 [B,3,H,W] in -1..1."""
        rate = self.settings.lr * 0.5 ** (self.steps // self.settings.half_life)
        for optimizer in (self.optimizer_d, self.optimizer_g):
            optimizer.param_groups[0]["lr"] = rate
        with computing(self.settings.precision, a):
            losses = {**self.update_discriminators(a, b), **self.update_generators(a, b)}
        self.steps += 1
        return losses

    def update_discriminators(self, a: Tensor, b: Tensor) -> dict[str, float]:
        """Real pictures against translations, which are made without a graph."""
        with torch.no_grad():
            h_a, h_b = self.domains.a.encode(a), self.domains.b.encode(b)
            n_a, n_b = self.noise("dis a", h_a), self.noise("dis b", h_b)
            fake_a, fake_b = self.domains.a.decode(h_b + n_b), self.domains.b.decode(h_a + n_a)
        losses = [sum_scales(d(fake), 0) + sum_scales(d(real), 1)
                  for d, fake, real in ((self.dis_a, fake_a, a), (self.dis_b, fake_b, b))]
        self.optimizer_d.zero_grad(set_to_none=True)
        torch.autograd.backward(self.settings.gan * (losses[0] + losses[1]))
        self.group.average([*self.dis_a.parameters(), *self.dis_b.parameters()])
        self.optimizer_d.step()
        return {"dis_a": float(losses[0].detach()), "dis_b": float(losses[1].detach())}

    def update_generators(self, a: Tensor, b: Tensor) -> dict[str, float]:
        """Reconstruction, prior, translation and cycle, in both directions."""
        s, domain_a, domain_b = self.settings, self.domains.a, self.domains.b
        with frozen(self.dis_a), frozen(self.dis_b):
            h_a, h_b = domain_a.encode(a), domain_b.encode(b)
            z_a, z_b = h_a + self.noise("gen a", h_a), h_b + self.noise("gen b", h_b)
            aa, bb, ba, ab = domain_a.decode(z_a), domain_b.decode(z_b), domain_a.decode(z_b), domain_b.decode(z_a)
            parts = {"reconstruction_a": (aa - a).abs().mean(), "reconstruction_b": (bb - b).abs().mean(),
                     "kl_a": h_a.square().mean(), "kl_b": h_b.square().mean(),
                     "adversarial_a": sum_scales(self.dis_a(ba), 1), "adversarial_b": sum_scales(self.dis_b(ab), 1)}
            loss = (s.reconstruction * (parts["reconstruction_a"] + parts["reconstruction_b"])
                    + s.kl * (parts["kl_a"] + parts["kl_b"]) + s.gan * (parts["adversarial_a"] + parts["adversarial_b"]))
            if s.cycle or s.cycle_kl:
                again_b, again_a = domain_a.encode(ba), domain_b.encode(ab)
                noise_b, noise_a = self.noise("recoded by a", again_b), self.noise("recoded by b", again_a)
                aba, bab = domain_a.decode(again_a + noise_a), domain_b.decode(again_b + noise_b)
                parts |= {"cycle_a": (aba - a).abs().mean(), "cycle_b": (bab - b).abs().mean(),
                          "cycle_kl_a": again_a.square().mean(), "cycle_kl_b": again_b.square().mean()}
                loss = loss + (s.cycle * (parts["cycle_a"] + parts["cycle_b"])
                               + s.cycle_kl * (parts["cycle_kl_a"] + parts["cycle_kl_b"]))
            self.optimizer_g.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
        self.group.average(self.domains.parameters())
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


_PARTS = ("domains", "dis_a", "dis_b", "optimizer_g", "optimizer_d")


def shared_noise(like: Tensor, rng: torch.Generator, group: Group) -> Tensor:
    """Noise of deviation 1 in the shape of latents: this process's rows of what is drawn for all."""
    return group.share(torch.randn((len(like) * group.size, *like.shape[1:]), generator=rng)).to(like)


def sum_scales(judged: list[Tensor], wanted: float) -> Tensor:
    """Least squares to the wanted judgement, summed over the scales."""
    return torch.stack([(x - wanted).square().mean() for x in judged]).sum()


@dataclass(frozen=True)
class UnitRecipe:
    """A UNIT from two folders. width, dis_width: channels of the first layers. n_downs, n_res: as in VaeGan. dis_layers,
    dis_scales: as in MultiScaleDiscriminator. steps of `batch` pictures per domain. seed: of initial weights, data, noise."""

    resolution: int = 256
    width: int = 64
    n_downs: int = 2
    n_res: int = 4
    dis_width: int = 64
    dis_layers: int = 4
    dis_scales: int = 3
    batch: int = 1
    steps: int = 1_000_000
    mirror: bool = True
    seed: int = 0
    settings: UnitSettings = field(default_factory=UnitSettings)

    def __post_init__(self) -> None:
        for name in ("width", "dis_width", "dis_layers", "dis_scales", "batch", "steps"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"The {name} of a UNIT training is at least 1, got {getattr(self, name)}.")
        least = max(32, 2 ** (self.dis_layers + self.dis_scales - 1))
        if self.resolution < least or self.resolution % 2**self.n_downs:
            raise InvalidInputError(f"A UNIT with these discriminators is trained on pictures of at least {least} pixels a "
                                    f"side, a multiple of {2**self.n_downs}, got {self.resolution}.")

    def identity(self) -> dict[str, Any]:
        """What must stay the same to go on; the length may grow."""
        return {k: v for k, v in asdict(self).items() if k != "steps"}


class Domains(Protocol):
    """What every form of UNIT's networks can do."""

    def translate(self, images: Tensor, direction: str, noise: Tensor | None = None) -> Tensor:
        """As `TwoDomains.translate`."""
        ...


class DomainTrainer(Protocol):
    """A training of two domains."""

    steps: int

    @property
    def domains(self) -> Domains: ...

    def step(self, a: Tensor, b: Tensor) -> dict[str, float]:
        """One update of the discriminators, then of the generators. a, b: float32 [B,3,H,W] in -1..1."""
        ...

    def state_dict(self) -> State:
        """Everything needed to go on."""
        ...

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        ...


class UnitJob:
    """A trainer and the streams of its domains, as a `training.loop.Job`."""

    def __init__(self, trainer: DomainTrainer, a: PictureStream, b: PictureStream, batch: int, shown: tuple[Tensor, Tensor],
                 device: torch.device) -> None:
        self.device = device
        self.trainer, self.a, self.b, self.batch, self.shown = trainer, a, b, batch, shown

    @property
    def steps(self) -> int:
        return self.trainer.steps

    def step(self) -> Mapping[str, float]:
        losses = self.trainer.step(self.a.next(self.batch).to(self.device), self.b.next(self.batch).to(self.device))
        return {**losses, "skipped": float(len(self.a.skipped) + len(self.b.skipped))}

    def samples(self, count: int) -> Tensor:
        """Rows of a, b, a to b, b to a."""
        domains = self.trainer.domains
        a, b = (x[:max(1, count // 2)].to(self.device) for x in self.shown)
        count = min(len(a), len(b))
        with torch.no_grad():
            translated = [domains.translate(a[:count], "a to b"), domains.translate(b[:count], "b to a")]
        return torch.stack([a[:count], b[:count], *translated])

    def state_dict(self) -> State:
        return {"trainer": self.trainer.state_dict(), "a": self.a.state_dict(), "b": self.b.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self.trainer.load_state_dict(state["trainer"])
        self.a.load_state_dict(state["a"])
        self.b.load_state_dict(state["b"])


def train_unit(a: Pictures, b: Pictures, recipe: UnitRecipe, folder: Path, *, device: torch.device | None = None,
               sample_every: int = 1000, on_step: OnStep = ignore, group: Group = ALONE) -> UnitTrainer:
    """Train on pictures of two domains, or go on from the checkpoint in `folder`. group: of processes that train together, each
    with the recipe's batch. Raises as `training.loop.run`."""
    shown = first_pictures(a, 8), first_pictures(b, 8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        domains = TwoDomains(width=recipe.width, n_downs=recipe.n_downs, n_res=recipe.n_res)
        judges = [MultiScaleDiscriminator(width=recipe.dis_width, n_layers=recipe.dis_layers, scales=recipe.dis_scales)
                  for _ in range(2)]
        initialise(domains, "kaiming")
        for judge in judges:
            initialise(judge, "gaussian")
    for network in (domains, *judges):
        network.to(device or "cpu")
    trainer = UnitTrainer(domains, judges[0], judges[1], recipe.settings, rng=seeded(3 * recipe.seed + 2), group=group)
    identity = {"training": "unit", "a": a.digest, "b": b.digest, **recipe.identity()}
    plan = Run(folder, recipe.steps, identity, sample_every=sample_every)
    run(unit_job(trainer, (a, b), shown, recipe, device, group), plan, on_step=on_step, group=group)
    return trainer


class StreamOptions(Protocol):
    """What a recipe says about its pictures."""

    @property
    def batch(self) -> int: ...

    @property
    def mirror(self) -> bool: ...

    @property
    def seed(self) -> int: ...


def unit_job(trainer: DomainTrainer, pictures: tuple[Pictures, Pictures], shown: tuple[Tensor, Tensor], recipe: StreamOptions,
             device: torch.device | None, group: Group) -> UnitJob:
    """A trainer with the streams that its recipe describes."""
    a, b = (PictureStream(domain, rng=seeded(3 * recipe.seed + i), mirror=recipe.mirror, group=group)
            for i, domain in enumerate(pictures))
    return UnitJob(trainer, a, b, recipe.batch, shown, device or torch.device("cpu"))
