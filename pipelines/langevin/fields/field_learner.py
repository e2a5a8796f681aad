"""One optimiser step after the other for a radiance field: rays, and the colours that they should see."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import InvalidInputError
from ...training.state import State
from .occupancy import OccupancyGrid
from .radiance_field import RadianceField
from .regularisers import distortion, opacity_entropy, orientation
from .rendering import Sampling, look


@dataclass(frozen=True)
class Learning:
    """How a field learns. rate: of Adam, of what is stored in grids; the network learns at a tenth. sampling: of the rays.
    refresh: steps between two looks at which space is empty. smooth: weight of the total variation of what is stored. entropy,
    distort, orient: of the regularisers of that name (`regularisers`). Raises InvalidInputError."""

    rate: float = 0.05
    sampling: Sampling = field(default_factory=Sampling)
    refresh: int = 16
    smooth: float = 0.02
    entropy: float = 0.0
    distort: float = 0.0
    orient: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.rate < 10 or self.refresh < 1:
            raise InvalidInputError(f"A radiance field learns at a rate above 0, at most 10, and looks for empty space every "
                                    f"so many steps, got {self.rate:g} and {self.refresh}.")
        if min(self.smooth, self.entropy, self.distort, self.orient) < 0:
            raise InvalidInputError("The weights of a radiance field's regularisers are 0 or more.")


class FieldLearner:
    """A field with its optimiser and the grid of its occupied space. rng: on the CPU, of where in their intervals rays are
    looked at, of random backgrounds and of where cells are."""

    def __init__(self, field: RadianceField, learning: Learning, rng: torch.Generator) -> None:
        self.field, self.learning, self.rng = field, learning, rng
        self.optimizer = torch.optim.Adam(field.groups(learning.rate), betas=(0.9, 0.99), eps=1e-15)
        self.occupancy = OccupancyGrid(device=field.device)
        self.steps = 0

    def see_space(self) -> None:
        """Look at which space is empty."""
        self.occupancy.update(self.field.density, self.rng)

    def step(self, origins: Tensor, directions: Tensor, wanted: Tensor, *, cover: Tensor | None = None,
             share: float = 1.0) -> dict[str, float]:
        """One step towards rays [R,3] that see `wanted` [R,C]. cover: how much of it is the object, 0..1 [R], the rest being
        nothing; the colour is then of the object alone (not yet multiplied by cover). Without it the colour is of the object in
        front of the field's background. share: of the rate. Returns the losses."""
        field, learning = self.field, self.learning
        if self.steps % learning.refresh == 0:
            self.see_space()
        jitter = torch.rand(len(origins), learning.sampling.samples, generator=self.rng).to(origins)
        behind = field.shown_background()
        if field.config.background == "random":
            behind = torch.rand(len(origins), field.config.channels, generator=self.rng).to(wanted)
        seen = look(field, origins, directions, learning.sampling, occupancy=self.occupancy, jitter=jitter)
        if cover is not None:
            wanted = cover[:, None] * wanted + (1 - cover[:, None]) * behind.detach()
        loss = (seen.over(behind) - wanted).square().mean()
        losses = {"picture": float(loss.detach())}
        if cover is not None:
            loss = loss + 0.1 * (seen.opacity - cover).square().mean()
        if learning.smooth:
            loss = loss + learning.smooth * field.encoding.roughness()
        if learning.entropy:
            loss = loss + learning.entropy * opacity_entropy(seen)
        if learning.distort:
            loss = loss + learning.distort * distortion(seen)
        if learning.orient:
            loss = loss + learning.orient * orientation(field.density, origins, directions, seen)
        for group, rate in zip(self.optimizer.param_groups, field.groups(learning.rate), strict=True):
            group["lr"] = rate["lr"] * share
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.steps += 1
        return losses

    def state_dict(self) -> State:
        """Everything needed to go on."""
        return {"field": self.field.state_dict(), "optimizer": self.optimizer.state_dict(), "steps": self.steps,
                "rng": self.rng.get_state(), "occupancy": self.occupancy.state()}

    def load_state_dict(self, state: State) -> None:
        """The inverse of `state_dict`."""
        self.field.load_state_dict(state["field"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.occupancy.load(state["occupancy"])
        self.steps = state["steps"]
        self.rng.set_state(state["rng"])
