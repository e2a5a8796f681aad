"""Our FUNIT and UNIT against the published forward pass: same weights, same run.

    python benchmarks/translation_speed.py [--quick]

FUNIT at 128x128 with a cached class code (content encoder and decoder), UNIT at 256x256 (encoder and decoder), batch 1; and a
whole FUNIT training step, where the published one builds a graph of the generator for the discriminator's update.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable

import torch
from latent_atelier.pipelines.funit.network import MultiTaskDiscriminator, Translator
from latent_atelier.pipelines.funit.training import FunitSettings, FunitTrainer
from latent_atelier.pipelines.image_blocks import ACTIVATIONS, ConvBlock, LayerNorm, UpBlock
from latent_atelier.pipelines.unit.network import TwoDomains
from timing import interleaved
from torch import Tensor, nn
from torch.nn import functional as F


class PublishedLayerNorm(nn.Module):
    """Mean and unbiased deviation of a flattened sample, then two products and a sum."""

    def __init__(self, norm: LayerNorm) -> None:
        super().__init__()
        self.gamma, self.beta = norm.gamma, norm.beta

    def forward(self, x: Tensor) -> Tensor:
        mean = x.view(x.size(0), -1).mean(1).view(-1, 1, 1, 1)
        std = x.view(x.size(0), -1).std(1).view(-1, 1, 1, 1)
        return (x - mean) / (std + 1e-5) * self.gamma.view(1, -1, 1, 1) + self.beta.view(1, -1, 1, 1)


def published_forward(self: ConvBlock, x: Tensor, affine: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Pad, convolve, normalise, activate, each by torch's own operation; an up-convolution sees the enlarged picture; adaptive
    instance norm is a batch norm of one large sample."""
    if isinstance(self, UpBlock):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
    x = self.conv(self.padded(x))
    if affine is None:
        return ACTIVATIONS[self.activation](x if self.norm is None else self.norm(x))
    mean, std = affine
    b, c, h, w = x.shape
    x = F.batch_norm(x.reshape(1, b * c, h, w), None, None, std.reshape(-1), mean.reshape(-1), True).view(b, c, h, w)
    return ACTIVATIONS[self.activation](x)


def as_published(network: nn.Module) -> nn.Module:
    """A copy that computes as the published code does."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, ConvBlock):
            module.forward = published_forward.__get__(module)  # type: ignore[method-assign]
            if isinstance(module.norm, LayerNorm):
                module.norm = PublishedLayerNorm(module.norm)
    return network


def in_bfloat16(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The same under autocast."""
    def call() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run()
    return call


def report(title: str, cases: dict[str, Callable[[], Tensor]], repeats: int) -> None:
    """Check that all agree, then measure."""
    with torch.no_grad():
        reference = cases["published"]()
        sys.stdout.write(f"\n{title}\n")
        seconds = interleaved(cases, repeats=repeats)
        for name, case in cases.items():
            error = (case().float() - reference).abs()
            sys.stdout.write(f"  {name:22s} {1000 * seconds[name]:8.1f} ms   {seconds['published'] / seconds[name]:5.2f}x   "
                             f"error mean {error.mean():.1e} max {error.max():.1e} of a range of 2\n")


class PublishedTrainer(FunitTrainer):
    """The discriminator's update keeps the generator's graph and goes backward three times."""

    def update_discriminator(self, content: tuple[Tensor, Tensor], classes: tuple[Tensor, Tensor]) -> dict[str, float]:
        d = self.discriminator
        images = classes[0].detach().requires_grad_(True)
        judged = d(images, classes[1])[0]
        self.optimizer_d.zero_grad(set_to_none=True)
        real = F.relu(1 - judged).mean()
        torch.autograd.backward(real, retain_graph=True)
        gradient, = torch.autograd.grad(judged.mean(), images, create_graph=True, retain_graph=True)
        torch.autograd.backward(10 * gradient.square().sum() / len(images))
        fake = self.translator(content[0], self.translator.class_codes(classes[0]))
        torch.autograd.backward(F.relu(1 + d(fake.detach(), classes[1])[0]).mean())
        self.optimizer_d.step()
        return {}

    def update_translator(self, content: tuple[Tensor, Tensor], classes: tuple[Tensor, Tensor]) -> dict[str, float]:
        t, d = self.translator, self.discriminator
        code = t.content(content[0])
        own, other = t.class_codes(content[0]), t.class_codes(classes[0])
        translated, rebuilt = t.decode(code, other), t.decode(code, own)
        (jt, ft), (jr, fr) = d(translated, classes[1]), d(rebuilt, content[1])
        fa, fb = d(content[0], content[1])[1], d(classes[0], classes[1])[1]
        loss = -0.5 * (jt.mean() + jr.mean()) + 0.1 * (rebuilt - content[0]).abs().mean() + (
            fr.mean((2, 3)) - fa.mean((2, 3))).abs().mean() + (ft.mean((2, 3)) - fb.mean((2, 3))).abs().mean()
        self.optimizer_g.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer_g.step()
        return {}


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="narrow networks: to see that it works")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    torch.manual_seed(0)
    width = 8 if args.quick else 64
    funit = Translator(width=width).eval().requires_grad_(False)
    image, code = torch.rand(1, 3, 128, 128) * 2 - 1, torch.randn(1, 64)
    old = as_published(funit)
    report(f"FUNIT frame with a cached class code, 128x128, width {width}", {
        "published": lambda: old(image, code), "ours": lambda: funit(image, code),
        "ours, bfloat16": in_bfloat16(lambda: funit(image, code))}, args.repeats)
    unit = TwoDomains(width=width).eval().requires_grad_(False)
    large, old_unit = torch.rand(1, 3, 256, 256) * 2 - 1, as_published(unit)
    report(f"UNIT a to b, 256x256, width {width}", {
        "published": lambda: old_unit.translate(large, "a to b"), "ours": lambda: unit.translate(large, "a to b"),
        "ours, bfloat16": in_bfloat16(lambda: unit.translate(large, "a to b"))}, args.repeats)

    batch = (torch.rand(2, 3, 128, 128) * 2 - 1, torch.tensor([0, 1]))
    network, judge = Translator(width=width // 2), MultiTaskDiscriminator(width=width // 2, num_classes=4)
    trainers = {"published": PublishedTrainer(as_published(network), copy.deepcopy(judge), FunitSettings()),
                "ours": FunitTrainer(network, judge, FunitSettings())}
    seconds = interleaved({name: lambda t=trainer: t.step(batch, batch) for name, trainer in trainers.items()},
                          repeats=max(2, args.repeats // 3))
    sys.stdout.write(f"\nFUNIT training step, 128x128, batch 2, width {width // 2}\n")
    for name, value in seconds.items():
        sys.stdout.write(f"  {name:22s} {1000 * value:8.0f} ms   {seconds['published'] / value:5.2f}x\n")


if __name__ == "__main__":
    main()
