"""Part labels: what the parts are called, how they are shown, and which pixel belongs to which."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from .errors import InvalidInputError, LabelSetMismatchError

Colour = tuple[int, int, int]

MAX_LABELS = 256
MAX_NAME_LENGTH = 64
MAX_SIDE = 4096
"""The largest width and height of a label map that is read from outside."""
BACKGROUND = "background"
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""Control characters, other line ends, changes of the writing direction, halves of characters."""
SHOWN_LENGTH = 40


@dataclass(frozen=True)
class LabelSet:
    """Names and colours of 1..256 parts; the position in the list is the label id, and id 0 is the background.

    names: distinct, not empty, one line, at most 64 characters. colours: (r, g, b), integers 0..255, one per name.
    Raises InvalidInputError.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MAX_LABELS:
            raise InvalidInputError(f"A label set has 1 to {MAX_LABELS} labels, got {len(self.names)}.")
        if len(self.colours) != len(self.names):
            raise InvalidInputError(
                f"A label set has one colour per name, got {len(self.names)} names and {len(self.colours)} colours.")
        for position, name in enumerate(self.names):
            _check_name(name, position)
        if len(set(self.names)) != len(self.names):
            twice = next(name for i, name in enumerate(self.names) if name in self.names[:i])
            raise InvalidInputError(f"The names of a label set are distinct, got '{twice}' more than once.")
        if self.names[0].casefold() != BACKGROUND:
            raise InvalidInputError(f"Label 0 of a label set is '{BACKGROUND}', got '{self.names[0]}'; list it first.")
        for name, colour in zip(self.names, self.colours, strict=True):
            if not _is_colour(colour):
                raise InvalidInputError(
                    f"The colour of label '{name}' is three integers from 0 to 255, got {shown(colour)}.")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """The id of `name`; InvalidInputError lists the names there are."""
        if name not in self.names:
            raise InvalidInputError(f"There is no label '{name:.64}'; the labels are {', '.join(self.names)}.")
        return self.names.index(name)

    def indices(self, names: Iterable[str]) -> tuple[int, ...]:
        """The ids of several names, each once, in ascending order."""
        return tuple(sorted({self.index(name) for name in names}))

    def palette(self) -> Tensor:
        """The colours as uint8 [N,3]."""
        return torch.tensor(self.colours, dtype=torch.uint8)

    def to_json(self) -> dict[str, object]:
        """A plain dict for JSON: {"names": [...], "colours": [[r, g, b], ...]}."""
        return {"names": list(self.names), "colours": [list(colour) for colour in self.colours]}

    @classmethod
    def from_json(cls, value: object) -> LabelSet:
        """The inverse of `to_json`; without "colours" the default palette is used. Raises InvalidInputError."""
        if not isinstance(value, Mapping):
            raise InvalidInputError(f"A label set is a JSON object with names and colours, got {shown(value)}.")
        fields = cast("Mapping[object, object]", value)
        names = fields.get("names")
        if not isinstance(names, list | tuple):
            raise InvalidInputError(f"The names of a label set are a list, got {shown(names)}.")
        names = cast("list[str]", names)
        colours = fields.get("colours")
        if colours is None:
            return cls(tuple(names), default_palette(min(len(names), MAX_LABELS)))
        if not isinstance(colours, list | tuple):
            raise InvalidInputError(f"The colours of a label set are a list of [r, g, b], got {shown(colours)}.")
        colours = cast("list[object]", colours)
        tuples = (tuple(cast("list[int]", c)) if isinstance(c, list | tuple) else c for c in colours)
        return cls(tuple(names), tuple(cast("Iterable[Colour]", tuples)))


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One label id per pixel. ids: uint8 [B,H,W], every id smaller than len(labels). Raises InvalidInputError."""

    ids: Tensor
    labels: LabelSet

    def __post_init__(self) -> None:
        if self.ids.dtype != torch.uint8 or self.ids.ndim != 3 or 0 in self.ids.shape:
            kind = str(self.ids.dtype).removeprefix("torch.")
            raise InvalidInputError(
                f"The ids of a label map are uint8 [B,H,W] with at least one pixel, got {kind} {list(self.ids.shape)}.")
        highest = int(self.ids.max())
        if highest >= len(self.labels):
            raise InvalidInputError(
                f"A label map with {len(self.labels)} labels has ids 0 to {len(self.labels) - 1}, got {highest}.")

    def __len__(self) -> int:
        """The number of samples B."""
        return self.ids.shape[0]

    @property
    def height(self) -> int:
        return self.ids.shape[1]

    @property
    def width(self) -> int:
        return self.ids.shape[2]

    def sample(self, index: int) -> LabelMap:
        """The map of one sample, ids [1,H,W]."""
        if not 0 <= index < len(self):
            raise InvalidInputError(f"The label map has samples 0 to {len(self) - 1}, got {index}.")
        return LabelMap(self.ids[index : index + 1], self.labels)


