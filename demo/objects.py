"""Procedural toys in the round: cars, houses and trees, each from its seed, each with a clear front (+Z), sides and back.

An object is a `solids.Body` that fills the cube of half side 0.95: pictures, depth, normals and surface follow from the same
geometry.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from .scenes import Colour
from .solids import Body, Solid, ball, block, cone, cylinder, profile, tapered

CLASSES = ("car", "house", "tree")
HALF, RADIUS = 0.95, 1.12
"""An object's half side and the ball it lies in."""

GLASS: Colour = (0.30, 0.44, 0.55)
TYRE: Colour = (0.13, 0.13, 0.15)
CHROME: Colour = (0.80, 0.82, 0.85)
DARK: Colour = (0.20, 0.21, 0.24)
LAMP: Colour = (1.0, 0.93, 0.58)
REAR: Colour = (0.86, 0.10, 0.10)
CREAM: Colour = (0.97, 0.95, 0.90)

Draw = np.random.Generator


def paint(rng: Draw, saturation: tuple[float, float] = (0.5, 0.85), value: tuple[float, float] = (0.7, 0.98),
          hue: tuple[float, float] = (0.0, 1.0)) -> Colour:
    """A colour of these ranges."""
    return colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value))


def darker(colour: Colour, by: float) -> Colour:
    """A colour times by."""
    return (colour[0] * by, colour[1] * by, colour[2] * by)


def _chance(rng: Draw, share: float) -> bool:
    return bool(rng.uniform() < share)


