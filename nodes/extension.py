"""The pack as the host takes it."""

from __future__ import annotations

from ..runtime.host import ComfyExtension, io
from .catalogue import NODES


class LatentAtelier(ComfyExtension):
    """Hands the catalogue to the host."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return list(NODES)
