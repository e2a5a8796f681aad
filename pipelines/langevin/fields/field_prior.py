"""Algorithm 1 on a radiance field: a denoiser that only knows pictures shapes an object that is seen from everywhere.

A sweep looks at the field from several cameras, nudges each view, and lets the field learn what these views, and those of the
last sweeps, should show. A field can only show what belongs together, so it follows a part of the way; how much is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import InvalidInputError
from ...steps import OnStep, StepInfo, ignore
from ...training.data import seeded
from ...training.loop import Run, run
from ...training.state import State
from ..denoiser import Denoiser, levels_known
from ..inversion import Inversion
from ..noise import NoiseSource, ViewNoise
from ..prior import PriorSettings, Sweep, run_prior
from ..seeds import mixed
from .cameras import DISTANCE, FOV, Cameras, joined, random_orbits
from .direction_noise import DirectionNoise
from .field_learner import FieldLearner, Learning
from .fitting import PREVIEW, PosedImages, around
from .photograph_noise import NoisyPhotographs, framed, nearest, noisy_photographs
from .radiance_field import FieldConfig, RadianceField, as_dict, new_field
from .rendering import Sampling, render

FOLLOW = 0.8
"""Of the measured share of the way to a target, what the next measurement leaves."""
TINY = 1e-12
COARSE = Sampling(24, 48)
PRIOR = PriorSettings(sweeps=64, sigma_max=40.0, sigma_min=0.2, tau=0.5, inversion=Inversion("naive"), keep=0.0)


@dataclass(frozen=True)
class FieldPriorSettings:
    """How a prior shapes a field.

    prior: of Algorithm 1; one sweep looks from `views` cameras. kept: sweeps whose targets the field learns together. inner:
    steps that it learns in a sweep, of `rays` rays. size: height and width of the views, the denoiser's. coarse: share of the
    sweeps in which views are rendered at half of it and magnified. start: steps in which the field learns what the denoiser
    expects before anything is decided, D(noise). elevation, distance, fov: of the cameras, ranges in degrees and units. louder:
    raise the churn's noise by 1 / sqrt(measured share), which keeps the temperature of linear denoisers; networks make worse
    pictures of it. share_of: towards a target t a field goes g = A t, far where it can follow and nowhere else. 'target'
    measures <g, t> / |t|^2, where what no field shows, the noise of single pixels, counts as a way not gone; 'followed'
    |g|^2 / <g, t>, the mean of A over the directions in which it goes, and so the one to raise noise by. lasting: sweeps for
    which the coarse part of the noise, common to all views, stays as it is. A sweep moves the field a small part of the way:
    noise that changes each time averages out, and every seed ends at what is nearest to the mean; noise that stays decides
    which object it becomes. Where pictures are given they decide: noise stays by `DirectionNoise` with a tau of 0, and changes
    with a churn.
    anchored: share of the rays that look at the pictures given. seed: of all that is drawn. Raises
    InvalidInputError.
    """

    prior: PriorSettings = PRIOR
    views: int = 8
    kept: int = 3
    inner: int = 10
    rays: int = 2048
    size: tuple[int, int] = (64, 64)
    coarse: float = 0.0
    start: int = 80
    elevation: tuple[float, float] = (0.0, 45.0)
    distance: tuple[float, float] = (DISTANCE, DISTANCE)
    fov: tuple[float, float] = (FOV, FOV)
    louder: bool = False
    share_of: Literal["target", "followed"] = "target"
    lasting: int = 64
    anchored: float = 0.3
    seed: int = 0
    learning: Learning = field(default_factory=lambda: Learning(rate=0.03))

    def __post_init__(self) -> None:
        if min(self.views, self.kept, self.inner, self.rays, self.lasting, *self.size) < 1 or self.start < 0:
            raise InvalidInputError("A prior shapes a field from at least 1 view, with at least 1 step and 1 ray a sweep.")
        if not (0 <= self.coarse <= 1 and 0 <= self.anchored < 1):
            raise InvalidInputError(f"The coarse share of the sweeps lies in 0..1, and the anchored share of the rays below 1, "
                                    f"got {self.coarse:g} and {self.anchored:g}.")


class FieldViews:
    """A field as a representation (`prior.Representation`): views are cameras, pictures float [N,C,H,W] in the denoiser's
    units, -1..1 for a field of colours. anchors: pictures that it keeps showing. pool: cameras to choose from, for a denoiser
    that knows no others; without it any within the settings' ranges."""

    def __init__(self, learner: FieldLearner, settings: FieldPriorSettings, anchors: PosedImages | None = None,
                 pool: Cameras | None = None) -> None:
        self.learner, self.settings, self.anchors, self.pool = learner, settings, anchors, pool
        self.measured = 1.0
        self.sampling = learner.learning.sampling
        self._targets: list[tuple[Cameras, Tensor]] = []
        self._changed: list[float] = []
        self._rendered: Tensor | None = None
        self.scale = 1

    @property
    def share(self) -> float:
        """Of the way to its target that a view goes, as measured, where the noise is to make up for it."""
        return self.measured if self.settings.louder else 1.0

    def views(self, sweep: int) -> Sequence[Cameras]:
        """One batch of cameras, spread round; which ones follows from the seed and the sweep alone."""
        return [self.cameras(self.settings.views, sweep)]

    def cameras(self, count: int, draw: int) -> Cameras:
        """So many cameras."""
        s = self.settings
        generator = torch.Generator().manual_seed(mixed(s.seed, draw) % 2**63)
        if self.pool is not None:
            found = self.pool[torch.randperm(len(self.pool), generator=generator)[:count]]
        else:
            found = random_orbits(count, generator, elevation=s.elevation, distance=s.distance, fov=s.fov)
        return found.to(self.learner.field.device)

    def render(self, view: Cameras) -> Tensor:
        """What cameras see, [N,C,H,W]; no gradients."""
        field, (height, width) = self.learner.field, self.settings.size
        seen = render(field, view, -(-height // self.scale), -(-width // self.scale), field.shown_background().detach(),
                      self.sampling, occupancy=self.learner.occupancy)
        pictures = self.to_data(seen.colour.permute(0, 3, 1, 2))
        if self.scale > 1:
            pictures = F.interpolate(pictures, (height, width), mode="bilinear", align_corners=False, antialias=True)
        self._rendered = pictures
        return pictures

    def update(self, view: Cameras, target: Tensor) -> None:
        """Learn this target and those kept; the share that was gone is measured."""
        before = self.render(view) if self._rendered is None else self._rendered
        self._targets = [*self._targets, (view, target)][-self.settings.kept:]
        self.learn(self.settings.inner)
        wanted, gone = target - before, self.render(view) - before
        along = float((wanted * gone).sum())
        found = (along / max(float(wanted.square().sum()), TINY) if self.settings.share_of == "target"
                 else float(gone.square().sum()) / max(along, TINY))
        self.measured = FOLLOW * self.measured + (1 - FOLLOW) * min(1.0, max(0.0, found))
        self._changed.append(float(gone.square().mean()))
        self._rendered = None

    def learn(self, steps: int) -> None:
        """Steps towards the targets kept, and towards the anchors."""
        s = self.settings
        pictures = PosedImages(self._to_colour(torch.cat([target for _, target in self._targets])),
                               joined([view for view, _ in self._targets]))
        pinned = round(s.rays * s.anchored) if self.anchors is not None else 0
        for _ in range(steps):
            origins, directions, colour, _ = pictures.draw(s.rays - pinned, self.learner.rng)
            if self.anchors is not None and pinned:
                more = self.anchors.draw(pinned, self.learner.rng)
                origins, directions, colour = (torch.cat(pair) for pair in zip((origins, directions, colour), more[:3],
                                                                               strict=True))
            self.learner.step(origins, directions, colour)

    def aim(self, view: Cameras, target: Tensor) -> None:
        """Keep a target without learning it yet."""
        self._targets.append((view, target.clone()))  # a host's network gives tensors that no gradient goes through

    def forget(self) -> None:
        """Drop the targets kept."""
        self._targets = []

    def finish(self) -> float:
        """Root mean square of what the sweep changed."""
        found = math.sqrt(sum(self._changed) / max(1, len(self._changed)))
        self._changed = []
        return found

    def preview(self) -> Tensor:
        """From the front, [1,3,H,W] -1..1."""
        return around(self.learner.field, 1, first=30.0, occupancy=self.learner.occupancy)

    def to_data(self, colour: Tensor) -> Tensor:
        """Colours of the field in the denoiser's units."""
        return colour * 2 - 1 if self.learner.field.config.colour == "sigmoid" else colour

    def _to_colour(self, data: Tensor) -> Tensor:
        return (data + 1) / 2 if self.learner.field.config.colour == "sigmoid" else data

    def state_dict(self) -> State:
        """Everything that changes from sweep to sweep."""
        return {"learner": self.learner.state_dict(), "measured": self.measured,
                "targets": [{"poses": view.poses, "fov": view.fov, "target": target} for view, target in self._targets]}

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        self.learner.load_state_dict(state["learner"])
        self.measured = state["measured"]
        device = self.learner.field.device
        self._targets = [(Cameras(kept["poses"], kept["fov"]).to(device), kept["target"].to(device))
                         for kept in state["targets"]]


class FieldPrior:
    """A prior at work on a field, a sweep at a time, as a `training.loop.Job`. main, aux: D and D' of Algorithm 1, told the
    cameras. `sweeps` are what was made by now, since it was begun or gone on with. check: called while photographs are carried
    to the first noise level, which a run that goes on with a tau of 0 does again, and after every step of the start, which
    comes before the first sweep; what it raises ends the run with nothing begun. noise: instead of the field prior's own."""

    def __init__(self, config: FieldConfig, main: Denoiser, settings: FieldPriorSettings, *, aux: Denoiser | None = None,
                 anchors: PosedImages | None = None, begun: RadianceField | None = None, noise: NoiseSource | None = None,
                 pool: Cameras | None = None, check: Callable[[], None] | None = None,
                 device: torch.device | None = None) -> None:
        device = device or torch.device("cpu")
        self.main, self.aux, self.settings, self.check = main, aux, settings, check
        model = (new_field(config, settings.seed) if begun is None else begun).to(device)
        learner = FieldLearner(model, settings.learning, seeded(settings.seed))
        learner.see_space()
        self.views = FieldViews(learner, settings, None if anchors is None else anchors.to(device), pool)
        self.decided = noise is None and settings.prior.tau == 0  # with a churn, noise that stays fights the pictures
        lasting = settings.lasting if anchors is None else 1
        self.noise = ViewNoise(settings.seed, lasting=lasting) if noise is None else noise
        self.schedule = settings.prior.sigmas(main.sigma_data, settings.seed, bounds=levels_known(main))
        self.photographs: NoisyPhotographs | None = None
        self.done, self.begun = 0, begun is not None
        self.sweeps: list[Sweep] = []

    @property
    def field(self) -> RadianceField:
        """The field as it is now."""
        return self.views.learner.field

    @property
    def steps(self) -> int:
        return self.done

    def step(self) -> Mapping[str, float]:
        if self.decided:
            self.carried()
        if self.done == 0 and not self.begun:
            self.expect()
        coarse = self.done < self.settings.coarse * len(self.schedule)
        self.views.scale, self.views.sampling = (2, COARSE) if coarse else (1, self.settings.learning.sampling)
        sweep, = run_prior(self.views, self.main, self.settings.prior, self.noise, aux=self.aux, first=self.done,
                           sigmas=self.schedule[:self.done + 1])
        self.sweeps.append(sweep)
        self.done += 1
        return {"sigma": sweep.sigma, "change": sweep.change, "share": self.views.measured}

    def expect(self, *, of_photographs: bool = True) -> None:
        """Let the field learn what the denoiser expects from each side before anything is decided: D of noise alone, or of the
        noise to which the nearest of the pictures given is carried. of_photographs: False for noise alone in any case."""
        s = self.settings
        views = self.views.cameras(3 * s.views, len(self.schedule))
        level, photographs = self.schedule[0], self.carried() if of_photographs else None
        with torch.no_grad():
            if photographs is None:
                like = torch.zeros(len(views), self.field.config.channels, *s.size, device=self.field.device)
                noisy = level * self.noise(2 * len(self.schedule), like, views)
            else:
                noisy = photographs.noisy[nearest(views, photographs.cameras)]
            self.views.aim(views, self.main(noisy, level, views))
        for _ in range(s.start):
            self.views.learn(1)
            if self.check is not None:
                self.check()
        self.views.forget()

    def carried(self) -> NoisyPhotographs | None:
        """The photographs given, at the first noise level and in the size of the views. What they hold decides, once they are
        carried there, the noise of the views that look from near by."""
        given, level = self.views.anchors, self.schedule[0]
        if given is not None and self.photographs is None:
            with torch.no_grad():
                pictures = framed(self.views.to_data(given.pictures), self.settings.size)
                noisy = noisy_photographs(pictures, given.cameras, level, self.main, size=self.settings.size,
                                          seed=self.settings.seed, check=self.check)
            self.photographs = NoisyPhotographs(noisy, (noisy - pictures) / level, given.cameras)
            if self.decided:
                self.noise = DirectionNoise(self.settings.seed, self.schedule, self.main.sigma_data, self.photographs)
        return self.photographs

    def samples(self, count: int) -> Tensor:
        """A row of views around the field."""
        found = around(self.field, max(4, count // 4 * 4), occupancy=self.views.learner.occupancy)
        return found.reshape(-1, 4, 3, PREVIEW, PREVIEW)

    def state_dict(self) -> State:
        return {"views": self.views.state_dict(), "done": self.done}

    def load_state_dict(self, state: State) -> None:
        self.views.load_state_dict(state["views"])
        self.done = state["done"]


def shape_field(job: FieldPrior, *, folder: Path | None = None, identity: Mapping[str, Any] | None = None,
                on_step: OnStep = ignore) -> RadianceField:
    """Run a prior to its end. folder: keeps the state, to go on from after a cancel with the same result. identity: what the
    denoiser is, for the folder to know. Raises what `on_step` raises; with a folder as `training.loop.run`."""
    total = len(job.schedule)
    if folder is not None:
        known = {"training": "radiance field by a prior", "field": as_dict(job.field.config), **asdict(job.settings),
                 "anchors": "" if job.views.anchors is None else job.views.anchors.digest, **(identity or {})}
        run(job, Run(folder, total, known), on_step=on_step)
        return job.field
    while job.steps < total:
        losses = job.step()
        on_step(StepInfo(job.steps, total, losses, job.views.preview))
    return job.field


class ByDirection:
    """Denoisers by the side that a camera sees: front (up to 60 degrees from azimuth 0), side, back (beyond 120), and above
    (from 60 degrees of elevation up). A missing one is the front's."""

    def __init__(self, front: Denoiser, side: Denoiser | None = None, back: Denoiser | None = None,
                 above: Denoiser | None = None) -> None:
        self.denoisers = (front, side or front, back or front, above or front)

    @property
    def sigma_data(self) -> float:
        return self.denoisers[0].sigma_data

    def __call__(self, x: Tensor, sigma: float, view: Any = None) -> Tensor:
        """x [N,C,H,W]; view: cameras."""
        if not isinstance(view, Cameras):
            raise InvalidInputError("Prompts by direction need cameras; use them with Radiance Field from Prior.")
        turn = view.azimuth.abs()
        kind = torch.where(turn <= 60, 0, torch.where(turn < 120, 1, 2))
        kind = torch.where(view.elevation >= 60, 3, kind)
        out = torch.empty_like(x)
        for i, denoiser in enumerate(self.denoisers):
            chosen = (kind == i).nonzero()[:, 0]
            if len(chosen):
                out[chosen] = denoiser(x[chosen], sigma, view[chosen])
        return out
