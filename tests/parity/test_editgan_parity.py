"""The label branch and the parts of the edit loss give the official numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from latent_atelier.checkpoints.rosinality import from_rosinality
from latent_atelier.pipelines.editgan.editing import (
    OFFICIAL,
    EditLoss,
    EditSettings,
    dilate,
    edit_region,
    optimise_edit,
)
from latent_atelier.pipelines.editgan.segmentation import Pixels, PixelSampler, Segmenter
from latent_atelier.pipelines.stylegan2.generator import Generator
from lpips_fixture import load_lpips

CASES = [("small", 8), ("large", 34)]


def networks(fixture, family: str, classes: int) -> tuple[Generator, Segmenter]:
    f, c = fixture("rosinality_generator"), fixture("editgan_classifier")
    generator = Generator(z_dim=64, c_dim=0, w_dim=64, resolution=64, mapping_layers=4,
                          channels={int(r): n for r, n in f.facts["channels"].items()})
    generator.load_state_dict(from_rosinality(f.state(), f.tensors["latent_avg"]))
    segmenter = Segmenter(feature_channels=generator.feature_channels(), num_classes=classes, members=2)
    for i, member in enumerate(segmenter.members):
        member.load_state_dict(c.state(f"{family}.{i}.sd."))
    return generator.eval().requires_grad_(False), segmenter.eval().requires_grad_(False)


@pytest.mark.parametrize(("family", "classes"), CASES)
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_label_branch(fixture, family: str, classes: int, mode: str) -> None:
    generator, segmenter = networks(fixture, family, classes)
    c = fixture("editgan_classifier")
    features = generator.synthesis(fixture("rosinality_generator").tensors["in.wplus"][:1])[1]
    where = c.tensors["pix"]
    sampler = PixelSampler(Pixels(torch.zeros_like(where), where // 64, where % 64), (64, 64), mode)
    coarse = features[:5]
    full = segmenter(features, (64, 64), mode)
    tolerance = 2e-5
    c.match(f"{family}.mean_logits_{mode}.pix", full[0].flatten(1).t()[where], tolerance)
    c.match(f"{family}.mean_logits_{mode}.pix", segmenter.at(features, sampler), tolerance)
    for i, member in enumerate(segmenter.members):
        c.match(f"{family}.{i}.logits_{mode}.pix", member.at(coarse, sampler.concatenated(features[5:]), sampler), tolerance)
    found = c.thinned(segmenter.label_ids(features, upsampling=mode)[0])
    assert int((found != c.tensors[f"{family}.argmax_{mode}"]).sum()) == 0


def test_regions(fixture) -> None:
    f = fixture("editgan_losses")
    t = f.tensors
    before, after, painted = t["label_before"][None], t["label_edited"][None], t["roi_painted"][None].bool()
    assert torch.equal(edit_region(before, after, dilation=0), painted)
    assert torch.equal(edit_region(before, after, f.facts["Q_edit"], dilation=0), t["roi_classes"][None].bool())
    for pixels in (3, 5):
        assert torch.equal(dilate(painted, pixels), t[f"roi_dil{pixels}"][None].bool())
        assert torch.equal(edit_region(before, after, f.facts["Q_edit"], dilation=pixels),
                           t[f"roi_classes_dil{pixels}"][None].bool())


def editing_task(fixture, request, net: str, dilation: int, settings: EditSettings, **terms) -> tuple[EditLoss, dict]:
    if net == "alex" and "committed" in request.node.name:
        pytest.skip("the compact copy leaves the larger backbone out")
    t = fixture("editgan_losses").tensors
    generator, segmenter = networks(fixture, "small", 8)
    region = t[f"roi_dil{dilation}"][None].bool()
    return EditLoss(generator, segmenter, load_lpips(fixture, net)[0], t["w0"], t["label_edited"][None], region, settings,
                    **terms), t


@pytest.mark.parametrize("net", ["squeeze", "alex"])
@pytest.mark.parametrize("dilation", [3, 5])
def test_whole_loss_and_its_gradient(fixture, request: pytest.FixtureRequest, net: str, dilation: int) -> None:
    loss, t = editing_task(fixture, request, net, dilation, replace(OFFICIAL, encoder=0.0))
    codes = (t["w0"] + t["dw0"]).requires_grad_(True)
    total, parts, _ = loss(codes)
    found = [total, parts["perceptual"], parts["mse"], parts["cross_entropy"]]
    expected = t[f"B.{net}.dil{dilation}.parts"].tolist()[:4]
    assert [float(v.detach()) for v in found] == pytest.approx(expected, rel=2e-5)
    fixture("editgan_losses").match(f"B.{net}.dil{dilation}.grad_dw", torch.autograd.grad(total.sum(), codes)[0], 1e-3)


@pytest.mark.parametrize("net", ["squeeze", "alex"])
@pytest.mark.parametrize("start", ["A", "B"])
def test_trajectory_of_five_steps(fixture, request: pytest.FixtureRequest, net: str, start: str) -> None:
    """A: from the codes themselves with the encoder term; B: from an offset without it."""
    t = fixture("editgan_losses").tensors
    settings = replace(OFFICIAL, steps=5, encoder=1.0 if start == "A" else 0.0)
    loss, _ = editing_task(fixture, request, net, 3, settings, encode=lambda images: t["enc_target"])
    edit = optimise_edit(loss, t["w0"], initial=None if start == "A" else t["dw0"])
    assert edit.step.tolist() == [5]
    expected = t[f"{start}.{net}.adam_final_dw"]
    assert float((edit.delta - expected).abs().max()) < 1e-3
    assert edit.curve[:5, 0].tolist() == pytest.approx(t[f"{start}.{net}.adam_parts"][:, 0].tolist(), rel=1e-3)
    if start == "A":
        assert float((t["w0"] + edit.delta - t[f"A.{net}.official_tool_result"]).abs().max()) < 1e-3


class NoDistance:
    """Leaves the perceptual term out; the fixtures' one needs photograph backbones."""

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [images]

    def distance(self, a: list[torch.Tensor], b: list[torch.Tensor]) -> torch.Tensor:
        return torch.zeros(len(a[0]))


@pytest.mark.parametrize("dilation", [3, 5])
def test_loss_parts(fixture, dilation: int) -> None:
    f = fixture("editgan_losses")
    t = f.tensors
    generator, segmenter = networks(fixture, "small", 8)
    region = t[f"roi_dil{dilation}"][None].bool()
    loss = EditLoss(generator, segmenter, NoDistance(), t["w0"], t["label_edited"][None], region,
                    EditSettings(upsampling="nearest"))
    parts = loss(t["w0"] + t["dw0"])[1]
    _, _, mse, cross_entropy, _ = t[f"B.squeeze.dil{dilation}.parts"].tolist()
    assert float(parts["mse"]) == pytest.approx(mse, rel=1e-5)
    assert float(parts["cross_entropy"]) == pytest.approx(cross_entropy, rel=1e-5)
