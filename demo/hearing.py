"""What can be heard in the demo music, against what its notes say: on which notes its tones lie, and where its beats are."""

from __future__ import annotations

import numpy as np

from .music import RATE, SCALES, Piece, Sound

FRAME, HOP = 4096, 1024
LOWEST, HIGHEST = 128.0, 2000.0
"""Hertz between which tones are looked for: above the kick, below the hat."""
STEP = 80
"""Samples between values of the strength of onsets: 100 per second at 8 kHz."""


def tone_strengths(sound: Sound, *, rate: int = RATE) -> np.ndarray:
    """float64 [12]: the share of the tonal energy on each pitch class, C first. Of every moment only the spectrum's peaks
    count, and of those the ones within 35 cents of a note. Zeros where there are none."""
    window = np.hanning(FRAME)
    starts = range(0, max(1, len(sound) - FRAME + 1), HOP)
    found = np.zeros(12)
    frequencies = np.fft.rfftfreq(FRAME, 1 / rate)
    for start in starts:
        part = np.zeros(FRAME)
        part[:len(sound[start:start + FRAME])] = sound[start:start + FRAME]
        power = np.abs(np.fft.rfft(part * window)) ** 2
        inner = power[1:-1]
        peak = (inner > power[:-2]) & (inner > power[2:]) & (inner > 20 * np.median(power))
        for i in np.flatnonzero(peak) + 1:
            a, b, c = np.log(power[i - 1:i + 2] + 1e-20)
            frequency = frequencies[i] + 0.5 * (a - c) / (a - 2 * b + c) * rate / FRAME
            if LOWEST <= frequency <= HIGHEST:
                pitch = 69 + 12 * np.log2(frequency / 440)
                if abs(pitch - round(pitch)) < 0.35:
                    found[round(pitch) % 12] += power[i]
    return found / found.sum() if found.sum() else found


def key_share(sound: Sound, piece: Piece) -> float:
    """The share of the tonal energy on the seven notes of a piece's key, 0..1; 7/12 for tones without a key."""
    notes = [(piece.key + step) % 12 for step in SCALES[piece.minor]]
    return float(tone_strengths(sound)[notes].sum())


def tonality(sound: Sound, *, rate: int = RATE) -> float:
    """The share of the energy between LOWEST and HIGHEST in peaks of the spectrum, 0..1: of tones near 1, of noise low."""
    window = np.hanning(FRAME)
    peaks = whole = 0.0
    low, high = int(LOWEST * FRAME / rate), int(HIGHEST * FRAME / rate)
    for start in range(0, max(1, len(sound) - FRAME + 1), HOP):
        part = np.zeros(FRAME)
        part[:len(sound[start:start + FRAME])] = sound[start:start + FRAME]
        power = np.sort(np.abs(np.fft.rfft(part * window))[low:high] ** 2)
        peaks, whole = peaks + power[-len(power) // 16:].sum(), whole + power.sum()
    return float(peaks / whole) if whole else 0.0


def onsets(sound: Sound) -> np.ndarray:
    """How much louder it gets from moment to moment, float64, a value per STEP samples: of the kick, below 180 hertz."""
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(len(sound), 1 / RATE) > 180] = 0
    low = np.fft.irfft(spectrum, len(sound)) ** 2
    energy = np.add.reduceat(low, np.arange(0, len(low) - STEP + 1, STEP))
    smooth = np.convolve(energy, np.ones(4) / 4, mode="same")
    return np.maximum(0, np.diff(np.sqrt(smooth), prepend=np.sqrt(smooth[0])))


def beat_strength(sound: Sound, tempo: float, first: float) -> float:
    """How much of the onsets lies within 40 milliseconds of the beats: its share there over the share of time there. About 1
    without beats, or where they lie elsewhere. tempo: beats per minute. first: seconds to the first beat."""
    strength = onsets(sound)
    time = (np.arange(len(strength)) + 0.5) * STEP / RATE
    beat = 60 / tempo
    off = np.abs((time - first + beat / 2) % beat - beat / 2)
    near = off < 0.04
    return float(strength[near].sum() / strength.sum() / near.mean()) if strength.sum() else 0.0


def tempo_of(sound: Sound, *, low: float = 80.0, high: float = 140.0) -> float:
    """Beats per minute between low and high: where the onsets' correlation with themselves is largest."""
    strength = onsets(sound) - onsets(sound).mean()
    lags = np.arange(int(60 / high * RATE / STEP), int(60 / low * RATE / STEP) + 2)
    values = np.array([float(strength[lag:] @ strength[:len(strength) - lag]) / (len(strength) - lag) for lag in lags])
    return float(60 * RATE / STEP / lags[int(values.argmax())])
