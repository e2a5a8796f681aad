"""The host's MODEL as a denoiser D(x; sigma).

The whole of a Langevin run lies within one `sample` of the host's guider: so the host loads and frees the model, encodes the
conditions, and its LoRAs, hooks and ControlNets work. The host's steps have no part in it; they are one call of our sampler.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.canvas import Crops
from ..pipelines.langevin.coordinates import Converted, Coordinates, Predict
from ..pipelines.langevin.denoiser import Denoiser, View
from .comfy_conditions import Hints, lifted, placed, require_covered
from .identity import EMBEDDED
from .progress import check_cancel

NO_DENOISERS = {"IMG_TO_IMG": "maps pictures to pictures", "IMG_TO_IMG_FLOW": "maps pictures to pictures",
                "V_PREDICTION_DDPM": "is one of videos in windows"}
Conditioning = Sequence[Sequence[Any]]
"""The host's: pairs of a tensor and what goes with it."""
Loop = Callable[[Any, Tensor, dict[str, Any], Any, Tensor, Tensor, "Tensor | None"], Tensor]
"""What the host's samplers are given: the guider, levels, its extra arguments, a callback, noise, latent, mask."""


def require_host(node: str) -> None:
    """Raise InvalidInputError where there is no ComfyUI."""
    if EMBEDDED:
        raise InvalidInputError(f"{node} works with the models that ComfyUI loads and so needs ComfyUI; headless, send the "
                                f"workflow to one with --server.")


@dataclass(frozen=True)
class Levels:
    """What a MODEL's noise is: its coordinates, the deviation of its data, and the levels it knows as sigmas."""

    coordinates: Coordinates
    sigma_data: float
    sigma_min: float
    sigma_max: float

    def denoiser(self, predict: Predict) -> Converted:
        """Of a network with such noise."""
        return Converted(predict, self.coordinates, sigma_data=self.sigma_data, sigma_min=self.sigma_min,
                         sigma_max=self.sigma_max)


def levels_of(sampling: Any) -> Levels:
    """From the host's model_sampling object. Raises InvalidInputError for one of no denoiser."""
    names = {kind.__name__ for kind in type(sampling).__mro__}
    for name, reason in NO_DENOISERS.items():
        if name in names:
            raise InvalidInputError(f"This MODEL {reason}, so it is no denoiser of noisy pictures; load a text-to-image model.")
    flow = "CONST" in names
    coordinates = Coordinates(float(getattr(sampling, "noise_scale", 1.0)) if flow else None)
    table = [float(level) for level in sampling.sigmas]
    table = [level for level in table if level > 0 and not (flow and level >= 1)]
    sigma_data = 1.0 if flow else float(getattr(sampling, "sigma_data", 1.0))
    return Levels(coordinates, sigma_data, coordinates.sigma(min(table)), coordinates.sigma(max(table)))


class Predictor:
    """A guider inside its `sample` as `coordinates.Predict`, `batch` samples at a time. conditions: lists by the guider's own
    names, lifted. cfg: None leaves the guider's. differentiable: gradients may go through it."""

    def __init__(self, guider: Any, extra: dict[str, Any], conditions: dict[str, list[dict[str, Any]]], *, batch: int,
                 cfg: float | None = None, differentiable: bool = False) -> None:
        self.guider, self.extra, self.conditions, self.batch, self.cfg = guider, extra, conditions, batch, cfg
        self.differentiable = differentiable
        self._hints = Hints()
        self._covered: tuple[int, ...] = ()

    def __call__(self, state: Tensor, level: float, view: View | None) -> Tensor:
        """state float [N,C,*crop]; raises when the user cancels."""
        if isinstance(view, Crops) and view.frame.size != self._covered:
            for conditions in self.conditions.values():
                require_covered(conditions, view.frame.size)
            self._covered = view.frame.size
        out: list[Tensor] = []
        for i in range(0, len(state), self.batch):
            check_cancel()
            part = slice(i, min(i + self.batch, len(state)))
            out.append(self._part(state[part], level, view, part))
        return torch.cat(out)

    def _part(self, state: Tensor, level: float, view: View | None, part: slice) -> Tensor:
        here = {name: placed(conditions, view, state, part) for name, conditions in self.conditions.items()}
        everything = [condition for conditions in here.values() for condition in conditions]
        differentiable = self.differentiable and torch.is_grad_enabled()
        self.guider.conds = here
        if self.cfg is not None:
            self.guider.cfg = self.cfg
        with self._hints.cut(everything, view, part), torch.inference_mode(not self.differentiable):
            found = self.guider(state, state.new_full((len(state),), level), **self.extra)
        if differentiable and not found.requires_grad:
            raise InvalidInputError("This MODEL lets no gradients through, as with some kinds of attention and of "
                                    "quantisation; choose the inversion 'picard' in Prior Settings.")
        return found if differentiable else found.float().clone()


