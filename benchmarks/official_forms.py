"""The official forms of a StyleGAN2 synthesis and of the label branch, in plain PyTorch, as baselines.

Written from their description: how weights are modulated, how resampling is carried out, what is upsampled and
concatenated. They read the parameters of our own modules, so that every form computes the same function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from latent_atelier.pipelines.editgan.segmentation import PixelClassifier
from latent_atelier.pipelines.lpips_network import LPIPS
from latent_atelier.pipelines.stylegan2.generator import Generator, SynthesisLayer, ToRGB
from torch import Tensor, nn
from torch.nn import functional as F


def zero_inserted(x: Tensor, up: int) -> Tensor:
    """[B,C,H,W] -> [B,C,up H,up W] with zeros between the pixels."""
    b, c, h, w = x.shape
    x = x.reshape(b, c, h, 1, w, 1)
    return F.pad(x, [0, up - 1, 0, 0, 0, up - 1]).reshape(b, c, h * up, w * up)


def per_sample_weights(layer: SynthesisLayer | ToRGB, w: Tensor, *, demodulate: bool) -> Tensor:
    """Modulated and demodulated weights [B,O,I,k,k]."""
    scale = 1 / math.sqrt(layer.weight[0].numel())
    weights = scale * layer.weight[None] * layer.affine(w)[:, None, :, None, None]
    if demodulate:
        weights = weights * (weights.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    return weights


def grouped(x: Tensor, weights: Tensor, *, up: bool) -> Tensor:
    """One grouped convolution over the batch."""
    b, o, i, k, _ = weights.shape
    flat = x.reshape(1, b * i, *x.shape[2:])
    if up:
        y = F.conv_transpose2d(flat, weights.transpose(1, 2).reshape(b * i, o, k, k), stride=2, groups=b)
    else:
        y = F.conv2d(flat, weights.reshape(b * o, i, k, k), padding=k // 2, groups=b)
    return y.reshape(b, o, *y.shape[2:])


class EditGanForm:
    """EditGAN's own generator: grouped convolutions, resampling on B*C single-channel pictures."""

    def __init__(self, generator: Generator) -> None:
        self.synthesis = generator.synthesis

    @staticmethod
    def resample(x: Tensor, kernel: Tensor, *, up: int, pad: tuple[int, int]) -> Tensor:
        b, c = x.shape[:2]
        x = zero_inserted(x.reshape(b * c, 1, *x.shape[2:]), up)
        x = F.pad(x, [pad[0], pad[1], pad[0], pad[1]])
        x = F.conv2d(x, torch.flip(kernel * 4, [0, 1])[None, None])
        return x.reshape(b, c, *x.shape[2:])

    def layer(self, layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
        x = grouped(x, per_sample_weights(layer, w, demodulate=True), up=layer.up)
        if layer.up:
            x = self.resample(x, layer.resample_filter, up=1, pad=(1, 1))
        x = x + layer.noise_strength * layer.noise_const[None, None]
        return F.leaky_relu(x + layer.bias[None, :, None, None], 0.2) * math.sqrt(2)

    def rgb(self, layer: ToRGB, x: Tensor, w: Tensor, skip: Tensor | None, kernel: Tensor) -> Tensor:
        x = grouped(x, per_sample_weights(layer, w, demodulate=False), up=False) + layer.bias[None, :, None, None]
        return x if skip is None else x + self.resample(skip, kernel, up=2, pad=(2, 1))

    def __call__(self, ws: Tensor) -> Tensor:
        return self.with_features(ws)[0]

    def with_features(self, ws: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The picture and the features of the label branch."""
        image: Tensor | None = None
        x, row = self.synthesis.b4.const[None].repeat(len(ws), 1, 1, 1), 0
        features = [x]
        for block in self.synthesis.blocks():
            if not block.is_first:
                x = self.layer(block.conv0, x, ws[:, row])
                features.append(x)
            x = self.layer(block.conv1, x, ws[:, row + block.num_conv - 1])
            features.append(x)
            row += block.num_conv
            image = self.rgb(block.torgb, x, ws[:, row], image, block.resample_filter)
        return image, features


class AdaForm(EditGanForm):
    """stylegan2-ada's reference operators: depthwise resampling, and modulation of weights (fused) or activations."""

    def __init__(self, generator: Generator, *, fused: bool) -> None:
        super().__init__(generator)
        self.fused = fused

    @staticmethod
    def resample(x: Tensor, kernel: Tensor, *, up: int, pad: tuple[int, int]) -> Tensor:
        c = x.shape[1]
        x = F.pad(zero_inserted(x, up), [pad[0], pad[1], pad[0], pad[1]])
        return F.conv2d(x, (kernel * 4).flip([0, 1])[None, None].repeat(c, 1, 1, 1), groups=c)

    def layer(self, layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
        noise = layer.noise_const * layer.noise_strength
        style = layer.affine(w)
        weights = layer.weight[None] * style[:, None, :, None, None]
        demodulation = (weights.square().sum(dim=(2, 3, 4)) + 1e-8).rsqrt()
        if self.fused:
            x = grouped(x, weights * demodulation[:, :, None, None, None], up=layer.up)
        else:
            x = grouped(x * style[:, :, None, None], layer.weight[None], up=layer.up) if len(x) == 1 else self._plain(
                layer, x * style[:, :, None, None])
        if layer.up:
            x = self.resample(x, layer.resample_filter, up=1, pad=(1, 1))
        x = x.add(noise) if self.fused else torch.addcmul(noise, x, demodulation[:, :, None, None])
        return F.leaky_relu(x + layer.bias[None, :, None, None], 0.2) * math.sqrt(2)

    @staticmethod
    def _plain(layer: SynthesisLayer, x: Tensor) -> Tensor:
        if layer.up:
            return F.conv_transpose2d(x, layer.weight.transpose(0, 1), stride=2)
        return F.conv2d(x, layer.weight, padding=1)


def concatenate_then_classify(member: PixelClassifier, features: Sequence[Tensor], size: int) -> Tensor:
    """Every feature map upsampled to the picture, concatenated, classified pixel by pixel: logits [B*H*W,classes]."""
    full = [F.interpolate(f, (size, size), mode="bilinear", align_corners=False) for f in features]
    return member.layers(torch.cat(full, dim=1).permute(0, 2, 3, 1).flatten(0, 2))


def lpips_of_both(network: LPIPS, a: Tensor, b: Tensor) -> Tensor:
    """LPIPS as the package computes it: both pictures go through the backbone at every call. Pictures in -1..1."""
    levels: list[list[Tensor]] = []
    for x in ((a - network.shift) / network.scale, (b - network.shift) / network.scale):
        levels.append([])
        for part in network.net.children():
            for layer in part.children():
                x = layer(x)
                if isinstance(layer, nn.Conv2d):
                    x = F.relu(x)
            levels[-1].append(x / (x.square().sum(dim=1, keepdim=True) + 1e-20).sqrt().add(1e-10))
    return sum(F.conv2d((x - y) ** 2, head[None, :, None, None]).mean(dim=(2, 3)).sum()
               for x, y, head in zip(*levels, network.heads(), strict=True))


class OfficialEditStep:
    """The loss of EditGAN's tool: everything upsampled by nearest neighbour and concatenated, then the region's pixels
    gathered; the kept picture goes through LPIPS again at every step."""

    def __init__(self, form: EditGanForm, members: Sequence[PixelClassifier], lpips: LPIPS, start: Tensor, target: Tensor,
                 region: Tensor) -> None:
        self.form, self.members, self.lpips, self.region = form, members, lpips, region
        self.target = target[region].long()
        self.outside = (~region)[:, None].float()
        with torch.no_grad():
            self.kept = (form(start) + 1) / 2 * self.outside

    def __call__(self, codes: Tensor) -> Tensor:
        image, features = self.form.with_features(codes)
        size = image.shape[2]
        full = torch.cat([F.interpolate(f, (size, size), mode="nearest") for f in features], dim=1)
        pixels = full[:, :, self.region[0]][0].t()
        logits = torch.stack([member.layers(pixels) for member in self.members]).mean(dim=0)
        shown = (image + 1) / 2 * self.outside
        apart = lpips_of_both(self.lpips, shown * 2 - 1, self.kept * 2 - 1)
        return 15 * (10 * apart + 5 * F.mse_loss(shown, self.kept)) + F.cross_entropy(logits, self.target)
