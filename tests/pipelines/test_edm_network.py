"""The U-Nets beyond the official ones: other sizes, patches, lines, labels, places; and what a new network does."""

from __future__ import annotations

import pytest
import torch
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.canvas import Canvas, framed
from latent_atelier.pipelines.langevin.denoiser import NetworkDenoiser
from latent_atelier.pipelines.langevin.edm_layers import Conv, xavier_uniform
from latent_atelier.pipelines.langevin.edm_network import UNetShape, from_patches, to_patches
from latent_atelier.pipelines.langevin.position import Labels, position_features
from latent_atelier.pipelines.langevin.preconditioning import NetworkPrior, build_prior
from torch import Tensor, nn
from torch.nn import functional as F


def network(**options: object) -> NetworkPrior:
    torch.manual_seed(2)
    shape = {"resolution": 32, "channels": 3, "width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (),
             "middle_attention": False, "patch": 2, **options}
    found = build_prior(**{"network": "song", "preconditioning": "edm", **shape})
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return found.eval().requires_grad_(False)


@pytest.mark.parametrize("kind", ["song", "dhariwal"])
@pytest.mark.parametrize("patch", [1, 2])
def test_on_a_cpu_every_convolution_has_its_channels_last(kind: str, patch: int) -> None:
    denoiser = network(network=kind, patch=patch, multipliers=(1, 2, 2))
    seen: list[bool] = []

    def look(_: nn.Module, given: tuple[Tensor]) -> None:
        seen.append(given[0].is_contiguous(memory_format=torch.channels_last))

    for layer in denoiser.modules():
        if isinstance(layer, Conv) and layer.kernel:
            layer.register_forward_pre_hook(look)
    denoiser(torch.randn(2, 3, 32, 32), torch.tensor(0.5))
    assert len(seen) > 10
    assert all(seen)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_are_a_rearrangement(dims: int, patch: int) -> None:
    x = torch.randn(2, 3, *[16] * dims)
    packed = to_patches(x, patch)
    assert packed.shape == (2, 3 * patch**dims, *[16 // patch] * dims)
    assert torch.equal(from_patches(packed, patch), x)
    assert torch.equal(packed[:, :patch**dims].flatten(1).sort().values, x[:, :1].flatten(1).sort().values)


@pytest.mark.parametrize("taps", [(1, 1), (1, 3, 3, 1)])
@pytest.mark.parametrize("resample", ["up", "down"])
def test_a_line_is_a_picture_that_does_not_change_down_its_columns(taps: tuple[int, ...], resample: str) -> None:
    line = Conv(3, 3, 0, xavier_uniform, dims=1, resample=resample, taps=taps)
    plane = Conv(3, 3, 0, xavier_uniform, dims=2, resample=resample, taps=taps)
    x = torch.randn(1, 3, 32)
    found = plane(x[:, :, None].expand(-1, -1, 32, -1))
    rows = slice(4, -4)
    torch.testing.assert_close(found[:, :, rows], line(x)[:, :, None].expand_as(found)[:, :, rows])


@pytest.mark.parametrize("taps", [(1, 1), (1, 3, 3, 1)])
def test_resampling_keeps_the_level(taps: tuple[int, ...]) -> None:
    x = torch.ones(1, 2, 16, 16)
    for resample in ("up", "down"):
        found = Conv(2, 2, 0, xavier_uniform, resample=resample, taps=taps)(x)
        torch.testing.assert_close(found[:, :, 2:-2, 2:-2], torch.ones_like(found[:, :, 2:-2, 2:-2]))


def test_the_mean_of_neighbours_is_the_filter_of_the_official_files() -> None:
    down, up = (Conv(3, 3, 0, xavier_uniform, resample=resample) for resample in ("down", "up"))
    x = torch.randn(1, 3, 8, 8)
    kernel = down.resample_filter.expand(3, 1, 2, 2)
    torch.testing.assert_close(down(x), F.conv2d(x, kernel, stride=2, groups=3))
    torch.testing.assert_close(up(x), F.conv_transpose2d(x, 4 * kernel, stride=2, groups=3))


@pytest.mark.parametrize("size", [(32, 32), (48, 20), (4, 100)])
def test_any_multiple_is_a_size(size: tuple[int, int]) -> None:
    found = network()
    assert found.multiple == 4
    assert found(torch.randn(2, 3, *size), torch.tensor([0.1, 3.0])).shape == (2, 3, *size)


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="multiple of 8, got 36"):
        UNetShape(36, 3, 3, multipliers=(1, 2, 2), patch=2)


def test_batches_change_nothing() -> None:
    """The network, where samples could meet, in double precision, so that the order of sums hides nothing; what the
    preconditioning does is the same to the bit."""
    found = network(labels=2)
    x, sigma, labels = torch.randn(3, 3, 32, 32), torch.tensor([0.1, 1.0, 5.0]), torch.randn(3, 2)

    def one_by_one(model) -> torch.Tensor:
        return torch.cat([model(x[i:i + 1], sigma[i:i + 1], labels[i:i + 1]) for i in range(3)])

    found.model = ByItself(found.model.shape)
    assert torch.equal(found(x, sigma, labels), one_by_one(found))
    x, sigma, labels, inner = x.double(), sigma.double(), labels.double(), network(labels=2).model.double()
    whole = inner(x, sigma, labels)
    assert whole.dtype == torch.float64
    torch.testing.assert_close(whole, one_by_one(inner), rtol=1e-10, atol=1e-10)


class ByItself(torch.nn.Module):
    """Elementwise."""

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor, noise: torch.Tensor, *_: object) -> torch.Tensor:
        return x.sin() + noise.reshape(-1, 1, 1, 1)


def test_positions_are_smooth_and_tell_heights_apart() -> None:
    heights = torch.linspace(0, 1, 101)
    found = position_features(heights, 6)
    assert found.shape == (101, 6)
    torch.testing.assert_close(found[::20].diagonal(), torch.ones(6))
    assert float((found[1:] - found[:-1]).norm(dim=1).min()) > 0.01
    assert float((found[1:] - found[:-1]).norm(dim=1).max()) < 0.1


def test_labels_of_crops_of_a_canvas() -> None:
    labels = Labels(("day", "night"), 3)
    seen: list[Tensor] = []

    class Spy(torch.nn.Module):
        def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
            seen.append(labels)
            return x

    denoiser = NetworkDenoiser(Spy(), sigma_data=0.5, label=labels.condition("night"))
    canvas = Canvas(torch.zeros(1, 3, 64, 32), framed((64, 32), (32, 32), (0, 0), (False, False)))
    for view in canvas.views(0):
        denoiser(canvas.render(view), 1.0, view)
        expected = torch.cat([torch.tensor([[0.0, 1.0]]).expand(len(view), 2), position_features(view.centres[:, 0], 3)], dim=1)
        torch.testing.assert_close(seen.pop(), expected)
    with pytest.raises(InvalidInputError, match="positions"):
        denoiser(torch.zeros(1, 3, 32, 32), 1.0)
    with pytest.raises(InvalidInputError, match="no class 'noon'; it knows day, night"):
        labels.condition("noon")
    assert Labels().condition() is None
    torch.testing.assert_close(Labels(("day",)).condition()(2, None), torch.zeros(2, 1))
