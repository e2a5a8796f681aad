"""Langevin Audio and Langevin Video: what was given stays, what is new follows the prior, at any rate, in mono or stereo."""

from __future__ import annotations

import math

import pytest
import torch
from latent_atelier.nodes.canvases import shown
from latent_atelier.nodes.extended_sound import SoundPlan
from latent_atelier.nodes.langevin import LangevinAudio, LangevinVideo
from latent_atelier.nodes.langevin_settings import TextureDenoiser
from latent_atelier.nodes.prior_model import PriorModel
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.gaussian import GaussianDenoiser, stationary_covariance
from latent_atelier.pipelines.langevin.inversion import Inversion
from latent_atelier.pipelines.langevin.presets import Preset
from latent_atelier.pipelines.langevin.prior import PriorSettings
from latent_atelier.runtime.progress import preview_image

pytestmark = pytest.mark.usefixtures("one_thread")
RATE, CROP, HUM = 8000, 128, 500.0
PRESET = Preset(PriorSettings(sweeps=24, sigma_max=1.0, tau=0.5, inversion=Inversion("naive")), start=24)
PATIENT = Preset(PriorSettings(sweeps=64, sigma_max=10.0, tau=1.0, inversion=Inversion("naive")))
"""Without a start: what is given decides from the first sweep on."""


@pytest.fixture(scope="module")
def hum() -> PriorModel:
    """A prior of sound that hums at 500 Hz, with a phase that drifts, and is 0.2 strong."""
    lags = torch.arange(2048, dtype=torch.float64)
    lags = torch.minimum(lags, 2048 - lags)
    covariance = 0.04 * torch.exp(-lags / 400) * torch.cos(2 * math.pi * HUM / RATE * lags)
    found = GaussianDenoiser(stationary_covariance(covariance, [CROP]), [CROP])
    return PriorModel("hum", 1, (CROP,), 1, torch.device("cpu"), lambda body: body(found), sample_rate=RATE)


def sound(rate: int = RATE, seconds: float = 0.25, channels: int = 1, phase: float = 0.3) -> dict:
    time = torch.arange(round(rate * seconds)) / rate
    wave = 0.28 * torch.cos(2 * math.pi * HUM * time + phase)
    return {"waveform": wave.expand(1, channels, -1).clone(), "sample_rate": rate}


def extended(prior: PriorModel, audio: dict, mode: str = "after", seconds: float = 0.25, **more) -> dict:
    found, report = LangevinAudio.execute(prior, PRESET, audio, mode, seconds, 5, **more).args
    assert "sweeps" in report
    return found


def loudness(wave: torch.Tensor, rate: int) -> tuple[float, float]:
    """The strength of the hum, and of everything else."""
    power = torch.fft.rfft(wave.double() * torch.hann_window(len(wave))).abs().square()
    near = (torch.arange(len(power)) * rate / len(wave) - HUM).abs() < 60
    scale = 8 / 3 * 2 / len(wave) ** 2
    return math.sqrt(float(power[near].sum()) * scale), math.sqrt(float(power[~near].sum()) * scale)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (11025, 1), (4000, 1)])
@pytest.mark.parametrize("mode", ["after", "before", "loop", "join"])
def test_a_sound_goes_on_at_its_own_rate(hum: PriorModel, rate: int, channels: int, mode: str) -> None:
    given, other = sound(rate, channels=channels), sound(16000, 0.1, 2, phase=1.0)
    found = extended(hum, given, mode, second=other)
    assert found["sample_rate"] == rate
    wave, length, added = found["waveform"], given["waveform"].shape[2], round(0.25 * rate)
    more = math.ceil(0.1 * rate) if mode == "join" else 0
    assert wave.shape == (1, channels, length + added + more)
    start = added if mode == "before" else 0
    assert torch.equal(wave[..., start:start + length], given["waveform"])
    new = wave[0, 0, :added] if mode == "before" else wave[0, 0, length:length + added]
    humming, rest = loudness(new, rate)
    assert 0.05 < humming < 0.5
    assert rest < 0.4 * humming
    steps = (wave[..., 1:] - wave[..., :-1]).abs()
    assert float(steps.max()) < 0.15 + 1.5 * 0.28 * 2 * math.pi * HUM / rate  # no click, nor one where it begins


