"""Procedural landscapes in four moods: sky, mountains, hills, woods, a lake and its bank, 256 pixels high and as wide as asked
for. The left and the right end of a landscape meet.

Everything is a height over x, painted from the back to the front: distance takes colour, the lake mirrors what is above it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .scenes import Array, Colour

HEIGHT = 256
MOODS = ("day", "dusk", "night", "snow")


@dataclass(frozen=True)
class Mood:
    """Colours 0..1. sky: from the top over the middle to the horizon. haze: of the distance. near, far: of the slopes. wood: of
    trees in light and in shade. disc: of sun or moon. glow: how far it lights the sky. stars: density. white: share of snow."""

    sky: tuple[Colour, Colour, Colour]
    haze: Colour
    rock: Colour
    near: Colour
    far: Colour
    wood: tuple[Colour, Colour]
    grass: Colour
    cloud: tuple[Colour, Colour]
    disc: Colour
    glow: float
    stars: float
    white: float
    light: float
    water: Colour


LOOK = {
    "day": Mood(((0.20, 0.46, 0.84), (0.45, 0.70, 0.95), (0.83, 0.92, 0.98)), (0.70, 0.82, 0.92), (0.48, 0.47, 0.52),
                (0.30, 0.54, 0.22), (0.42, 0.60, 0.45), ((0.20, 0.44, 0.18), (0.07, 0.24, 0.13)), (0.42, 0.62, 0.20),
                ((1.0, 1.0, 1.0), (0.72, 0.80, 0.90)), (1.0, 0.97, 0.82), 0.5, 0.0, 0.55, 1.0, (0.16, 0.40, 0.58)),
    "dusk": Mood(((0.19, 0.17, 0.42), (0.76, 0.36, 0.46), (1.0, 0.74, 0.38)), (0.93, 0.58, 0.44), (0.42, 0.28, 0.40),
                 (0.24, 0.17, 0.22), (0.48, 0.28, 0.38), ((0.26, 0.15, 0.19), (0.09, 0.06, 0.13)), (0.30, 0.20, 0.17),
                 ((1.0, 0.66, 0.50), (0.50, 0.28, 0.46)), (1.0, 0.88, 0.55), 1.0, 0.0, 0.35, 0.75, (0.40, 0.22, 0.40)),
    "night": Mood(((0.02, 0.03, 0.11), (0.06, 0.10, 0.25), (0.17, 0.23, 0.40)), (0.14, 0.20, 0.36), (0.14, 0.17, 0.28),
                  (0.05, 0.10, 0.14), (0.10, 0.16, 0.27), ((0.06, 0.13, 0.16), (0.01, 0.04, 0.08)), (0.06, 0.12, 0.13),
                  ((0.24, 0.29, 0.44), (0.09, 0.12, 0.25)), (0.96, 0.95, 0.86), 0.45, 1.0, 0.45, 0.5, (0.03, 0.06, 0.16)),
    "snow": Mood(((0.56, 0.64, 0.76), (0.74, 0.80, 0.88), (0.92, 0.93, 0.95)), (0.86, 0.89, 0.94), (0.46, 0.50, 0.58),
                 (0.86, 0.90, 0.96), (0.76, 0.82, 0.91), ((0.26, 0.38, 0.38), (0.08, 0.17, 0.22)), (0.92, 0.95, 0.99),
                 ((0.97, 0.98, 1.0), (0.68, 0.74, 0.82)), (1.0, 0.99, 0.94), 0.3, 0.0, 1.0, 0.9, (0.44, 0.56, 0.68)),
}


def _smooth(t: Array) -> Array:
    return t * t * (3 - 2 * t)


def waves(rng: np.random.Generator, width: int, cell: float, octaves: int, gain: float = 0.5) -> Array:
    """Noise over x that ends as it begins, float32 [width], about -1..1. cell: length of the slowest waves in pixels."""
    out, amplitude, total = np.zeros(width, np.float32), 1.0, 0.0
    for octave in range(octaves):
        count = max(2, round(width * 2**octave / cell))
        at = (np.arange(width, dtype=np.float32) * count / width + rng.uniform()) % count
        low = at.astype(int) % count
        values = rng.uniform(-1, 1, count).astype(np.float32)
        part = _smooth(at % 1)
        out += np.float32(amplitude) * (values[low] * (1 - part) + values[(low + 1) % count] * part)
        total += amplitude
        amplitude *= gain
    return out / np.float32(total) * np.float32(1.4)


def field(rng: np.random.Generator, size: tuple[int, int], cell: tuple[float, float], octaves: int, gain: float = 0.5) -> Array:
    """Noise over y and x, its left and right ends meet, float32 [height,width], about -1..1."""
    height, width = size
    out, amplitude, total = np.zeros(size, np.float32), 1.0, 0.0
    for octave in range(octaves):
        rows, count = int(height * 2**octave / cell[0]) + 2, max(2, round(width * 2**octave / cell[1]))
        values = rng.uniform(-1, 1, (rows + 1, count)).astype(np.float32)
        y = np.arange(height, dtype=np.float32) * 2**octave / cell[0] + np.float32(rng.uniform())
        x = (np.arange(width, dtype=np.float32) * count / width + np.float32(rng.uniform())) % count
        i, j = y.astype(int), x.astype(int) % count
        v, u = _smooth(y % 1)[:, None], _smooth(x % 1)[None]
        k = (j + 1) % count
        top = values[i][:, j] * (1 - u) + values[i][:, k] * u
        bottom = values[i + 1][:, j] * (1 - u) + values[i + 1][:, k] * u
        out += np.float32(amplitude) * (top * (1 - v) + bottom * v)
        total += amplitude
        amplitude *= gain
    return out / np.float32(total) * np.float32(1.5)


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


class Painter:
    """A picture float32 [256,width,3] and what paints on it."""

    def __init__(self, width: int, rng: np.random.Generator) -> None:
        self.width, self.rng = width, rng
        self.picture = np.zeros((HEIGHT, width, 3), np.float32)
        self.y = np.arange(HEIGHT, dtype=np.float32)[:, None] + 0.5

    def over(self, colour: Array | Colour, coverage: Array, rows: slice = slice(None)) -> None:
        """Cover the picture's rows by a colour [3] or [h,w,3], with coverage [h,w] 0..1."""
        part = self.picture[rows]
        part += coverage[:, :, None] * (np.asarray(colour, np.float32) - part)

    def below(self, ridge: Array) -> Array:
        """Coverage of all that lies below a height over x, in pixels from the top."""
        return np.clip(self.y - ridge[None] + 0.5, 0, 1)

    def spot(self, x: float, y: float, half: tuple[float, float]) -> tuple[slice, npt.NDArray[np.int64], Array, Array]:
        """Rows, columns, and offsets in pixels from (x, y), of a box around it that may reach over the ends."""
        top, bottom = max(0, int(y - half[0]) - 1), min(HEIGHT, int(y + half[0]) + 2)
        columns = np.arange(int(x - half[1]) - 1, int(x + half[1]) + 2)
        return (slice(top, max(top, bottom)), columns % self.width, self.y[top:bottom] - np.float32(y),
                (columns + 0.5 - x).astype(np.float32)[None])

    def dab(self, spot: tuple[slice, npt.NDArray[np.int64]], colour: Array | Colour, coverage: Array) -> None:
        """Cover a box of the picture."""
        rows, columns = spot
        part = self.picture[rows][:, columns]
        self.picture[rows, columns] = part + coverage[:, :, None] * (np.asarray(colour, np.float32) - part)


