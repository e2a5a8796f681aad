"""The networks around a generator, trained from pictures: data, schedule and loop in one place each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InvalidInputError
from ..labels import LabelMap, render
from ..perceptual import PerceptualLoss
from ..steps import OnStep, StepInfo, ignore
from ..stylegan2.generator import Generator, standard_channels
from ..training.data import Pictures, PictureStream, first_pictures, seeded
from ..training.loop import Run, run
from ..training.state import State, load_state, save_state
from .editing import Encode
from .encoder import Encoder
from .inversion import InversionSettings, refine_codes
from .segmentation import Segmenter, vote
from .training import EncoderTrainer, EncoderTraining, SegmenterTrainer, SegmenterTraining

EMBEDDING = "embedding.safetensors"
EMBEDDING_BATCH = 4
COLUMNS = 8


@dataclass(frozen=True)
class LabelBranchRecipe:
    """members: classifiers of the ensemble. seed: member i draws from seed + i. min_pixels: a part with fewer pixels in
    a picture is taken as background there (the official code: 30 at 384x512). embedding: how pictures become codes."""

    members: int = 10
    seed: int = 0
    min_pixels: int = 0
    embedding: InversionSettings = field(default_factory=lambda: InversionSettings(steps=300))
    training: SegmenterTraining = field(default_factory=SegmenterTraining)

    def __post_init__(self) -> None:
        if self.members < 1:
            raise InvalidInputError(f"A label branch has at least 1 member, got {self.members}.")

    def steps(self, pictures: int) -> int:
        """What on_step counts to: embedding, then training."""
        return -(-pictures // EMBEDDING_BATCH) * self.embedding.steps + self.members * self.training.steps


@dataclass(frozen=True)
class LabelBranch:
    """A trained label branch and what it makes of its own pictures.

    codes float32 [N,num_ws,w_dim] and pictures float32 [N,3,R,R] in -1..1: the embedded pictures; psnr [N] in dB: against
    those given; predicted: their labels; disagreement float32 [N,R,R]: of the members, 0..ln(members).
    """

    segmenter: Segmenter
    codes: Tensor
    pictures: Tensor
    psnr: Tensor
    predicted: LabelMap
    disagreement: Tensor


def clean_labels(ids: Tensor, min_pixels: int) -> Tensor:
    """ids uint8 [N,H,W] with every part of fewer than min_pixels pixels in a picture turned into background."""
    kept = ids.clone()
    for picture in kept:
        counts = torch.bincount(picture.flatten().long(), minlength=256)
        picture[(counts < min_pixels)[picture.long()]] = 0
    return kept


def embed(generator: Generator, perceptual: PerceptualLoss, encoder: Encode | None, images: Tensor,
          settings: InversionSettings, folder: Path, identity: Mapping[str, Any], *, on_step: OnStep = ignore) -> Tensor:
    """W+ codes float32 [N,num_ws,w_dim] of images float32 [N,3,R,R] in -1..1, kept in `folder`, a few at a time.

    Without an encoder the optimisation begins at the average w. An interrupted embedding goes on with the next few.
    """
    path = folder / EMBEDDING
    identity = {**identity, "embedding": asdict(settings)}
    codes: Tensor = load_state(path, identity)["codes"] if path.is_file() else torch.empty(
        0, generator.num_ws, generator.mapping.w_dim)
    total = -(-len(images) // EMBEDDING_BATCH) * settings.steps
    while len(codes) < len(images):
        done, part = len(codes) // EMBEDDING_BATCH * settings.steps, images[len(codes):][:EMBEDDING_BATCH]
        with torch.no_grad():
            start = (generator.mapping.w_avg.expand(len(part), generator.num_ws, -1) if encoder is None
                     else encoder(part))
        found = refine_codes(generator, perceptual, part, start, settings, on_step=_shifted(on_step, done, total))
        codes = torch.cat([codes, found.codes.detach().cpu()])
        save_state(path, {"codes": codes}, identity)
    return codes


def _shifted(on_step: OnStep, offset: int, total: int) -> OnStep:
    """The part of a longer loop that begins after `offset` steps."""
    return lambda info: on_step(StepInfo(offset + info.step, total, info.losses, info.preview))


class SegmenterJob:
    """A SegmenterTrainer as a `training.loop.Job`; its samples are pictures, annotation and prediction in rows."""

    def __init__(self, trainer: SegmenterTrainer, pictures: Tensor, labels: LabelMap) -> None:
        self.trainer, self.pictures, self.labels = trainer, pictures, labels

    @property
    def steps(self) -> int:
        return self.trainer.steps

    def step(self) -> Mapping[str, float]:
        return self.trainer.step()

    def samples(self, count: int) -> Tensor:
        columns = min(count, COLUMNS, len(self.pictures))
        ready = max(1, -(-self.steps // self.trainer.settings.steps))
        features = [f[:columns] for f in self.trainer.features]
        members = self.trainer.segmenter.classifiers()[:ready]
        training = [member.training for member in members]
        with torch.no_grad():
            total = torch.zeros(())
            for member, mode in zip(members, training, strict=True):
                total = total + member.eval()(features, self.trainer.size, "bilinear").cpu()
                member.train(mode)
        predicted = LabelMap(total.argmax(dim=1).to(torch.uint8), self.labels.labels)
        annotated = LabelMap(self.labels.ids[:columns], self.labels.labels)
        maps = [render(label_map).permute(0, 3, 1, 2) * 2 - 1 for label_map in (annotated, predicted)]
        return torch.stack([self.pictures[:columns], *maps])

    def state_dict(self) -> State:
        return self.trainer.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.trainer.load_state_dict(state)


def train_label_branch(generator: Generator, perceptual: PerceptualLoss, encoder: Encode | None, images: Tensor,
                       labels: LabelMap, recipe: LabelBranchRecipe, folder: Path, *,
                       identity: Mapping[str, Any] | None = None, on_step: OnStep = ignore) -> LabelBranch:
    """A label branch from annotated pictures: embed them in W+, then train, or go on from what is in `folder`.

    images float32 [N,3,R,R] in -1..1 on the generator's device; labels of the same N pictures, [N,R,R] each; identity:
    which networks these are, plain JSON. Raises InvalidInputError, and as `training.loop.run`.
    """
    size = generator.resolution
    if len(images) != len(labels) or (labels.height, labels.width) != (size, size):
        raise InvalidInputError(f"The label branch needs one label map of {size}x{size} pixels per picture, got "
                                f"{len(images)} pictures and {len(labels)} maps of {labels.width}x{labels.height}.")
    device = generator.mapping.w_avg.device
    digest = hashlib.sha256(images.cpu().numpy().tobytes())
    start = {"training": "label branch", **(identity or {}), "pictures": digest.hexdigest()[:16]}
    total = recipe.steps(len(images))
    embedding = -(-len(images) // EMBEDDING_BATCH) * recipe.embedding.steps
    codes = embed(generator, perceptual, encoder, images, recipe.embedding, folder, start,
                  on_step=_shifted(on_step, 0, total)).to(device)
    with torch.no_grad():
        drawn = [generator.synthesis(codes[i:i + EMBEDDING_BATCH]) for i in range(0, len(codes), EMBEDDING_BATCH)]
    pictures = torch.cat([image for image, _ in drawn])
    features = [torch.cat(level) for level in zip(*(f for _, f in drawn), strict=True)]
    del drawn
    cleaned = LabelMap(clean_labels(labels.ids.cpu(), recipe.min_pixels), labels.labels)
    digest.update(cleaned.ids.numpy().tobytes())
    with torch.random.fork_rng(devices=[]):  # its trainer draws the initial weights
        segmenter = Segmenter(feature_channels=generator.feature_channels(), num_classes=len(labels.labels),
                              members=recipe.members).to(device)
    trainer = SegmenterTrainer(segmenter, features, cleaned.ids, recipe.training,
                               rngs=[seeded(recipe.seed + i) for i in range(recipe.members)])
    whole = {**start, **asdict(recipe), "pictures": digest.hexdigest()[:16], "labels": list(labels.labels.names)}
    run(SegmenterJob(trainer, pictures.cpu(), cleaned), Run(folder, trainer.total, whole),
        on_step=_shifted(on_step, embedding, total))
    with torch.no_grad():
        parts = [[f[i:i + 1] for f in features] for i in range(len(images))]
        votes = [vote(segmenter, part) for part in parts]
        predicted = torch.cat([logits.argmax(dim=1) for logits, _ in votes]).to(torch.uint8).cpu()
        differing = torch.cat([differing for _, differing in votes]).cpu()
        psnr = -10 * ((pictures.clamp(-1, 1) - images) / 2).square().mean(dim=(1, 2, 3)).clamp(min=1e-10).log10()
    return LabelBranch(segmenter, codes.cpu(), pictures.cpu(), psnr.cpu(), LabelMap(predicted, labels.labels), differing)


@dataclass(frozen=True)
class EncoderRecipe:
    """channel_base, channel_max: width of the encoder, as in `standard_channels`; hidden: of its last layer but one.
    mirror: show every other picture mirrored. seed: of initial weights, data order and latents."""

    channel_base: int = 16384
    channel_max: int = 512
    hidden: int = 512
    mirror: bool = False
    seed: int = 0
    training: EncoderTraining = field(default_factory=EncoderTraining)

    def identity(self) -> dict[str, Any]:
        """What must stay the same to go on; the length may change where the rate does not depend on it."""
        values = asdict(self)
        training = values.pop("training")
        training["dtype"] = str(self.training.dtype).removeprefix("torch.")
        if not self.training.falling:
            del training["steps"]
        return values | training


class EncoderJob:
    """An EncoderTrainer and its stream of pictures as a `training.loop.Job`; its samples are pictures over what the
    generator makes of their codes. own_stream: as in `stylegan2.recipe.GanJob`."""

    def __init__(self, trainer: EncoderTrainer, stream: PictureStream, *, own_stream: bool = False) -> None:
        self.trainer, self.stream, self.own_stream = trainer, stream, own_stream
        self._shown = first_pictures(stream.pictures, COLUMNS)

    @property
    def steps(self) -> int:
        return self.trainer.steps

    def step(self) -> Mapping[str, float]:
        losses = self.trainer.step(self.stream.next(self.trainer.settings.batch).to(self.trainer.encoder.w_avg.device))
        return losses | self.stream.count_of_skipped()

    def samples(self, count: int) -> Tensor:
        shown = self._shown[:count].to(self.trainer.encoder.w_avg.device)
        with torch.no_grad():
            drawn = self.trainer.generator.synthesis(self.trainer.ema(shown), noise="none")[0]
        return torch.stack([shown, drawn]).cpu()

    def state_dict(self) -> State:
        return {"trainer": self.trainer.state_dict(), "stream": self.stream.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self.trainer.load_state_dict(state["trainer"], restore_rng=not self.own_stream)
        if not self.own_stream:
            self.stream.load_state_dict(state["stream"])


def build_encoder(generator: Generator, recipe: EncoderRecipe) -> Encoder:
    """An untrained encoder to the generator's W+, from the recipe's seed; the global random state is left alone."""
    channels = standard_channels(generator.resolution, channel_base=recipe.channel_base, channel_max=recipe.channel_max)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        encoder = Encoder(resolution=generator.resolution, num_ws=generator.num_ws, w_dim=generator.mapping.w_dim,
                          channels=channels, hidden=recipe.hidden)
    return encoder.to(generator.mapping.w_avg.device)


def train_encoder(generator: Generator, perceptual: PerceptualLoss, pictures: Pictures, recipe: EncoderRecipe, folder: Path,
                  *, identity: Mapping[str, Any] | None = None, sample_every: int = 500,
                  on_step: OnStep = ignore) -> Encoder:
    """An encoder from pictures of the domain and the generator's own, or go on from the checkpoint in `folder`.

    identity: which networks these are, plain JSON. Returns the averaged encoder, in eval mode. Raises as
    `training.loop.run`.
    """
    trainer = EncoderTrainer(build_encoder(generator, recipe), generator, perceptual, recipe.training,
                             rng=seeded(2 * recipe.seed))
    stream = PictureStream(pictures, rng=seeded(2 * recipe.seed + 1), mirror=recipe.mirror)
    whole = {"training": "encoder", **(identity or {}), "pictures": pictures.digest, **recipe.identity()}
    run(EncoderJob(trainer, stream), Run(folder, recipe.training.steps, whole, sample_every=sample_every), on_step=on_step)
    return trainer.ema.eval().requires_grad_(False)