@dataclass(frozen=True, eq=False)
class HostPrior:
    """A MODEL with what it is told. crop: sides of its crops in latent pixels. batch: crops at once. gradients: a copy that
    gradients can go through takes its place."""

    model: Any
    positive: Conditioning
    negative: Conditioning
    cfg: float
    crop: tuple[int, ...]
    batch: int = 4
    gradients: bool = False

    def cost(self) -> str:
        """What gradients cost, in a sentence."""
        return (f"the inversion went through the MODEL by gradients: a second copy of it was loaded "
                f"({self.model.model_size() / 2**30:.1f} GB) and every step of it cost three calls; 'picard' needs neither")

    def run(self, body: Callable[[Sequence[Denoiser]], Any], others: Sequence[HostPrior] = ()) -> Any:
        """body([this denoiser, *others]) inside one `sample`. others: of the same MODEL, told something else. Raises
        InvalidInputError, and what the body raises."""
        if any(other.model is not self.model for other in others):
            raise InvalidInputError("The regions of a picture share one MODEL; connect the same one to every Denoiser from "
                                    "Model, and give a LoRA to a part by the host's hooks on its prompt.")
        with torch.inference_mode(not self.gradients), _model(self.model, self.gradients) as model:
            levels, result = levels_of(model.get_model_object("model_sampling")), Result()
            priors = (self, *others)

            def loop(guider: Any, _sigmas: Tensor, extra: dict[str, Any], _callback: Any, _noise: Tensor, latent: Tensor,
                     _mask: Any) -> Tensor:
                told = [{name: guider.conds[_key(name, i)] for name in ("positive", "negative")} for i in range(len(priors))]
                predictors = [Predictor(guider, extra, conditions, batch=self.batch, cfg=prior.cfg,
                                        differentiable=self.gradients) for conditions, prior in zip(told, priors, strict=True)]
                result.value = body([levels.denoiser(predictor) for predictor in predictors])
                return latent

            guider = importlib.import_module("comfy.samplers").CFGGuider(model)
            guider.inner_set_conds({_key(name, i): [[given, lifted(rest)] for given, rest in fresh(conditions)]
                                    for i, prior in enumerate(priors)
                                    for name, conditions in (("positive", prior.positive), ("negative", prior.negative))})
            blank = torch.zeros(self.batch, model.model.latent_format.latent_channels, *self.crop)
            ends = [levels.coordinates.level(levels.sigma_max), levels.coordinates.level(levels.sigma_min)]
            guider.sample(blank, blank.clone(), as_sampler(loop), torch.tensor(ends), disable_pbar=True, seed=0)
        return result.value


def require_plain(model: Any) -> None:
    """Raise InvalidInputError for a host's model that is told a picture beside the noisy one."""
    if getattr(model, "concat_keys", ()):
        raise InvalidInputError(f"This MODEL is told a picture beside the noisy one ({', '.join(model.concat_keys)}), as for "
                                f"inpainting, which does not go with crops of a canvas; load one without.")


@dataclass
class Result:
    """What a body returned."""

    value: Any = None


def as_sampler(loop: Loop) -> Any:
    """The host's Sampler of a loop, which runs outside of inference mode and without gradients."""

    def sample(_: Any, guider: Any, sigmas: Tensor, extra_args: dict[str, Any], callback: Any, noise: Tensor,
               latent_image: Tensor, denoise_mask: Tensor | None = None, disable_pbar: bool = False) -> Tensor:
        before = guider.conds, guider.cfg
        try:
            with torch.inference_mode(False), torch.no_grad():
                return loop(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask)
        finally:
            guider.conds, guider.cfg = before

    base = importlib.import_module("comfy.samplers").Sampler
    return type("AtelierSampler", (base,), {"sample": sample})()


def _key(name: str, index: int) -> str:
    return f"{name} {index}" if index else name


@contextmanager
def _model(model: Any, gradients: bool) -> Generator[Any, None, None]:
    """The model; where gradients are asked for a copy whose weights autograd accepts, loaded whole, gone afterwards."""
    require_plain(model.model)
    if not gradients:
        yield model
        return
    management: Any = importlib.import_module("comfy.model_management")
    try:
        copy = model.clone(force_deepcopy=True)
    except (TypeError, RuntimeError) as error:
        raise InvalidInputError("This host cannot make the copy of the MODEL that gradients need; choose the inversion "
                                "'picard' in Prior Settings.") from error
    before = getattr(management, "in_training", False)
    management.in_training = True
    try:
        management.load_models_gpu([copy], force_full_load=True)
        yield copy
    finally:
        management.in_training = before
        copy.detach()
        management.soft_empty_cache()


def fresh(value: Any) -> Any:
    """Lists, tuples and dictionaries with every tensor that autograd refuses replaced by a copy that it takes, outside of the
    host's inference mode; the same inside of it."""
    if torch.is_inference_mode_enabled():
        return value
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if isinstance(value, dict):
        return {key: fresh(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return type(value)(fresh(item) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return value
