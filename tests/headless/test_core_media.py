"""The embedded host's nodes for sound and film give what the host's give."""

from __future__ import annotations

import json
import math

import pytest
import torch
from latent_atelier.headless import core_audio, core_video
from latent_atelier.headless.core_nodes import CORE_NODES
from latent_atelier.headless.executor import Executor, NodeFailedError
from latent_atelier.headless.films import FilmFile, FilmOfFrames, FilmParts
from latent_atelier.headless.node_types import by_id
from latent_atelier.headless.problems import InvalidWorkflowError
from latent_atelier.headless.sounds import load_sound, save_sound
from latent_atelier.headless.validation import validate
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.resampling import resampled
from PIL import Image, ImageSequence

av = pytest.importorskip("av")
CLASSES = by_id(CORE_NODES)


@pytest.fixture
def folder(bench):
    (bench.root / "input").mkdir()
    return bench.root / "input"


def run(bench, nodes):
    with bench.context.activate():
        graph = validate(bench.workflow(nodes), CLASSES)
    return Executor(bench.context).run(graph)


def tones(rate=8000, seconds=1.0, pitches=(440.0, 660.0)):
    """float [1,C,T], a tone per channel."""
    time = torch.arange(round(rate * seconds)) / rate
    return torch.stack([0.5 * torch.sin(2 * math.pi * pitch * time) for pitch in pitches])[None]


def pitch(wave, rate):
    return float(torch.fft.rfft(wave * torch.hann_window(len(wave))).abs().argmax()) * rate / len(wave)


def pictures(count=12, height=32, width=48):
    across, down = torch.linspace(0, 1, width), torch.linspace(0, 1, height)
    return torch.stack([torch.stack([across.expand(height, width), torch.full((height, width), i / count),
                                     down[:, None].expand(height, width)], dim=-1) for i in range(count)])


@pytest.mark.parametrize(("kind", "quality", "rate", "found"), [
    ("flac", "128k", 8000, 8000), ("flac", "128k", 96000, 96000), ("mp3", "V0", 8000, 8000), ("mp3", "320k", 96000, 48000),
    ("opus", "64k", 8000, 48000), ("opus", "192k", 44100, 48000)])
def test_sound_files(tmp_path, kind, quality, rate, found):
    """Opus decodes at 48000 samples per second whatever went in."""
    save_sound(tmp_path / f"a.{kind}", tones(rate)[0], rate, kind, quality=quality, metadata={"prompt": "{}"})
    sound = load_sound(tmp_path / f"a.{kind}")
    wave = sound["waveform"]
    assert (sound["sample_rate"], wave.dtype, wave.shape[:2]) == (found, torch.float32, (1, 2))
    assert wave.shape[2] / found == pytest.approx(1, abs=0.06)
    assert [pitch(w, found) for w in wave[0]] == pytest.approx([440, 660], abs=2)
    if kind == "flac":
        assert float((wave - tones(rate)).abs().max()) < 2 / 2**15
        with av.open(str(tmp_path / "a.flac")) as container:
            assert {name.lower(): value for name, value in container.metadata.items()}["prompt"] == "{}"


