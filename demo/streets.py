"""Procedural streets by day and by night: the same street twice, so that a translation can be held against the truth.

Night follows from day: colours darken towards blue, windows and lamps light up, the sun becomes the moon. The pairs serve
scoring alone; trainings see days and nights of different streets.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .scenes import Array, Canvas, Colour, Point, box, circle, polygon

ROAD_TOP = 0.78
SKY = (((0.52, 0.74, 0.95), (0.86, 0.92, 0.97)), ((0.03, 0.04, 0.13), (0.13, 0.12, 0.28)))
"""Top and bottom of the sky, by day and by night."""
NIGHT_TINT: Colour = (0.36, 0.38, 0.56)
GLASS, LIGHT = (0.36, 0.46, 0.55), (1.0, 0.85, 0.45)


@dataclass(frozen=True)
class House:
    """x: left edge; width, height: fractions of the picture; rows and columns of windows; roof: 0 flat, else its height."""

    x: float
    width: float
    height: float
    colour: Colour
    roof: float
    roof_colour: Colour
    rows: int
    columns: int


@dataclass(frozen=True)
class Street:
    """One street. light: where sun or moon stand."""

    houses: tuple[House, ...]
    trees: tuple[tuple[float, float, Colour], ...]
    lamps: tuple[float, ...]
    light: Point
    car: tuple[float, Colour] | None

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Street:
        """A random street."""
        def hsv(h: float, s: float, v: float) -> Colour:
            return colorsys.hsv_to_rgb(h % 1, s, v)

        houses: list[House] = []
        x = rng.uniform(-0.1, 0.0)
        while x < 1:
            width = rng.uniform(0.18, 0.32)
            houses.append(House(x, width, rng.uniform(0.24, 0.5),
                                hsv(rng.uniform(0.0, 0.16), rng.uniform(0.15, 0.6), rng.uniform(0.65, 0.95)),
                                float(rng.choice((0.0, rng.uniform(0.05, 0.11)))),
                                hsv(rng.uniform(0.0, 0.08), rng.uniform(0.4, 0.7), rng.uniform(0.4, 0.65)),
                                int(rng.integers(2, 4)), int(rng.integers(2, 4))))
            x += width + rng.uniform(0.0, 0.05)
        trees = tuple((rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.085), hsv(rng.uniform(0.25, 0.4), rng.uniform(0.4, 0.7),
                                                                             rng.uniform(0.4, 0.65)))
                      for _ in range(int(rng.integers(0, 3))))
        lamps = tuple(rng.uniform(0.1, 0.9) for _ in range(int(rng.integers(1, 3))))
        parked = (rng.uniform(0.2, 0.8), hsv(rng.uniform(), rng.uniform(0.6, 0.95), rng.uniform(0.5, 0.9)))
        car = parked if rng.uniform() < 0.6 else None
        return cls(tuple(houses), trees, lamps, (rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.2)), car)


def render_street(street: Street, *, night: bool, size: int = 64) -> npt.NDArray[np.uint8]:
    """The street, uint8 [size,size,3]."""
    c = Canvas(size)
    x, y = c.x, c.y
    top, bottom = (np.asarray(colour, np.float32) for colour in SKY[night])
    t = np.clip(y / ROAD_TOP, 0, 1)[:, :, None]
    c.image[:] = top * (1 - t) + bottom * t

    def paint(distance: Array, colour: Colour, *, lit: bool = False) -> None:
        value = np.asarray(colour, np.float32)
        c.paint(np.broadcast_to(distance, c.labels.shape).astype(np.float32),
                value if lit or not night else value * np.asarray(NIGHT_TINT, np.float32), 0)

    paint(circle(x, y, street.light, 0.05), (0.93, 0.94, 0.98) if night else (1.0, 0.93, 0.6), lit=True)
    for h in street.houses:
        ceiling = ROAD_TOP - h.height
        middle = h.x + h.width / 2
        if h.roof:
            eaves = [(h.x - 0.01, ceiling + 0.01), (middle, ceiling - h.roof), (h.x + h.width + 0.01, ceiling + 0.01)]
            paint(polygon(x, y, eaves, 0.006), h.roof_colour)
        paint(box(x, y, (middle, ROAD_TOP - h.height / 2), (h.width, h.height), 0.004), h.colour)
        for row in range(h.rows):
            for column in range(h.columns):
                at = (h.x + h.width * (column + 1) / (h.columns + 1), ceiling + h.height * (row + 0.7) / (h.rows + 0.6))
                paint(box(x, y, at, (h.width * 0.42 / h.columns, h.height * 0.46 / h.rows), 0.004),
                      LIGHT if night else GLASS, lit=night)
    paint(ROAD_TOP - y + 0 * x, (0.62, 0.62, 0.6))
    paint(ROAD_TOP + 0.06 - y + 0 * x, (0.34, 0.34, 0.37))
    for left in np.arange(0.04, 1.0, 0.2):
        paint(box(x, y, (float(left), ROAD_TOP + 0.14), (0.09, 0.015), 0.003), (0.92, 0.92, 0.88))
    for at, radius, colour in street.trees:
        paint(box(x, y, (at, ROAD_TOP - 0.03), (0.022, 0.09), 0.004), (0.42, 0.3, 0.2))
        paint(circle(x, y, (at, ROAD_TOP - 0.08 - radius * 0.7), radius), colour)
    for at in street.lamps:
        paint(box(x, y, (at, ROAD_TOP - 0.11), (0.013, 0.25), 0.003), (0.3, 0.3, 0.33))
        if night:
            glow = np.exp(-(((x - at) ** 2 + (y - ROAD_TOP + 0.25) ** 2) / 0.006))[:, :, None]
            c.image += np.float32(0.6) * glow * (np.asarray(LIGHT, np.float32) - c.image)
        paint(circle(x, y, (at, ROAD_TOP - 0.25), 0.024), LIGHT if night else (0.9, 0.9, 0.86), lit=True)
    if street.car is not None:
        at, colour = street.car
        paint(box(x, y, (at, ROAD_TOP + 0.065), (0.2, 0.055), 0.02), colour)
        paint(box(x, y, (at, ROAD_TOP + 0.03), (0.11, 0.055), 0.02), tuple(0.8 * v for v in colour))
        for end in (-0.06, 0.06):
            paint(circle(x, y, (at + end, ROAD_TOP + 0.093), 0.025), (0.08, 0.08, 0.09))
        paint(circle(x, y, (at + 0.095, ROAD_TOP + 0.06), 0.012), LIGHT if night else (0.95, 0.93, 0.8), lit=True)
    return (np.clip(c.image, 0, 1) * 255 + 0.5).astype(np.uint8)


def streets(count: int, seed: int) -> list[Street]:
    """So many streets."""
    rng = np.random.default_rng(seed)
    return [Street.sample(rng) for _ in range(count)]


def render_streets(found: list[Street], *, night: bool, size: int = 64) -> npt.NDArray[np.uint8]:
    """Pictures uint8 [B,size,size,3]."""
    return np.stack([render_street(street, night=night, size=size) for street in found])
