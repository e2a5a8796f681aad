"""Winograd's convolution against the direct one, in any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines import winograd
from latent_atelier.pipelines.image_blocks import ConvBlock, LayerNorm
from torch.nn import functional as F


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([2, 4]), st.integers(1, 3), st.integers(1, 13), st.integers(1, 13), st.integers(1, 5),
       st.integers(0, 99))
def test_it_is_the_convolution(tile: int, batch: int, height: int, width: int, channels: int, seed: int) -> None:
    torch.manual_seed(seed)
    padded, weight = torch.randn(batch, channels, height + 2, width + 2), torch.randn(3, channels, 3, 3)
    found = winograd.convolve(padded, winograd.transformed(weight, tile), tile)
    assert torch.allclose(found, F.conv2d(padded, weight), atol=2e-4)


@pytest.mark.parametrize(("side", "tile", "error"), [(8, 2, 2e-5), (16, 4, 3e-4), (32, 4, 3e-4)])
def test_rounding_at_full_width(side: int, tile: int, error: float) -> None:
    torch.manual_seed(0)
    padded, weight = torch.randn(1, 512, side + 2, side + 2), torch.randn(512, 512, 3, 3) / (512 * 9) ** 0.5
    assert winograd.serves(padded, weight)
    assert winograd.tile_for(padded) == tile
    found = winograd.convolve(padded, winograd.transformed(weight, tile), tile)
    assert float((found - F.conv2d(padded, weight)).abs().max()) < error


def test_trained_weights_and_pictures_with_gradients_take_the_direct_form() -> None:
    block = ConvBlock(128, 128, 3, 1, 1)
    x = torch.randn(1, 128, 10, 10)
    assert not winograd.serves(x, block.conv.weight)
    block.requires_grad_(False)
    assert winograd.serves(x, block.conv.weight)
    assert not winograd.serves(x.requires_grad_(True), block.conv.weight)
    direct = block(x)
    assert torch.allclose(block(x.detach()), direct, atol=1e-4)
    with torch.no_grad():
        block.conv.weight.mul_(2)
        assert torch.allclose(block(x.detach()), F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), block.conv.weight,
                                                                 block.conv.bias)), atol=1e-4)


@pytest.mark.parametrize("tile", [2, 4])
def test_the_matrices_are_exact(tile: int) -> None:
    into, kernel, out = winograd.toom_cook(tile)
    rng = np.random.default_rng(0)
    pixels, weights = rng.normal(size=tile + 2), rng.normal(size=3)
    direct = [float(pixels[i:i + 3] @ weights) for i in range(tile)]
    assert out @ ((into @ pixels) * (kernel @ weights)) == pytest.approx(direct, rel=1e-12)


def test_norms_of_a_frozen_layer_are_those_of_a_trained_one() -> None:
    torch.manual_seed(0)
    x, affine = torch.randn(3, 6, 9, 7) * 3 + 20, (torch.randn(3, 6), torch.rand(3, 6))
    for norm, style in (("in", None), ("adain", affine)):
        block = ConvBlock(6, 6, 3, 1, 1, norm=norm)
        trained = block(x, style)
        assert torch.allclose(block.requires_grad_(False)(x, style), trained, atol=1e-5)
    layer = LayerNorm(6)
    trained = layer(x)
    assert torch.allclose(layer.requires_grad_(False)(x), trained, atol=1e-5)
    one = torch.stack([layer(sample[None])[0] for sample in x])
    assert torch.equal(layer(x), one)


@pytest.mark.parametrize("outputs", [1, 3])
def test_few_outputs_tap_by_tap(outputs: int) -> None:
    torch.manual_seed(0)
    block = ConvBlock(12, outputs, 7, 1, 3, activation="none").requires_grad_(False)
    x = torch.randn(2, 12, 9, 15)
    direct = F.conv2d(F.pad(x, (3, 3, 3, 3), mode="reflect"), block.conv.weight, block.conv.bias)
    assert torch.allclose(block(x), direct, atol=1e-5)
