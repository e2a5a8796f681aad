"""The operators against their definitions, and the rules of the generator that no fixture shows."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.stylegan2.discriminator import Discriminator, minibatch_std
from latent_atelier.pipelines.stylegan2.generator import Generator, SynthesisLayer, standard_channels
from latent_atelier.pipelines.stylegan2.ops import FrozenCache, activate, blur, downsample, resample_filter, upsample
from torch.nn import functional as F


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    network = Generator(z_dim=8, c_dim=0, w_dim=8, resolution=16, channels={4: 6, 8: 6, 16: 4}, mapping_layers=2)
    for layer in network.synthesis.layers():
        layer.noise_strength.data.fill_(0.3)
    return network.eval().requires_grad_(False)


def upfirdn(x: torch.Tensor, *, up: int, down: int, pad: tuple[int, int], gain: float) -> torch.Tensor:
    """Zero insertion, padding, convolution with the flipped kernel, decimation."""
    b, c, h, w = x.shape
    y = torch.zeros(b, c, h * up, w * up, dtype=x.dtype)
    y[:, :, ::up, ::up] = x
    y = F.pad(y, [pad[0], pad[1], pad[0], pad[1]])
    kernel = resample_filter().to(x.dtype).flip(0, 1)[None, None].repeat(c, 1, 1, 1) * gain
    return F.conv2d(y, kernel, groups=c)[:, :, ::down, ::down]


def test_resampling_is_upfirdn() -> None:
    x, kernel = torch.randn(2, 3, 8, 8, dtype=torch.float64), resample_filter().double()
    assert torch.allclose(upsample(x, kernel), upfirdn(x, up=2, down=1, pad=(2, 1), gain=4))
    assert torch.allclose(downsample(x, kernel), upfirdn(x, up=1, down=2, pad=(1, 1), gain=1))
    assert torch.allclose(blur(x, kernel, padding=2), upfirdn(x, up=1, down=1, pad=(2, 2), gain=1))


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("grad", [False, True])
def test_layer_is_the_modulated_convolution_of_the_paper(up: bool, batch: int, grad: bool) -> None:
    torch.manual_seed(1)
    layer = SynthesisLayer(5, 4, w_dim=6, resolution=16 if up else 8, up=up).double().requires_grad_(False)
    layer.bias.normal_()
    x, w = torch.randn(batch, 5, 8, 8, dtype=torch.float64), torch.randn(batch, 6, dtype=torch.float64)
    expected = []
    for i in range(batch):
        weight = layer.weight * layer.affine(w)[i][None, :, None, None]
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            y = F.conv_transpose2d(x[i:i + 1], weight.transpose(0, 1), stride=2)
            y = upfirdn(y, up=1, down=1, pad=(1, 1), gain=4)
        else:
            y = F.conv2d(x[i:i + 1], weight, padding=1)
        expected.append(F.leaky_relu(y + layer.bias[None, :, None, None], 0.2) * math.sqrt(2))
    with torch.set_grad_enabled(grad):
        found = layer(x.requires_grad_(grad), w, None)
    assert torch.allclose(found, torch.cat(expected), rtol=1e-5, atol=1e-6)


def test_activation_gain_moves_into_the_operands() -> None:
    x, scale, noise = torch.randn(2, 3, 4, 4), torch.rand(2, 3) + 0.5, torch.randn(1, 1, 4, 4)
    bias = torch.randn(3)
    expected = 1.7 * F.leaky_relu(x * scale[:, :, None, None] + noise + bias[None, :, None, None], 0.2)
    untouched = x.clone()
    assert torch.allclose(activate(x, bias, scale=scale, noise=noise, gain=1.7), expected, atol=1e-6)
    assert torch.equal(x, untouched)
    assert torch.allclose(activate(x, bias, scale=scale, noise=noise, gain=1.7, clamp=0.5), expected.clamp(-0.5, 0.5),
                          atol=1e-6)


def test_frozen_values_follow_in_place_changes() -> None:
    cache, calls = FrozenCache(), []

    def double(p: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return p * 2

    weight = torch.ones(2)
    assert torch.equal(cache("x", weight, double), cache("x", weight, double))
    assert len(calls) == 1
    weight.add_(1)
    assert cache("x", weight, double).tolist() == [4, 4]
    trained = torch.ones(2, requires_grad=True)
    assert cache("y", trained, double).requires_grad
    assert copy.deepcopy(cache)._values == {}


def test_last_row_drives_only_the_last_rgb(generator: Generator) -> None:
    codes = torch.randn(1, generator.num_ws, 8)
    image, features = generator.synthesis(codes)
    changed = codes.clone()
    changed[:, -1] += 1
    other, same = generator.synthesis(changed)
    assert not torch.equal(image, other)
    assert all(torch.equal(a, b) for a, b in zip(features, same, strict=True))


def test_random_noise_is_one_stream_per_picture(generator: Generator) -> None:
    codes = torch.randn(3, generator.num_ws, 8)

    def streams() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(i) for i in range(3)]

    together = generator.synthesis(codes, noise="random", rng=streams())[0]
    alone = torch.cat([generator.synthesis(codes[i:i + 1], noise="random", rng=[streams()[i]])[0] for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)
    with pytest.raises(InvalidInputError, match="one random generator per sample"):
        generator.synthesis(codes, noise="random")


@pytest.mark.parametrize("codes", [torch.zeros(1, 5, 8), torch.zeros(8), torch.zeros(1, 6, 9)])
def test_wrong_codes_are_refused(generator: Generator, codes: torch.Tensor) -> None:
    with pytest.raises(InvalidInputError, match=r"shape \[B,6,8\]"):
        generator.synthesis(codes)


def test_wrong_noise_is_refused(generator: Generator) -> None:
    with pytest.raises(InvalidInputError, match="5 maps"):
        generator.synthesis(torch.zeros(1, 6, 8), noise=[torch.zeros(1, 1, 4, 4)])
    maps = [torch.zeros(1, 1, 4, 4)] * 5
    with pytest.raises(InvalidInputError, match=r"8,8\]"):
        generator.synthesis(torch.zeros(1, 6, 8), noise=maps)


def test_features_are_the_const_and_every_layer(generator: Generator) -> None:
    _, features = generator.synthesis(torch.randn(2, 6, 8))
    assert tuple(f.shape[1] for f in features) == generator.feature_channels() == (6, 6, 6, 6, 4, 4)
    assert [f.shape[2] for f in features] == [4, 4, 8, 8, 16, 16]


def test_bfloat16_is_close(generator: Generator) -> None:
    codes = torch.randn(2, 6, 8)
    exact, rough = (generator.synthesis(codes, dtype=d)[0] for d in (torch.float32, torch.bfloat16))
    assert rough.dtype == torch.float32
    assert float((exact - rough).square().mean().sqrt() / exact.std()) < 0.05


def test_minibatch_deviation_by_hand() -> None:
    x = torch.randn(4, 2, 3, 3)
    found = minibatch_std(x, group_size=2, num_channels=1)
    for i in range(2):  # groups are pictures i and i + 2
        pair = torch.stack([x[i], x[i + 2]])
        expected = (pair.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        assert torch.allclose(found[i, 2], expected.expand(3, 3))
    assert torch.equal(found[:, :2], x)
    with pytest.raises(InvalidInputError, match="multiple"):
        minibatch_std(x[:3], group_size=2, num_channels=1)


def test_discriminator_has_second_derivatives() -> None:
    """R1 differentiates through the gradient, in-place operations and all."""
    network = Discriminator(c_dim=0, resolution=8, channels=standard_channels(8, channel_base=32, channel_max=4)).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)

    def penalty(x: torch.Tensor) -> torch.Tensor:
        (g,) = torch.autograd.grad(network(x, dtype=torch.float64).sum(), x, create_graph=True)
        return g.square().sum()

    (gradient,) = torch.autograd.grad(penalty(images), images)
    direction = torch.randn_like(images)
    step = 1e-6
    difference = (penalty(images + step * direction) - penalty(images - step * direction)) / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-4, abs=1e-9)
