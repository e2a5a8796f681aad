"""Procedural toy cars with exact ground truth: parameters -> antialiased picture and part-label map, at any size.

Shapes are signed distances in units of the picture's side. A pixel's coverage is clip(1/2 - d / pixel), its label the
last shape painted with d < 0 at the pixel's centre, so picture and labels follow from the same geometry.
"""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Colour = tuple[float, float, float]
Point = tuple[float, float]

CAR_LABEL_NAMES = ("background", "body", "roof", "front window", "rear window", "tyre", "hub", "headlight", "taillight",
                   "bumper", "plate", "sill")
CAR_LABEL_COLOURS = ((236, 236, 240), (66, 133, 196), (140, 90, 190), (90, 200, 220), (40, 150, 160), (45, 45, 55),
                     (165, 165, 175), (250, 215, 70), (220, 60, 60), (120, 200, 90), (245, 140, 50), (150, 100, 60))
(BACKGROUND, BODY, ROOF, FRONT_WINDOW, REAR_WINDOW, TYRE, HUB, HEADLIGHT, TAILLIGHT, BUMPER, PLATE,
 SILL) = range(len(CAR_LABEL_NAMES))

TYRE_COLOUR: Colour = (0.09, 0.09, 0.10)
SILL_COLOUR: Colour = (0.17, 0.16, 0.17)
HEADLIGHT_COLOUR: Colour = (1.0, 0.95, 0.62)
TAILLIGHT_COLOUR: Colour = (0.80, 0.06, 0.08)


@dataclass(frozen=True)
class Car:
    """One toy car seen from the side. Lengths are fractions of the picture's side, y points down, colours 0..1.

    x along the car counts from its centre towards the front; facing +1 looks right, -1 left. The axles stand at
    axle_y, half a wheelbase from the centre; wheel_scale multiplies the wheels about them and moves nothing else.
    """

    facing: int
    center_x: float
    axle_y: float
    length: float
    body_height: float
    cabin_height: float
    cabin_x: float
    cabin_width: float
    slant_front: float
    slant_rear: float
    pillar: float
    wheelbase: float
    wheel_radius: float
    hub_ratio: float
    headlight: float
    taillight: float
    plate_x: float
    plate_width: float
    body_colour: Colour
    roof_colour: Colour
    window_colour: Colour
    hub_colour: Colour
    bumper_colour: Colour
    plate_colour: Colour
    sky_top: Colour
    sky_bottom: Colour
    ground: Colour
    horizon: float
    wheel_scale: float = 1.0

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Car:
        """A random car. Every parameter is independent of the wheel size."""

        def u(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        def hsv(h: float, s: float, v: float) -> Colour:
            return colorsys.hsv_to_rgb(h % 1.0, s, v)

        body = (u(0, 1), u(0.55, 0.95), u(0.5, 0.95))
        contrast = rng.random() < 0.3
        white = u(0.85, 0.98)
        roof = (white, white, white * 0.97) if contrast else hsv(body[0], body[1], body[2] * 0.72)
        tint, hub, chrome, plate = u(0.28, 0.55), u(0.6, 0.95), u(0.84, 0.96), u(0.9, 1.0)
        sky, ground = (u(0.52, 0.66), u(0.15, 0.45), u(0.75, 0.97)), (u(0.05, 0.35), u(0.08, 0.35), u(0.42, 0.68))
        return cls(
            facing=1 if rng.random() < 0.5 else -1, center_x=0.5 + u(-0.03, 0.03), axle_y=u(0.655, 0.705),
            length=u(0.68, 0.80), body_height=u(0.175, 0.22), cabin_height=u(0.15, 0.20), cabin_x=u(-0.08, 0.02),
            cabin_width=u(0.40, 0.50), slant_front=u(0.06, 0.13), slant_rear=u(0.02, 0.10), pillar=u(-0.04, 0.04),
            wheelbase=u(0.39, 0.45), wheel_radius=float(np.exp(u(np.log(0.078), np.log(0.165)))),
            hub_ratio=u(0.46, 0.60), headlight=u(0.036, 0.048), taillight=u(0.036, 0.05), plate_x=u(-0.03, 0.03),
            plate_width=u(0.12, 0.15), body_colour=hsv(*body), roof_colour=roof,
            window_colour=(tint * 0.75, tint * 0.9, tint), hub_colour=(hub, hub, hub),
            bumper_colour=(chrome, chrome, chrome * 1.03), plate_colour=(plate, plate, plate * 0.92),
            sky_top=hsv(*sky), sky_bottom=hsv(sky[0], sky[1] * 0.45, min(sky[2] * 1.08, 1.0)), ground=hsv(*ground),
            horizon=u(0.60, 0.72))

    def replace(self, **changes: Any) -> Car:
        """The same car with some parameters changed."""
        return dataclasses.replace(self, **changes)


def circle(x: Array, y: Array, center: Point, radius: float) -> Array:
    return np.hypot(x - center[0], y - center[1]) - np.float32(radius)


def box(x: Array, y: Array, center: Point, size: Point, radius: float) -> Array:
    """Rounded rectangle of full width and height `size`."""
    qx = np.abs(x - center[0]) - (size[0] / 2 - radius)
    qy = np.abs(y - center[1]) - (size[1] / 2 - radius)
    return np.hypot(np.maximum(qx, 0), np.maximum(qy, 0)) + np.minimum(np.maximum(qx, qy), 0) - radius


def polygon(x: Array, y: Array, points: Sequence[Point], radius: float) -> Array:
    """Convex polygon with corners rounded by `radius` (its points are the centres of the rounding)."""
    squared = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, np.float32)
    inside = np.full(squared.shape, -np.inf, np.float32)
    area = sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True))
    sign = 1.0 if area > 0 else -1.0
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        ex, ey = bx - ax, by - ay
        px, py = x - ax, y - ay
        length2 = ex * ex + ey * ey
        t = np.clip((px * ex + py * ey) / length2, 0, 1)
        squared = np.minimum(squared, (px - t * ex) ** 2 + (py - t * ey) ** 2)
        inside = np.maximum(inside, sign * (px * -ey + py * ex) / -np.sqrt(length2))
    distance = np.sqrt(squared)
    return np.where(inside < 0, -distance, distance).astype(np.float32) - np.float32(radius)


