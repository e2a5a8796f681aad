"""The host's nodes for sound, with its ids, names and defaults, for when there is no host."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.resampling import resampled
from ..runtime.host import input_files, input_path, io
from .media import SOUND_SUFFIXES, VIDEO_SUFFIXES, file_problem, saved_sounds
from .sounds import Sound, check_sound, load_sound

HUGE = 0xFFFFFFFFFFFFFFFF
MP3_QUALITIES, OPUS_QUALITIES = ("V0", "128k", "320k"), ("64k", "96k", "128k", "192k", "320k")


def _sound(waveform: Tensor, rate: int) -> io.NodeOutput:
    return io.NodeOutput({"waveform": waveform, "sample_rate": rate})


class LoadAudio(io.ComfyNode):
    """A sound file, or the sound of a film, of the input folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        names = [name for name in input_files() if name[name.rfind("."):].lower() in SOUND_SUFFIXES | VIDEO_SUFFIXES]
        return io.Schema(node_id="LoadAudio", display_name="Load Audio", category="audio",
                         inputs=[io.Combo.Input("audio", options=names, upload=io.UploadType.audio)],
                         outputs=[io.Audio.Output()])

    @classmethod
    def validate_inputs(cls, audio: str) -> bool | str:
        return file_problem(audio, "sound")

    @classmethod
    def fingerprint_inputs(cls, audio: str) -> str:
        return hashlib.sha256(input_path(audio).read_bytes()).hexdigest()

    @classmethod
    def execute(cls, audio: str) -> io.NodeOutput:
        return io.NodeOutput(load_sound(input_path(audio)))


def _saver(node_id: str, display_name: str, *more: io.Input) -> io.Schema:
    return io.Schema(node_id=node_id, display_name=display_name, category="audio", is_deprecated=True, is_output_node=True,
                     inputs=[io.Audio.Input("audio"), io.String.Input("filename_prefix", default="audio/ComfyUI"), *more],
                     outputs=[io.Audio.Output("audio")])


class SaveAudio(io.ComfyNode):
    """FLAC files, one per sound of the batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return _saver("SaveAudio", "Save Audio (FLAC) (DEPRECATED)")

    @classmethod
    def execute(cls, audio: Sound | None, filename_prefix: str = "ComfyUI") -> io.NodeOutput:
        return io.NodeOutput(audio, ui=saved_sounds(audio, filename_prefix, cls, "flac"))


class SaveAudioMP3(io.ComfyNode):
    """MP3 files."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return _saver("SaveAudioMP3", "Save Audio (MP3) (DEPRECATED)",
                      io.Combo.Input("quality", options=list(MP3_QUALITIES), default="V0"))

    @classmethod
    def execute(cls, audio: Sound | None, filename_prefix: str = "ComfyUI", quality: str = "128k") -> io.NodeOutput:
        return io.NodeOutput(audio, ui=saved_sounds(audio, filename_prefix, cls, "mp3", quality))


class SaveAudioOpus(io.ComfyNode):
    """Opus files."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return _saver("SaveAudioOpus", "Save Audio (Opus) (DEPRECATED)",
                      io.Combo.Input("quality", options=list(OPUS_QUALITIES), default="128k"))

    @classmethod
    def execute(cls, audio: Sound | None, filename_prefix: str = "ComfyUI", quality: str = "128k") -> io.NodeOutput:
        return io.NodeOutput(audio, ui=saved_sounds(audio, filename_prefix, cls, "opus", quality))


class SaveAudioAdvanced(io.ComfyNode):
    """In a format of choice; its quality stands beside it, as "format.quality"."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveAudioAdvanced", display_name="Save Audio (Advanced)", category="audio", is_output_node=True,
            description="Saves the input audio to your ComfyUI output directory.",
            inputs=[io.Audio.Input("audio", tooltip="The audio to save."),
                    io.String.Input("filename_prefix", default="audio/ComfyUI",
                                    tooltip="The prefix for the file to save. It may hold %date:yyyy-MM-dd%."),
                    io.Combo.Input("format", options=["flac", "mp3", "opus"], tooltip="The file format in which to save the "
                                                                                      "audio."),
                    io.Combo.Input("format.quality", options=sorted({*MP3_QUALITIES, *OPUS_QUALITIES}), optional=True)],
            outputs=[io.Audio.Output("audio")])

    @classmethod
    def execute(cls, audio: Sound | None, filename_prefix: str, format: str, **more: str) -> io.NodeOutput:
        quality = more.get("format.quality", "V0" if format == "mp3" else "128k")
        return io.NodeOutput(audio, ui=saved_sounds(audio, filename_prefix, cls, format, quality))