def car(rng: Draw) -> Body:
    """Saloon, estate, van, pick-up or sports car."""
    form = ("saloon", "estate", "van", "pickup", "sports")[int(rng.integers(5))]
    length = {"saloon": 1.9, "estate": 1.85, "van": 1.8, "pickup": 2.0, "sports": 1.95}[form] * rng.uniform(0.92, 1.06) / 2
    half = (0.42 if form != "sports" else 0.46) * rng.uniform(0.92, 1.1)
    radius = rng.uniform(0.165, 0.215) * (1.05 if form == "pickup" else 1.0)
    sill = radius * rng.uniform(0.7, 0.95)
    belt = sill + {"saloon": 0.27, "estate": 0.28, "van": 0.34, "pickup": 0.30, "sports": 0.22}[form] * rng.uniform(0.9, 1.15)
    hood = belt - (0.05 if form != "van" else 0.02) * rng.uniform(0.6, 1.4)
    tail = belt - {"saloon": 0.03, "sports": 0.02}.get(form, 0.0)
    roof = belt + {"saloon": 0.27, "estate": 0.28, "van": 0.36, "pickup": 0.29, "sports": 0.19}[form] * rng.uniform(0.9, 1.12)
    colour = paint(rng) if _chance(rng, 0.8) else ((0.93, 0.93, 0.95) if _chance(rng, 0.5) else (0.36, 0.38, 0.44))
    top = paint(rng) if _chance(rng, 0.25) else colour
    front, back = length, -length
    slope = rng.uniform(0.03, 0.08)
    parts: list[Solid] = [profile([(back + 0.02, sill), (front - 0.02, sill), (front, sill + 0.1), (front - slope, hood),
                                   (front - 0.62, belt), (back + 0.45, belt), (back + slope, tail), (back, sill + 0.1)],
                                  half, colour, bevel=0.05)]
    cabin = {"saloon": (-0.58, 0.42), "estate": (-0.86, 0.42), "van": (-0.93, 0.72), "pickup": (-0.12, 0.5),
             "sports": (-0.58, 0.30)}[form]
    z0, z1 = cabin[0] * length, cabin[1] * length
    lean_back = {"saloon": 0.22, "estate": 0.10, "van": 0.03, "pickup": 0.05, "sports": 0.34}[form] * rng.uniform(0.8, 1.2)
    lean_front = {"saloon": 0.24, "estate": 0.24, "van": 0.22, "pickup": 0.2, "sports": 0.32}[form] * rng.uniform(0.85, 1.15)
    inset, tumble = 0.03, 0.07
    rise = roof - belt

    def at(y: float, out: float = 0.0, ends: float = 0.0) -> tuple[float, float, float, float]:
        """The cabin's outline at a height, grown sideways and lengthways."""
        t = (y - belt) / rise
        wide = half - inset - tumble * t + out
        return (-wide, wide, z0 + lean_back * t - ends, z1 - lean_front * t + ends)

    low, high = belt - 0.02, roof
    parts.append(tapered(low, high, at(low), at(high), top))
    y0, y1 = belt + 0.035, roof - 0.045
    outline0, outline1 = at(y0, 0.008), at(y1, 0.008)
    posts = [0.0, rng.uniform(0.42, 0.55), 1.0] if form in ("saloon", "estate") else [0.0, 1.0]
    if form == "van":
        posts = [0.0, 0.33, 0.64, 1.0] if _chance(rng, 0.5) else [0.64, 1.0]
    for a, b in pairwise(posts):
        def cut(o: tuple[float, float, float, float], a: float = a, b: float = b) -> tuple[float, float, float, float]:
            f, g = o[2] + 0.045, o[3] - 0.045
            return (o[0], o[1], f + (g - f) * a + 0.015, f + (g - f) * b - 0.015)

        parts.append(tapered(y0, y1, cut(outline0), cut(outline1), GLASS, shades=False))
    shield0, shield1 = at(y0, -0.045, 0.008), at(y1, -0.045, 0.008)
    parts.append(tapered(y0, y1, (shield0[0], shield0[1], 0.0, shield0[3]), (shield1[0], shield1[1], 0.0, shield1[3]), GLASS,
                         shades=False))
    if form != "van" or _chance(rng, 0.7):
        parts.append(tapered(y0 + 0.01, y1 - 0.01, (shield0[0], shield0[1], shield0[2], 0.0),
                             (shield1[0], shield1[1], shield1[2], 0.0), darker(GLASS, 0.75), shades=False))
    if form == "pickup":
        parts += [block((0, belt + 0.03, (back + z0) / 2), (half - 0.005, 0.05, (z0 - back) / 2 - 0.02), colour, bevel=0.02),
                  block((0, belt + 0.075, (back + z0) / 2), (half - 0.07, 0.01, (z0 - back) / 2 - 0.09), DARK, shades=False)]
    parts += _fittings(rng, half, (front, back), sill, hood, slope)
    base = rng.uniform(0.58, 0.66) * length
    hub = paint(rng) if _chance(rng, 0.15) else CHROME
    share = rng.uniform(0.5, 0.68)
    for z in (base, -base):
        for side in (-1, 1):
            x = side * (half - 0.05)
            parts += [cylinder((x, radius, z), radius, 0.085, TYRE),
                      cylinder((x + side * 0.01, radius, z), radius * share, 0.085, hub, shades=False),
                      cylinder((x + side * 0.016, radius, z), radius * 0.2, 0.085, DARK, shades=False)]
    if form != "pickup" and _chance(rng, 0.2):
        stripe = CREAM if sum(colour) < 2.3 else (0.15, 0.2, 0.5)
        parts.append(profile([(back + 0.3, sill), (front - 0.3, sill), (front + 0.006, sill + 0.1),
                              (front - slope + 0.004, hood + 0.006), (front - 0.62, belt + 0.006), (back + 0.45, belt + 0.006),
                              (back + slope - 0.004, tail + 0.006), (back - 0.006, sill + 0.1)], 0.09, stripe, shades=False))
        parts.append(tapered(roof, roof + 0.006, (-0.09, 0.09, *at(roof)[2:]), (-0.09, 0.09, *at(roof)[2:]), stripe,
                             shades=False))
    extra = rng.uniform()
    middle = (at(roof)[2] + at(roof)[3]) / 2
    if extra < 0.1:
        parts += [block((0, roof + 0.035, middle + 0.08), (0.13, 0.04, 0.06), LAMP, bevel=0.02)]
    elif extra < 0.2:
        parts += [block((side * 0.11, roof + 0.03, middle), (0.1, 0.035, 0.06), tone, bevel=0.02)
                  for side, tone in ((-1, (0.15, 0.35, 0.95)), (1, (0.15, 0.35, 0.95)))]
    elif extra < 0.32:
        parts += [block((0, roof + 0.07, middle), (0.2, 0.06, 0.2), (0.62, 0.42, 0.26), bevel=0.03),
                  block((0, roof + 0.07, middle), (0.205, 0.062, 0.03), (0.85, 0.75, 0.5), shades=False)]
    return Body("car", tuple(parts))


