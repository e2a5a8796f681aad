"""Where the embedded host's nodes find sound and film files, and where they save them, with the workflow inside."""

from __future__ import annotations

import dataclasses
import json
import secrets
from typing import Any

from ..pipelines.errors import AtelierError
from ..runtime.folders import SaveTarget, save_targets
from ..runtime.host import input_path
from .sounds import Sound, check_sound, save_sound

SOUND_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma"})
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ogv", ".wmv", ".flv"})


def file_problem(name: str, what: str) -> bool | str:
    """True when the input file exists, else the sentence that says so."""
    try:
        return True if input_path(name).is_file() else f"there is no {what} {name!r} in the input folders."
    except (AtelierError, OSError, ValueError) as error:  # the latter two: names that no file system knows
        return str(error)


def embedded_texts(cls: Any) -> dict[str, str]:
    """The prompt and the workflow that a node runs in, as JSON, for the metadata of what it saves."""
    texts = {"prompt": json.dumps(cls.hidden.prompt)} if cls.hidden.prompt is not None else {}
    extra: dict[str, Any] = cls.hidden.extra_pnginfo or {}
    return texts | {name: json.dumps(value) for name, value in extra.items()}


def saved_sounds(sound: Sound | None, prefix: str | None, cls: Any, kind: str, quality: str = "128k") -> dict[str, Any]:
    """Every sound of a batch as a file of its own, of that kind; returns the node's ui value. prefix: None for the temp
    folder."""
    sound = check_sound(sound)
    folder = "temp" if prefix is None else "output"
    name = f"ComfyUI_temp_{secrets.token_hex(3)}" if prefix is None else prefix
    targets = [_plain(t, kind) for t in save_targets(name, f".{kind}", count=len(sound["waveform"]), folder=folder)]
    for waveform, target in zip(sound["waveform"], targets, strict=True):
        save_sound(target.path, waveform, sound["sample_rate"], kind, quality=quality, metadata=embedded_texts(cls))
    return {"audio": [shown(target, folder) for target in targets]}


def _plain(target: SaveTarget, kind: str) -> SaveTarget:
    """prefix_00001.flac: the host's numbers of sounds have no underscore behind them."""
    name = f"{target.filename.removesuffix(f'_.{kind}')}.{kind}"
    return dataclasses.replace(target, path=target.path.with_name(name), filename=name)


def shown(target: SaveTarget, folder: str) -> dict[str, str]:
    """What the frontend asks for a file with."""
    return {"filename": target.filename, "subfolder": target.subfolder, "type": folder}
