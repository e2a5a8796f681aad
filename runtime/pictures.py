"""Pictures that nodes save or show, as PNGs with the workflow in them."""

from __future__ import annotations

import importlib
import json
import secrets
from typing import Any, cast

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from .folders import save_targets
from .identity import EMBEDDED

COMPRESS_LEVEL, PREVIEW_COMPRESS_LEVEL = 4, 1


def save_images(images: Tensor, prefix: str, cls: Any) -> Any:
    """Write IMAGE float [B,H,W,C] 0..1 into the output folder; returns the node's ui value."""
    if not EMBEDDED:
        return importlib.import_module("comfy_api.latest").ui.ImageSaveHelper.get_save_images_ui(images, prefix, cls)
    return _write(images, prefix, "output", cls, COMPRESS_LEVEL)


def preview_images(images: Tensor, cls: Any) -> Any:
    """Write IMAGE float [B,H,W,C] 0..1 into the temp folder; returns the node's ui value."""
    if not EMBEDDED:
        return importlib.import_module("comfy_api.latest").ui.PreviewImage(images, cls=cls)
    return _write(images, f"ComfyUI_temp_{secrets.token_hex(3)}", "temp", cls, PREVIEW_COMPRESS_LEVEL)


def preview_picture(image: Tensor, cls: Any) -> dict[str, str]:
    """Write one IMAGE [1,H,W,C] into the temp folder; returns what the frontend asks for it with."""
    saved = preview_images(image, cls)
    shown = cast("dict[str, Any]", saved if isinstance(saved, dict) else saved.as_dict())
    return dict(shown["images"][0])


def _write(images: Tensor, prefix: str, folder: str, cls: Any, compress_level: int) -> dict[str, Any]:
    targets = save_targets(prefix, ".png", count=len(images), folder=folder, width=images.shape[2],
                           height=images.shape[1])
    metadata = PngInfo()
    if cls is not None and cls.hidden.prompt:
        metadata.add_text("prompt", json.dumps(cls.hidden.prompt))
    extra: dict[str, Any] = (cls.hidden.extra_pnginfo if cls is not None else None) or {}
    for name, value in extra.items():
        metadata.add_text(name, json.dumps(value))
    for picture, target in zip(images, targets, strict=True):
        array = np.clip(255.0 * picture.detach().cpu().numpy(), 0, 255).astype(np.uint8)
        part = target.path.with_suffix(".part")
        Image.fromarray(array).save(part, format="PNG", pnginfo=metadata, compress_level=compress_level)
        part.replace(target.path)
    return {"images": [{"filename": t.filename, "subfolder": t.subfolder, "type": folder} for t in targets]}