def _fittings(rng: Draw, half: float, ends: tuple[float, float], sill: float, hood: float, slope: float) -> list[Solid]:
    """Bumpers, lamps, grille and plates."""
    front, back = ends
    y = (sill + 0.1 + hood) / 2
    t = (y - sill - 0.1) / (hood - sill - 0.1) * slope
    bumper = CHROME if _chance(rng, 0.5) else DARK
    size = rng.uniform(0.045, 0.065)
    wide = half * rng.uniform(0.62, 0.74)
    parts = [block((0, sill + 0.045, front - 0.01), (half - 0.02, 0.035, 0.04), bumper, bevel=0.02),
             block((0, sill + 0.045, back + 0.01), (half - 0.02, 0.035, 0.04), bumper, bevel=0.02),
             block((0, y, front - t), (half * 0.36, 0.04, 0.022), DARK, shades=False),
             block((0, sill + 0.05, front + 0.02), (0.1, 0.03, 0.016), CREAM, shades=False),
             block((0, sill + 0.15, back + 0.012), (0.1, 0.03, 0.022), CREAM, shades=False)]
    for side in (-1, 1):
        parts += [cylinder((side * wide, y, front - t), size, 0.028, LAMP, axis=2, shades=False) if size > 0.055 else
                  block((side * wide, y, front - t), (0.075, size * 0.8, 0.026), LAMP, shades=False),
                  block((side * (half - 0.09), y + 0.01, back + t), (0.06, 0.05, 0.026), REAR, shades=False)]
    return parts


