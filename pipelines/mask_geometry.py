"""Geometry of boolean masks: the exact nearest pixel, and connected components. NumPy, one mask at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BoolMask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

_NOWHERE = 2**20
FAR = _NOWHERE**2 // 4
"""Squared distances from here on mean that there is no such pixel; masks are far smaller than this."""


def nearest_true(mask: BoolMask, query: BoolMask) -> tuple[Integers, Integers]:
    """For each pixel of `query`, in row-major order, the nearest True pixel of `mask` in the Euclidean sense.

    mask, query: bool [H,W]. Returns the squared distances and the flat indices y * W + x, both int64 [N]; where there
    is no True pixel at all the distance is FAR or more. Ties go to the nearer column, the left one, the upper row.
    Exact: first the nearest pixel within each column, then, for the pixels still open, one column further on both
    sides until no column can be nearer; so a search among close neighbours is quick.
    """
    width = mask.shape[1]
    drop, row = _nearest_in_column(mask)
    drop, row = drop.reshape(-1), row.reshape(-1)
    pixels = np.flatnonzero(query)
    best, source = drop[pixels], pixels.copy()
    active = np.arange(len(pixels))
    for offset in range(1, width):
        active = active[best[active] > offset * offset]
        if not len(active):
            break
        for step in (-offset, offset):
            column = pixels[active] % width + step
            here = active[(column >= 0) & (column < width)]
            neighbour = pixels[here] + step
            distance = drop[neighbour] + offset * offset
            nearer = distance < best[here]
            best[here[nearer]], source[here[nearer]] = distance[nearer], neighbour[nearer]
    return best, row[source] * width + source % width


def _nearest_in_column(mask: BoolMask) -> tuple[Integers, Integers]:
    """Squared distance to, and row of, the nearest True pixel in the same column: int64 [H,W] each."""
    rows = np.arange(mask.shape[0], dtype=np.int64)[:, None]
    above = np.maximum.accumulate(np.where(mask, rows, -_NOWHERE), axis=0)
    below = np.minimum.accumulate(np.where(mask, rows, _NOWHERE)[::-1], axis=0)[::-1]
    row = np.where(rows - above <= below - rows, above, below)
    distance = (row - rows) ** 2
    return distance, np.clip(row, 0, mask.shape[0] - 1)


def components(mask: BoolMask) -> tuple[Integers, int]:
    """The 8-connected components of a mask: their numbers int64 [H,W], 0 outside, and how many there are.

    Numbered from 1 in the order of their first pixel, row by row. The runs of each row are the nodes of a graph whose
    edges join runs that touch in the next row; the smallest run number spreads over edges with pointer jumping.
    """
    height, width = mask.shape
    stride = width + 2  # a gap between rows, so that runs touch only within and across neighbouring rows
    padded = np.zeros((height, stride), dtype=np.int8)
    padded[:, 1:-1] = mask
    edges = np.diff(padded.reshape(-1), prepend=np.int8(0))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    upper, lower = _touching(starts, ends, stride)
    root = _smallest_connected(len(starts), upper, lower)
    _, number = np.unique(root, return_inverse=True)
    values = np.zeros((height, stride), dtype=np.int64).reshape(-1)
    np.add.at(values, starts, number + 1)
    np.subtract.at(values, ends, number + 1)
    numbers = np.cumsum(values).reshape(height, stride)[:, 1:-1]
    return numbers, int(number.max(initial=-1)) + 1


def _touching(starts: Integers, ends: Integers, stride: int) -> tuple[Integers, Integers]:
    """The pairs of runs that touch, also at a corner, one row apart; run i covers starts[i]..ends[i]-1."""
    first = np.searchsorted(ends, starts + stride, side="left")
    last = np.searchsorted(starts, ends + stride, side="right")
    count = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), count)
    lower = np.arange(len(upper)) + np.repeat(first - (np.cumsum(count) - count), count)
    return upper, lower


def _smallest_connected(nodes: int, a: Integers, b: Integers) -> Integers:
    """For each node of an undirected graph, the smallest node connected to it."""
    root = np.arange(nodes)
    while True:
        smallest = np.minimum(root[a], root[b])
        joined = root.copy()
        np.minimum.at(joined, root[a], smallest)
        np.minimum.at(joined, root[b], smallest)
        while not np.array_equal(joined[joined], joined):
            joined = joined[joined]
        if np.array_equal(joined, root):
            return root
        root = joined
