"""Procedural music: chords, melody, bass and drums in a random key and sound, with the exact notes and beats.

A piece is a list of notes and of beat times; `render` turns it into sound. Mono, 8 kHz unless asked otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]

RATE = 8000
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
"""Major and minor, in semitones."""
PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 0, 4), (0, 2, 3, 4))
"""Chords of two beats each, as degrees of the scale."""
NAMES = ("C", "C sharp", "D", "D sharp", "E", "F", "F sharp", "G", "G sharp", "A", "A sharp", "B")
KEYS = tuple(f"{name} {mode}" for name in NAMES for mode in ("major", "minor"))
BEAT = 4096 / RATE
"""Seconds from beat to beat: a whole number of the blocks that the demo denoiser works on, 117.2 beats per minute."""
VOICES = ("pluck", "organ", "bell", "reed")
LEADS, BACKS = ("pluck", "bell"), ("organ", "reed")
PARTIALS = {"pluck": (1.0, 0.55, 0.35, 0.2, 0.12, 0.07), "organ": (1.0, 0.0, 0.45, 0.0, 0.25, 0.0, 0.12),
            "bell": (1.0, 0.25, 0.0, 0.5, 0.0, 0.15), "reed": (1.0, 0.75, 0.5, 0.4, 0.25, 0.18, 0.1)}
GAIN = 0.55
DECAY = {"pluck": 0.32, "organ": 6.0, "bell": 0.55, "reed": 3.0}
"""Seconds in which a note falls to 1/e."""


@dataclass(frozen=True)
class Note:
    """start, length: in seconds. pitch: MIDI number, 69 is 440 Hz. voice: one of VOICES, or 'kick' or 'hat', without pitch."""

    start: float
    length: float
    pitch: int
    level: float
    voice: str


@dataclass(frozen=True)
class Piece:
    """tempo: beats per minute. key: 0..11 semitones above C. minor: which scale. beats: their times in seconds."""

    tempo: float
    key: int
    minor: bool
    notes: tuple[Note, ...]
    beats: tuple[float, ...]
    seconds: float

    @property
    def key_index(self) -> int:
        """Which of KEYS."""
        return 2 * self.key + self.minor


def compose(rng: np.random.Generator, seconds: float) -> Piece:
    """A piece of that length. Bass, chords and melody keep to octaves of their own: below middle C, from it, and above."""
    key, minor = int(rng.integers(12)), bool(rng.integers(2))
    scale = SCALES[minor]
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    lead, back = LEADS[int(rng.integers(len(LEADS)))], BACKS[int(rng.integers(len(BACKS)))]
    beat = BEAT
    count = int(seconds / beat) + 1
    notes: list[Note] = []
    step = int(rng.integers(7))

    def pitch(degree: int, lowest: int) -> int:
        return lowest + (key + scale[degree % 7]) % 12 + 12 * (degree // 7)

    for i in range(count):
        now, chord = i * beat, progression[(i // 2) % 4]
        if i % 2 == 0:
            notes += [Note(now, 1.85 * beat, pitch((chord + j) % 7, 60), 0.2, back) for j in (0, 2, 4)]
        notes.append(Note(now, 0.85 * beat, pitch(chord, 48), 0.45, "pluck"))
        notes.append(Note(now, 0.2, 0, 0.7 if i % 2 == 0 else 0.45, "kick"))
        notes.append(Note(now + beat / 2, 0.08, 0, 0.16, "hat"))
        at = 0.0
        while at < 1:
            length = float(rng.choice((0.5, 0.5, 1.0)))
            length = min(length, 1 - at)
            step = int(np.clip(step + rng.integers(-2, 3), 0, 6))
            if rng.uniform() < 0.4:  # the melody comes home to the chord
                step = min(((chord + j) % 7 for j in (0, 2, 4)), key=lambda s: abs(s - step))
            if rng.uniform() < 0.85:
                notes.append(Note(now + at * beat, 0.9 * length * beat, pitch(step, 72), 0.34, lead))
            at += length
    kept = tuple(note for note in notes if note.start < seconds)
    return Piece(60 / beat, key, minor, kept, tuple(i * beat for i in range(count) if i * beat < seconds), seconds)


def render(piece: Piece, *, rate: int = RATE) -> Sound:
    """float32 [T], -1..1. The same piece always sounds the same."""
    out = np.zeros(int(piece.seconds * rate), np.float32)
    for note in piece.notes:
        start = round(note.start * rate)
        sound = _drum(note, rate) if note.voice in ("kick", "hat") else _tone(note, rate)
        sound = sound[:len(out) - start]
        out[start:start + len(sound)] += np.float32(note.level) * sound
    return np.clip(np.float32(GAIN) * out, -1, 1)


def _tone(note: Note, rate: int) -> Sound:
    release = 0.04
    time = np.arange(int((note.length + release) * rate)) / rate
    frequency = 440 * 2 ** ((note.pitch - 69) / 12)
    out = np.zeros(len(time))
    for number, strength in enumerate(PARTIALS[note.voice], start=1):
        if strength and number * frequency < 0.45 * rate:
            fall = np.exp(-time / DECAY[note.voice] * (1 + 0.35 * (number - 1) * (note.voice in ("pluck", "bell"))))
            out += strength * fall * np.sin(2 * np.pi * number * frequency * time)
    envelope = np.clip(time / 0.008, 0, 1) * np.clip((note.length + release - time) / release, 0, 1)
    return (out * envelope / 1.6).astype(np.float32)


def _drum(note: Note, rate: int) -> Sound:
    time = np.arange(int(note.length * rate)) / rate
    if note.voice == "kick":
        phase = 2 * np.pi * (52 * time + 3.4 * (1 - np.exp(-time / 0.03)))
        return (np.sin(phase) * np.exp(-time / 0.06)).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(len(time))  # of every hat the same, as of a machine
    return (np.diff(noise, prepend=0) * np.exp(-time / 0.018) * 0.5).astype(np.float32)


def pieces(count: int, seed: int, seconds: float = 24.0) -> list[Piece]:
    """So many pieces."""
    return [compose(np.random.default_rng((seed, i)), seconds) for i in range(count)]