def house(rng: Draw) -> Body:
    """Walls, a gable or hipped roof, a door in front, windows around, sometimes a chimney, a wing or a porch."""
    half_x, half_z = rng.uniform(0.5, 0.78), rng.uniform(0.45, 0.7)
    floors = 1 + int(_chance(rng, 0.4))
    tall = (0.56 if floors == 1 else 0.98) * rng.uniform(0.92, 1.12)
    peak = rng.uniform(0.42, 0.68)
    wall = paint(rng, (0.12, 0.55), (0.82, 0.98)) if _chance(rng, 0.8) else CREAM
    roof = paint(rng, (0.45, 0.8), (0.5, 0.85)) if _chance(rng, 0.75) else (0.34, 0.36, 0.42)
    trim = CREAM if _chance(rng, 0.7) else darker(wall, 0.6)
    door = paint(rng, (0.5, 0.85), (0.4, 0.8))
    pane = (0.50, 0.72, 0.86) if _chance(rng, 0.6) else (0.98, 0.86, 0.5)
    parts: list[Solid] = [block((0, tall / 2, 0), (half_x, tall / 2, half_z), wall),
                          block((0, 0.035, 0), (half_x + 0.03, 0.035, half_z + 0.03), (0.55, 0.54, 0.53))]
    over = rng.uniform(0.07, 0.12)
    kind = ("gable x", "gable z", "hip")[int(rng.integers(3))]
    if kind == "hip":
        ridge = max(0.0, half_x - half_z) + 0.06
        deep = max(0.0, half_z - half_x) + 0.06
        parts.append(tapered(tall, tall + peak, (-half_x - over, half_x + over, -half_z - over, half_z + over),
                             (-ridge, ridge, -deep, deep), roof))
    else:
        axis, across, along = (0, half_z, half_x) if kind == "gable x" else (2, half_x, half_z)
        parts.append(profile([(-across, tall - 0.01), (across, tall - 0.01), (0, tall + peak)], along, wall, axis=axis))
        slope = peak / across
        for side in (-1, 1):  # two slabs of the roof
            edge = side * (across + over)
            drop = tall - slope * over
            parts.append(profile([(edge, drop), (0, tall + peak), (0, tall + peak + 0.085), (edge, drop + 0.085)], along + over,
                                 roof, axis=axis))
    parts += _openings(rng, half_x, half_z, tall, floors, (trim, door, pane))
    if kind == "gable z" and _chance(rng, 0.7):
        y, r = tall + peak * 0.36, min(0.11, peak * 0.2)
        parts += [cylinder((0, y, half_z), r + 0.025, 0.012, trim, axis=2, shades=False),
                  cylinder((0, y, half_z), r, 0.018, pane, axis=2, shades=False)]
    if _chance(rng, 0.65):
        x = half_x * rng.uniform(0.4, 0.65) * (1 if _chance(rng, 0.5) else -1)
        z = -half_z * rng.uniform(0.1, 0.4)
        brick = (0.66, 0.36, 0.28) if _chance(rng, 0.7) else (0.6, 0.6, 0.62)
        parts += [block((x, tall + peak * 0.6, z), (0.085, peak * 0.58, 0.085), brick),
                  block((x, tall + peak * 1.18, z), (0.105, 0.03, 0.105), darker(brick, 0.7))]
    if _chance(rng, 0.3):  # a wing or a garage
        side = 1 if _chance(rng, 0.5) else -1
        wide, deep, low = rng.uniform(0.24, 0.34), half_z * rng.uniform(0.6, 0.85), min(tall, 0.6) * rng.uniform(0.72, 0.9)
        x, z = side * (half_x + wide), half_z - deep - 0.04
        parts += [block((x, low / 2, z), (wide, low / 2, deep), wall),
                  tapered(low, low + 0.09, (x - wide - 0.05, x + wide + 0.05, z - deep - 0.05, z + deep + 0.05),
                          (x - wide + 0.04, x + wide - 0.04, z - deep + 0.04, z + deep - 0.04), roof),
                  block((x, low * 0.4, z + deep), (wide * 0.72, low * 0.4, 0.014), darker(door, 0.9), shades=False)]
    return Body("house", tuple(parts))


def _openings(rng: Draw, half_x: float, half_z: float, tall: float, floors: int,
              tones: tuple[Colour, Colour, Colour]) -> list[Solid]:
    """The door, its step and sometimes a porch; windows of every side."""
    trim, door, pane = tones
    parts: list[Solid] = []
    storey = tall / floors
    place = 0.0 if _chance(rng, 0.5) else half_x * 0.45 * (1 if _chance(rng, 0.5) else -1)
    wide, high = 0.12, min(0.42, storey * 0.74)
    parts += [block((place, high / 2 + 0.02, half_z), (wide + 0.03, high / 2 + 0.03, 0.012), trim, shades=False),
              block((place, high / 2 + 0.01, half_z), (wide, high / 2, 0.02), door, shades=False),
              ball((place + wide * 0.6, high * 0.5, half_z + 0.02), (0.018, 0.018, 0.018), LAMP, shades=False),
              block((place, 0.03, half_z + 0.09), (wide + 0.06, 0.03, 0.09), (0.68, 0.67, 0.65))]
    if _chance(rng, 0.35):
        tone = paint(rng, (0.4, 0.8), (0.55, 0.9))
        parts += [profile([(half_z, high + 0.07), (half_z + 0.24, high + 0.03), (half_z + 0.24, high + 0.06),
                           (half_z, high + 0.14)], wide + 0.11, tone, centre=place)]
        parts += [block((place + side * (wide + 0.08), (high + 0.04) / 2, half_z + 0.21), (0.02, (high + 0.04) / 2, 0.02), trim)
                  for side in (-1, 1)]
    tall_window, wide_window = rng.uniform(0.11, 0.15), rng.uniform(0.085, 0.12)
    shutters = paint(rng, (0.4, 0.8), (0.4, 0.85)) if _chance(rng, 0.35) else None
    box = _chance(rng, 0.3)
    for floor in range(floors):
        y = storey * (floor + 0.56)
        for face in ("front", "back", "left", "right"):
            along = half_x if face in ("front", "back") else half_z
            count = int(rng.integers(1, 3)) if face == "back" else (2 if along > 0.55 or face == "front" else 1)
            spots = [0.0] if count == 1 else [-along * 0.52, along * 0.52]
            if face == "front" and floor == 0:
                spots = [s for s in (-half_x * 0.58, half_x * 0.58, 0.0) if abs(s - place) > 0.33][:2]
            for spot in spots:
                def pasted(shift: float, up: float, size: tuple[float, float], out: float, tone: Colour, face: str = face,
                           spot: float = spot, y: float = y) -> Solid:
                    if face in ("front", "back"):
                        return block((spot + shift, y + up, half_z if face == "front" else -half_z), (*size, out), tone,
                                     shades=False)
                    return block((half_x if face == "right" else -half_x, y + up, spot + shift), (out, size[1], size[0]), tone,
                                 shades=False)

                parts += [pasted(0, 0, (wide_window + 0.022, tall_window + 0.022), 0.012, trim),
                          pasted(0, 0, (wide_window, tall_window), 0.018, pane),
                          pasted(0, 0, (0.009, tall_window), 0.022, trim), pasted(0, 0, (wide_window, 0.009), 0.022, trim)]
                if shutters is not None and face == "front":
                    parts += [pasted(s * (wide_window + 0.062), 0, (0.038, tall_window + 0.015), 0.02, shutters)
                              for s in (-1, 1)]
                if box and face == "front":
                    parts += [pasted(0, -tall_window - 0.04, (wide_window + 0.02, 0.03), 0.05, (0.55, 0.36, 0.24)),
                              pasted(0, -tall_window + 0.005, (wide_window, 0.025), 0.042, (0.9, 0.3, 0.42))]
    return parts


