"""LPIPS gives the numbers of the lpips package, and gradients where the package's are not numbers."""

from __future__ import annotations

import pytest
import torch
from latent_atelier.pipelines.lpips_network import LPIPS
from lpips_fixture import load_lpips


def test_vgg(fixture) -> None:
    network, f = load_lpips(fixture, "vgg")
    a = f.tensors["input0"].clone().requires_grad_(True)
    found = network(a, f.tensors["input1"])
    f.match("distance", found.detach()[:, None, None, None], 1e-4)
    f.match("grad_input0", torch.autograd.grad(found.sum(), a)[0], 1e-4)
    assert network(a, a).abs().max() == 0


@pytest.mark.parametrize("net", ["squeeze", "alex"])
@pytest.mark.parametrize("shape", ["sq", "rect"])
def test_small_backbones(fixture, request: pytest.FixtureRequest, net: str, shape: str) -> None:
    if net == "alex" and "committed" in request.node.name:
        pytest.skip("the compact copy leaves the larger backbone out")
    network, f = load_lpips(fixture, net)
    a = f.tensors[f"{shape}.a"].clone().requires_grad_(True)
    b = f.tensors[f"{shape}.b"]
    found = network(a, b)
    assert float(found.detach()) == pytest.approx(float(f.tensors[f"{shape}.total"]), rel=2e-5)
    if shape == "sq":
        f.match("sq.grad_a", torch.autograd.grad(found.sum(), a)[0], 1e-4)


def test_features_of_nothing_keep_their_gradient() -> None:
    """All-zero features: the package's root has an infinite slope there and gives NaN."""
    torch.manual_seed(0)
    network = LPIPS("alex").eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            module.bias.fill_(-100.0)
    a, b = torch.zeros(1, 3, 64, 64, requires_grad=True), torch.rand(1, 3, 64, 64)
    gradient = torch.autograd.grad(network(a, b).sum(), a)[0]
    assert torch.isfinite(gradient).all()


def test_a_batch_is_its_pictures() -> None:
    torch.manual_seed(0)
    network = LPIPS("squeeze").eval().requires_grad_(False)
    a, b = torch.rand(3, 3, 40, 48), torch.rand(3, 3, 40, 48)
    together = network(a, b)
    assert torch.allclose(together, torch.cat([network(a[i:i + 1], b[i:i + 1]) for i in range(3)]), atol=1e-6)
