"""What can be wrong with a weights file."""

from __future__ import annotations

from ..pipelines.errors import AtelierError


class CheckpointError(AtelierError, ValueError):
    """A weights file cannot be read or written; the base of the others."""


class UnreadableFileError(CheckpointError):
    """No file, not safetensors, cut off, or damaged in its header."""


class UnknownArchitectureError(CheckpointError):
    """No known network has these tensors, or the file names one that this version does not know."""


class LayoutError(CheckpointError):
    """The tensors are not those of the network: missing, extra or of another shape."""


class MetadataError(CheckpointError):
    """The file's metadata contradict its tensors or cannot be understood."""


class BadTensorError(CheckpointError):
    """A tensor holds NaN or infinity, or has a number type that weights do not have."""


class ForbiddenPickleError(CheckpointError):
    """A pickle names something that no checkpoint needs. Nothing of it was run."""
