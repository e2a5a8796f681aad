"""UNIT's digits networks give the official numbers, with the statistics of the batch and with the stored ones."""

from __future__ import annotations

import pytest
import torch
from latent_atelier.pipelines.unit.digits import DigitsDiscriminator, DigitsVae, gaussian_kl
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