class Canvas:
    """A picture being painted, back to front."""

    def __init__(self, size: int) -> None:
        centers = (np.arange(size, dtype=np.float32) + 0.5) / size
        self.x, self.y = centers[None, :], centers[:, None]
        self.pixel = 1.0 / size
        self.image = np.zeros((size, size, 3), np.float32)
        self.labels = np.zeros((size, size), np.uint8)

    def paint(self, distance: Array, colour: Array | Colour, label: int) -> None:
        coverage = np.clip(0.5 - distance / self.pixel, 0, 1)[:, :, None]
        self.image += coverage * (np.asarray(colour, np.float32) - self.image)
        self.labels[distance < 0] = label


def render(car: Car, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The car as (picture uint8 [size,size,3], label map uint8 [size,size] of indices into CAR_LABEL_NAMES)."""
    c = Canvas(size)
    y = c.y
    t = np.clip(y / car.horizon, 0, 1)[:, :, None]
    sky = np.asarray(car.sky_top, np.float32) * (1 - t) + np.asarray(car.sky_bottom, np.float32) * t
    c.image[:] = sky
    c.paint(np.broadcast_to(car.horizon - y, c.labels.shape), car.ground, BACKGROUND)

    x = (c.x - car.center_x) * car.facing
    top, bottom = car.axle_y - car.body_height, car.axle_y + 0.02
    front = car.length / 2
    # cabin: the roof's frame, then the windows inside it
    base, ceiling = top + 0.03, top - car.cabin_height
    left, right, r = car.cabin_x - car.cabin_width / 2, car.cabin_x + car.cabin_width / 2, 0.03
    cabin = [(left + r, base), (left + car.slant_rear + r, ceiling + r), (right - car.slant_front - r, ceiling + r),
             (right - r, base)]
    c.paint(polygon(x, y, cabin, r), car.roof_colour, ROOF)
    inset, post, w = 0.034, 0.016, 0.010
    sill_y, lintel = top - 0.004 - w, ceiling + inset + w
    middle = car.cabin_x + car.pillar + (car.slant_rear - car.slant_front) / 2

    def edge(base_x: float, slant: float, at: float) -> float:
        return base_x + slant * (base - at) / (base - ceiling)

    rear_edge = [edge(left + inset + w, car.slant_rear, at) for at in (sill_y, lintel)]
    front_edge = [edge(right - inset - w, -car.slant_front, at) for at in (sill_y, lintel)]
    c.paint(polygon(x, y, [(rear_edge[0], sill_y), (rear_edge[1], lintel), (middle - post - w, lintel),
                            (middle - post - w, sill_y)], w), car.window_colour, REAR_WINDOW)
    c.paint(polygon(x, y, [(middle + post + w, sill_y), (middle + post + w, lintel), (front_edge[1], lintel),
                            (front_edge[0], sill_y)], w), car.window_colour, FRONT_WINDOW)
    # body with a soft shade from top to bottom
    for end in (-1, 1):
        c.paint(box(x, y, (end * (front - 0.015), car.axle_y - 0.035), (0.11, 0.06), 0.02), car.bumper_colour, BUMPER)
    shade = (1.10 - 0.30 * np.clip((y - top) / (bottom - top), 0, 1))[:, :, None]
    body = np.clip(np.asarray(car.body_colour, np.float32) * shade, 0, 1)
    c.paint(box(x, y, (0.0, (top + bottom) / 2), (car.length - 0.06, bottom - top), 0.055), body, BODY)
    c.paint(box(x, y, (0.0, car.axle_y + 0.012), (car.wheelbase, 0.05), 0.012), SILL_COLOUR, SILL)
    c.paint(box(x, y, (car.plate_x, (top + car.axle_y) / 2 - 0.002), (car.plate_width, 0.085), 0.018), car.plate_colour,
            PLATE)
    c.paint(circle(x, y, (front - 0.045, top + 0.062), car.headlight), HEADLIGHT_COLOUR, HEADLIGHT)
    c.paint(box(x, y, (-front + 0.045, top + 0.064), (0.06, 2 * car.taillight), 0.015), TAILLIGHT_COLOUR, TAILLIGHT)
    radius = car.wheel_radius * car.wheel_scale
    for end in (-1, 1):
        center = (end * car.wheelbase / 2, car.axle_y)
        c.paint(circle(x, y, center, radius), TYRE_COLOUR, TYRE)
        c.paint(circle(x, y, center, radius * car.hub_ratio), car.hub_colour, HUB)
    return (np.clip(c.image, 0, 1) * 255 + 0.5).astype(np.uint8), c.labels


def render_batch(cars: Sequence[Car], size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Pictures uint8 [B,size,size,3] and label maps uint8 [B,size,size]."""
    pairs = [render(car, size) for car in cars]
    return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])
