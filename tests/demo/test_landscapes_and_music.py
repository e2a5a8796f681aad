"""The procedural landscapes wrap and differ by mood; the music sounds the notes and beats that it says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from latent_atelier.demo.landscapes import HEIGHT, MOODS, landscape, landscapes
from latent_atelier.demo.make_images import IMAGES, mood_masks, shipped_landscape, shipped_music
from latent_atelier.demo.music import RATE, Note, Piece, compose, pieces, render
from latent_atelier.headless.sounds import load_sound
from PIL import Image


@pytest.mark.parametrize("mood", MOODS)
def test_the_ends_of_a_landscape_meet(mood: str) -> None:
    picture = landscape(mood, np.random.default_rng(3), 384).astype(float)
    assert picture.shape == (HEIGHT, 384, 3)
    steps = np.square(np.diff(picture, axis=1)).mean(axis=(0, 2))
    seam = np.square(picture[:, 0] - picture[:, -1]).mean()
    assert seam < 2 * steps.mean()
    assert picture.std() > 20


def test_landscapes_follow_from_their_seed() -> None:
    one, two = (landscapes(2, seed, 128) for seed in (5, 5))
    assert all(np.array_equal(one[mood], two[mood]) for mood in MOODS)
    assert not np.array_equal(one["day"][0], one["day"][1])
    means = {mood: one[mood].mean() for mood in MOODS}
    assert means["night"] < means["dusk"] < means["day"] < means["snow"]


def test_height_tells_what_is_there() -> None:
    """The sky of a day is bluer than its bank, whose green wins."""
    day = np.stack([landscape("day", np.random.default_rng(i), 256) for i in range(3)]).astype(float)
    sky, bank = day[:, :40].mean(axis=(0, 1, 2)), day[:, -10:].mean(axis=(0, 1, 2))
    assert sky[2] > sky[1] > sky[0]
    assert bank[1] > bank[0] > bank[2]


def test_a_note_has_its_pitch() -> None:
    for pitch in (57, 69, 76):
        for voice in ("pluck", "organ", "bell", "reed"):
            piece = Piece(120, 0, False, (Note(0.1, 0.8, pitch, 0.5, voice),), (), 1.0)
            sound = render(piece)
            spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 8 * RATE))
            found = np.argmax(spectrum) / 8
            assert found == pytest.approx(440 * 2 ** ((pitch - 69) / 12), rel=0.01), voice
            assert not np.any(sound[:int(0.1 * RATE)])


def test_beats_are_where_the_piece_says() -> None:
    piece = compose(np.random.default_rng(2), 8.0)
    drums = dataclasses.replace(piece, notes=tuple(note for note in piece.notes if note.voice == "kick"))
    sound = np.abs(render(drums))
    for time in piece.beats[:-1]:
        at = int(time * RATE)
        assert sound[at:at + 400].max() > 0.2
        assert sound[max(0, at - 100):max(1, at - 5)].max() < 0.1
    assert np.allclose(np.diff(piece.beats), 60 / piece.tempo)


def test_notes_are_of_the_key() -> None:
    for piece in pieces(6, seed=4, seconds=6.0):
        scale = {(piece.key + step) % 12 for step in ((0, 2, 3, 5, 7, 8, 10) if piece.minor else (0, 2, 4, 5, 7, 9, 11))}
        assert {note.pitch % 12 for note in piece.notes if note.pitch} <= scale
        sound = render(piece)
        assert sound.shape == (6 * RATE,)
        assert 0.05 < sound.std() < np.abs(sound).max() <= 1
        assert np.array_equal(sound, render(piece))


def test_the_shipped_sound_is_the_beginning_of_the_shipped_piece() -> None:
    shipped = load_sound(IMAGES / "music_1.wav")["waveform"][0, 0].numpy()
    assert np.abs(shipped - shipped_music()).max() < 2 / 2**15


def test_the_shipped_landscape_is_the_recipes() -> None:
    shown = np.asarray(Image.open(IMAGES / "landscape_day_1.png").convert("RGB"), int)
    assert np.abs(shown - shipped_landscape().astype(int)).max() <= 1


def test_the_shipped_masks_meet_across_the_edge_and_leave_the_first_mood_alone() -> None:
    masks = np.asarray(Image.open(IMAGES / "panorama_moods.png").convert("RGB"), int)
    assert np.abs(masks - np.asarray(mood_masks(), int)).max() <= 1
    shares = masks[0] / 255
    assert np.abs(shares - np.roll(shares, 1, axis=0)).max() < 0.05
    assert shares[0, 2] == pytest.approx(0.5, abs=0.02)  # half snow, half day, at the edge
    assert shares.sum(axis=1).max() < 1.02
    assert shares.sum(axis=1).min() == 0
