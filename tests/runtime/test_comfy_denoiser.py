"""What the host's guider is told crop by crop, and what its models are taken for; with a guider of the test's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.canvas import Canvas, framed
from latent_atelier.runtime.comfy_conditions import PLACE, lifted
from latent_atelier.runtime.comfy_denoiser import HostPrior, Predictor, fresh, levels_of, require_plain
from latent_atelier.runtime.comfy_sampler import fitting, levels_in
from latent_atelier.runtime.comfy_vae import LatentCodec
from latent_atelier.runtime.context import Cancelled, ExecutionContext, Folders

FRAME = framed((8, 24), (8, 8), 1 / 8, (False, True))


class Guider:
    """The sum of the means of its positive conditions, weighted by their masks as the host weights them, plus the level."""

    def __init__(self) -> None:
        self.conds: dict[str, list[dict[str, Any]]] = {}
        self.cfg = 1.0
        self.seen: list[int] = []

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, **_: Any) -> torch.Tensor:
        self.seen.append(len(x))
        total, weights = torch.zeros_like(x), torch.full_like(x, 1e-37)
        for condition in self.conds["positive"]:
            mask = condition["mask"][:, None] if "mask" in condition else torch.ones_like(x)
            total, weights = total + mask * condition["mean"], weights + mask
            if "control" in condition:
                hint = condition["control"].cond_hint_original
                total = total + mask * hint[:, :1, ::8, ::8]
        return total / weights + sigma.reshape(-1, 1, 1, 1)


def predictor(guider: Guider, *conditions: dict[str, Any], batch: int = 3) -> Predictor:
    return Predictor(guider, {}, {"positive": [lifted(condition) for condition in conditions]}, batch=batch)


def whole(denoise: Predictor, level: float = 0.0) -> torch.Tensor:
    """A canvas put together from the crops of a sweep."""
    canvas = Canvas(torch.zeros(1, 1, 8, 24), FRAME, batch=4)
    for view in canvas.views(3):
        canvas.update(view, denoise(canvas.render(view), level, view))
    return canvas.take()


def test_every_crop_has_its_part_of_areas_and_masks() -> None:
    mask = torch.zeros(8, 24)
    mask[:, 16:] = 1
    conditions = [{"mean": 1.0}, {"mean": 4.0, "area": (8, 8, 0, 0), "mask": torch.ones(1, 8, 24)},
                  {"mean": -5.0, "mask": mask}]
    found = whole(predictor(Guider(), *conditions), 0.5)
    assert torch.allclose(found[..., :8], torch.tensor(3.0))
    assert torch.allclose(found[..., 8:16], torch.tensor(1.5))
    assert torch.allclose(found[..., 16:], torch.tensor(-1.5))


def test_the_batch_changes_nothing() -> None:
    condition = {"mean": 3.0, "area": ("percentage", 1.0, 0.5, 0.0, 0.25)}
    found = [whole(predictor(guider := Guider(), {"mean": 1.0}, condition, batch=batch)) for batch in (1, 2, 8)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert max(guider.seen) == 4


def test_what_holds_in_no_crop_is_not_asked() -> None:
    guider = Guider()
    denoise = predictor(guider, {"mean": 1.0}, {"mean": 9.0, "area": (8, 4, 0, 0)})
    view = next(iter(Canvas(torch.zeros(1, 1, 8, 32), framed((8, 32), (8, 8), 0, (False, False)), batch=1).views(0)))
    view = type(view)(view.frame, ((0, 20),), view.kept[:1])
    denoise(torch.zeros(1, 1, 8, 8), 0.0, view)
    assert len(guider.conds["positive"]) == 1


def test_a_part_without_a_prompt_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match=r"leave 50\.0% of the picture without a prompt"):
        whole(predictor(Guider(), {"mean": 1.0, "area": (8, 12, 0, 0)}))
    whole(predictor(Guider(), {"mean": 1.0, "area": (8, 12, 0, 0), "default": True}))


def test_the_pictures_of_controlnets_are_cut_and_given_back() -> None:
    hint = torch.arange(24.0).repeat(8, 1).repeat_interleave(8, 0).repeat_interleave(8, 1).reshape(1, 1, 64, 192)
    net = SimpleNamespace(cond_hint_original=hint, cond_hint="old", extra_concat_orig=[], extra_concat=None,
                          compression_ratio=8, previous_controlnet=None)
    found = whole(predictor(Guider(), {"mean": 0.0, "control": net}))
    assert torch.equal(found[0, 0, 0], torch.arange(24.0))
    assert net.cond_hint_original is hint
    assert net.cond_hint is None


def test_cancelling_stops_before_the_next_batch(tmp_path) -> None:
    context = ExecutionContext(Folders([tmp_path], tmp_path, tmp_path))
    guider = Guider()
    denoise = predictor(guider, {"mean": 1.0})
    context.cancel()
    with context.activate(), pytest.raises(Cancelled):
        denoise(torch.zeros(2, 1, 8, 8), 1.0, None)
    assert guider.seen == []


def test_gligen_boxes_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="GLIGEN"):
        lifted({"gligen": ()})
    condition = {"mean": 1, "area": (8, 8, 0, 0), "strength": 0.5}
    assert set(lifted(condition)) == {"mean", "strength", PLACE}
    assert "area" in condition


def sampling(*names: str, **values: Any) -> Any:
    kind: type = object
    for name in names:
        kind = type(name, (kind,), {})
    found = type("ModelSampling", (kind,), {})()
    found.__dict__.update(values)
    return found


def test_what_models_are_taken_for() -> None:
    eps = levels_of(sampling("EPS", sigmas=torch.linspace(0.03, 14.6, 5), sigma_data=1.0))
    assert (eps.coordinates.flow, eps.sigma_min, eps.sigma_max) == (None, pytest.approx(0.03), pytest.approx(14.6))
    edm = levels_of(sampling("EPS", "V_PREDICTION", "EDM", sigmas=torch.tensor([0.002, 80]), sigma_data=0.5))
    assert (edm.sigma_data, edm.sigma_max) == (0.5, 80)
    flow = levels_of(sampling("CONST", sigmas=torch.tensor([0.0, 0.01, 0.5, 0.99, 1.0])))
    assert (flow.coordinates.flow, flow.sigma_data) == (1, 1)
    assert (flow.sigma_min, flow.sigma_max) == (pytest.approx(0.01 / 0.99), pytest.approx(99))
    for name in ("IMG_TO_IMG", "IMG_TO_IMG_FLOW", "V_PREDICTION_DDPM"):
        with pytest.raises(InvalidInputError, match="no denoiser"):
            levels_of(sampling(name, sigmas=torch.ones(1)))
    with pytest.raises(InvalidInputError, match="told a picture beside the noisy one"):
        require_plain(SimpleNamespace(concat_keys=("mask", "masked_image")))
    assert levels_in(torch.tensor([1.0, 0.5, 0.0]), flow) == pytest.approx([99, 1])
    with pytest.raises(InvalidInputError, match="no level of noise above 0"):
        levels_in(torch.zeros(3), flow)


def test_crops_fit_the_picture() -> None:
    assert (fitting(64, 200), fitting(64, 30), fitting(64, 8)) == (64, 24, 8)
    with pytest.raises(InvalidInputError, match="8 are the least"):
        fitting(64, 7)


def test_regions_share_a_model() -> None:
    one, other = (HostPrior(object(), [], [], 1.0, (8, 8)) for _ in range(2))
    with pytest.raises(InvalidInputError, match="share one MODEL"):
        one.run(lambda _: None, [other])


def test_values_free_of_inference_mode() -> None:
    with torch.inference_mode():
        given = [[torch.ones(2), {"mask": torch.ones(3), "strength": 1.0, "area": (1, 2)}]]
        assert fresh(given) is given
    found = fresh(given)
    assert not found[0][0].is_inference()
    assert not found[0][1]["mask"].is_inference()
    assert found[0][1]["area"] == (1, 2)


def test_autoencoders_of_other_models_are_refused() -> None:
    space = SimpleNamespace(latent_channels=4, latent_dimensions=2, latent_rgb_factors=[[1.0, 0, 0]] * 4)
    model = SimpleNamespace(model=SimpleNamespace(latent_format=space, process_latent_in=lambda x: x * 2,
                                                  process_latent_out=lambda x: x / 2))
    with pytest.raises(InvalidInputError, match="16 channels, the MODEL works on 4"):
        LatentCodec(SimpleNamespace(latent_channels=16, latent_dim=2, upscale_ratio=8), model)
    with pytest.raises(InvalidInputError, match="videos or of sound"):
        LatentCodec(SimpleNamespace(latent_channels=4, latent_dim=3, upscale_ratio=8), model)

    class Repeating:
        latent_channels, latent_dim, upscale_ratio = 4, 2, 2

        def decode(self, latent: torch.Tensor) -> torch.Tensor:
            return latent.repeat_interleave(2, 2).repeat_interleave(2, 3).movedim(1, -1)

        def encode(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.movedim(-1, 1)[:, :, ::2, ::2]

    codec = LatentCodec(Repeating(), model)
    pictures = torch.rand(1, 4, 8, 64).repeat_interleave(2, 2).repeat_interleave(2, 3) * 2 - 1
    assert torch.allclose(codec.decode(codec.encode(pictures, (False, True)), (False, True)), pictures[:, :3], atol=1e-5)
    assert codec.preview(torch.ones(1, 4, 3, 3)).shape == (1, 3, 3, 3)
