"""VIDEO values, a film in a file or as pictures and sound, with the host's names for what can be asked of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from .sounds import LAYOUTS, Sound, ffmpeg, planes, sound_frames

MAX_PIXELS = 1_000_000_000
"""Pixels of all frames together, 12 gigabytes; more is refused while it is decoded."""
CONTAINERS = {"mp4": "mp4", "mkv": "matroska", "webm": "webm"}
BT709, SRGB_CURVE, LIMITED = 1, 13, 1
"""As FFmpeg counts colour spaces and primaries, curves, and ranges."""
ENCODERS = {"h264": "libx264", "av1": "libsvtav1"}


@dataclass(frozen=True, eq=False)
class FilmParts:
    """images: float32 [F,H,W,3] 0..1. frame_rate: per second. audio: of the first sound track, or None."""

    images: Tensor
    frame_rate: Fraction
    audio: Sound | None = None
    metadata: Mapping[str, str] | None = None
    alpha: None = None


class Film(Protocol):
    """What travels on a VIDEO socket."""

    def get_components(self) -> FilmParts: ...

    def get_dimensions(self) -> tuple[int, int]: ...

    def get_duration(self) -> float: ...

    def get_frame_rate(self) -> Fraction: ...

    def get_bit_depth(self) -> int: ...

    def get_color_space(self) -> str: ...

    def as_trimmed(self, start: float, duration: float) -> Film: ...

    def save_to(self, path: Path, *, format: str = "auto", codec: str = "auto",
                metadata: Mapping[str, Any] | None = None) -> None: ...


@dataclass(frozen=True, eq=False)
class FilmOfFrames:
    """A film made of pictures. bit_depth: 8 or 10, of its encoding."""

    parts: FilmParts
    bit_depth: int = 8

    def get_components(self) -> FilmParts:
        return self.parts

    def get_dimensions(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.parts.images.shape[2], self.parts.images.shape[1]

    def get_duration(self) -> float:
        """Seconds."""
        return float(len(self.parts.images) / self.parts.frame_rate)

    def get_frame_rate(self) -> Fraction:
        return self.parts.frame_rate

    def get_bit_depth(self) -> int:
        return self.bit_depth

    def get_color_space(self) -> str:
        return "sRGB"

    def as_trimmed(self, start: float, duration: float) -> FilmOfFrames:
        """A stretch of this film; start counts from the end where it is negative, duration 0 is all that follows."""
        images, rate, sound = self.parts.images, self.parts.frame_rate, self.parts.audio
        first = max(0.0, self.get_duration() + start) if start < 0 else start
        last = first + duration if duration else self.get_duration()
        images = images[math.ceil(first * rate - 1e-6):max(0, math.ceil(last * rate - 1e-6))]
        if sound is not None:
            begin, end = (round(time * sound["sample_rate"]) for time in (first, last))
            sound = {**sound, "waveform": sound["waveform"][..., begin:end]}
        return FilmOfFrames(FilmParts(images, rate, sound), self.bit_depth)

    def save_to(self, path: Path, *, format: str = "auto", codec: str = "auto",
                metadata: Mapping[str, Any] | None = None) -> None:
        """format: auto, mp4, mkv or webm. codec: auto, h264 or av1. Raises InvalidInputError for what they cannot hold."""
        av, images = ffmpeg(), self.parts.images
        format = "mp4" if format == "auto" else format
        codec = ("av1" if format == "webm" else "h264") if codec == "auto" else codec
        width, height = self.get_dimensions()
        if format == "webm" and codec != "av1":
            raise InvalidInputError("A WebM file holds AV1 and no H.264; choose the codec av1 or auto.")
        if not len(images) or width % 2 or height % 2:
            raise InvalidInputError(f"A film file has at least one frame and even sides, got {len(images)} frames of {width}x"
                                    f"{height}; scale or pad the pictures.")
        deep = self.bit_depth >= 10
        rate = Fraction(round(self.parts.frame_rate * 1000), 1000)
        part = path.with_suffix(".part")
        options = {"movflags": "use_metadata_tags+faststart"} if format == "mp4" else {}
        with av.open(str(part), "w", format=CONTAINERS[format], options=options) as container:
            container.metadata.update({name: json.dumps(value) for name, value in (metadata or {}).items()})
            stream = container.add_stream(ENCODERS[codec], rate=rate)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p10le" if deep else "yuv420p"
            _say_colours(stream.codec_context)
            heard = self._sound_stream(container, webm=format == "webm")
            for frame in images:
                container.mux(stream.encode(_encodable(frame, stream.pix_fmt, deep, av)))
            container.mux(stream.encode(None))
            if heard is not None:
                sound = self.parts.audio or {}
                rate_in = int(sound["sample_rate"])
                length = math.ceil(rate_in * len(images) / self.parts.frame_rate)
                converter = av.AudioResampler(format="fltp", layout=heard.layout, rate=heard.rate)
                for frame in sound_frames(sound["waveform"][0, :, :length], rate_in, av):
                    for converted in converter.resample(frame):
                        container.mux(heard.encode(converted))
                for converted in converter.resample(None):
                    container.mux(heard.encode(converted))
                container.mux(heard.encode(None))
        part.replace(path)

    def _sound_stream(self, container: Any, *, webm: bool) -> Any:
        sound = self.parts.audio
        if sound is None or not sound["waveform"].shape[-1]:
            return None
        channels = sound["waveform"].shape[1]
        if channels not in LAYOUTS:
            raise InvalidInputError(f"The sound of a film has at most 8 channels, got {channels}; mix it down to stereo.")
        rate = 48000 if webm else int(sound["sample_rate"])
        return container.add_stream("libopus" if webm else "aac", rate=rate, layout=LAYOUTS[channels])


def _encodable(frame: Tensor, pixel_format: str, deep: bool, av: Any) -> Any:
    """A picture [H,W,C] 0..1 in BT.709, which players take a film for."""
    scale, kind, name = (65535, np.uint16, "rgb48le") if deep else (255, np.uint8, "rgb24")
    values = (frame[..., :3].float().cpu() * scale).clamp(0, scale).numpy().astype(kind)
    found = av.VideoFrame.from_ndarray(values, format=name).reformat(format=pixel_format, dst_colorspace=BT709)
    _say_colours(found)
    return found


def _say_colours(target: Any) -> None:
    """That a stream or frame is in BT.709 with sRGB's curve, of limited range, as the host says."""
    target.color_primaries, target.color_trc, target.colorspace, target.color_range = BT709, SRGB_CURVE, BT709, LIMITED


