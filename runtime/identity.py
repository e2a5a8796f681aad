"""Who runs us. The host is there when its node API can be imported; anything wrong inside it is not hidden."""

from __future__ import annotations

import importlib


def _is_embedded() -> bool:
    try:
        importlib.import_module("comfy_api.latest")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "comfy_api":
            raise
        return True
    return False


EMBEDDED = _is_embedded()
"""True when there is no host and our own headless executor runs the nodes."""
