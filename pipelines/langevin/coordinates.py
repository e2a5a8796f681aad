"""Networks of other coordinates, or for some levels of noise alone, as denoisers in variance-exploding coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .denoiser import View

Predict = Callable[[Tensor, float, "View | None"], Tensor]
"""(state, level, view) in the network's own coordinates -> the mean of the clean data."""


@dataclass(frozen=True)
class Coordinates:
    """flow: None where the state is data + level * noise already, as of eps, v and EDM networks. A flow network's state is
    (1 - level) data + level flow noise with levels 0 to 1, so that x = state / (1 - level) has the sigma
    flow level / (1 - level); flow: the deviation of its noise, mostly 1."""

    flow: float | None = None

    def level(self, sigma: float) -> float:
        """The network's level of a sigma >= 0."""
        return sigma if self.flow is None else sigma / (self.flow + sigma)

    def sigma(self, level: float) -> float:
        """The sigma of the network's level; infinite for a flow of pure noise."""
        if self.flow is None:
            return level
        return self.flow * level / (1 - level) if level < 1 else math.inf

    def state(self, x: Tensor, sigma: float) -> Tensor:
        """What the network sees of x."""
        return x if self.flow is None else x * (self.flow / (self.flow + sigma))


class Converted:
    """D(x; sigma) of a network that knows the levels from sigma_min to sigma_max.

    Below them the score is taken at sigma_min, D = x + (sigma / sigma_min)^2 (D(x; sigma_min) - x); above them x is scaled down
    to what it would be at sigma_max. Both are bounds to keep within, see `denoiser.levels_known`, not levels to work at.
    """

    def __init__(self, predict: Predict, coordinates: Coordinates, *, sigma_data: float, sigma_min: float,
                 sigma_max: float) -> None:
        self.predict, self.coordinates = predict, coordinates
        self.sigma_data, self.sigma_min, self.sigma_max = sigma_data, sigma_min, sigma_max

    def __call__(self, x: Tensor, sigma: float, view: View | None = None) -> Tensor:
        if sigma < self.sigma_min:
            return x + (sigma / self.sigma_min) ** 2 * (self._known(x, self.sigma_min, view) - x)
        if sigma > self.sigma_max:
            x = x * math.sqrt((self.sigma_data**2 + self.sigma_max**2) / (self.sigma_data**2 + sigma**2))
            sigma = self.sigma_max
        return self._known(x, sigma, view)

    def _known(self, x: Tensor, sigma: float, view: View | None) -> Tensor:
        return self.predict(self.coordinates.state(x, sigma), self.coordinates.level(sigma), view)
