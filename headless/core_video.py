"""The host's nodes for film and animated pictures, with its ids, names and defaults, for when there is no host."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..runtime.folders import save_targets
from ..runtime.host import input_files, input_path, io
from .films import CONTAINERS, Film, FilmFile, FilmOfFrames, FilmParts
from .media import VIDEO_SUFFIXES, embedded_texts, file_problem, shown
from .sounds import Sound

CODECS = ("auto", "h264", "av1")
METHODS = {"default": 4, "fastest": 0, "slowest": 6}


class LoadVideo(io.ComfyNode):
    """A film of the input folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        names = [name for name in input_files() if name[name.rfind("."):].lower() in VIDEO_SUFFIXES]
        return io.Schema(node_id="LoadVideo", display_name="Load Video", category="video",
                         inputs=[io.Combo.Input("file", options=names, upload=io.UploadType.video)],
                         outputs=[io.Video.Output()])

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        return file_problem(file, "film")

    @classmethod
    def fingerprint_inputs(cls, file: str) -> float:
        return input_path(file).stat().st_mtime

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        film = FilmFile(input_path(file))
        film.get_dimensions()
        return io.NodeOutput(film)


class CreateVideo(io.ComfyNode):
    """Pictures and sound as a film."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CreateVideo", display_name="Create Video", category="video", description="Create a video from images.",
            inputs=[io.Image.Input("images", tooltip="The images to create a video from."),
                    io.Float.Input("fps", default=30.0, min=1.0, max=120.0, step=1.0),
                    io.Audio.Input("audio", optional=True, tooltip="The audio to add to the video."),
                    io.Int.Input("bit_depth", default=8, min=8, max=10, step=2, optional=True,
                                 display_mode=io.NumberDisplay.number,
                                 tooltip="Bit depth of the created video. 10-bit keeps smoother gradients with less banding, "
                                         "but some players and downstream nodes may not support it.")],
            outputs=[io.Video.Output()])

    @classmethod
    def execute(cls, images: Tensor, fps: float, audio: Sound | None = None, bit_depth: int = 8) -> io.NodeOutput:
        return io.NodeOutput(FilmOfFrames(FilmParts(images, Fraction(fps), audio), bit_depth))


class GetVideoComponents(io.ComfyNode):
    """A film as pictures and sound."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GetVideoComponents", display_name="Get Video Components", category="video",
            description="Extracts video frames, audio, frame rate, bit depth, and color space.",
            inputs=[io.Video.Input("video", tooltip="The video to extract components from.")],
            outputs=[io.Image.Output(display_name="images"), io.Audio.Output(display_name="audio"),
                     io.Float.Output(display_name="fps"), io.Int.Output(display_name="bit_depth"),
                     io.Combo.Output(display_name="color_space")])

    @classmethod
    def execute(cls, video: Film) -> io.NodeOutput:
        parts = video.get_components()
        return io.NodeOutput(parts.images, parts.audio, float(parts.frame_rate), video.get_bit_depth(), video.get_color_space())


class SaveVideo(io.ComfyNode):
    """A film file in the output folder. The host shows the codec below the format, as "format.codec"."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveVideo", display_name="Save Video", category="video", is_output_node=True,
            description="Saves the input videos to your ComfyUI output directory.",
            inputs=[io.Video.Input("video", tooltip="The video to save."),
                    io.String.Input("filename_prefix", default="video/ComfyUI",
                                    tooltip="The prefix for the file to save. It may hold %date:yyyy-MM-dd%."),
                    io.Combo.Input("format", options=["auto", *CONTAINERS],
                                   tooltip="The output container. Auto preserves the source container when possible; MP4, MKV, "
                                           "and WebM select a specific container."),
                    io.Combo.Input("format.codec", options=list(CODECS), optional=True, tooltip="The output video codec."),
                    io.Combo.Input("codec", options=list(CODECS), optional=True, tooltip="The output video codec.")],
            outputs=[io.Video.Output("video", tooltip="The input video, unchanged.")])

    @classmethod
    def execute(cls, video: Film, filename_prefix: str, format: str, codec: str | None = None, **more: str) -> io.NodeOutput:
        width, height = video.get_dimensions()
        suffix = "mp4" if format == "auto" else format
        target = save_targets(filename_prefix, f".{suffix}", width=width, height=height)[0]
        texts: dict[str, Any] = {name: json.loads(text) for name, text in embedded_texts(cls).items()}
        video.save_to(target.path, format=format, codec=more.get("format.codec") or codec or "auto", metadata=texts)
        return io.NodeOutput(video, ui={"images": [shown(target, "output")], "animated": (True,)})


class VideoSlice(io.ComfyNode):
    """A stretch of a film."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Video Slice", display_name="Trim Video", category="video",
            inputs=[io.Video.Input("video"),
                    io.Float.Input("start_time", default=0.0, max=1e5, min=-1e5, step=0.001, tooltip="Start time in seconds"),
                    io.Float.Input("duration", default=0.0, min=0.0, step=0.001,
                                   tooltip="Duration in seconds, or 0 for unlimited duration"),
                    io.Boolean.Input("strict_duration", default=False,
                                     tooltip="If True, when the specified duration is not possible, an error will be raised.")],
            outputs=[io.Video.Output()])

    @classmethod
    def execute(cls, video: Film, start_time: float, duration: float, strict_duration: bool) -> io.NodeOutput:
        trimmed, whole = video.as_trimmed(start_time, duration), video.get_duration()
        if strict_duration and trimmed.get_duration() < duration:
            raise InvalidInputError(f"A film of {whole:g} seconds has no {duration:g} seconds from {start_time:g} on; start "
                                    f"earlier or ask for less.")
        return io.NodeOutput(trimmed)