def default_palette(count: int) -> tuple[Colour, ...]:
    """Distinct colours for `count` labels: black for the background, then hues a golden-ratio step apart."""
    colours: dict[Colour, None] = {(0, 0, 0): None}
    step = 0
    while len(colours) < count:
        rings = (0.95, 0.7, 0.5)
        rgb = colorsys.hsv_to_rgb(step * 0.618033988749895 % 1.0, 0.85 - 0.25 * (step % 2), rings[step // 2 % 3])
        red, green, blue = (round(255 * value) for value in rgb)
        colours[red, green, blue] = None
        step += 1
    return tuple(colours)[:count]


def render(label_map: LabelMap) -> Tensor:
    """The map in its colours: float32 [B,H,W,3] in 0..1."""
    palette = label_map.labels.palette().to(label_map.ids.device).float() / 255
    return palette[label_map.ids.long()]


def match_colours(image: Tensor, labels: LabelSet) -> tuple[Tensor, Tensor]:
    """Which label each pixel's colour belongs to.

    image: uint8, or float in 0..1 (rounded to 8 bits), [B,H,W,3]. Returns ids uint8 [B,H,W] and the bool mask
    [B,H,W] of the pixels whose colour no label has (their id is 0). Raises InvalidInputError when the image is of
    another kind, or when two labels share a colour.
    """
    if image.ndim != 4 or image.shape[-1] != 3 or 0 in image.shape:
        raise InvalidInputError(f"A label picture is an RGB image [B,H,W,3], got {list(image.shape)}.")
    if len(set(labels.colours)) != len(labels):
        first = next(i for i, colour in enumerate(labels.colours) if colour in labels.colours[:i])
        other = labels.colours.index(labels.colours[first])
        raise InvalidInputError(f"Labels '{labels.names[other]}' and '{labels.names[first]}' share one colour, so "
                                f"they cannot be told apart in a picture.")
    if image.is_floating_point():
        if not bool(torch.isfinite(image).all()):
            raise InvalidInputError("A label picture has finite values from 0 to 1, got NaN or infinity.")
        image = (image.double() * 255).round().clamp(-1, 256)
    elif image.dtype != torch.uint8:
        raise InvalidInputError(f"A label picture is uint8 or float, got {str(image.dtype).removeprefix('torch.')}.")
    red, green, blue = image.long().unbind(-1)
    inside = torch.stack([(c >= 0) & (c <= 255) for c in (red, green, blue)]).all(dim=0)
    codes = torch.where(inside, (red << 16) | (green << 8) | blue, -1)
    known, ids = torch.sort(_colour_codes(labels).to(image.device))
    slots = torch.searchsorted(known, codes).clamp(max=len(labels) - 1)
    unmatched = known[slots] != codes
    return torch.where(unmatched, 0, ids[slots]).to(torch.uint8), unmatched


def from_colours(image: Tensor, labels: LabelSet, *, where: str = "The label picture") -> LabelMap:
    """The label map whose rendering is `image` (as `match_colours` takes it).

    Raises InvalidInputError naming how many pixels match no label, and the first of them.
    """
    ids, unmatched = match_colours(image, labels)
    count = int(unmatched.sum())
    if count:
        sample, y, x = (int(v) for v in unmatched.nonzero()[0])
        pixel = image[sample, y, x].double()
        colour = tuple(int(v) for v in (pixel * 255 if image.is_floating_point() else pixel).round())
        raise InvalidInputError(
            f"{where} has {count} pixels whose colour belongs to no label, the first at x {x}, y {y} of sample "
            f"{sample} with colour {colour}; use the exact colours of the label set, without antialiasing or JPEG.")
    return LabelMap(ids, labels)


def require_same_labels(a: LabelSet, b: LabelSet, where: str) -> None:
    """LabelSetMismatchError unless both name the same parts in the same order; colours may differ.

    where: the sentence's beginning, e.g. "Optimise Edit Vector: the target label map and the segmenter".
    """
    if a.names == b.names:
        return
    if len(a) != len(b):
        found = f"{len(a)} ({_first_names(a)}) and {len(b)} labels ({_first_names(b)})"
    else:
        i = next(i for i, (one, other) in enumerate(zip(a.names, b.names, strict=True)) if one != other)
        found = f"'{a.names[i]}' and '{b.names[i]}' as label {i}"
    raise LabelSetMismatchError(f"{where} must name the same parts, got {found}; use a label map made for this model.")


def _first_names(labels: LabelSet) -> str:
    return ", ".join(labels.names[:5]) + (", ..." if len(labels) > 5 else "")


def _colour_codes(labels: LabelSet) -> Tensor:
    palette = labels.palette().long()
    return (palette[:, 0] << 16) | (palette[:, 1] << 8) | palette[:, 2]


def shown(value: object) -> str:
    """A value from outside as an error sentence shows it, in the words that the painter in the browser uses, too."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{_INVISIBLE.sub('?', value[:SHOWN_LENGTH])}'"
    if isinstance(value, int) and abs(value) < 10**15:
        return str(value)
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list | tuple) else "an object"


def _check_name(name: object, position: int) -> None:
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_LENGTH or _INVISIBLE.search(name):
        raise InvalidInputError(f"The name of label {position} is one line of 1 to {MAX_NAME_LENGTH} characters, "
                                f"got {shown(name)}.")


def _is_colour(value: object) -> bool:
    if not isinstance(value, tuple):
        return False
    values = cast("tuple[object, ...]", value)
    return len(values) == 3 and all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 255 for v in values)
