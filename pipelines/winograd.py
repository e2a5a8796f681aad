"""3x3 convolutions on a CPU by Winograd's minimal filtering (Lavin and Gray 2016): tiles of the picture and the kernel are
transformed, multiplied, transformed back. F(2x2,3x3) takes 2.25 times fewer products than the direct form, F(4x4,3x3) four
times. Of 512 channels the largest rounding error is about 3e-6 and 1e-5 of the output's deviation, the direct form's 1e-6."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

FEWEST_CHANNELS = 128
LARGE_MAP = 16
"""From this side on, tiles of 4x4 are faster than tiles of 2x2."""
FEW_TILES = 64
"""A picture of fewer has the kernels as the left factor: their rows are more than the tiles."""
POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 0.75, -0.75, 1.5, -1.5)}
"""By side of the tile: where polynomials are evaluated, infinity besides. 0, 1, -1, 2, -2, which most use for 4, have three to
four times the largest error."""
TAPS = 3


def toom_cook(tile: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrices of F(tile, 3) in one dimension, n = tile + 2: into [n,n], kernel [n,3] and out [tile,n], with which n pixels
    and 3 weights give tile outputs, out @ ((into @ pixels) * (kernel @ weights))."""
    points = POINTS[tile]
    n = tile + TAPS - 1
    into, kernel, out = np.zeros((n, n)), np.zeros((n, TAPS)), np.zeros((tile, n))
    for row, point in enumerate(points):
        others = [other for other in points if other != point]
        into[row, :-1] = np.poly(others)[::-1]
        kernel[row] = point ** np.arange(TAPS) / np.prod([point - other for other in others])
        out[:, row] = point ** np.arange(tile)
    into[-1], kernel[-1, -1], out[-1, -1] = np.poly(points)[::-1], 1, 1
    return into, kernel, out


@functools.cache
def _transforms(tile: int) -> tuple[Tensor, Tensor]:
    """Of a tile of pixels and of its products, flattened: [n^2,n^2] and [tile^2,n^2]."""
    into, _, out = toom_cook(tile)
    with torch.inference_mode(False):
        return torch.from_numpy(np.kron(into, into)).float(), torch.from_numpy(np.kron(out, out)).float()


def tile_for(padded: Tensor) -> int:
    """2 or 4, whichever is faster for a padded picture [B,C,H+2,W+2]."""
    return 4 if min(padded.shape[2:]) - 2 >= LARGE_MAP else 2


def only_inferring(x: Tensor, weight: Tensor) -> bool:
    """Whether a layer computes in float32 on the CPU and nothing is differentiated."""
    return (not weight.requires_grad and not x.requires_grad and x.device.type == "cpu" and x.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu"))


def serves(padded: Tensor, weight: Tensor) -> bool:
    """Whether a convolution is of the kind that gains: 3x3, wide, frozen."""
    return (tuple(weight.shape[2:]) == (3, 3) and weight.shape[1] >= FEWEST_CHANNELS and weight.shape[0] >= FEWEST_CHANNELS
            and only_inferring(padded, weight))


def transformed(weight: Tensor, tile: int) -> Tensor:
    """Kernels [O,I,3,3] in the form that `convolve` takes, [n^2,O,I]."""
    g = torch.from_numpy(toom_cook(tile)[1])
    return torch.einsum("ij,ocjk,lk->iloc", g, weight.double(), g).flatten(0, 1).float().contiguous()


def convolve(padded: Tensor, kernels: Tensor, tile: int) -> Tensor:
    """conv2d(padded [B,C,H+2,W+2], weight) -> [B,O,H,W], without bias. Fast with channels last in memory, and so is
    the result: then tiles are taken and put in runs of all channels."""
    height, width = (int(side) - 2 for side in padded.shape[2:])
    rows, columns, n = -(-height // tile), -(-width // tile), tile + 2
    if (rows * tile, columns * tile) != (height, width):
        padded = F.pad(padded, (0, columns * tile - width, 0, rows * tile - height))
    batch, channels = padded.shape[:2]
    into, out = _transforms(tile)
    tiles = padded.permute(0, 2, 3, 1).unfold(1, n, tile).unfold(2, n, tile)  # [B,rows,columns,C,n,n]
    x = (into @ tiles.permute(4, 5, 0, 1, 2, 3).reshape(n * n, -1)).view(n * n, -1, channels)
    if rows * columns < FEW_TILES:
        products = torch.bmm(kernels, x.transpose(1, 2))
        y = (out @ products.flatten(1)).view(tile, tile, -1, batch, rows, columns).permute(3, 4, 0, 5, 1, 2)
    else:
        products = torch.bmm(x, kernels.transpose(1, 2))
        y = (out @ products.flatten(1)).view(tile, tile, batch, rows, columns, -1).permute(2, 3, 0, 4, 1, 5)
    y = y.reshape(batch, rows * tile, columns * tile, -1)
    return y[:, :height, :width].permute(0, 3, 1, 2)
