"""A radiance field from pictures whose cameras are known, and no prior: the fit of NeRF (Mildenhall et al. 2020)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...errors import InvalidInputError
from ...steps import OnStep, StepInfo, ignore
from ...training.data import seeded
from ...training.loop import Run, run
from ...training.state import State
from .cameras import Cameras, turntable
from .field_learner import FieldLearner, Learning
from .occupancy import OccupancyGrid
from .radiance_field import FieldConfig, RadianceField, as_dict, new_field
from .rendering import Sampling, render

FALL = 0.1
"""What is left of the rate at the end of a fit."""
PREVIEW, PREVIEW_SAMPLING = 64, Sampling(24, 48)


@dataclass(frozen=True, eq=False)
class PosedImages:
    """Pictures and where they were taken from. pictures float [B,C,H,W], 0..1 where the field's colours are. cover: how much of
    a pixel is the object, float [B,H,W] 0..1, or None: then pictures show the object in front of the field's background.
    Raises InvalidInputError."""

    pictures: Tensor
    cameras: Cameras
    cover: Tensor | None = None

    def __post_init__(self) -> None:
        if self.pictures.ndim != 4 or len(self.pictures) != len(self.cameras) or not len(self.cameras):
            raise InvalidInputError(f"Every picture has one camera: got pictures {list(self.pictures.shape)} and "
                                    f"{len(self.cameras)} cameras.")
        size = (len(self.pictures), *self.pictures.shape[2:])
        if self.cover is not None and tuple(self.cover.shape) != size:
            raise InvalidInputError(f"The mask of what the pictures show has their size, {list(size)}, got "
                                    f"{list(self.cover.shape)}.")

    def __len__(self) -> int:
        return len(self.pictures)

    def to(self, device: torch.device) -> PosedImages:
        """The same on another device."""
        return PosedImages(self.pictures.to(device), self.cameras.to(device), None if self.cover is None else
                           self.cover.to(device))

    @property
    def digest(self) -> str:
        """Tells these pictures, covers and cameras from others."""
        parts = [self.pictures, self.cameras.poses, self.cameras.fov, *([] if self.cover is None else [self.cover])]
        found = hashlib.sha256()
        for part in parts:
            found.update(part.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Origins and directions of random pixels of all pictures [R,3], their colours [R,C] and their covers [R]."""
        views, _, height, width = self.pictures.shape
        at = torch.randint(views * height * width, (count,), generator=rng).to(self.pictures.device)
        view, pixel = at.div(height * width, rounding_mode="floor"), at % (height * width)
        row, column = pixel.div(width, rounding_mode="floor"), pixel % width
        origins, directions = self.cameras[view].through(row, column, height, width)
        cover = None if self.cover is None else self.cover[view, row, column]
        return origins, directions, self.pictures[view, :, row, column], cover


@dataclass(frozen=True)
class FitSettings:
    """steps of `rays` random pixels each. The rate of `learning` falls to a tenth. seed: of the field's first numbers and of
    everything drawn. Raises InvalidInputError."""

    steps: int = 600
    rays: int = 2048
    seed: int = 0
    learning: Learning = field(default_factory=Learning)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rays < 1:
            raise InvalidInputError(f"A fit makes at least 1 step of at least 1 ray, got {self.steps} and {self.rays}.")


class FieldFit:
    """A field on its way, as a `training.loop.Job`."""

    def __init__(self, images: PosedImages, config: FieldConfig, settings: FitSettings, *,
                 device: torch.device | None = None) -> None:
        if images.pictures.shape[1] != config.channels:
            raise InvalidInputError(f"The pictures have {images.pictures.shape[1]} channels and the field {config.channels}; "
                                    f"give it as many.")
        device = device or torch.device("cpu")
        self.images, self.settings = images.to(device), settings
        self.learner = FieldLearner(new_field(config, settings.seed).to(device), settings.learning, seeded(settings.seed))

    @property
    def steps(self) -> int:
        return self.learner.steps

    def step(self) -> Mapping[str, float]:
        settings = self.settings
        origins, directions, colour, cover = self.images.draw(settings.rays, self.learner.rng)
        done = min(1.0, self.steps / settings.steps)
        return self.learner.step(origins, directions, colour, cover=cover, share=FALL**done)

    def samples(self, count: int) -> Tensor:
        """A row of views around the field; of a latent one its first three channels."""
        found = around(self.learner.field, max(4, count // 4 * 4), occupancy=self.learner.occupancy)
        return found.reshape(-1, 4, 3, PREVIEW, PREVIEW)

    def state_dict(self) -> State:
        return self.learner.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.learner.load_state_dict(state)


def around(field: RadianceField, count: int, size: int = PREVIEW, first: float = 0.0,
           occupancy: OccupancyGrid | None = None) -> Tensor:
    """Views around a field, float [count,3,size,size] in -1..1, for previews."""
    cameras = turntable(count, first=first).to(field.device)
    shown = render(field, cameras, size, size, field.shown_background(), PREVIEW_SAMPLING, occupancy=occupancy).colour
    shown = shown[..., :3] if shown.shape[-1] >= 3 else shown[..., :1].expand(-1, -1, -1, 3)
    return shown.permute(0, 3, 1, 2).clamp(0, 1) * 2 - 1


def fit_images(images: PosedImages, config: FieldConfig, settings: FitSettings, *, folder: Path | None = None,
               device: torch.device | None = None, on_step: OnStep = ignore) -> RadianceField:
    """The field that shows these pictures. folder: keeps the state, to go on from after a cancel with the same result. Raises
    InvalidInputError, and what `on_step` raises; with a folder as `training.loop.run`."""
    job = FieldFit(images, config, settings, device=device)
    if folder is not None:
        identity = {"training": "radiance field", "field": as_dict(config), "pictures": images.digest, **asdict(settings)}
        run(job, Run(folder, settings.steps, identity), on_step=on_step)
        return job.learner.field

    def preview() -> Tensor:
        return around(job.learner.field, 1, first=6.0 * job.steps % 360, occupancy=job.learner.occupancy)

    while job.steps < settings.steps:
        losses = job.step()
        on_step(StepInfo(job.steps, settings.steps, losses, preview))
    return job.learner.field