@dataclass(frozen=True, eq=False)
class FilmFile:
    """A film in a file. start: where it begins, in seconds, from the end where negative. duration: 0 for all of it."""

    path: Path
    start: float = 0.0
    duration: float = 0.0

    def get_components(self) -> FilmParts:
        """Raises InvalidInputError, one sentence, for a file that is missing, damaged, too large or without pictures."""
        av = ffmpeg()
        with _Opened(self.path, av) as (container, stream):
            rate = Fraction(stream.average_rate or 1)
            first = self._first(_length(container, stream))
            last = first + self.duration if self.duration else math.inf
            metadata = dict(container.metadata)
            images = list(self._bounded(frame for frame in container.decode(stream)
                                        if frame.time is None or first - 1e-6 <= frame.time < last - 1e-6))
            if not images:
                raise InvalidInputError(f"The film {self.path.name} shows nothing from {first:g} seconds on for "
                                        f"{self.duration:g}; give another stretch.")
        return FilmParts(torch.stack(images), rate, self._sound(first, av), metadata)

    def _bounded(self, frames: Iterator[Any]) -> Iterator[Tensor]:
        seen = 0
        for frame in frames:
            seen += frame.width * frame.height
            if seen > MAX_PIXELS:
                raise InvalidInputError(f"The film {self.path.name} is too large, more than {MAX_PIXELS // 1_000_000} "
                                        f"megapixels in all frames: cut or shrink it first.")
            yield _decoded(frame)

    def _sound(self, first: float, av: Any) -> Sound | None:
        with _Opened(self.path, av) as (container, _):
            tracks = [track for track in container.streams.audio if track.codec_context is not None]
            if not tracks:
                return None
            parts = list(planes(container.decode(tracks[0]), av))
            rate = int(tracks[0].codec_context.sample_rate or 0)
        if not parts or not rate:
            return None
        waveform = torch.from_numpy(np.concatenate(parts, axis=1))[None, :, round(first * rate):]
        return {"waveform": waveform[..., :round(self.duration * rate)] if self.duration else waveform, "sample_rate": rate}

    def _first(self, length: float) -> float:
        return max(0.0, length + self.start) if self.start < 0 else self.start

    def get_dimensions(self) -> tuple[int, int]:
        with _Opened(self.path, ffmpeg()) as (_, stream):
            return stream.width, stream.height

    def get_duration(self) -> float:
        with _Opened(self.path, ffmpeg()) as (container, stream):
            whole = _length(container, stream)
        left = max(0.0, whole - self._first(whole))
        return min(left, self.duration) if self.duration else left

    def get_frame_rate(self) -> Fraction:
        with _Opened(self.path, ffmpeg()) as (_, stream):
            return Fraction(stream.average_rate or 1)

    def get_bit_depth(self) -> int:
        with _Opened(self.path, ffmpeg()) as (_, stream):
            return max((component.bits for component in stream.format.components), default=8)

    def get_color_space(self) -> str:
        return "sRGB"

    def as_trimmed(self, start: float, duration: float) -> FilmFile:
        """A stretch of this film."""
        return FilmFile(self.path, self.start + start, duration)

    def save_to(self, path: Path, *, format: str = "auto", codec: str = "auto",
                metadata: Mapping[str, Any] | None = None) -> None:
        """Without encoding anew where the file is as it is wanted."""
        av = ffmpeg()
        with _Opened(self.path, av) as (container, stream):
            as_it_is = (not self.start and not self.duration and codec in ("auto", stream.codec.canonical_name)
                        and CONTAINERS["mp4" if format == "auto" else format] in container.format.name.split(","))
            if as_it_is:
                _copied(container, path, format, metadata or {}, av)
                return
        parts = self.get_components()
        FilmOfFrames(parts, self.get_bit_depth()).save_to(path, format=format, codec=codec,
                                                          metadata={**(parts.metadata or {}), **(metadata or {})})


