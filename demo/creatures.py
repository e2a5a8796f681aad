"""Procedural creatures: any class in any pose, so that the true answer of a translation is known.

A class is a kind of body with a palette and a pattern; a pose is where the creature stands, how it leans, its size, which way
it looks, and what its legs, head and tail do. Pictures follow from (class, pose) alone.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .scenes import Array, Canvas, Colour, Point, box, circle, polygon

TRAINING_CLASSES, HELD_OUT_CLASSES = 60, 12
CLASS_SEED = 77
EARS = ("round", "pointed", "long", "none")
PATTERNS = ("plain", "spots", "stripes", "belly")
BACKGROUND: Colour = (0.90, 0.91, 0.93)
GROUND: Colour = (0.78, 0.80, 0.76)
EYE: Colour = (0.06, 0.06, 0.08)
HORIZON = 0.74


@dataclass(frozen=True)
class Species:
    """What a class has in common. Lengths are in units of the creature; colours 0..1."""

    length: float
    height: float
    head: float
    neck: float
    ears: str
    tail: float
    legs: float
    pattern: str
    frequency: float
    coat: Colour
    marks: Colour

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Species:
        """A random class."""
        hue = rng.uniform()
        coat = colorsys.hsv_to_rgb(hue, rng.uniform(0.25, 0.9), rng.uniform(0.45, 0.95))
        other = (hue + rng.uniform(0.25, 0.75)) % 1
        marks = colorsys.hsv_to_rgb(other, rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.95))
        return cls(length=rng.uniform(0.42, 0.62), height=rng.uniform(0.22, 0.36), head=rng.uniform(0.13, 0.2),
                   neck=rng.uniform(0.0, 0.16), ears=str(rng.choice(EARS)), tail=rng.uniform(0.08, 0.3),
                   legs=rng.uniform(0.1, 0.24), pattern=str(rng.choice(PATTERNS)), frequency=rng.uniform(7, 13),
                   coat=coat, marks=marks)

    def individual(self, rng: np.random.Generator, spread: float) -> Species:
        """One of the class, where they differ: lengths by factors of deviation `spread`, both colours by hue, saturation and
        brightness."""
        def recoloured(colour: Colour) -> Colour:
            hue, saturation, brightness = colorsys.rgb_to_hsv(*colour)
            hue, saturation, brightness = (value + float(rng.normal()) * share * spread for value, share in
                                           ((hue, 0.5), (saturation, 1.0), (brightness, 1.0)))
            return colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0.0), 1.0), min(max(brightness, 0.0), 1.0))

        lengths = {name: getattr(self, name) * math.exp(float(rng.normal()) * spread)
                   for name in ("length", "height", "head", "neck", "tail", "legs", "frequency")}
        return replace(self, **lengths, coat=recoloured(self.coat), marks=recoloured(self.marks))


@dataclass(frozen=True)
class Pose:
    """What pictures of one class differ in. x, y, scale: fractions of the picture. lean, head, tail: radians. stride: -1..1.
    facing: 1 looks right, -1 left."""

    x: float
    y: float
    scale: float
    lean: float
    facing: int
    stride: float
    head: float
    tail: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Pose:
        """A random pose."""
        return cls(x=rng.uniform(0.42, 0.58), y=rng.uniform(0.44, 0.56), scale=rng.uniform(0.72, 0.96),
                   lean=rng.uniform(-0.3, 0.3), facing=int(rng.choice((-1, 1))), stride=rng.uniform(-1, 1),
                   head=rng.uniform(-0.5, 0.7), tail=rng.uniform(-0.9, 0.9))

    def vector(self) -> npt.NDArray[np.float32]:
        """The pose as numbers of about -1..1: x, y, scale, lean, facing, stride, head."""
        return np.array([(self.x - 0.5) / 0.08, (self.y - 0.5) / 0.06, (self.scale - 0.84) / 0.12, self.lean / 0.3, self.facing,
                         self.stride, (self.head - 0.1) / 0.6], np.float32)


def species(seed: int = CLASS_SEED) -> tuple[list[Species], list[Species]]:
    """The training classes and the held-out ones."""
    rng = np.random.default_rng(seed)
    every = [Species.sample(rng) for _ in range(TRAINING_CLASSES + HELD_OUT_CLASSES)]
    return every[:TRAINING_CLASSES], every[TRAINING_CLASSES:]


def _turned(x: Array, y: Array, center: Point, angle: float) -> tuple[Array, Array]:
    """Coordinates around `center`, turned by `angle`."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(center[0]), y - np.float32(center[1])
    return dx * c + dy * s, dy * c - dx * s


