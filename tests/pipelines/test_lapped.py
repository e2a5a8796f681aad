"""The lapped transform is orthogonal and shows tones as sequences of two terms; its denoiser alone is Wiener's filter."""

from __future__ import annotations

import math

import pytest
import torch
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.crops import SoundCrops
from latent_atelier.pipelines.langevin.edm_network import SongUNet, UNetShape
from latent_atelier.pipelines.langevin.lapped import lapped, unlapped
from latent_atelier.pipelines.langevin.preconditioning import LappedPrior
from latent_atelier.pipelines.langevin.training import DenoiserRecipe, build_network, measured_spectrum
from latent_atelier.pipelines.training.data import seeded


@pytest.mark.parametrize("block", [2, 6, 64])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_the_matrix_is_orthogonal(block: int, frames: int) -> None:
    size = block * frames
    matrix = lapped(torch.eye(size, dtype=torch.float64)[:, None], block).flatten(1)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size, dtype=torch.float64))
    x = torch.randn(2, 3, size, dtype=torch.float64, generator=seeded(0))
    coefficients = lapped(x, block)
    assert coefficients.shape == (2, 3 * block, frames)
    torch.testing.assert_close(unlapped(coefficients, block), x)
    torch.testing.assert_close(lapped(x[:, 1:2], block), coefficients[:, block:2 * block])


def test_a_tone_is_two_terms_in_every_bin() -> None:
    """c[t+1] = 2 cos(w N) c[t] - c[t-1], away from the ends."""
    tone = 2 * math.pi * 0.0371
    c = lapped(torch.cos(tone * torch.arange(640, dtype=torch.float64) + 0.4)[None, None], 32)[0, :, 1:-1]
    torch.testing.assert_close(c[:, 2:], 2 * math.cos(32 * tone) * c[:, 1:-1] - c[:, :-2])
    assert int(c.square().sum(dim=1).argmax()) == int(0.0371 * 2 * 32)


def test_without_its_network_the_denoiser_is_wieners_filter() -> None:
    """For stationary noise of a known spectrum, the best linear denoiser of each bin by itself."""
    prior = LappedPrior(SongUNet(UNetShape(4, 16, 16, width=8, multipliers=(1,), blocks=1, dims=1)), sigma_data=1.0)
    prior.deviations.copy_(torch.linspace(0.2, 2.0, 16)[None])
    with torch.no_grad():
        for parameter in prior.model.parameters():
            parameter.zero_()
        clean = unlapped(prior.deviations[0][:, None] * torch.randn(4096, 16, 4, generator=seeded(1)), 16)
        found = prior(clean + 0.7 * torch.randn(clean.shape, generator=seeded(2)), torch.tensor(0.7))
    errors = (lapped(found, 16) - lapped(clean, 16)).square().mean(dim=(0, 2))
    variance = prior.deviations[0].square()
    torch.testing.assert_close(errors, variance * 0.49 / (variance + 0.49), rtol=0.08, atol=0)


def test_a_recipe_measures_the_spectrum() -> None:
    sound = torch.sin(2 * math.pi * 0.1 * torch.arange(20000))[None] * 0.5
    data = SoundCrops([sound], 256)
    recipe = DenoiserRecipe.preset(data, width=8)
    assert (recipe.lapped, recipe.patch) == (True, 16)
    network = build_network(recipe, data)
    assert isinstance(network, LappedPrior)
    assert (network.resolution, network.multiple, network.channels, network.block) == (256, 32, 1, 16)
    spectrum = measured_spectrum(data, 16)
    torch.testing.assert_close(network.deviations, spectrum)
    assert int(spectrum[0].argmax()) == int(0.1 * 2 * 16)
    assert float(spectrum.square().mean()) == pytest.approx(0.125, rel=0.02)
    with pytest.raises(InvalidInputError, match="crops of a multiple of 16 samples"):
        DenoiserRecipe(width=8, patch=16, lapped=True).shape(SoundCrops([sound], 200))
