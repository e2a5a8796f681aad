"""UNIT's current release gives the official numbers: latents, translations, cycles, losses, gradients, trajectory."""

from __future__ import annotations

import pytest
import torch
from latent_atelier.pipelines.unit.network import MultiScaleDiscriminator, TwoDomains
from latent_atelier.pipelines.unit.training import UnitSettings, UnitTrainer

from .test_funit_parity import LOSS, NORM, STEP, near, norms, require_norms


def networks(f) -> tuple[TwoDomains, list[MultiScaleDiscriminator]]:
    folder, config = f.folder / "checkpoints" / "unit", f.facts["config"]
    gen, dis = (torch.load(folder / f"{name}_00000010.pt", weights_only=True) for name in ("gen", "dis"))
    domains = TwoDomains(width=config["gen"]["dim"], n_downs=config["gen"]["n_downsample"], n_res=config["gen"]["n_res"])
    judges = []
    for name in ("a", "b"):
        getattr(domains, name).load_state_dict(gen[name], strict=True)
        judge = MultiScaleDiscriminator(width=config["dis"]["dim"], n_layers=config["dis"]["n_layer"],
                                        scales=config["dis"]["num_scales"])
        judge.load_state_dict(dis[name], strict=True)
        judges.append(judge)
    return domains, judges


def test_latents_translations_and_cycles(translation) -> None:
    f = translation("unit")
    t, (domains, judges) = f.tensors, networks(f)
    domains.requires_grad_(False)
    for prefix in ("x", "one", "ns"):
        for source, other in (("a", "b"), ("b", "a")):
            images = t[f"{prefix}_{source}"]
            near(f, f"{prefix}_h_{source}", getattr(domains, source).encode(images))
            near(f, f"{prefix}_{source}{source}", domains.translate(images, f"{source} to {source}"))
            there = domains.translate(images, f"{source} to {other}")
            near(f, f"{prefix}_{source}{other}", there)
            near(f, f"{prefix}_{source}{other}{source}", domains.translate(there, f"{other} to {source}"))
    for source, other in (("a", "b"), ("b", "a")):
        noise = t[f"noise.fwd_n_{source}"]
        near(f, f"noisy_{source}{source}", domains.translate(t[f"x_{source}"], f"{source} to {source}", noise))
        near(f, f"noisy_{source}{other}", domains.translate(t[f"x_{source}"], f"{source} to {other}", noise))
    for name, judge in zip(("a", "b"), judges, strict=True):
        for scale, judged in enumerate(judge(t[f"x_{name}"])):
            near(f, f"dis_{name}_scale{scale}", judged)


NAMES = {"dis a": "dis_n_a", "dis b": "dis_n_b", "gen a": "gen_n_a", "gen b": "gen_n_b", "recoded by a": "gen_n_b_recon",
         "recoded by b": "gen_n_a_recon"}


@pytest.mark.parametrize(("dtype", "steps"), [(torch.float32, 1), (torch.float64, None)], ids=["first step", "trajectory"])
def test_losses_gradients_and_trajectory(translation, dtype: torch.dtype, steps: int | None) -> None:
    """The trajectory in double precision: see FUNIT's."""
    f = translation("unit")
    facts, (domains, judges) = f.facts["train32"], networks(f)
    t = {name: tensor.to(dtype) for name, tensor in f.tensors.items()}
    for network in (domains, *judges):
        network.to(dtype)
    step = 0
    trainer = UnitTrainer(domains, judges[0], judges[1], UnitSettings(),
                          noise=lambda name, _: t[f"noise.step{step}_{NAMES[name]}"])
    for step, official in enumerate(facts["trajectory"][:steps]):
        found = trainer.update_discriminators(t["x_a"], t["x_b"])
        if step == 0:
            dis = {f"{n}.{k}": v for n, judge in zip("ab", judges, strict=True) for k, v in norms(judge).items()}
            require_norms(dis, facts["dis_grad_norms"])
        found |= trainer.update_generators(t["x_a"], t["x_b"])
        if step == 0:
            require_norms(norms(domains), facts["gen_grad_norms"])
            near(f, "step1.gen_a.enc.model.0.conv.weight", domains.a.enc.model[0].conv.weight, STEP)
            near(f, "step1.dis_a.cnns.0.0.conv.weight", judges[0].cnns[0][0].conv.weight, STEP)
        pairs = {"dis_a": "loss_dis_a", "dis_b": "loss_dis_b", "gen": "loss_gen_total"}
        for side in "ab":
            pairs |= {f"adversarial_{side}": f"loss_gen_adv_{side}", f"cycle_{side}": f"loss_gen_cyc_x_{side}",
                      f"reconstruction_{side}": f"loss_gen_recon_x_{side}", f"kl_{side}": f"loss_gen_recon_kl_{side}"}
        for ours, theirs in pairs.items():
            tolerance = LOSS if step == 0 else NORM
            assert abs(found[ours] - official[theirs]) <= tolerance * max(abs(official[theirs]), 1.0), (step, theirs)
