"""One adapter to whoever runs us. Nodes import this and never the host.

    io, ComfyExtension       the host's schema API, or ours
    schema, node_input       schemas that a host of any supported version accepts
    autograd                 leave the host's inference mode
    Progress, check_cancel   progress, previews, cancelling
    model_files ...          folders
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from .context import Cancelled, active
from .folders import (
    MissingModelError,
    SaveTarget,
    input_files,
    input_folder,
    input_path,
    model_files,
    model_path,
    model_target,
    register_folders,
    save_target,
    work_folder,
)
from .identity import EMBEDDED
from .pictures import preview_images, preview_picture, save_images
from .progress import Progress, check_cancel

if TYPE_CHECKING or EMBEDDED:
    from . import embedded_api as io
    from .embedded_api import ComfyExtension
else:
    from comfy_api.latest import ComfyExtension, io

__all__ = ["EMBEDDED", "Cancelled", "ComfyExtension", "MissingModelError", "Progress", "SaveTarget", "autograd",
           "check_cancel", "compute_device", "input_files", "input_folder", "input_path", "io", "model_files", "model_path",
           "model_target", "node_input", "preview_images", "preview_picture", "register_folders", "save_images",
           "save_target", "schema", "work_folder"]


def schema(**fields: Any) -> io.Schema:
    """A Schema without the fields that the running host does not know: an unknown one would cost the whole pack."""
    known = {f.name for f in dataclasses.fields(io.Schema)}
    return io.Schema(**{name: value for name, value in fields.items() if name in known})


def node_input(io_type: type[Any], id: str, **options: Any) -> io.Input:
    """io_type.Input(id, ...) without the options that the running host does not know."""
    known = inspect.signature(io_type.Input.__init__).parameters
    return io_type.Input(id, **{name: value for name, value in options.items() if name in known})


def compute_device() -> torch.device:
    """Where networks run: the host's device, or that of the headless run."""
    if not EMBEDDED:
        return importlib.import_module("comfy.model_management").get_torch_device()
    context = active()
    return torch.device("cpu") if context is None else context.device


@contextmanager
def autograd() -> Generator[None, None, None]:
    """Gradients inside a node. The host runs every prompt in inference mode, whose tensors autograd refuses: inside
    this block clone what came in before it enters a graph."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
