"""WAV files of whole numbers (8, 16, 24 or 32 bits) as tensors."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .errors import InvalidInputError


def read_wav(path: Path) -> tuple[Tensor, int]:
    """float32 [C,T] in -1..1 and the sample rate. InvalidInputError when it cannot be read."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
            if not 1 <= width <= 4 or not rate:
                raise wave.Error(f"{8 * width} bits at {rate} Hz")
    except (OSError, wave.Error, EOFError, ValueError, struct.error, RuntimeError) as error:
        raise InvalidInputError(f"The sound {path.name} in {path.parent} cannot be read ({error}); give a WAV file of 8, 16, "
                                f"24 or 32 bits.") from error
    data = data[:len(data) // (channels * width) * channels * width]
    if not data:
        raise InvalidInputError(f"The sound {path.name} in {path.parent} is empty; replace or remove it.")
    if width == 3:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values = np.concatenate([np.zeros((len(parts), 1), np.uint8), parts], axis=1).view("<i4")[:, 0] / 2.0**31
    elif width == 1:
        values = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    else:
        values = np.frombuffer(data, "<i2" if width == 2 else "<i4") / 2.0 ** (8 * width - 1)
    return torch.from_numpy(values.astype(np.float32).reshape(-1, channels).T.copy()), rate


def write_wav(path: Path, sound: Tensor, rate: int) -> None:
    """sound float [C,T] in -1..1, 16 bits."""
    values = (sound.detach().cpu().clamp(-1, 1) * 32767).round().to(torch.int16).T.contiguous().numpy()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(values.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(values.astype("<i2").tobytes())


def read_wavs(source: Path) -> tuple[list[Tensor], int]:
    """The sound in a file, or the sounds of a folder and its subfolders, all of one sample rate."""
    paths = sorted(source.rglob("*.wav")) if source.is_dir() else [source]
    if not paths:
        raise InvalidInputError(f"The folder {source} holds no sounds; .wav files are read.")
    found = [read_wav(path) for path in paths]
    rates = {rate for _, rate in found}
    if len(rates) > 1:
        raise InvalidInputError(f"The sounds in {source} have the sample rates {sorted(rates)}; convert them to one.")
    return [sound for sound, _ in found], found[0][1]
