"""Sound files <-> AUDIO values, with FFmpeg's codecs (the av package), as the host's audio nodes read and write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.resampling import resampled

Sound = dict[str, Any]
"""AUDIO: waveform float32 [B,C,T], sample_rate."""

LARGEST = 2**29
"""Samples of all channels of a file together, 93 minutes of stereo at 48 kHz; more is refused while it is decoded."""

ENCODERS = {"flac": "flac", "mp3": "libmp3lame", "opus": "libopus"}
RATES = {"mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), "opus": (8000, 12000, 16000, 24000, 48000)}
"""The only ones that a format knows; sound at another rate is written at the next higher one."""
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def ffmpeg() -> Any:
    """The av package. InvalidInputError where it is not installed."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise InvalidInputError("Sound and film files need the package av, which is not installed; get it with "
                                "'pip install latent-atelier[headless]'.") from error
    return av


def load_sound(path: Path) -> Sound:
    """The first sound of a sound or film file, [1,C,T] at the rate it decodes at: that of opus is always 48000.

    Raises InvalidInputError, one sentence, for a file that is missing, damaged, empty, too long or without sound.
    """
    if not path.is_file():
        raise InvalidInputError(f"The sound {path.name} does not exist.")
    av = ffmpeg()
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise InvalidInputError(f"{path.name} holds no sound.")
            stream = container.streams.audio[0]
            rate = int(stream.codec_context.sample_rate or 0)
            parts = list(_bounded(planes(container.decode(stream), av), path.name))
    except (av.FFmpegError, ValueError, EOFError, IndexError) as error:
        raise InvalidInputError(f"The sound {path.name} cannot be read, it is damaged or no sound file ({error}); replace "
                                f"it.") from error
    if not parts or not rate:
        raise InvalidInputError(f"The sound {path.name} is empty; replace it.")
    return {"waveform": torch.from_numpy(np.concatenate(parts, axis=1))[None], "sample_rate": rate}


def planes(frames: Any, av: Any) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
    """Decoded audio frames as float32 [C,t] each, of their own channels and rate."""
    converter = av.AudioResampler(format="fltp")
    for frame in frames:
        for converted in converter.resample(frame):
            yield converted.to_ndarray()
    for converted in converter.resample(None):
        yield converted.to_ndarray()


def _bounded(parts: Iterator[Any], name: str) -> Iterator[Any]:
    seen = 0
    for part in parts:
        seen += part.size
        if seen > LARGEST:
            raise InvalidInputError(f"The sound {name} is too long, more than {LARGEST // 2**20} Mi samples; cut it first.")
        yield part


def check_sound(sound: Sound | None) -> Sound:
    """The sound, if there is any: a film may have none."""
    if sound is None:
        raise InvalidInputError("There is no sound to work on; a film without a sound track gives none.")
    if not sound["waveform"].shape[-1]:
        raise InvalidInputError("The sound has no samples; give one that lasts.")
    return sound


def save_sound(path: Path, waveform: Tensor, rate: int, kind: str, *, quality: str = "128k",
               metadata: Mapping[str, str] | None = None) -> None:
    """waveform float [C,T] as 'flac' (16 bits), 'mp3' or 'opus'. quality: 'V0' (mp3, the best of variable rate) or kilobits per
    second. Raises InvalidInputError for more channels than the format has."""
    av = ffmpeg()
    channels = len(waveform)
    if channels not in LAYOUTS or (kind == "mp3" and channels > 2):
        raise InvalidInputError(f"A sound of {channels} channels cannot be saved as {kind}; mix it down to stereo.")
    known = RATES.get(kind)
    if known is not None and rate not in known:
        wanted = next((r for r in known if r > rate), known[-1])
        waveform, rate = resampled(waveform, rate, wanted), wanted
    part = path.with_suffix(".part")
    with av.open(str(part), "w", format=kind) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(ENCODERS[kind], rate=rate, layout=LAYOUTS[channels])
        if quality == "V0":
            stream.codec_context.qscale = 1
        elif kind != "flac":
            stream.bit_rate = 1000 * int(quality.removesuffix("k"))
        for frame in sound_frames(waveform, rate, av):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    part.replace(path)


def sound_frames(waveform: Tensor, rate: int, av: Any, *, size: int = 65536) -> Iterator[Any]:
    """waveform float [C,T] as frames for an encoder."""
    values = waveform.detach().float().cpu().clamp(-1, 1).contiguous().numpy()
    for start in range(0, values.shape[1], size):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(values[:, start:start + size]), format="fltp",
                                           layout=LAYOUTS[len(values)])
        frame.sample_rate, frame.pts = rate, start
        yield frame