class PreviewAudio(io.ComfyNode):
    """FLAC files in the temp folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="PreviewAudio", display_name="Preview Audio", category="audio", is_output_node=True,
                         description="Preview the audio without saving it to the ComfyUI output directory.",
                         inputs=[io.Audio.Input("audio")], outputs=[io.Audio.Output("audio")])

    @classmethod
    def execute(cls, audio: Sound | None) -> io.NodeOutput:
        return io.NodeOutput(audio, ui=saved_sounds(audio, None, cls, "flac"))


class EmptyAudio(io.ComfyNode):
    """Silence."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EmptyAudio", display_name="Empty Audio", category="audio",
            inputs=[io.Float.Input("duration", default=60.0, min=0.0, max=HUGE, step=0.01,
                                   tooltip="Duration of the empty audio clip in seconds"),
                    io.Int.Input("sample_rate", default=44100, min=1, max=192000, advanced=True,
                                 tooltip="Sample rate of the empty audio clip."),
                    io.Int.Input("channels", default=2, min=1, max=2, advanced=True,
                                 tooltip="Number of audio channels (1 for mono, 2 for stereo).")],
            outputs=[io.Audio.Output()])

    @classmethod
    def execute(cls, duration: float, sample_rate: int, channels: int) -> io.NodeOutput:
        return _sound(torch.zeros(1, channels, round(duration * sample_rate)), sample_rate)


class TrimAudioDuration(io.ComfyNode):
    """A stretch of a sound."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TrimAudioDuration", display_name="Trim Audio Duration", category="audio",
            description="Trim audio tensor into chosen time range.",
            inputs=[io.Audio.Input("audio"),
                    io.Float.Input("start_index", default=0.0, min=-HUGE, max=HUGE, step=0.01,
                                   tooltip="Start time in seconds, can be negative to count from the end (supports "
                                           "sub-seconds)."),
                    io.Float.Input("duration", default=60.0, min=0.0, step=0.01, tooltip="Duration in seconds")],
            outputs=[io.Audio.Output()])

    @classmethod
    def execute(cls, audio: Sound | None, start_index: float, duration: float) -> io.NodeOutput:
        if audio is None or not audio["waveform"].shape[-1]:
            return io.NodeOutput(audio)
        waveform, rate = audio["waveform"], audio["sample_rate"]
        length = waveform.shape[-1]
        start = min(max(round(start_index * rate) + (length if start_index < 0 else 0), 0), length)
        end = min(start + round(duration * rate), length)
        if start >= end:
            raise InvalidInputError(f"Nothing is left of a sound of {length / rate:g} seconds from {start_index:g} on for "
                                    f"{duration:g}; start earlier or keep more.")
        return _sound(waveform[..., start:end], rate)


def _stereo(waveform: Tensor) -> Tensor:
    return waveform.repeat(1, 2, 1) if waveform.shape[1] == 1 else waveform


def _same_rate(first: Sound, second: Sound) -> tuple[Tensor, Tensor, int]:
    """Both waveforms at the higher of their rates."""
    rate = max(first["sample_rate"], second["sample_rate"])
    one, two = (resampled(sound["waveform"], sound["sample_rate"], rate) for sound in (first, second))
    return one, two, rate


class AudioConcat(io.ComfyNode):
    """One sound behind the other, in stereo, at the higher of their rates."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AudioConcat", display_name="Concatenate Audio", category="audio",
            description="Concatenates the audio1 to audio2 in the specified direction.",
            inputs=[io.Audio.Input("audio1"), io.Audio.Input("audio2"),
                    io.Combo.Input("direction", options=["after", "before"], default="after",
                                   tooltip="Whether to append audio2 after or before audio1.")],
            outputs=[io.Audio.Output()])

    @classmethod
    def execute(cls, audio1: Sound | None, audio2: Sound | None, direction: str) -> io.NodeOutput:
        if audio1 is None or audio2 is None:
            return io.NodeOutput(audio2 if audio1 is None else audio1)
        first, second, rate = _same_rate(audio1, audio2)
        parts = (_stereo(first), _stereo(second))
        return _sound(torch.cat(parts if direction == "after" else parts[::-1], dim=2), rate)