def tree(rng: Draw) -> Body:
    """Fir, round tree, poplar or crown of several balls; in front a door, a nest box or mushrooms at its foot."""
    form = ("fir", "round", "cloud", "poplar")[int(rng.integers(4))]
    bark = paint(rng, (0.35, 0.55), (0.38, 0.58), (0.05, 0.1))
    season = rng.uniform()
    hue = (0.24, 0.42) if season < 0.6 else (0.02, 0.14) if season < 0.85 else (0.9, 0.97)
    leaf = paint(rng, (0.45, 0.75) if season < 0.85 else (0.25, 0.45), (0.5, 0.78) if season < 0.6 else (0.82, 0.97), hue)
    thick = rng.uniform(0.09, 0.15)
    stem = rng.uniform(0.35, 0.6) * (0.7 if form in ("fir", "poplar") else 1.0)
    parts: list[Solid] = []
    spots: list[tuple[float, float, float, float]] = []
    if form == "fir":
        leaf = paint(rng, (0.4, 0.7), (0.4, 0.66), (0.3, 0.46))
        tiers = int(rng.integers(3, 5))
        bottom, tall = rng.uniform(0.55, 0.75), rng.uniform(1.2, 1.5)
        snow = _chance(rng, 0.25)
        for i in range(tiers):
            low = stem + tall * i / (tiers + 0.6)
            wide = bottom * (1 - i / (tiers + 0.35))
            high = low + tall / tiers * 1.25
            tone = darker(leaf, 1 + 0.1 * i)
            parts.append(cone(low, high, wide, 0.02, tone, sides=10, turn=0.5 * i))
            if snow:
                parts.append(cone(low + (high - low) * 0.5, high + 0.012, wide * 0.5 + 0.012, 0.03, (0.96, 0.97, 1.0), sides=10,
                                  turn=0.5 * i, shades=False))
            count = 5
            spots += [(wide * 0.8 * np.cos(2 * np.pi * (k + 0.5 * i) / count), low + (high - low) * 0.17,
                       wide * 0.8 * np.sin(2 * np.pi * (k + 0.5 * i) / count), 1.0) for k in range(count)]
        if _chance(rng, 0.3):
            parts.append(ball((0, high + 0.02, 0), (0.07, 0.07, 0.07), LAMP))
    elif form == "round":
        r, squash = rng.uniform(0.55, 0.72), rng.uniform(0.85, 1.1)
        parts.append(ball((0, stem + r * squash * 0.85, 0), (r, r * squash, r), leaf))
        spots = [(r * np.cos(a) * np.cos(e), stem + r * squash * (0.85 + np.sin(e)), r * np.sin(a) * np.cos(e), 1.0)
                 for a, e in zip(rng.uniform(0, 2 * np.pi, 12), rng.uniform(-0.7, 0.9, 12), strict=True)]
    elif form == "cloud":
        r = rng.uniform(0.42, 0.5)
        y = stem + r
        parts.append(ball((0, y + 0.2, 0), (r, r, r), leaf))
        count = int(rng.integers(3, 6))
        start = rng.uniform(0, 2 * np.pi)
        for k in range(count):
            a = start + 2 * np.pi * k / count
            s = r * rng.uniform(0.62, 0.85)
            centre = (0.38 * np.cos(a), y + rng.uniform(-0.08, 0.12), 0.38 * np.sin(a))
            parts.append(ball(centre, (s, s * 0.9, s), darker(leaf, rng.uniform(0.88, 1.08))))
            spots += [(centre[0] + s * np.cos(a + d) * 0.9, centre[1] + s * up, centre[2] + s * np.sin(a + d) * 0.9, 1.0)
                      for d, up in ((-0.5, 0.1), (0.5, -0.2), (0.0, 0.35))]
        parts.append(ball((0, y + 0.52, 0), (r * 0.66, r * 0.6, r * 0.66), darker(leaf, 1.06)))
    else:
        r, tall = rng.uniform(0.3, 0.42), rng.uniform(0.68, 0.85)
        parts.append(ball((0, stem + tall * 0.9, 0), (r, tall, r), leaf))
    parts.append(cone(0, stem + 0.25, thick * 1.25, thick * 0.85, bark, sides=10))
    if spots and _chance(rng, 0.4):
        tone = paint(rng, (0.75, 0.95), (0.85, 1.0), (-0.04, 0.14)) if form != "fir" else paint(rng, (0.7, 0.9), (0.85, 1.0))
        parts += [ball((x, y, z), (0.055, 0.055, 0.055), tone, shades=False) for x, y, z, _ in spots]
    foot = thick * 1.2
    sign = rng.uniform()
    if sign < 0.35:
        parts += [block((0, 0.115, foot * 0.93), (0.075, 0.115, 0.035), paint(rng, (0.5, 0.85), (0.5, 0.9))),
                  ball((0.04, 0.12, foot * 0.93 + 0.035), (0.016, 0.016, 0.016), LAMP, shades=False)]
    elif sign < 0.65:
        y = stem * 0.62 + 0.06
        tone = paint(rng)
        parts += [block((0, y, thick + 0.05), (0.085, 0.085, 0.07), tone),
                  profile([(-0.12, y + 0.075), (0.12, y + 0.075), (0, y + 0.165)], 0.1, darker(tone, 0.6), centre=thick + 0.06,
                          axis=2),
                  cylinder((0, y, thick + 0.12), 0.035, 0.006, DARK, axis=2, shades=False)]
    else:
        for _ in range(int(rng.integers(2, 5))):
            x, z, s = rng.uniform(-0.32, 0.32), foot + rng.uniform(0.05, 0.22), rng.uniform(0.05, 0.085)
            parts += [cone(0, s * 1.3, s * 0.4, s * 0.35, CREAM, centre=(x, z), sides=8),
                      ball((x, s * 1.35, z), (s, s * 0.7, s), (0.88, 0.16, 0.14))]
    return Body("tree", tuple(parts))


MAKERS: dict[str, Callable[[Draw], Body]] = {"car": car, "house": house, "tree": tree}


def make_object(kind: str, seed: int | tuple[int, ...]) -> Body:
    """A car, house or tree. What a seed means changes with the class."""
    key = (seed,) if isinstance(seed, int) else seed
    return MAKERS[kind](np.random.default_rng((CLASSES.index(kind), *key))).placed(HALF, RADIUS)
