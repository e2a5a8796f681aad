"""Picture files -> tensors as the host's LoadImage gives them, and resizing as its ImageScale does.

The host decodes with FFmpeg, this with Pillow. Colour, indexed, transparent and 16-bit grey PNGs are equal to the bit.
FFmpeg's 8-bit grey is up to 1/255 darker, JPEG chroma differs by a few 1/255, and it ignores mirroring in EXIF.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence
from torch import Tensor
from torch.nn import functional

from ..pipelines.errors import InvalidInputError

MAX_PIXELS = 100_000_000
"""Pixels of all frames together; a header that claims more is refused before anything is decoded."""

RESIZE_METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
CROP_METHODS = ("disabled", "center")

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, OverflowError, struct.error, zlib.error)


def load_picture(path: Path) -> tuple[Tensor, Tensor]:
    """Pictures [B,H,W,3] and masks, float32 in 0..1; B is the number of frames.

    The mask is 1 - alpha, [B,H,W]; without transparency it is zeros [B,64,64], except that an indexed picture always
    gets one of its own size. 16-bit grey keeps its depth; the EXIF orientation is applied; frames of another size than
    the first are left out. Raises InvalidInputError when the file is missing, no picture, damaged or too large.
    """
    if not path.is_file():
        raise InvalidInputError(f"The picture {path.name} does not exist.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
            with image:
                _check_size(image, path.name)
                frames = cast("Iterable[Image.Image]", ImageSequence.Iterator(image))
                return _stack([_frame(frame) for frame in frames])
    except Image.DecompressionBombError as error:
        raise _too_large(path.name, None) from error
    except Image.UnidentifiedImageError as error:
        raise InvalidInputError(f"{path.name} is not a picture: expected PNG, JPEG, WebP or the like.") from error
    except InvalidInputError:
        raise
    except _DAMAGE as error:
        raise InvalidInputError(f"The picture {path.name} is damaged: {error}.") from error


def _check_size(image: Image.Image, name: str) -> None:
    frames = int(getattr(image, "n_frames", 1))
    if image.width * image.height * frames > MAX_PIXELS:
        raise _too_large(name, f"{image.width} x {image.height}" + (f" with {frames} frames" if frames > 1 else ""))


def _too_large(name: str, size: str | None) -> InvalidInputError:
    limit = f"more than {MAX_PIXELS // 1_000_000} megapixels: make it smaller first."
    return InvalidInputError(f"The picture {name} is too large{f' ({size})' if size else ''}, {limit}")


def _frame(frame: Image.Image) -> tuple[Tensor, Tensor | None]:
    """One frame: colours [H,W,3] and 1 - alpha [H,W] or None."""
    image = ImageOps.exif_transpose(frame)
    if image.mode.startswith("I") or image.mode == "F":
        scale = 1.0 if image.mode == "F" else 65535.0
        grey = torch.as_tensor(np.asarray(image).astype(np.float32) / scale).clamp(0, 1)
        return grey.unsqueeze(-1).expand(-1, -1, 3), None
    indexed = image.mode in ("P", "PA")
    if indexed or image.has_transparency_data:
        rgba = torch.as_tensor(np.array(image.convert("RGBA"), dtype=np.float32) / 255.0)
        return rgba[..., :3], 1.0 - rgba[..., 3]
    return torch.as_tensor(np.array(image.convert("RGB"), dtype=np.float32) / 255.0), None


def _stack(frames: list[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor]:
    size = frames[0][0].shape
    kept = [(colours, mask) for colours, mask in frames if colours.shape == size]
    images = torch.stack([colours for colours, _ in kept])
    masks = [mask for _, mask in kept if mask is not None]
    if not masks:
        return images, torch.zeros(len(kept), 64, 64)
    opaque = torch.zeros(size[:2])
    return images, torch.stack([opaque if mask is None else mask for _, mask in kept])


def resize(images: Tensor, width: int, height: int, method: str, crop: str = "disabled") -> Tensor:
    """[B,H,W,C] in 0..1 -> [B,height,width,C].

    method is one of RESIZE_METHODS; "lanczos" goes through 8 bits, as in the host. crop "center" first cuts the
    middle out in the target's aspect ratio.
    """
    planes = images.movedim(-1, 1)
    if crop == "center":
        planes = _centre(planes, width, height)
    if method == "lanczos":
        return torch.stack(list(_lanczos(planes.movedim(1, -1), width, height))).to(images)
    return functional.interpolate(planes, size=(height, width), mode=method).movedim(1, -1)


def _centre(planes: Tensor, width: int, height: int) -> Tensor:
    """The middle of [B,C,H,W] in the ratio width : height."""
    old_height, old_width = planes.shape[-2:]
    old_ratio, ratio = old_width / old_height, width / height
    x = round((old_width - old_width * (ratio / old_ratio)) / 2) if old_ratio > ratio else 0
    y = round((old_height - old_height * (old_ratio / ratio)) / 2) if old_ratio < ratio else 0
    x, y = min(x, (old_width - 1) // 2), min(y, (old_height - 1) // 2)
    return planes[..., y : old_height - y, x : old_width - x]


def _lanczos(images: Tensor, width: int, height: int) -> Iterator[Tensor]:
    grey = images.shape[-1] == 1
    for image in images:
        pixels = (255.0 * image.cpu()).clamp(0, 255).to(torch.uint8).numpy()
        small = Image.fromarray(pixels[..., 0] if grey else pixels).resize((width, height), Image.Resampling.LANCZOS)
        result = torch.as_tensor(np.array(small, dtype=np.float32) / 255.0)
        yield result.unsqueeze(-1) if grey else result