class AudioMerge(io.ComfyNode):
    """Two sounds at once, as long as the first; louder than full scale, the whole is made softer."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AudioMerge", display_name="Merge Audio", category="audio",
            description="Combine two audio tracks by overlaying their waveforms.",
            inputs=[io.Audio.Input("audio1"), io.Audio.Input("audio2"),
                    io.Combo.Input("merge_method", options=["add", "mean", "subtract", "multiply"],
                                   tooltip="The method used to combine the audio waveforms.")],
            outputs=[io.Audio.Output()])

    @classmethod
    def execute(cls, audio1: Sound | None, audio2: Sound | None, merge_method: str) -> io.NodeOutput:
        if audio1 is None or audio2 is None:
            return io.NodeOutput(audio2 if audio1 is None else audio1)
        first, second, rate = _same_rate(audio1, audio2)
        length = first.shape[-1]
        if not length or not second.shape[-1]:
            return _sound(first, rate)
        second = torch.nn.functional.pad(second[..., :length], (0, max(0, length - second.shape[-1])))
        found = {"add": first + second, "mean": (first + second) / 2, "subtract": first - second,
                 "multiply": first * second}[merge_method]
        return _sound(found / found.abs().max().clamp_min(1), rate)


class AudioAdjustVolume(io.ComfyNode):
    """Louder or softer by decibels."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AudioAdjustVolume", display_name="Adjust Audio Volume", category="audio",
            description="Adjust the volume of the audio by a specified amount in decibels (dB).",
            inputs=[io.Audio.Input("audio"),
                    io.Int.Input("volume", default=1, min=-100, max=100,
                                 tooltip="Volume adjustment in decibels (dB). 0 = no change, +6 = double, -6 = half, etc")],
            outputs=[io.Audio.Output()])

    @classmethod
    def execute(cls, audio: Sound | None, volume: int) -> io.NodeOutput:
        if audio is None or volume == 0:
            return io.NodeOutput(audio)
        return _sound(audio["waveform"] * 10 ** (volume / 20), audio["sample_rate"])


class SplitAudioChannels(io.ComfyNode):
    """Left and right."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="SplitAudioChannels", display_name="Split Audio Channels", category="audio",
                         description="Separates the audio into left and right channels.",
                         inputs=[io.Audio.Input("audio")],
                         outputs=[io.Audio.Output(display_name="left"), io.Audio.Output(display_name="right")])

    @classmethod
    def execute(cls, audio: Sound | None) -> io.NodeOutput:
        if audio is None:
            return io.NodeOutput(None, None)
        waveform, rate = audio["waveform"], audio["sample_rate"]
        if waveform.shape[1] != 2:
            raise InvalidInputError(f"Only a sound in stereo has a left and a right channel, got {waveform.shape[1]} channels.")
        left, right = ({"waveform": waveform[:, i:i + 1], "sample_rate": rate} for i in (0, 1))
        return io.NodeOutput(left, right)


class JoinAudioChannels(io.ComfyNode):
    """Two mono sounds as one in stereo, as long as the shorter, at the higher of their rates."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="JoinAudioChannels", display_name="Join Audio Channels", category="audio",
                         description="Joins left and right mono audio channels into a stereo audio.",
                         inputs=[io.Audio.Input("audio_left"), io.Audio.Input("audio_right")],
                         outputs=[io.Audio.Output(display_name="audio")])

    @classmethod
    def execute(cls, audio_left: Sound | None, audio_right: Sound | None) -> io.NodeOutput:
        if audio_left is None or audio_right is None:
            return io.NodeOutput(audio_right if audio_left is None else audio_left)
        channels: list[Any] = [sound["waveform"].shape[1] for sound in (audio_left, audio_right)]
        if channels != [1, 1]:
            raise InvalidInputError(f"Joining channels needs two mono sounds, got {channels[0]} and {channels[1]} channels.")
        left, right, rate = _same_rate(check_sound(audio_left), check_sound(audio_right))
        length = min(left.shape[-1], right.shape[-1])
        return _sound(torch.cat([left[..., :length], right[..., :length]], dim=1), rate)


AUDIO: list[type[io.ComfyNode]] = [LoadAudio, SaveAudio, SaveAudioMP3, SaveAudioOpus, SaveAudioAdvanced, PreviewAudio,
                                   EmptyAudio, TrimAudioDuration, AudioConcat, AudioMerge, AudioAdjustVolume,
                                   SplitAudioChannels, JoinAudioChannels]
