"""Latent Atelier: what ComfyUI imports. Everything else is imported when the host asks for the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runtime.host import ComfyExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> ComfyExtension:
    """The pack's nodes, with its model folders registered."""
    from .runtime.host import register_folders

    register_folders()
    from .nodes.extension import LatentAtelier

    return LatentAtelier()
