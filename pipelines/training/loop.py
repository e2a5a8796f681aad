"""The loop around every training: resume, checkpoint, log, show.

A training that was stopped and gone on with ends with the same numbers as one that was not, because everything that
changes from step to step is in the job's state: parameters, optimisers, averages, random generators, the order of the
data. How often a checkpoint is written, who watches and what is drawn changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from ..errors import TrainingDivergedError, TrainingStoppedError
from ..steps import OnStep, StepInfo, ignore
from .log import LossLog, grid, save_picture
from .state import State, load_state, save_state
from .together import ALONE, Group

CHECKPOINT, LOSSES, CURVES = "checkpoint.safetensors", "losses.jsonl", "losses.png"
PREVIEW_SECONDS = 2.0
SAMPLES = 16


class Job(Protocol):
    """A training, one step at a time."""

    @property
    def steps(self) -> int:
        """Finished so far."""
        ...

    def step(self) -> Mapping[str, float]:
        """One step: name -> value of its losses."""
        ...

    def samples(self, count: int) -> Tensor:
        """What it can do by now, float [rows,columns,3,H,W] in -1..1 of about `count` pictures, the own ones in the last
        row; changes nothing."""
        ...

    def state_dict(self) -> State:
        """Everything that changes from step to step."""
        ...

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        ...


@dataclass(frozen=True)
class Run:
    """Where and how long a job runs.

    folder: gets checkpoint.safetensors, losses.jsonl, losses.png and samples_<step>.png. total: steps. identity: plain
    JSON that must be the same to go on with a checkpoint: settings, data, networks. save_seconds: between checkpoints;
    they are written at the end and at a cancel as well. sample_every: steps between grids, 0 for one at the end.
    """

    folder: Path
    total: int
    identity: Mapping[str, Any] = field(default_factory=dict[str, Any])
    save_seconds: float = 120.0
    sample_every: int = 0


def run(job: Job, plan: Run, *, on_step: OnStep = ignore, group: Group = ALONE) -> None:
    """Take the job to plan.total steps, from its checkpoint where there is one.

    on_step: told after every step; whatever it raises ends the training within this step and after a checkpoint. group:
    of several processes that train together only the first writes, and when one is stopped, all stop, the others with
    TrainingStoppedError. Raises TrainingStateError when the folder holds another training, TrainingDivergedError when
    a loss is not finite, UnwritableFileError when the disk is full; the last checkpoint is whole whatever happens.
    """
    checkpoint = plan.folder / CHECKPOINT
    if checkpoint.is_file():
        job.load_state_dict(load_state(checkpoint, plan.identity))
    if not group.leader:
        while job.steps < plan.total:
            _tell(StepInfo(job.steps, plan.total, job.step()), on_step, group)
        return
    saved = shown = time.monotonic()
    with LossLog(plan.folder / LOSSES, job.steps) as log:

        def save() -> None:
            save_state(checkpoint, job.state_dict(), plan.identity)
            curves = log.picture()
            if curves is not None:
                save_picture(plan.folder / CURVES, curves)

        while job.steps < plan.total:
            losses = job.step()
            _require_finite(losses, job.steps, plan)
            log.append(job.steps, losses)
            if plan.sample_every and job.steps % plan.sample_every == 0:
                _save_samples(job, plan.folder)
            now = time.monotonic()
            preview = None
            if now - shown >= PREVIEW_SECONDS:
                shown, preview = now, partial(_newest, job)
            try:
                _tell(StepInfo(job.steps, plan.total, losses, preview), on_step, group)
            except BaseException:
                save()
                raise
            if now - saved >= plan.save_seconds:
                save()
                saved = time.monotonic()
        save()
    _save_samples(job, plan.folder)


def _tell(info: StepInfo, on_step: OnStep, group: Group) -> None:
    """Raises what on_step raises; TrainingStoppedError when it raised in another process of the group."""
    raised: BaseException | None = None
    try:
        on_step(info)
    except BaseException as error:
        raised = error
    stopped = group.any(raised is not None)
    if raised is not None:
        raise raised
    if stopped:
        raise TrainingStoppedError(f"Another process of this training stopped it after step {info.step} of {info.total}.")


def _require_finite(losses: Mapping[str, float], step: int, plan: Run) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise TrainingDivergedError(f"The training diverged: the loss '{name}' is {value} at step {step} of "
                                        f"{plan.total}; begin anew in another folder with a lower learning rate.")


def _newest(job: Job) -> Tensor:
    return job.samples(1)[-1]


def _save_samples(job: Job, folder: Path) -> None:
    save_picture(folder / f"samples_{job.steps:07d}.png", grid(job.samples(SAMPLES)))