def test_the_prior_works_at_its_own_rate() -> None:
    plan = SoundPlan.of(sound(44100, channels=2), None, "after", 0.5)
    wave, known = plan.at(8000, 1)
    assert wave.shape == (1, 1, 6000)
    assert known.shape == (1, 6000)
    assert int(known.sum()) == 2000
    inner = slice(50, 1900)
    torch.testing.assert_close(wave[0, 0, inner], sound(8000)["waveform"][0, 0, inner], rtol=0, atol=2e-3)
    filled = plan.filled(torch.ones(1, 1, 6000), 8000)["waveform"]
    torch.testing.assert_close(filled[..., 11025:], torch.ones(1, 2, 22050), rtol=0, atol=1e-4)


def test_the_loop_closes(hum: PriorModel) -> None:
    wave = extended(hum, sound(), "loop")["waveform"][0, 0]
    assert abs(float(wave[0] - wave[-1])) < 0.2


def test_what_cannot_be_extended(hum: PriorModel) -> None:
    with pytest.raises(InvalidInputError, match="Joining needs a second sound"):
        extended(hum, sound(), "join")
    with pytest.raises(InvalidInputError, match="has no samples"):
        extended(hum, {"waveform": torch.zeros(1, 1, 0), "sample_rate": 8000})
    with pytest.raises(InvalidInputError, match=r"lasts 0\.01 seconds; this denoiser needs at least 0\.02"):
        extended(hum, sound(seconds=0.005), seconds=0.005)
    pictures = PriorModel("pictures", 3, (16, 16), 1, torch.device("cpu"), lambda body: body(None))
    with pytest.raises(InvalidInputError, match="works along 2 axes; this node needs one of sound"):
        extended(pictures, sound())


@pytest.mark.parametrize("mode", ["before", "loop"])
def test_a_film_goes_on(mode: str) -> None:
    """Clouds that change: the new frames have their contrast, and go on from the given ones as they go on from each other."""
    noise = torch.randn(20, 1, 22, 22, generator=torch.Generator().manual_seed(1))
    clouds = torch.nn.functional.avg_pool2d(noise, 7, stride=1)[:, 0]
    for i in range(1, 20):
        clouds[i] = 0.9 * clouds[i - 1] + math.sqrt(1 - 0.81) * clouds[i]
    film = (0.5 + 0.9 * clouds)[..., None].repeat(1, 1, 1, 3).clamp(0, 1)
    prior = TextureDenoiser.execute(image=film, crop=8, frames=4).args[0]
    found = LangevinVideo.execute(prior, PATIENT, film, mode, 6, 3).args[0]
    assert found.shape == (26, 16, 16, 3)
    given, new = (found[6:], found[:6]) if mode == "before" else (found[:20], found[20:])
    torch.testing.assert_close(given, film, rtol=0, atol=1e-5)
    assert 0.5 < float(new.std() / film.std()) < 1.5
    steps = (found - found.roll(1, dims=0)).square().mean(dim=(1, 2, 3))  # of a loop also from its end to its beginning
    seams, inside = (steps[6:7], steps[1:6]) if mode == "before" else (steps[[20, 0]], steps[21:])
    assert float(seams.max()) < 3.5 * float(inside.mean())
    assert float(steps.min()) > 0


@pytest.mark.parametrize("shape", [(1, 1, 4096), (1, 2, 8), (2, 3, 16, 24), (1, 1, 16, 24), (1, 3, 5, 16, 24)])
def test_every_canvas_can_be_shown_while_it_grows(shape: tuple[int, ...]) -> None:
    """Sound, pictures and film as a picture of three channels."""
    model = PriorModel("any", shape[1], shape[2:], 1, torch.device("cpu"), lambda body: body(None))
    picture = preview_image(shown(model, torch.zeros(shape)))
    assert picture.mode == "RGB"
    assert min(picture.size) >= 16