def landscape(mood: str, rng: np.random.Generator, width: int = 1024) -> npt.NDArray[np.uint8]:
    """A landscape, uint8 [256,width,3]."""
    look = LOOK[mood]
    p = Painter(width, rng)
    shore = HEIGHT * rng.uniform(0.66, 0.72)
    sun = (rng.uniform(0, width), rng.uniform(0.10, 0.24) * HEIGHT if mood != "dusk" else rng.uniform(0.38, 0.5) * HEIGHT)
    _sky(p, look, sun, shore)
    _mountains(p, look, shore)
    for depth in (0.75, 0.5, 0.25):
        _hill(p, look, shore, depth)
    _lake(p, look, sun, shore)
    _bank(p, look)
    return (np.clip(p.picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _sky(p: Painter, look: Mood, sun: tuple[float, float], shore: float) -> None:
    t = np.clip(p.y / np.float32(shore * 0.85), 0, 1)[:, :, None]
    top, middle, low = (np.asarray(c, np.float32) for c in look.sky)
    p.picture[:] = np.where(t < 0.5, top + (middle - top) * 2 * t, middle + (low - middle) * (2 * t - 1))
    size = (HEIGHT, p.width)
    if look.stars:
        count = p.width // 2
        for x, y, power in zip(p.rng.uniform(0, p.width, count), p.rng.uniform(0, shore * 0.8, count),
                               p.rng.uniform(0.15, 1, count) ** 3, strict=True):
            rows, columns, dy, dx = p.spot(x, y, (2, 2))
            p.dab((rows, columns), (1.0, 0.98, 0.92), np.clip(power * 1.6 * np.exp(-(dy**2 + dx**2) / (0.5 + power)), 0, 1))
        river = np.exp(-((p.y - shore * (0.32 + 0.12 * waves(p.rng, p.width, p.width, 2)[None])) / 24) ** 2)
        p.over((0.42, 0.44, 0.62), 0.4 * river * np.clip(0.6 + 0.5 * field(p.rng, size, (24, 40), 4), 0, 1))
    radius = p.rng.uniform(9, 13)
    rows, columns, dy, dx = p.spot(sun[0], sun[1], (150, 150))
    distance = np.sqrt(dy**2 + dx**2)
    glow = np.exp(-distance / np.float32(26)) * 0.5 + np.exp(-distance / np.float32(60)) * 0.35
    fade = np.clip((150 - distance) / 40, 0, 1)
    p.dab((rows, columns), look.disc, np.clip(look.glow * glow * fade, 0, 1))
    p.dab((rows, columns), look.disc, np.clip(radius - distance + 0.5, 0, 1))
    if look.stars:
        p.dab((rows, columns), _mix(look.disc, look.sky[0], 0.25),
              0.8 * np.clip(radius * 0.3 - np.sqrt((dy + 2) ** 2 + (dx - 3) ** 2) + 0.5, 0, 1))
    bands = field(p.rng, size, (30, 110), 6, 0.55)
    cover = np.clip((bands - p.rng.uniform(-0.05, 0.3)) * 2.6, 0, 1) * np.clip(1.1 - p.y / np.float32(shore * 0.95), 0, 1)
    lit = np.clip(0.5 + 1.6 * (bands - np.roll(bands, 5, 0)), 0, 1)[:, :, None]
    bright, dark = (np.asarray(c, np.float32) for c in look.cloud)
    p.over(dark + (bright - dark) * lit, 0.9 * cover)


def _mountains(p: Painter, look: Mood, shore: float) -> None:
    for depth, low, high, cell in ((0.55, 0.5, 0.27, 230.0), (0.28, 0.32, 0.2, 160.0)):
        ridged = 1 - np.abs(waves(p.rng, p.width, cell, 5, 0.46))
        ridge = shore - HEIGHT * (low * 0.4 + high * (ridged * 1.5 - 0.5) * (1 + 0.5 * waves(p.rng, p.width, 400, 2)))
        inside = p.below(ridge)
        faces = field(p.rng, (HEIGHT, p.width), (34, 26), 5, 0.6)
        slope = np.roll(ridge, -3) - np.roll(ridge, 3)
        lean = np.clip(0.5 + 0.09 * slope[None] * np.exp(-(p.y - ridge[None]) / 40) + 0.45 * faces, 0, 1)[:, :, None]
        rock, haze = np.asarray(look.rock, np.float32), np.asarray(look.haze, np.float32)
        colour = rock * (0.55 + 0.75 * lean)
        line = (p.y - ridge[None]) / HEIGHT - 0.16 * look.white - 0.09 * faces - 0.05 * (1 - ridged)[None]
        snow = np.clip(-line * 22, 0, 1)[:, :, None] * (0.95 if look.white > 0.3 else 0)
        white = np.float32(1.0) * np.asarray(_mix((1, 1, 1), look.haze, 0.25 + 0.5 * (1 - look.light)), np.float32)
        colour = colour + snow * (white * (0.62 + 0.42 * lean) - colour)
        far = np.clip(depth * (0.75 + 0.5 * (p.y - ridge[None]) / 90), 0, 0.92)[:, :, None]
        p.over(colour + far * (haze - colour), inside)


def _hill(p: Painter, look: Mood, shore: float, depth: float) -> None:
    base = shore - HEIGHT * (0.02 + 0.15 * depth)
    ridge = base - HEIGHT * 0.055 * waves(p.rng, p.width, 90 + 160 * depth, 4, 0.42)
    ground = np.asarray(_mix(_mix(look.near, look.far, depth), look.haze, 0.55 * depth), np.float32)
    texture = field(p.rng, (HEIGHT, p.width), (7, 16), 4, 0.6)
    shade = np.clip(0.92 + 0.16 * texture + 0.05 * (np.roll(ridge, -4) - np.roll(ridge, 4))[None], 0.6, 1.3)[:, :, None]
    p.over(ground * shade, p.below(ridge))
    size = 9 + 15 * (1 - depth)
    dense = waves(p.rng, p.width, 120, 3)
    x = p.rng.uniform(0, 4)
    while x < p.width:
        thick = float(dense[int(x) % p.width])
        if thick > -0.25:
            for _ in range(1 + int(thick > 0.2)):
                at = x + p.rng.uniform(-3, 3)
                y = float(ridge[int(at) % p.width]) + p.rng.uniform(1, 5 + 9 * (1 - depth))
                _tree(p, look, at, y, size * p.rng.uniform(0.6, 1.15), 0.5 * depth)
        x += size * p.rng.uniform(0.18, 0.6)


def _tree(p: Painter, look: Mood, x: float, y: float, size: float, far: float) -> None:
    """A fir that stands at (x, y)."""
    half = size * p.rng.uniform(0.2, 0.28)
    rows, columns, dy, dx = p.spot(x, y - size / 2, (size / 2, half + 1))
    if rows.stop <= rows.start:
        return
    t = np.clip((dy + size / 2) / size, 0, 1)  # 0 at the tip
    tiers = max(3, round(size / 7))
    saw = (t * tiers + p.rng.uniform()) % 1
    wide = half * (0.12 + 0.88 * t) * (0.66 + 0.34 * saw) * (t < 0.93) + 0.05 * size * (t >= 0.93)
    coverage = np.clip(wide - np.abs(dx) + 0.5, 0, 1) * np.clip(size / 2 - np.abs(dy) + 0.5, 0, 1)
    light, dark = (np.asarray(_mix(c, look.haze, far), np.float32) for c in look.wood)
    lit = np.clip(0.5 - 0.55 * dx / half + 0.5 * (saw - 0.5) + 0 * dy, 0, 1)[:, :, None]
    colour = dark + (light - dark) * lit
    if look.white == 1.0:
        caps = np.clip(1.8 * (0.42 - saw) + 0.4 - 0.6 * dx / half, 0, 1)[:, :, None]
        colour = colour + 0.9 * caps * (np.asarray((0.94, 0.96, 1.0), np.float32) - colour)
    p.dab((rows, columns), colour, coverage)


def _lake(p: Painter, look: Mood, sun: tuple[float, float], shore: float) -> None:
    line = int(shore)
    rows = np.arange(line, HEIGHT)
    down = (rows - line).astype(np.float32)
    ripple = field(p.rng, (len(rows), p.width), (3.0, 34), 3, 0.6)
    shift = ripple * (0.6 + 0.05 * down)[:, None]
    source = np.clip(line - 1 - (down[:, None] * 1.35 + shift * 1.6), 0, line - 1).astype(int)
    columns = (np.arange(p.width)[None] + (shift * 1.4).round().astype(int)) % p.width
    mirrored = p.picture[source, columns]
    tint = np.asarray(look.water, np.float32)
    deep = np.clip(0.22 + 0.004 * down, 0, 0.6)[:, None, None]
    water = mirrored + deep * (tint - mirrored)
    water *= (1 + 0.10 * ripple)[:, :, None]
    glitter = np.exp(-(((np.arange(p.width) - sun[0] + p.width / 2) % p.width - p.width / 2) / 22) ** 2).astype(np.float32)
    sparkle = np.clip(ripple * 2.2 - 0.25, 0, 1) * glitter[None] * np.float32(0.75 * look.glow + 0.15)
    water += sparkle[:, :, None] * (np.asarray(look.disc, np.float32) - water)
    p.picture[line:] = water
    p.picture[line:line + 2] *= np.float32(0.86)


def _bank(p: Painter, look: Mood) -> None:
    ridge = HEIGHT * (0.925 - 0.05 * waves(p.rng, p.width, 170, 4, 0.45))
    texture = field(p.rng, (HEIGHT, p.width), (5, 4), 3, 0.7)
    grass = np.asarray(look.grass, np.float32)
    depth = np.clip((p.y - ridge[None]) / 40, 0, 1)
    p.over(grass * (1.02 + 0.22 * texture - 0.35 * depth)[:, :, None], p.below(ridge))
    for _ in range(p.width // 2):  # blades on the edge, and flowers
        x = p.rng.uniform(0, p.width)
        y = float(ridge[int(x)]) + p.rng.uniform(0, 26)
        rows, columns, dy, dx = p.spot(x, y, (5, 3))
        if rows.stop <= rows.start:
            continue
        bent = dx - np.float32(p.rng.uniform(-0.35, 0.35)) * dy
        blade = np.clip(0.9 - np.abs(bent), 0, 1) * np.clip(4.5 - np.abs(dy), 0, 1)
        p.dab((rows, columns), grass * np.float32(p.rng.uniform(0.6, 1.25)), 0.8 * blade)
        if p.rng.uniform() < 0.14 and look.white < 1.0:
            bloom = _mix(((0.96, 0.82, 0.25), (0.93, 0.42, 0.45), (0.96, 0.95, 0.92))[int(p.rng.integers(3))], look.near,
                         0.75 * (1 - look.light))
            p.dab((rows, columns), bloom, np.clip(1.6 - np.sqrt(dx**2 + (dy + 4) ** 2), 0, 1))
    dense = waves(p.rng, p.width, 260, 2)
    x = p.rng.uniform(0, 60)
    while x < p.width:
        if dense[int(x) % p.width] > -0.2:
            foot = float(ridge[int(x) % p.width])
            _tree(p, look, x, foot + p.rng.uniform(4, 14), p.rng.uniform(26, 90), 0.0)
        x += p.rng.uniform(10, 75)


def landscapes(count: int, seed: int, width: int = 1024) -> dict[str, npt.NDArray[np.uint8]]:
    """So many landscapes of every mood, uint8 [count,256,width,3]."""
    return {mood: np.stack([landscape(mood, np.random.default_rng((seed, i, j)), width) for j in range(count)])
            for i, mood in enumerate(MOODS)}