def _pictures(images: Tensor) -> list[Image.Image]:
    values = (255.0 * images.detach().float().cpu()).clamp(0, 255).numpy().astype(np.uint8)
    return [Image.fromarray(value) for value in values]


def _durations(count: int, fps: float) -> list[int]:
    """Milliseconds of every frame; together they are as long as the film, to a millisecond."""
    ends = [round(1000 * i / fps) for i in range(count + 1)]
    return [max(1, end - start) for start, end in pairwise(ends)]


class SaveAnimatedWEBP(io.ComfyNode):
    """An animated WebP."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveAnimatedWEBP", display_name="Save Animated WEBP", category="image", is_output_node=True,
            inputs=[io.Image.Input("images"), io.String.Input("filename_prefix", default="ComfyUI"),
                    io.Float.Input("fps", default=6.0, min=0.01, max=1000.0, step=0.01),
                    io.Boolean.Input("lossless", default=True), io.Int.Input("quality", default=80, min=0, max=100),
                    io.Combo.Input("method", options=list(METHODS))],
            outputs=[io.Image.Output(display_name="images")])

    @classmethod
    def execute(cls, images: Tensor, fps: float, filename_prefix: str, lossless: bool, quality: int,
                method: str) -> io.NodeOutput:
        frames = _pictures(images)
        target = save_targets(filename_prefix, ".webp", width=images.shape[2], height=images.shape[1])[0]
        exif, texts = frames[0].getexif(), embedded_texts(cls)
        if "prompt" in texts:
            exif[0x0110] = f"prompt:{texts.pop('prompt')}"
        for tag, (name, text) in zip(range(0x010F, 0, -1), texts.items(), strict=False):
            exif[tag] = f"{name}:{text}"
        frames[0].save(target.path, save_all=True, append_images=frames[1:], duration=_durations(len(frames), fps), exif=exif,
                       lossless=lossless, quality=quality, method=METHODS[method])
        return io.NodeOutput(images, ui={"images": [shown(target, "output")], "animated": (len(frames) > 1,)})


class SaveAnimatedPNG(io.ComfyNode):
    """An animated PNG."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveAnimatedPNG", display_name="Save Animated PNG", category="image", is_output_node=True,
            inputs=[io.Image.Input("images"), io.String.Input("filename_prefix", default="ComfyUI"),
                    io.Float.Input("fps", default=6.0, min=0.01, max=1000.0, step=0.01),
                    io.Int.Input("compress_level", default=4, min=0, max=9, advanced=True)],
            outputs=[io.Image.Output(display_name="images")])

    @classmethod
    def execute(cls, images: Tensor, fps: float, compress_level: int, filename_prefix: str = "ComfyUI") -> io.NodeOutput:
        frames = _pictures(images)
        target = save_targets(filename_prefix, ".png", width=images.shape[2], height=images.shape[1])[0]
        metadata = PngInfo()
        for name, text in embedded_texts(cls).items():
            metadata.add(b"comf", name.encode("latin-1") + b"\0" + text.encode("latin-1"), after_idat=True)
        frames[0].save(target.path, save_all=True, append_images=frames[1:], duration=_durations(len(frames), fps),
                       pnginfo=metadata, compress_level=compress_level)
        return io.NodeOutput(images, ui={"images": [shown(target, "output")], "animated": (len(frames) > 1,)})


VIDEO: list[type[io.ComfyNode]] = [LoadVideo, CreateVideo, GetVideoComponents, SaveVideo, VideoSlice, SaveAnimatedWEBP,
                                   SaveAnimatedPNG]