class _Opened:
    """A film file and its first picture stream; what goes wrong inside becomes one sentence."""

    def __init__(self, path: Path, av: Any) -> None:
        if not path.is_file():
            raise InvalidInputError(f"The film {path.name} does not exist.")
        self.path, self.av, self.container = path, av, None

    def __enter__(self) -> tuple[Any, Any]:
        try:
            self.container = self.av.open(str(self.path))
        except (self.av.FFmpegError, ValueError, EOFError, IndexError) as error:
            raise self._unreadable(error) from error
        if not self.container.streams.video:
            self.container.close()
            raise InvalidInputError(f"{self.path.name} holds no pictures; give a film.")
        return self.container, self.container.streams.video[0]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self.container is not None:
            self.container.close()
        if error is not None and isinstance(error, (self.av.FFmpegError, EOFError, IndexError)):
            raise self._unreadable(error) from error

    def _unreadable(self, error: object) -> InvalidInputError:
        return InvalidInputError(f"The film {self.path.name} cannot be read, it is damaged or no film ({error}); replace it.")


def _length(container: Any, stream: Any) -> float:
    """Seconds, as the file says."""
    if container.duration is not None:
        return container.duration / 1_000_000
    return float(stream.frames / stream.average_rate) if stream.frames and stream.average_rate else 0.0


def _decoded(frame: Any) -> Tensor:
    """float32 [H,W,3] 0..1, upright."""
    deep = max((component.bits for component in frame.format.components), default=8) > 8
    values = frame.to_ndarray(format="rgb48le" if deep else "rgb24")
    if frame.rotation:
        values = np.rot90(values, k=round(frame.rotation / 90)).copy()
    return torch.from_numpy(values.astype(np.float32) / (65535 if deep else 255))


def _copied(container: Any, path: Path, format: str, metadata: Mapping[str, Any], av: Any) -> None:
    """The streams as they are, in a new file."""
    part = path.with_suffix(".part")
    kind = CONTAINERS["mp4" if format == "auto" else format]
    with av.open(str(part), "w", format=kind, options={"movflags": "use_metadata_tags"} if kind == "mp4" else {}) as out:
        out.metadata.update({**container.metadata, **{name: json.dumps(value) for name, value in metadata.items()}})
        streams = {stream.index: out.add_stream_from_template(stream, opaque=True) for stream in container.streams
                   if stream.type in ("video", "audio") and stream.codec_context is not None}
        for packet in container.demux([stream for stream in container.streams if stream.index in streams]):
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    part.replace(path)
