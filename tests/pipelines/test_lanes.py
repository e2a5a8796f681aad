"""Batches that go through a network side by side on a CPU give what they give in turn."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from latent_atelier.pipelines.lanes import Lanes
from latent_atelier.pipelines.langevin.denoiser import NetworkDenoiser
from latent_atelier.pipelines.langevin.edm_network import SongUNet, UNetShape
from latent_atelier.pipelines.langevin.preconditioning import EDMPrior


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "calls"), [(1, [1]), (2, [2]), (9, [9]), (15, [8, 7]), (16, [8, 8]), (32, [8] * 4),
                                              (33, [16, 16, 1])])
def test_networks_on_a_cpu_denoise_side_by_side_as_in_turn(count: int, calls: list[int]) -> None:
    network = SongUNet(UNetShape(8, 3, 3, width=16, multipliers=(1, 2), blocks=1, attention=())).eval()
    prior = EDMPrior(network).requires_grad_(False)
    x = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(count))
    with torch.no_grad():
        alone = NetworkDenoiser(prior, sigma_data=0.5, batch=16, lanes=1)(x, 0.5)
        sizes: list[int] = []
        prior.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
        together = NetworkDenoiser(prior, sigma_data=0.5, batch=16, lanes=2)(x, 0.5)
    assert sorted(sizes) == sorted(calls)
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-6)


def test_lanes_share_the_threads_and_keep_the_order() -> None:
    lanes = Lanes(2)
    meet = threading.Barrier(2, timeout=30)

    def call(item: int) -> tuple[int, int, bool]:
        meet.wait()
        return item, torch.get_num_threads(), torch.is_grad_enabled()

    assert lanes.map(call, range(6)) == [(i, 2, False) for i in range(6)]
    assert torch.get_num_threads() == 4
    with pytest.raises(ZeroDivisionError):
        lanes.map(lambda item: 1 // item, [1, 0])
