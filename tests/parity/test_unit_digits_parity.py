"""UNIT's digits networks give the official numbers, with the statistics of the batch and with the stored ones."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from latent_atelier.pipelines.unit.digits import DigitsDiscriminator, DigitsVae, gaussian_kl
from latent_atelier.pipelines.unit.digits_training import DigitsSettings, DigitsTrainer, initialise_digits
from torch.nn import functional as F

from .test_funit_parity import LOSS, near


def networks(f) -> tuple[DigitsVae, DigitsDiscriminator]:
    folder = f.folder / "checkpoints" / "unit_digits"
    vae, judge = DigitsVae(width=f.facts["gen_ch"]), DigitsDiscriminator(width=f.facts["dis_ch"])
    vae.load_state_dict(torch.load(folder / "digits_gen_00000010.pkl", weights_only=True), strict=True)
    judge.load_state_dict(torch.load(folder / "digits_dis_00000010.pkl", weights_only=True), strict=True)
    return vae, judge.eval()


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_digits_in_either_domain(translation, mode: str) -> None:
    f = translation("unit_digits")
    t, (vae, _) = f.tensors, networks(f)
    vae.train(mode == "train").requires_grad_(False)
    made = vae(t["x_a"], t["x_b"], t["noise"])  # drawn in either mode
    for name in ("aa", "ba", "ab", "bb"):
        near(f, f"{mode}_{name}", getattr(made, name))
    near(f, f"{mode}_mu", made.mean)
    near(f, f"{mode}_sd", made.deviation)


def test_judgements_and_losses(translation) -> None:
    f = translation("unit_digits")
    t, (vae, judge) = f.tensors, networks(f)
    features = {side: judge.features(t[f"x_{side}"], side) for side in "ab"}
    for side in "ab":
        near(f, f"dis_feat_{side}", features[side])
        near(f, f"cls_{side}", judge.classify(features[side]))
    near(f, "dis_q", judge.judge(torch.cat([features["a"], features["b"]])))
    classified = F.cross_entropy(judge.classify(features["a"]), t["labels_a"])
    assert float(classified) == pytest.approx(f.facts["losses_dropout_off"]["cls"], rel=LOSS)
    real = judge.judge(torch.cat([features["a"], features["b"]]))
    losses = f.facts["losses_dropout_off"]
    assert float(F.cross_entropy(real, torch.ones(len(real), dtype=torch.long))) == pytest.approx(losses["ad_true"], rel=LOSS)
    for mode in ("train", "eval"):
        made = vae.train(mode == "train")(t["x_a"], t["x_b"], t["noise"])
        assert float(gaussian_kl(made.mean, made.deviation)) == pytest.approx(f.facts[f"kl_{mode}"], rel=LOSS)
        vae, _ = networks(f)
    made = vae.eval()(t["x_a"], t["x_b"], t["noise"])
    assert 2 * float(gaussian_kl(made.mean, made.deviation)) == pytest.approx(losses["enc"], rel=LOSS)
    for side, found in (("a", made.aa), ("b", made.bb)):
        digits = t[f"x_{side}"]
        likelihood = F.mse_loss(found, digits) * digits[0].numel()
        assert float(likelihood) == pytest.approx(losses[f"ll_{side}"], rel=LOSS)


def test_losses_of_a_training_step(translation) -> None:
    """The published losses, dropout off, with the stored statistics."""
    f = translation("unit_digits")
    t, losses, (vae, judge) = f.tensors, f.facts["losses_dropout_off"], networks(f)
    trainer = DigitsTrainer(vae.eval(), judge, DigitsSettings(), lambda *_: t["noise"])
    assert trainer.settings.classification == f.facts["config"]["cls_w"]
    found = trainer.update_vae(t["x_a"], t["x_b"])
    vae, judge = networks(f)
    found |= DigitsTrainer(vae.eval(), judge, DigitsSettings(), lambda *_: t["noise"]).update_judge(t["x_a"], t["labels_a"],
                                                                                                t["x_b"])
    pairs = {"real": "ad_true", "made": "ad_fake", "classification": "cls", "features_a": "feature_a",
             "features_b": "feature_b", "adversarial": "gen_ad", "kl": "enc", "likelihood_a": "ll_a", "likelihood_b": "ll_b"}
    for ours, theirs in pairs.items():
        assert found[ours] == pytest.approx(losses[theirs], rel=LOSS), theirs


def test_a_training_goes_on_to_the_same_numbers() -> None:
    """Bars in ten places, those of domain b paler: the labelled ones are learned, the others drawn better and better."""
    torch.manual_seed(0)
    labels = torch.arange(10).repeat(2)
    bars = torch.full((20, 1, 32, 32), -0.9)
    for row, place in enumerate(labels.tolist()):
        bars[row, :, 3 * place + 1:3 * place + 4, 6:26] = 0.9

    def trainer() -> DigitsTrainer:
        vae = DigitsVae(width=8, channels_a=1, channels_b=1)
        judge = DigitsDiscriminator(width=8, channels_a=1, channels_b=1, dropout=(0.0, 0.0, 0.0, 0.0))
        initialise_digits(vae, judge)
        return DigitsTrainer(vae, judge, DigitsSettings(lr=1e-3))

    first, second = trainer(), trainer()
    losses = [first.step(bars, labels, bars.flip(0) * 0.8) for _ in range(40)]
    assert losses[-1]["classification"] < 0.3 * losses[0]["classification"]
    assert losses[-1]["likelihood_b"] < losses[0]["likelihood_b"]
    assert all(math.isfinite(value) for found in losses for value in found.values())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    again = [one.step(bars, labels, bars * 0.8) for one in (first, second)]
    assert again[0] == pytest.approx(again[1], rel=1e-5)
    assert second.steps == 41
