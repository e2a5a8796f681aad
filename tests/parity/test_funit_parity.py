"""FUNIT gives the official numbers: codes, pictures, losses, gradients, trajectory, average."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from latent_atelier.pipelines.funit.network import MultiTaskDiscriminator, Translator
from latent_atelier.pipelines.funit.training import FunitSettings, FunitTrainer
from latent_atelier.pipelines.image_blocks import UpBlock
from latent_atelier.pipelines.training.statements import average

FORWARD, LOSS, NORM, STEP = 2e-4, 1e-4, 1e-3, 2e-5
PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data" / "images"


def checkpoint(f, name: str) -> dict:
    return torch.load(f.folder / "checkpoints" / "funit" / f"{name}_00000010.pt", weights_only=True)


def translator(f, which: str = "gen_test") -> Translator:
    config = f.facts["config"]["gen"]
    network = Translator(width=config["nf"], n_downs_content=config["n_downs_content"], n_downs_class=config["n_downs_class"],
                         n_res=config["n_res_blks"], latent_dim=config["latent_dim"], mlp_width=config["nf_mlp"],
                         mlp_layers=config["n_mlp_blks"])
    state = {k: v for k, v in checkpoint(f, "gen")[which].items() if ".norm.running" not in k}
    network.load_state_dict(state, strict=True)
    return network


def discriminator(f) -> MultiTaskDiscriminator:
    config = f.facts["config"]["dis"]
    network = MultiTaskDiscriminator(width=config["nf"], n_res=config["n_res_blks"], num_classes=config["num_classes"])
    network.load_state_dict(checkpoint(f, "dis")["dis"], strict=True)
    return network


def near(f, name: str, found: torch.Tensor, tolerance: float = FORWARD) -> None:
    expected = f.tensors[name]
    assert tuple(found.shape) == tuple(f.facts["tensors"][name]["shape"]), name
    assert float((f.thinned(found.detach()) - expected).abs().max()) <= tolerance, name


def test_codes_and_translations(translation) -> None:
    f = translation("funit")
    network, t = translator(f).eval().requires_grad_(False), f.tensors
    content = network.content(t["content"])
    near(f, "content_code", content)
    codes = network.class_codes(t["class_images"])
    near(f, "class_codes", codes[:, :, None, None])
    for k in (1, 3, 5):
        code = codes[:k].mean(dim=0, keepdim=True)
        near(f, f"class_code_k{k}", code[:, :, None, None])
        near(f, f"adain_params_k{k}", torch.cat([part for pair in network.affine(code) for part in pair], dim=1))
        near(f, f"output_k{k}", network.decode(content, code))
        near(f, f"translate_k_shot_k{k}", network(t["content"], code))
    wide = network.content(t["content_ns"])
    near(f, "content_code_ns", wide)
    near(f, "class_codes_ns", network.class_codes(t["class_images_ns"])[:, :, None, None])
    for k in (1, 3, 5):
        near(f, f"output_ns_k{k}", network.decode(wide, codes[:k].mean(dim=0, keepdim=True)))


def test_discriminator(translation) -> None:
    f = translation("funit")
    network, t = discriminator(f), f.tensors
    judged, features = network(t["batch_xa"], t["batch_la"])
    near(f, "dis_resp", judged)
    near(f, "dis_feat", features)
    near(f, "dis_pooled_feat", features.mean(dim=(2, 3)))
    near(f, "dis_all_classes", network.cnn_c(features))


def norms(network: torch.nn.Module) -> dict[str, float]:
    return {name: float(p.grad.norm()) for name, p in network.named_parameters() if p.grad is not None}


def require_norms(found: dict[str, float], expected: dict[str, float]) -> None:
    scale = max(expected.values())
    for name, value in expected.items():
        assert abs(found[name] - value) <= max(NORM * value, 1e-5 * scale), (name, found[name], value)


def trainer_of(f) -> FunitTrainer:
    config = f.facts["config"]
    trainer = FunitTrainer(translator(f, "gen").train(), discriminator(f), FunitSettings(
        gan=config["gan_w"], reconstruction=config["r_w"], features=config["fm_w"], lr=config["lr_gen"],
        weight_decay=config["weight_decay"]))
    trainer.ema.load_state_dict(translator(f).state_dict())
    return trainer


def test_gradients_of_the_translator(translation) -> None:
    """Against the discriminator as it is in the file."""
    f = translation("funit")
    t, facts, trainer = f.tensors, f.facts["train32"]["gen"], trainer_of(f)
    found = trainer.update_translator((t["batch_xa"], t["batch_la"]), (t["batch_xb"], t["batch_lb"]))
    assert found["gen"] == pytest.approx(facts["losses"]["total"], rel=LOSS)
    require_norms(norms(trainer.translator), facts["grad_norms"])
    near(f, "gen_grad.enc_content.model.0.conv.weight", trainer.translator.enc_content.model[0].conv.weight.grad, 5e-3)
    near(f, "gen_grad.mlp.model.2.fc.bias", trainer.translator.mlp.model[2].fc.bias.grad, 1e-3)


LOSSES = {"dis": "loss_dis_total", "dis_real": "loss_dis_real_adv", "dis_fake": "loss_dis_fake_adv",
          "dis_penalty": "loss_dis_reg", "gen": "loss_gen_total", "gen_adversarial": "loss_gen_adv",
          "reconstruction": "loss_gen_recon_x", "features_content": "loss_gen_recon_c", "features_class": "loss_gen_recon_s"}


def steps(f, trainer: FunitTrainer, dtype: torch.dtype) -> Iterator[int]:
    """The official run, a step at a time, its losses compared."""
    t, trajectory = f.tensors, f.facts["train32"]["trajectory"]
    content, classes = (t["batch_xa"].to(dtype), t["batch_la"]), (t["batch_xb"].to(dtype), t["batch_lb"])
    for step, official in enumerate(trajectory):
        found = trainer.update_discriminator(content, classes)
        judged = norms(trainer.discriminator)
        found |= trainer.update_translator(content, classes)
        average(trainer.ema, trainer.translator, 0.999)
        for ours, theirs in LOSSES.items():
            value = official[theirs]
            tolerance = (LOSS if step == 0 else NORM) * max(abs(value), 1.0)
            assert abs(found[ours] - value) <= tolerance, (step, theirs, found[ours], value)
        if step == 0:
            require_norms(judged, f.facts["train32"]["dis"]["grad_norms"])
            near(f, "step1.gen.dec.model.7.conv.weight", trainer.translator.dec.model[7].conv.weight, STEP)
            near(f, "step1.gen_test.dec.model.7.conv.weight", trainer.ema.dec.model[7].conv.weight, STEP)
            near(f, "step1.dis.cnn_c.0.conv.weight", trainer.discriminator.cnn_c[0].conv.weight, STEP)
        yield step


def test_the_first_step_in_float32(translation) -> None:
    f = translation("funit")
    trainer = trainer_of(f)
    t = f.tensors
    trainer.update_discriminator((t["batch_xa"], t["batch_la"]), (t["batch_xb"], t["batch_lb"]))
    near(f, "dis_grad.cnn_f.0.conv.weight", trainer.discriminator.cnn_f[0].conv.weight.grad, 1e-2)
    next(steps(f, trainer_of(f), torch.float32))


def test_losses_and_trajectory(translation) -> None:
    """In double precision: RMSprop's first step is close to the sign of a gradient, so where a gradient is all but zero the
    rounding of float32, and with it the processor and the number of threads, decides which way a weight goes."""
    f = translation("funit")
    trainer, trajectory = trainer_of(f), f.facts["train32"]["trajectory"]
    for network in (trainer.translator, trainer.discriminator, trainer.ema):
        network.double()
    assert list(steps(f, trainer, torch.float64)) == list(range(len(trajectory)))
    assert trajectory[0]["loss_dis_total"] != trajectory[1]["loss_dis_total"]
    official = f.facts["train32"]["after_steps"]["gen_test"]
    for name, parameter in trainer.ema.named_parameters():
        if name.endswith("weight"):
            assert abs(float(parameter.norm()) - official[name]) <= NORM * official[name], name


def test_photographs_to_uint8(translation) -> None:
    """The official script's path on real photographs: scale, codes, mean, translate, truncate."""
    from PIL import Image

    f = translation("funit")
    e2e = f.facts["e2e"]
    if not (PHOTOGRAPHS / e2e["content"]).is_file():
        pytest.skip("the sample photographs do not lie beside this checkout")

    def read(name: str) -> torch.Tensor:
        image = Image.open(PHOTOGRAPHS / name).convert("RGB").resize((128, 128), Image.Resampling.BILINEAR)
        import numpy as np
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1

    network = translator(f).eval().requires_grad_(False)
    code = torch.cat([network.class_codes(read(name)) for name in e2e["classes"]]).mean(dim=0, keepdim=True)
    near(f, "e2e_class_code", code[:, :, None, None])
    output = network(read(e2e["content"]), code)
    near(f, "e2e_output", output)
    shown = ((output[0].permute(1, 2, 0) + 1) * 0.5 * 255).to(torch.uint8)
    expected = f.tensors["e2e_uint8"]
    difference = (f.thinned(shown).int() - expected.int()).abs()
    assert int(difference.max()) <= 1
    assert float((difference > 0).float().mean()) < 1e-3


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 7), (8, 5), (16, 16)])
def test_the_small_up_convolution_is_the_large_one(height: int, width: int) -> None:
    torch.manual_seed(0)
    block = UpBlock(6, norm="none", activation="none").double()
    x = torch.randn(2, 6, height, width, dtype=torch.float64)
    enlarged = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")
    direct = block.conv(torch.nn.functional.pad(enlarged, (2, 2, 2, 2), mode="reflect"))
    assert torch.allclose(block.upsampled(x), direct, atol=1e-12)
