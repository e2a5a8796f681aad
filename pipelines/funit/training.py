"""Training of FUNIT, as published: hinge, reconstruction, feature matching, a gradient penalty on the real class pictures,
RMSprop, an average of the generator. The discriminator's update comes first, and builds no graph of the generator."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InvalidInputError
from ..image_blocks import initialise
from ..steps import OnStep, ignore
from ..training.data import seeded
from ..training.loop import Run, run
from ..training.state import State
from ..training.statements import Precision, average, computing, frozen
from ..training.together import ALONE, Group
from .data import ClassPictures, ClassStream
from .network import MultiTaskDiscriminator, Translator

Labelled = tuple[Tensor, Tensor]
"""images float32 [B,3,H,W], or [B,K,3,H,W] with K pictures of each class, in -1..1, and labels int64 [B]. Of K pictures all
give the class code; what is translated, drawn again and judged is the first."""


def first(images: Tensor) -> Tensor:
    """Pictures as in `Labelled` -> the first of each, [B,3,H,W]."""
    return images if images.dim() == 4 else images[:, 0]


@dataclass(frozen=True)
class FunitSettings:
    """Weights of the losses; rates and decay of RMSprop; ema: share that the average keeps per step. penalty_form: 'published'
    takes the gradient of the mean over batch and patch, 'r1' of each picture's own mean. precision: of the convolutions.
    discriminator_first: so many steps train the discriminator alone, which then knows something when it meets a translator
    that was trained before."""

    gan: float = 1.0
    reconstruction: float = 0.1
    features: float = 1.0
    penalty: float = 10.0
    penalty_form: Literal["published", "r1"] = "published"
    lr: float = 1e-4
    weight_decay: float = 1e-4
    ema: float = 0.999
    precision: Precision = "float32"
    discriminator_first: int = 0


class FunitTrainer:
    """Translator and discriminator with their optimisers. `ema` is the result. group: of processes that train together; the
    published penalty is then, as in the original's replicas, that of each process's batch."""

    def __init__(self, translator: Translator, discriminator: MultiTaskDiscriminator, settings: FunitSettings, *,
                 group: Group = ALONE) -> None:
        self.translator, self.discriminator, self.settings, self.group = translator, discriminator, settings, group
        self.ema = copy.deepcopy(translator).eval().requires_grad_(False)
        self.optimizer_g, self.optimizer_d = (
            torch.optim.RMSprop(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
            for network in (translator, discriminator))
        self.steps = 0

    def codes(self, images: Tensor) -> Tensor:
        """Pictures as in `Labelled` -> class codes [B,latent_dim]."""
        if images.dim() == 4:
            return self.translator.class_codes(images)
        return self.translator.class_codes(images.flatten(0, 1)).reshape(*images.shape[:2], -1).mean(dim=1)

    def step(self, content: Labelled, classes: Labelled) -> dict[str, float]:
        """One update of both networks and of the average."""
        with computing(self.settings.precision, content[0]):
            losses = self.update_discriminator(content, classes)
            if self.steps >= self.settings.discriminator_first:
                losses |= self.update_translator(content, classes)
        average(self.ema, self.translator, self.settings.ema)
        self.steps += 1
        return losses

    def update_discriminator(self, content: Labelled, classes: Labelled) -> dict[str, float]:
        """Real class pictures against translations of the content pictures into their classes."""
        s, d = self.settings, self.discriminator
        with torch.no_grad():
            fake = self.translator(first(content[0]), self.codes(classes[0]))
        images = first(classes[0]).detach().requires_grad_(s.penalty > 0)
        judged_real = d(images, classes[1])[0]
        real = F.relu(1 - judged_real).mean()
        penalty = real.new_zeros(())
        if s.penalty:
            total = judged_real.mean() if s.penalty_form == "published" else judged_real.mean(dim=(1, 2)).sum()
            gradient, = torch.autograd.grad(total, images, create_graph=True)
            penalty = gradient.square().sum() / len(images)
        judged_fake = d(fake, classes[1])[0]
        fooled = F.relu(1 + judged_fake).mean()
        loss = s.gan * (real + fooled) + s.penalty * penalty
        self.optimizer_d.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.group.average(d.parameters())
        self.optimizer_d.step()
        return {"dis": float(loss.detach()), "dis_real": float(real.detach()), "dis_fake": float(fooled.detach()),
                "dis_penalty": float(penalty.detach())}

    def update_translator(self, content: Labelled, classes: Labelled) -> dict[str, float]:
        """Translations that pass for their class, reconstructions that are the picture, features that match."""
        s, t, d = self.settings, self.translator, self.discriminator
        images, (own, labels) = first(content[0]), (content[1], classes[1])
        with torch.no_grad():  # before `frozen`, which would prepare the weights for many pictures
            wanted_r, wanted_t = (d(first(x), y)[1].mean(dim=(2, 3)) for x, y in (content, classes))
        with frozen(d):
            code = t.content(images)
            translated, rebuilt = t.decode(code, self.codes(classes[0])), t.decode(code, self.codes(content[0]))
            judged_t, features_t = d(translated, labels)
            judged_r, features_r = d(rebuilt, own)
            adversarial = -0.5 * (judged_t.mean() + judged_r.mean())
            reconstruction = (rebuilt - images).abs().mean()
            matching = [(found.mean(dim=(2, 3)) - wanted).abs().mean()
                        for found, wanted in ((features_r, wanted_r), (features_t, wanted_t))]
            loss = s.gan * adversarial + s.reconstruction * reconstruction + s.features * (matching[0] + matching[1])
            self.optimizer_g.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
        self.group.average(t.parameters())
        self.optimizer_g.step()
        return {"gen": float(loss.detach()), "gen_adversarial": float(adversarial.detach()),
                "reconstruction": float(reconstruction.detach()), "features_content": float(matching[0].detach()),
                "features_class": float(matching[1].detach())}

    def state_dict(self) -> State:
        """Everything needed to go on."""
        return {"translator": self.translator.state_dict(), "discriminator": self.discriminator.state_dict(),
                "ema": self.ema.state_dict(), "optimizer_g": self.optimizer_g.state_dict(),
                "optimizer_d": self.optimizer_d.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        for name in ("translator", "discriminator", "ema", "optimizer_g", "optimizer_d"):
            getattr(self, name).load_state_dict(state[name])
        self.steps = state["steps"]


@dataclass(frozen=True)
class FunitRecipe:
    """A FUNIT from class folders. width, dis_width: channels of the first layers; dis_blocks: residual blocks of the
    discriminator. steps of `batch` pairs. seed: of initial weights and data. shots: a class is shown by 1 to so many pictures,
    a number drawn for every step; 1 is the published training."""

    resolution: int = 128
    width: int = 64
    dis_width: int = 64
    dis_blocks: int = 10
    latent_dim: int = 64
    mlp_width: int = 256
    batch: int = 8
    steps: int = 100_000
    mirror: bool = True
    seed: int = 0
    settings: FunitSettings = field(default_factory=FunitSettings)
    shots: int = 1

    def __post_init__(self) -> None:
        for name in ("width", "dis_width", "dis_blocks", "latent_dim", "mlp_width", "batch", "steps", "shots"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"The {name} of a FUNIT training is at least 1, got {getattr(self, name)}.")
        if self.resolution < 32 or self.resolution % 8:
            raise InvalidInputError(f"A FUNIT is trained on pictures of at least 32 pixels a side, a multiple of 8, got "
                                    f"{self.resolution}.")

    def identity(self) -> dict[str, Any]:
        """What must stay the same to go on; the length may grow. What older trainings did not have is named where used."""
        values = asdict(self)
        del values["steps"]
        if self.shots == 1:
            del values["shots"]
        if not self.settings.discriminator_first:
            del values["settings"]["discriminator_first"]
        return values


class FunitJob:
    """A trainer and its two streams, as a `training.loop.Job`."""

    def __init__(self, trainer: FunitTrainer, content: ClassStream, classes: ClassStream, recipe: FunitRecipe,
                 shown: Labelled) -> None:
        self.trainer, self.content, self.classes, self.recipe, self.shown = trainer, content, classes, recipe, shown

    @property
    def steps(self) -> int:
        return self.trainer.steps

    def step(self) -> Mapping[str, float]:
        device, batch, most = next(self.trainer.translator.parameters()).device, self.recipe.batch, self.recipe.shots
        shots = int(torch.randint(1, most + 1, (), generator=self.classes.rng)) if most > 1 else 1
        pairs = [tuple(x.to(device) for x in stream.next_shots(batch, shots)) for stream in (self.content, self.classes)]
        losses = self.trainer.step((pairs[0][0], pairs[0][1]), (pairs[1][0], pairs[1][1]))
        return {**losses, "skipped": float(len(self.content.skipped | self.classes.skipped))}

    def samples(self, count: int) -> Tensor:
        """Rows of content picture, class picture, translation."""
        network, images = self.trainer.ema, self.shown[0].to(next(self.trainer.ema.parameters()).device)
        count = max(2, min(count, len(images)) // 2)
        content, classes = images[:count], images[count:2 * count]
        with torch.no_grad():
            translated = network(content, network.class_codes(classes))
        return torch.stack([content, classes, translated])

    def state_dict(self) -> State:
        return {"trainer": self.trainer.state_dict(), "content": self.content.state_dict(),
                "classes": self.classes.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self.trainer.load_state_dict(state["trainer"])
        self.content.load_state_dict(state["content"])
        self.classes.load_state_dict(state["classes"])


def build_networks(recipe: FunitRecipe, num_classes: int) -> tuple[Translator, MultiTaskDiscriminator]:
    """Untrained networks from the recipe's seed; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        translator = Translator(width=recipe.width, latent_dim=recipe.latent_dim, mlp_width=recipe.mlp_width)
        discriminator = MultiTaskDiscriminator(width=recipe.dis_width, n_res=recipe.dis_blocks, num_classes=num_classes)
        for network in (translator, discriminator):
            initialise(network, "kaiming")
    return translator, discriminator