def _ellipse(x: Array, y: Array, half: Point) -> Array:
    return (np.hypot(x / half[0], y / half[1]) - 1) * np.float32(min(half))


def _coat(kind: Species, u: Array, v: Array) -> Array:
    """The colour of the body at (u, v), in units of the creature."""
    coat, marks = (np.asarray(colour, np.float32) for colour in (kind.coat, kind.marks))
    f = np.float32(2 * np.pi * kind.frequency)
    if kind.pattern == "stripes":
        share = np.clip(0.5 + 3 * np.sin(f * u), 0, 1)
    elif kind.pattern == "spots":
        share = np.clip(0.5 + 4 * (np.sin(f * u) * np.sin(f * v + np.float32(0.8)) - 0.35), 0, 1)
    elif kind.pattern == "belly":
        share = np.clip(0.5 + 14 * (v - np.float32(0.1) * kind.height), 0, 1)
    else:
        share = np.zeros_like(u)
    shade = np.clip(np.float32(1.06) - np.float32(0.7) * v, 0.6, 1.15)[..., None]
    return np.clip((coat + share[..., None] * (marks - coat)) * shade, 0, 1).astype(np.float32)


def render_creature(kind: Species, pose: Pose, size: int = 64) -> npt.NDArray[np.uint8]:
    """The creature, uint8 [size,size,3]."""
    c = Canvas(size)
    c.image[:] = np.asarray(BACKGROUND, np.float32)
    c.paint(np.broadcast_to(HORIZON - c.y, c.labels.shape).astype(np.float32), GROUND, 0)
    x = np.broadcast_to((c.x - pose.x) * pose.facing, c.labels.shape) / np.float32(pose.scale)
    y = np.broadcast_to(c.y - pose.y, c.labels.shape) / np.float32(pose.scale)
    u, v = _turned(x, y, (0.0, 0.0), -pose.lean)
    u, v = u.astype(np.float32), v.astype(np.float32)

    def paint(distance: Array, colour: Array | Colour) -> None:
        c.paint((distance * pose.scale).astype(np.float32), colour, 1)

    dark: Any = tuple(0.62 * channel for channel in kind.coat)
    half = (kind.length / 2, kind.height / 2)
    for i, at in enumerate((-0.62, -0.38, 0.38, 0.62)):
        swing = 0.5 * pose.stride * (1 if i % 2 else -1)
        lu, lv = _turned(u, v, (at * half[0], half[1] * 0.55), swing)
        paint(box(lu, lv, (0.0, kind.legs / 2 + 0.02), (0.055, kind.legs + 0.06), 0.022), dark if i % 2 else kind.coat)
    tu, tv = _turned(u, v, (-half[0] * 0.9, -half[1] * 0.3), np.pi - 0.5 + pose.tail)
    paint(box(tu, tv, (kind.tail / 2, 0.0), (kind.tail, 0.045), 0.02), kind.marks)
    paint(_ellipse(u, v, half), _coat(kind, u, v))
    shoulder = (half[0] * 0.8, -half[1] * 0.35)
    hu, hv = _turned(u, v, shoulder, -0.7 + pose.head)
    reach = kind.neck + kind.head * 0.7
    paint(box(hu, hv, (reach / 2, 0.0), (reach, kind.head * 0.8), 0.03), kind.coat)
    ears = {"round": 0.06, "pointed": 0.08, "long": 0.15, "none": 0.0}[kind.ears]
    if kind.ears == "round":
        paint(circle(hu, hv, (reach - kind.head * 0.3, -kind.head * 0.8), ears), kind.marks)
    elif ears:
        base = (reach - kind.head * 0.4, -kind.head * 0.5)
        paint(polygon(hu, hv, [(base[0] - 0.03, base[1]), (base[0] - 0.04, base[1] - ears), (base[0] + 0.05, base[1])], 0.012),
              kind.marks)
    paint(_ellipse(hu - np.float32(reach), hv, (kind.head * 0.85, kind.head * 0.68)), kind.coat)
    paint(_ellipse(hu - np.float32(reach + kind.head * 0.62), hv - np.float32(0.02), (kind.head * 0.34, kind.head * 0.3)),
          kind.marks)
    paint(circle(hu, hv, (reach + kind.head * 0.12, -kind.head * 0.2), 0.024), EYE)
    return (np.clip(c.image, 0, 1) * 255 + 0.5).astype(np.uint8)


def render_creatures(kinds: Sequence[Species], poses: Sequence[Pose], size: int = 64) -> npt.NDArray[np.uint8]:
    """Pictures uint8 [B,size,size,3], the i-th class in the i-th pose."""
    return np.stack([render_creature(kind, pose, size) for kind, pose in zip(kinds, poses, strict=True)])