def test_sound_files_that_are_none(tmp_path):
    save_sound(tmp_path / "whole.flac", tones()[0], 8000, "flac")
    whole = (tmp_path / "whole.flac").read_bytes()
    for data in (b"", b"no sound", whole[:40], whole[:200], whole[:len(whole) // 2]):
        (tmp_path / "a.flac").write_bytes(data)
        with pytest.raises(InvalidInputError, match=r"^The sound a\.flac (cannot be read|is empty)[^\n]*$"):
            load_sound(tmp_path / "a.flac")
    with pytest.raises(InvalidInputError, match="does not exist"):
        load_sound(tmp_path / "none.flac")
    FilmOfFrames(FilmParts(pictures(2), 12)).save_to(tmp_path / "silent.mp4")
    with pytest.raises(InvalidInputError, match="holds no sound"):
        load_sound(tmp_path / "silent.mp4")
    with pytest.raises(InvalidInputError, match="12 channels cannot be saved as flac"):
        save_sound(tmp_path / "b.flac", torch.zeros(12, 9), 8000, "flac")


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 8000), (8000, 44100), (48000, 44100), (8000, 8001), (8000, 4000)])
def test_resampling_keeps_tones_and_drops_what_does_not_fit(rate, wanted):
    time = torch.arange(rate + 7, dtype=torch.float64) / rate
    found = resampled(torch.sin(2 * math.pi * 440 * time + 0.3), rate, wanted)
    assert len(found) == math.ceil((rate + 7) * wanted / rate)
    expected = torch.sin(2 * math.pi * 440 * torch.arange(len(found), dtype=torch.float64) / wanted + 0.3)
    inner = slice(len(found) // 10, -len(found) // 10)
    assert float((found - expected)[inner].abs().max()) < 2e-3
    above = resampled(torch.sin(2 * math.pi * 0.49 * rate * time), rate, wanted)[inner]
    assert wanted > rate or float(above.abs().max()) < 2e-3
    assert float(resampled(torch.ones(1, 1, 50), rate, wanted).sub(1).abs().max()) < 1e-5
    with pytest.raises(InvalidInputError, match="above 0"):
        resampled(time, 0, 1)


def test_sound_through_nodes(bench, folder):
    save_sound(folder / "a.flac", tones()[0], 8000, "flac")
    nodes = {
        "1": ("LoadAudio", {"audio": "a.flac"}),
        "2": ("SplitAudioChannels", {"audio": ["1", 0]}),
        "3": ("TrimAudioDuration", {"audio": ["2", 1], "start_index": -0.5, "duration": 0.25}),
        "4": ("EmptyAudio", {"duration": 0.5, "sample_rate": 16000, "channels": 1}),
        "5": ("AudioConcat", {"audio1": ["3", 0], "audio2": ["4", 0], "direction": "before"}),
        "6": ("AudioAdjustVolume", {"audio": ["5", 0], "volume": 6}),
        "7": ("SaveAudio", {"audio": ["6", 0], "filename_prefix": "sub/a"}),
        "8": ("PreviewAudio", {"audio": ["1", 0]}),
        "9": ("SaveAudioAdvanced", {"audio": ["1", 0], "filename_prefix": "b", "format": "mp3", "format.quality": "128k"}),
    }
    shown = run(bench, nodes)
    assert shown["7"] == {"audio": [{"filename": "a_00001.flac", "subfolder": "sub", "type": "output"}]}
    sound = load_sound(bench.root / "output" / "sub" / "a_00001.flac")
    wave = sound["waveform"]
    assert (sound["sample_rate"], wave.shape) == (16000, (1, 2, 12000))
    assert float(wave[..., :7900].abs().max()) < 0.01
    assert float(wave[0, 0, 9000:11000].abs().max()) == pytest.approx(0.5 * 10 ** 0.3, abs=0.01)
    assert pitch(wave[0, 1, 8000:], 16000) == pytest.approx(660, abs=8)
    assert (bench.root / "temp" / shown["8"]["audio"][0]["filename"]).is_file()
    assert load_sound(bench.root / "output" / shown["9"]["audio"][0]["filename"])["sample_rate"] == 8000
    with av.open(str(bench.root / "output" / "sub" / "a_00001.flac")) as container:
        prompt = {name.lower(): value for name, value in container.metadata.items()}["prompt"]
    assert json.loads(prompt)["3"]["inputs"]["duration"] == 0.25
    nodes["3"] = ("TrimAudioDuration", {"audio": ["2", 1], "start_index": 3.0, "duration": 0.25})
    with pytest.raises(NodeFailedError, match="Nothing is left of a sound of 1 seconds"):
        run(bench, nodes)


@pytest.mark.parametrize(("method", "expected"), [("add", 1.0), ("mean", 0.5), ("subtract", 0.0), ("multiply", 0.25)])
def test_merged_sound(method, expected):
    one = {"waveform": torch.full((1, 1, 8), 0.5), "sample_rate": 8000}
    longer = {"waveform": torch.full((1, 1, 12), 0.5), "sample_rate": 8000}
    (found,) = core_audio.AudioMerge.execute(one, longer, method).args
    assert torch.equal(found["waveform"], torch.full((1, 1, 8), expected))
    (found,) = core_audio.AudioMerge.execute(longer, one, method).args
    assert found["waveform"].shape == (1, 1, 12)
    assert float(found["waveform"].abs().max()) <= 1
    assert core_audio.AudioMerge.execute(None, one, method).args == (one,)


def test_joined_channels():
    left, right = ({"waveform": tones(rate, pitches=(440.0,)), "sample_rate": rate} for rate in (8000, 16000))
    (found,) = core_audio.JoinAudioChannels.execute(left, right).args
    assert (found["sample_rate"], found["waveform"].shape) == (16000, (1, 2, 16000))
    torch.testing.assert_close(found["waveform"][0, 0, 1600:-1600], found["waveform"][0, 1, 1600:-1600], rtol=0, atol=2e-3)
    with pytest.raises(InvalidInputError, match="two mono sounds, got 2 and 1"):
        core_audio.JoinAudioChannels.execute({**left, "waveform": tones()}, right)


@pytest.mark.parametrize(("format", "codec", "rate"),
                         [("auto", "auto", 16000), ("mkv", "h264", 16000), ("webm", "auto", 48000)])
def test_films(tmp_path, format, codec, rate):
    sound = {"waveform": tones(16000), "sample_rate": 16000}
    film = FilmOfFrames(FilmParts(pictures(), 12, sound))
    path = tmp_path / f"a.{'mp4' if format == 'auto' else format}"
    film.save_to(path, format=format, codec=codec, metadata={"prompt": {"1": 2}})
    found = FilmFile(path)
    parts = found.get_components()
    assert found.get_dimensions() == (48, 32)
    assert (found.get_frame_rate(), parts.frame_rate, found.get_bit_depth()) == (12, 12, 8)
    assert found.get_duration() == pytest.approx(1, abs=0.1)
    assert float((parts.images - pictures()).abs().mean()) < 0.015
    assert parts.audio["sample_rate"] == rate
    assert [pitch(wave[:rate], rate) for wave in parts.audio["waveform"][0]] == pytest.approx([440, 660], abs=2)
    assert json.loads({name.lower(): value for name, value in parts.metadata.items()}["prompt"]) == {"1": 2}
    stretch = found.as_trimmed(0.5, 0.25).get_components()
    assert stretch.images.shape[0] == 3
    assert float((stretch.images - pictures()[6:9]).abs().mean()) < 0.015
    assert stretch.audio["waveform"].shape[2] == rate // 4
    same = film.as_trimmed(0.5, 0.25).get_components()
    assert torch.equal(same.images, pictures()[6:9])
    assert same.audio["waveform"].shape[2] == 4000


def test_a_film_that_is_as_wanted_is_copied(tmp_path):
    FilmOfFrames(FilmParts(pictures(), 12, {"waveform": tones(16000), "sample_rate": 16000})).save_to(tmp_path / "a.mp4")
    FilmFile(tmp_path / "a.mp4").save_to(tmp_path / "b.mp4", metadata={"prompt": {}})
    one, two = (FilmFile(tmp_path / name).get_components() for name in ("a.mp4", "b.mp4"))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.audio["waveform"], two.audio["waveform"])
    assert two.metadata["prompt"] == "{}"
    FilmFile(tmp_path / "a.mp4").save_to(tmp_path / "c.webm", format="webm")
    assert float((FilmFile(tmp_path / "c.webm").get_components().images - pictures()).abs().mean()) < 0.02