def digest_of(network: Translator) -> str:
    """SHA-256 of the weights, 16 hex digits."""
    digest = hashlib.sha256()
    for name, values in network.state_dict().items():
        digest.update(name.encode() + values.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def train_funit(pictures: ClassPictures, recipe: FunitRecipe, folder: Path, *, start: Translator | None = None,
                device: torch.device | None = None, sample_every: int = 1000, on_step: OnStep = ignore,
                group: Group = ALONE) -> FunitTrainer:
    """Train, or go on from the checkpoint in `folder`. The trainer's `ema` is the translator. start: a translator to train
    further, left as it is; its sizes count, not the recipe's. group: of processes that train together, each with the recipe's
    batch. Raises as `training.loop.run`."""
    translator, discriminator = build_networks(recipe, len(pictures.classes))
    if start is not None:
        translator = copy.deepcopy(start).float().requires_grad_().train()
    for network in (translator, discriminator):
        network.to(device or "cpu").to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    trainer = FunitTrainer(translator, discriminator, recipe.settings, group=group)
    streams = [ClassStream(pictures, rng=seeded(3 * recipe.seed + i), mirror=recipe.mirror, group=group) for i in (0, 1)]
    shown = ClassStream(pictures, rng=seeded(3 * recipe.seed + 2), mirror=False).next(16)
    job = FunitJob(trainer, streams[0], streams[1], recipe, shown)
    identity = {"training": "funit", "pictures": pictures.digest, "classes": pictures.classes, **recipe.identity()}
    if start is not None:
        identity["start"] = digest_of(start)
    run(job, Run(folder, recipe.steps, identity, sample_every=sample_every), on_step=on_step, group=group)
    return trainer
