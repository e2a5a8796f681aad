"""Edit vectors added, averaged, turned around, made independent of one another, and read off pairs of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from ..errors import FingerprintMismatchError, InvalidInputError
from .latents import WPlus, require_same_generator
from .vectors import EditVector

DEGENERATE = 1e-5
"""A vector of which less than this share is left after taking others out of it has nothing of its own."""


def require_same_vectors(vectors: Sequence[EditVector]) -> None:
    """Raise unless all belong to one generator (an unknown one fits any) and have one shape."""
    if not vectors:
        raise InvalidInputError("At least one edit vector is needed, got none; connect one.")
    first = next((v for v in vectors if v.fingerprint), vectors[0])
    for vector in vectors:
        if vector.fingerprint and vector.fingerprint != first.fingerprint:
            raise FingerprintMismatchError(
                f"Edit vector '{vector.name}' belongs to generator {vector.owner}, but '{first.name}' to {first.owner}; "
                f"vectors of different generators do not add up.")
        if vector.delta.shape != first.delta.shape:
            raise InvalidInputError(f"Edit vector '{vector.name}' has shape {list(vector.delta.shape)}, but "
                                    f"'{first.name}' {list(first.delta.shape)}.")


def _made_from(vectors: Sequence[EditVector], delta: Tensor, name: str, edit_type: str, how: dict[str, object]) -> EditVector:
    labels = tuple(dict.fromkeys(label for vector in vectors for label in vector.labels))
    tags = tuple(dict.fromkeys(tag for vector in vectors for tag in vector.tags))
    owner = next((v for v in vectors if v.fingerprint), vectors[0])
    return EditVector(delta, name=name or " + ".join(v.name for v in vectors), fingerprint=owner.fingerprint,
                      generator=owner.generator, edit_type=edit_type, labels=labels, tags=tags,
                      provenance={"from": [v.name for v in vectors], **how})


def combine(vectors: Sequence[EditVector], strengths: Sequence[float], name: str = "") -> EditVector:
    """sum of strength * delta: several edits as one vector (EditGAN, section 3.3: vectors compose by addition)."""
    require_same_vectors(vectors)
    if len(vectors) != len(strengths) or not all(math.isfinite(s) for s in strengths):
        raise InvalidInputError(f"Every edit vector needs one finite strength, got {len(vectors)} vectors and "
                                f"{list(strengths)}.")
    delta = torch.stack([s * v.delta for v, s in zip(vectors, strengths, strict=True)]).sum(dim=0)
    return _made_from(vectors, delta, name, "combined", {"strengths": [float(s) for s in strengths]})


def average(vectors: Sequence[EditVector], name: str = "") -> EditVector:
    """The mean of several vectors of one edit, which carries over to other pictures better than any of them."""
    require_same_vectors(vectors)
    delta = torch.stack([v.delta for v in vectors]).mean(dim=0)
    return _made_from(vectors, delta, name, "averaged", {})


def negate(vector: EditVector) -> EditVector:
    """The opposite edit; its strengths are turned around too."""
    low, high = vector.strength_range
    return replace(vector, delta=-vector.delta, name=f"not {vector.name}", strength_range=(-high, -low))


def orthogonalise(vector: EditVector, others: Sequence[EditVector], *, per_row: bool = False, name: str = "") -> EditVector:
    """What is left of a vector when everything the others do is taken out of it.

    The others span a space; the vector's projection on it is subtracted, over all of W+ or, with per_row, in every row
    by itself. The result is orthogonal to each of the others.
    """
    require_same_vectors([vector, *others])
    if not others:
        return vector
    rows = vector.delta.double() if per_row else vector.delta.double().flatten()[None]
    span = torch.stack([(o.delta.double() if per_row else o.delta.double().flatten()[None]) for o in others], dim=1)
    left = torch.stack([_without(row, basis) for row, basis in zip(rows, span, strict=True)])
    if float(left.square().sum()) <= DEGENERATE**2 * float(rows.square().sum()):
        raise InvalidInputError(f"Nothing of edit vector '{vector.name}' is left when the others are taken out of it: they "
                                f"do the same edit.")
    return _made_from([vector, *others], left.float().reshape(vector.delta.shape), name or vector.name, "orthogonalised",
                      {"per_row": per_row})


def _without(row: Tensor, basis: Tensor) -> Tensor:
    """row [D] minus its projection on the rows of basis [N,D], whatever their rank."""
    _, singular, vh = cast("tuple[Tensor, Tensor, Tensor]", torch.linalg.svd(basis, full_matrices=False))
    directions = vh[singular > 1e-9 * singular.max().clamp(min=1e-30)]
    return row - (row @ directions.t()) @ directions


def from_pair(before: WPlus, after: WPlus, name: str, *, labels: Sequence[str] = ()) -> EditVector:
    """The mean change of W+ from pictures without to the same pictures with the edit, both embedded."""
    require_same_generator(after.fingerprint, before.fingerprint, "The W+ input 'after'")
    if len(before.codes) != len(after.codes):
        raise InvalidInputError(f"A vector from pairs needs as many pictures before as after, got {len(before.codes)} and "
                                f"{len(after.codes)}.")
    return EditVector((after.codes - before.codes).mean(dim=0).cpu(), name=name, fingerprint=before.fingerprint,
                      generator=before.generator, edit_type="image pair", labels=tuple(labels),
                      provenance={"pictures": len(before.codes)})
