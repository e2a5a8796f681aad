"""From a photograph to the square a generator knows, and back: crop, face alignment, paste."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import InvalidInputError
from .poisson import poisson_blend

Point = tuple[float, float]

FACE_SCALE_EYES, FACE_SCALE_MOUTH, FACE_SHIFT = 2.0, 1.8, 0.1
"""The FFHQ alignment: half the side is the larger of these times the eye and the eye-to-mouth distance, and the centre
lies this share of the way from the eyes to the mouth."""


@dataclass(frozen=True)
class Crop:
    """A square of a photograph, possibly turned, possibly reaching beyond its edges.

    centre: x, y in pixels of the photograph, 0 at its left and upper edge. half: vector x, y from the centre to the
    middle of the right side; the lower side lies a quarter turn clockwise. height, width: of the photograph.
    """

    centre: Point
    half: Point
    height: int
    width: int

    @property
    def side(self) -> float:
        """Side of the square in pixels of the photograph."""
        return 2 * math.hypot(*self.half)


def centre_crop(height: int, width: int) -> Crop:
    """The largest square about the middle."""
    return Crop((width / 2, height / 2), (min(height, width) / 2, 0.0), height, width)


def box_crop(height: int, width: int, x: int, y: int, side: int) -> Crop:
    """The square with its upper left corner at x, y; it must lie inside the photograph."""
    if side < 1 or x < 0 or y < 0 or x + side > width or y + side > height:
        raise InvalidInputError(f"The square of {side} pixels at x {x}, y {y} reaches beyond the photograph of "
                                f"{width}x{height} pixels; choose a smaller one.")
    return Crop((x + side / 2, y + side / 2), (side / 2, 0.0), height, width)


def face_crop(height: int, width: int, landmarks: Sequence[Point]) -> Crop:
    """The square of the FFHQ alignment (Karras et al. 2019, appendix C).

    landmarks: left eye, right eye, left and right corner of the mouth, x, y in pixels; left as seen in the picture.
    """
    if len(landmarks) != 4:
        raise InvalidInputError(f"A face is aligned by 4 points (left eye, right eye, left and right corner of the mouth), "
                                f"got {len(landmarks)}.")
    (lx, ly), (rx, ry), (mlx, mly), (mrx, mry) = landmarks
    eyes, across = ((lx + rx) / 2, (ly + ry) / 2), (rx - lx, ry - ly)
    down = ((mlx + mrx) / 2 - eyes[0], (mly + mry) / 2 - eyes[1])
    direction = (across[0] + down[1], across[1] - down[0])
    length = math.hypot(*direction)
    if length < 1e-6:
        raise InvalidInputError("The four points of the face lie on each other; give the eyes and the corners of the "
                                "mouth in pixels.")
    half = max(FACE_SCALE_EYES * math.hypot(*across), FACE_SCALE_MOUTH * math.hypot(*down))
    centre = (eyes[0] + FACE_SHIFT * down[0], eyes[1] + FACE_SHIFT * down[1])
    return Crop(centre, (direction[0] / length * half, direction[1] / length * half), height, width)


def extract(photograph: Tensor, crop: Crop, size: int) -> Tensor:
    """The crop of a photograph [B,H,W,C] as [B,size,size,C], antialiased; beyond the edges the photograph is mirrored."""
    _require_photograph(photograph, crop)
    finer = max(1, math.ceil(crop.side / size))
    step = (torch.arange(size * finer, dtype=torch.float32) + 0.5) / (size * finer) * 2 - 1
    v, u = torch.meshgrid(step, step, indexing="ij")
    (cx, cy), (hx, hy) = crop.centre, crop.half
    x, y = cx + u * hx - v * hy, cy + u * hy + v * hx
    grid = torch.stack([x / crop.width * 2 - 1, y / crop.height * 2 - 1], dim=-1)
    picture = photograph.permute(0, 3, 1, 2).float()
    found = F.grid_sample(picture, grid[None].expand(len(picture), -1, -1, -1), mode="bilinear",
                          padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(found, finer).permute(0, 2, 3, 1)


def paste(photograph: Tensor, picture: Tensor, crop: Crop, mask: Tensor | None = None, *, blend: str = "feather",
          feather: float = 8.0, reconstruction: Tensor | None = None) -> Tensor:
    """Put a crop back: [B,H,W,C] with `picture` [B,S,S,C] where the crop was taken.

    mask: float [B,S,S] 0..1, the part of the crop to put back; all of it if none is given. blend: 'feather' fades over
    `feather` pixels of the photograph inside the mask's border, 'poisson' keeps the picture's gradients and meets the
    photograph at the border (Perez et al. 2003), 'none' cuts hard. reconstruction [B,S,S,C]: what the generator drew
    before the edit; when given, only the change picture - reconstruction is added to the photograph, so that what the
    generator cannot draw stays. Pixels that the mask does not reach keep their value exactly.
    """
    _require_photograph(photograph, crop)
    if reconstruction is not None and reconstruction.shape != picture.shape:
        raise InvalidInputError(f"The reconstruction {list(reconstruction.shape)} and the picture to paste "
                                f"{list(picture.shape)} differ in shape; give the reconstruction of the same crop.")
    whole = torch.ones(1, *picture.shape[1:3]) if mask is None else mask
    if tuple(whole.shape[1:]) != tuple(picture.shape[1:3]):
        whole = F.interpolate(whole[:, None], tuple(picture.shape[1:3]), mode="bilinear", align_corners=False)[:, 0]
    channels = torch.cat([(picture if reconstruction is None else picture - reconstruction).float(),
                          whole.float()[..., None].expand(len(picture), -1, -1, 1)], dim=3)
    placed = _place(channels, crop)
    new, cover = placed[..., :-1], placed[..., -1:]
    cover = torch.where(_inside(crop, picture.shape[1])[None, :, :, None], cover, torch.zeros_like(cover))
    base = photograph[..., :3].float()
    new = new if reconstruction is None else base + new
    if blend == "poisson":
        return poisson_blend(base, new, cover[..., 0] > 0.5)
    if blend == "feather" and feather > 0:
        cover = _feathered(cover, feather)
    elif blend == "none":
        cover = (cover > 0.5).float()
    return torch.where(cover > 0, base + (new - base) * cover, base).clamp(0, 1)


def _require_photograph(photograph: Tensor, crop: Crop) -> None:
    if tuple(photograph.shape[1:3]) != (crop.height, crop.width):
        raise InvalidInputError(f"The crop was taken from a photograph of {crop.width}x{crop.height} pixels, this one has "
                                f"{photograph.shape[2]}x{photograph.shape[1]}; give the same photograph.")


def _coordinates(crop: Crop) -> tuple[Tensor, Tensor]:
    """For every pixel centre of the photograph, where it lies in the crop: u, v [H,W], -1..1 inside."""
    y, x = torch.meshgrid(torch.arange(crop.height) + 0.5 - crop.centre[1], torch.arange(crop.width) + 0.5 - crop.centre[0],
                          indexing="ij")
    hx, hy = crop.half
    square = hx * hx + hy * hy
    return (x * hx + y * hy) / square, (y * hx - x * hy) / square


def _inside(crop: Crop, size: int) -> Tensor:
    """bool [H,W]: pixels whose centre the crop covers."""
    u, v = _coordinates(crop)
    return (u.abs() <= 1) & (v.abs() <= 1)


def _place(picture: Tensor, crop: Crop) -> Tensor:
    """[B,S,S,C] -> [B,H,W,C] in the photograph's pixels, antialiased where the photograph is coarser."""
    x = picture.permute(0, 3, 1, 2)
    coarser = crop.side / x.shape[2]
    if coarser < 1:
        size = max(1, round(crop.side))
        x = F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)
    u, v = _coordinates(crop)
    grid = torch.stack([u, v], dim=-1)[None].expand(len(x), -1, -1, -1)
    mode = "bicubic" if coarser > 1 else "bilinear"
    return F.grid_sample(x, grid, mode=mode, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)


def _feathered(cover: Tensor, feather: float) -> Tensor:
    """Fade [B,H,W,1] from 0 at the border to 1 `feather` pixels inside it; nothing outside the border is reached."""
    radius = max(1, round(feather / 2))
    x = cover.permute(0, 3, 1, 2)
    eroded = -F.max_pool2d(-F.pad(x, [radius] * 4, mode="replicate"), 2 * radius + 1, stride=1)
    smooth = F.avg_pool2d(F.pad(eroded, [radius] * 4, mode="replicate"), 2 * radius + 1, stride=1)
    return (smooth * (x > 0)).permute(0, 2, 3, 1)