def test_films_that_are_none(tmp_path):
    FilmOfFrames(FilmParts(pictures(), 12)).save_to(tmp_path / "whole.mp4")
    whole = (tmp_path / "whole.mp4").read_bytes()
    for data in (b"", b"no film", whole[:100], whole[:len(whole) // 3]):
        (tmp_path / "a.mp4").write_bytes(data)
        with pytest.raises(InvalidInputError, match=r"^(The film a\.mp4 cannot be read|a\.mp4 holds no pictures)[^\n]*$"):
            FilmFile(tmp_path / "a.mp4").get_components()
    save_sound(tmp_path / "a.flac", tones()[0], 8000, "flac")
    with pytest.raises(InvalidInputError, match="holds no pictures"):
        FilmFile(tmp_path / "a.flac").get_components()
    with pytest.raises(InvalidInputError, match="even sides, got 12 frames of 47x32"):
        FilmOfFrames(FilmParts(pictures(width=47), 12)).save_to(tmp_path / "b.mp4")
    with pytest.raises(InvalidInputError, match="WebM file holds AV1"):
        FilmOfFrames(FilmParts(pictures(), 12)).save_to(tmp_path / "b.webm", format="webm", codec="h264")


def duration(frame):
    frame.load()
    return frame.info["duration"]


def test_films_through_nodes(bench, folder):
    FilmOfFrames(FilmParts(pictures(), 12, {"waveform": tones(16000), "sample_rate": 16000})).save_to(folder / "a.mp4")
    nodes = {
        "1": ("LoadVideo", {"file": "a.mp4"}),
        "2": ("Video Slice", {"video": ["1", 0], "start_time": 0.25, "duration": 0.5, "strict_duration": True}),
        "3": ("GetVideoComponents", {"video": ["2", 0]}),
        "4": ("CreateVideo", {"images": ["3", 0], "fps": ["3", 2], "audio": ["3", 1], "bit_depth": 10}),
        "5": ("SaveVideo", {"video": ["4", 0], "filename_prefix": "v", "format": "mkv", "format.codec": "auto"}),
        "6": ("SaveAnimatedWEBP", {"images": ["3", 0], "filename_prefix": "w", "fps": 24.0, "lossless": True, "quality": 80,
                                   "method": "fastest"}),
        "7": ("SaveAnimatedPNG", {"images": ["3", 0], "filename_prefix": "p", "fps": 24.0, "compress_level": 4}),
    }
    shown = run(bench, nodes)
    assert shown["5"] == {"images": [{"filename": "v_00001_.mkv", "subfolder": "", "type": "output"}], "animated": [True]}
    parts = FilmFile(bench.root / "output" / "v_00001_.mkv").get_components()
    assert parts.images.shape == (6, 32, 48, 3)
    assert float((parts.images - pictures()[3:9]).abs().mean()) < 0.02
    assert pitch(parts.audio["waveform"][0, 1, :8000], 16000) == pytest.approx(660, abs=4)
    for node in ("6", "7"):
        with Image.open(bench.root / "output" / shown[node]["images"][0]["filename"]) as image:
            lasting = [duration(frame) for frame in ImageSequence.Iterator(image)]
        assert len(lasting) == 6
        assert sum(lasting) == pytest.approx(250, abs=1)  # not 6 times 41
    with Image.open(bench.root / "output" / "w_00001_.webp") as image:
        assert json.loads(image.getexif()[0x0110].removeprefix("prompt:"))["1"]["class_type"] == "LoadVideo"
    nodes["2"] = ("Video Slice", {"video": ["1", 0], "start_time": 0.75, "duration": 0.5, "strict_duration": True})
    with pytest.raises(NodeFailedError, match=r"has no 0\.5 seconds from 0\.75 on"):
        run(bench, nodes)
    assert core_video.VideoSlice.execute(FilmOfFrames(FilmParts(pictures(), 12)), -0.5, 0, False).args[0].get_duration() == 0.5


@pytest.mark.parametrize(("node", "name"), [("LoadAudio", "audio"), ("LoadVideo", "file")])
def test_unknown_files_are_found_before_the_run(bench, folder, node, name):
    kind = "SaveAudio" if node == "LoadAudio" else "SaveVideo"
    more = {"audio": ["1", 0]} if node == "LoadAudio" else {"video": ["1", 0], "format": "auto"}
    with pytest.raises(InvalidWorkflowError, match=rf"node 1 \({node}\), input {name}: there is no"):
        run(bench, {"1": (node, {name: "none.mp4"}), "2": (kind, {"filename_prefix": "a", **more})})
