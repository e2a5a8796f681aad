"""UNIT's original release, with shared layers, gives the official numbers."""

from __future__ import annotations

import pytest
import torch
from latent_atelier.pipelines.unit.shared import SharedDomains, SharedSettings, SharedTrainer, TwoDiscriminators

from .test_funit_parity import LOSS, NORM, near, norms, require_norms


def networks(f) -> tuple[SharedDomains, TwoDiscriminators]:
    folder, config = f.folder / "checkpoints" / "unit_v2", f.facts["config"]
    domains = SharedDomains(width=config["gen"]["ch"], n_downs=config["gen"]["n_enc_front_blk"] - 1,
                            n_res=config["gen"]["n_enc_res_blk"], n_encoder_shared=config["gen"]["n_enc_shared_blk"],
                            n_generator_shared=config["gen"]["n_gen_shared_blk"])
    state = torch.load(folder / "shared_gen_00000010.pkl", weights_only=True)
    domains.load_state_dict({k: v for k, v in state.items() if ".running_" not in k}, strict=True)
    judges = TwoDiscriminators(width=config["dis"]["ch"], n_layers=config["dis"]["n_layer"])
    judges.load_state_dict(torch.load(folder / "shared_dis_00000010.pkl", weights_only=True), strict=True)
    return domains, judges


def test_translations(translation) -> None:
    f = translation("unit_v2")
    t, (domains, judges) = f.tensors, networks(f)
    domains.requires_grad_(False)
    a, b = t["x_a"], t["x_b"]
    near(f, "enc_a", domains.encode_A(a))
    for prefix, noise in (("ev", None), ("tr", t["noise.fwd"])):
        made = domains(a, b, noise)
        for name in ("aa", "ba", "ab", "bb"):
            near(f, f"{prefix}_{name}", getattr(made, name))
        near(f, f"{prefix}_shared", made.latents)
    near(f, "a2b", domains.translate(a, "a to b"))
    near(f, "b2a", domains.translate(b, "b to a"))
    near(f, "ns_a2b", domains.translate(t["ns_a"], "a to b"))
    near(f, "ns_b2a", domains.translate(t["ns_b"], "b to a"))
    for name, judged in zip("ab", judges(a, b), strict=True):
        near(f, f"dis_{name}_0", judged)


NAMES = {"dis": "dis", "gen": "gen", "a2b of ba": "gen_a2b_of_ba", "b2a of ab": "gen_b2a_of_ab"}


@pytest.mark.parametrize(("dtype", "steps"), [(torch.float32, 1), (torch.float64, None)], ids=["first step", "trajectory"])
def test_losses_gradients_and_trajectory(translation, dtype: torch.dtype, steps: int | None) -> None:
    """The trajectory in double precision: see FUNIT's."""
    f = translation("unit_v2")
    facts, (domains, judges) = f.facts["train32"], networks(f)
    t = {name: tensor.to(dtype) for name, tensor in f.tensors.items()}
    for network in (domains, judges):
        network.to(dtype)
    step = 0
    trainer = SharedTrainer(domains, judges, SharedSettings(), lambda name, _: t[f"noise.step{step}_{NAMES[name]}"])
    for step, official in enumerate(facts["trajectory"][:steps]):
        found = trainer.update_discriminators(t["x_a"], t["x_b"])
        if step == 0:
            require_norms(norms(judges), facts["dis_grad_norms"])
        found |= trainer.update_generators(t["x_a"], t["x_b"])
        if step == 0:
            require_norms(norms(domains), facts["gen_grad_norms"])
        pairs = {"dis": "dis_loss", "gen": "gen_total_loss", "adversarial_a": "gen_ad_loss_a", "adversarial_b": "gen_ad_loss_b",
                 "kl": "gen_enc_loss", "cycle_kl_a": "gen_enc_aba_loss", "cycle_kl_b": "gen_enc_bab_loss",
                 "likelihood_a": "gen_ll_loss_a", "likelihood_b": "gen_ll_loss_b", "cycle_a": "gen_ll_loss_aba",
                 "cycle_b": "gen_ll_loss_bab"}
        for ours, theirs in pairs.items():
            tolerance = LOSS if step == 0 else NORM
            assert abs(found[ours] - official[theirs]) <= tolerance * max(abs(official[theirs]), 1.0), (step, theirs)
    if steps is not None:
        return
    for name, value in facts["after_steps"]["gen"].items():
        if name.endswith("weight"):
            assert abs(float(domains.state_dict()[name].norm()) - value) <= NORM * value, name


def test_shared_discriminators_share_their_last_layers() -> None:
    judges = TwoDiscriminators(width=4, n_layers=3, n_shared=2)
    a, b = judges(torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32))
    assert a.shape == b.shape == (2 * 4 * 4,)
    a.sum().backward()
    assert judges.model_S[0].model[0].weight.grad is not None
    assert judges.model_B[0].model[0].weight.grad is None
