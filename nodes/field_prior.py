"""Radiance fields shaped by a denoiser of pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.denoiser import Denoiser
from ..pipelines.langevin.fields.cameras import DISTANCE, FOV, Cameras
from ..pipelines.langevin.fields.field_learner import Learning
from ..pipelines.langevin.fields.field_prior import PRIOR, ByDirection, FieldPrior, FieldPriorSettings, shape_field
from ..pipelines.langevin.fields.fitting import PosedImages
from ..pipelines.langevin.fields.radiance_field import (
    SHADES,
    Background,
    FieldConfig,
    Form,
    RadianceField,
    copied,
    field_config,
)
from ..pipelines.langevin.fields.rendering import Sampling
from ..pipelines.langevin.presets import Preset
from ..pipelines.langevin.prior import PriorSettings
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle
from ..runtime.room import room_for
from .field_views import CATEGORY, angle_input
from .prior_model import PriorModel, prior_model, run_together
from .radiance_fields import BLOB, BLOB_RADIUS, FIELDS, form_inputs, keep_input, learning_inputs, posed
from .sockets import CamerasSocket, DenoiserSocket, FieldSocket, PriorSocket

Source = ModelHandle | PriorModel
ADVICE = "views, rays, ray_samples or resolution, or the batch of the denoiser"


class RadianceFieldFromPrior(io.ComfyNode):
    """An object that a denoiser of pictures makes up, or completes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierRadianceFieldFromPrior", display_name="Radiance Field from Prior", category=CATEGORY,
            description="Shapes an object in three dimensions with a denoiser that only knows pictures: from nothing, or from "
                        "one or several photographs that it keeps. The denoiser is the one of objects that comes with the "
                        "pack, which is told the pose, or ComfyUI's own model with prompts.",
            search_aliases=["text to 3d", "image to 3d", "dreamfusion", "nerf", "langevin"],
            inputs=[DenoiserSocket.Input("denoiser", tooltip="The prior: what every view should look like. With prompts by "
                                         "direction, that of the front."),
                    host.node_input(io.Int, "sweeps", default=PRIOR.sweeps, min=1, max=100_000,
                                    tooltip="Times that a batch of views is nudged."),
                    host.node_input(io.Int, "views", default=8, min=1, max=256, tooltip="Cameras of a sweep."),
                    host.node_input(io.Int, "inner_steps", default=10, min=1, max=10_000,
                                    tooltip="Updates of the field in each sweep."),
                    host.node_input(io.Int, "rays", default=2048, min=16, max=262_144, step=16,
                                    tooltip="Pixels looked at in an update: what bounds the memory."),
                    *form_inputs(),
                    angle_input("elevation_from", 0.0, -89, 89, "Lowest elevation of the cameras, degrees above the ground "
                                                                "plane."),
                    angle_input("elevation_to", 45.0, -89, 89, "Highest elevation of the cameras, degrees."),
                    host.node_input(io.Float, "distance", default=DISTANCE, min=0.01, max=1000, step=0.1,
                                    tooltip="Of the cameras from the middle of the object."),
                    angle_input("fov", FOV, 1, 170, "Vertical angle of view, in degrees."),
                    host.node_input(io.Int, "seed", default=0, min=0, max=2**31 - 1, tooltip="Another seed is another object."),
                    host.node_input(io.Float, "sigma_max", default=PRIOR.sigma_max, min=0.01, max=1000.0, step=1.0,
                                    advanced=True, tooltip="First noise level, in units of the data's deviation: high, "
                                    "as all views decide together what they show."),
                    host.node_input(io.Float, "sigma_min", default=PRIOR.sigma_min, min=0.001, max=100.0, step=0.05,
                                    advanced=True, tooltip="Last noise level, in the same units."),
                    host.node_input(io.Float, "tau", default=PRIOR.tau, min=0.0, max=4.0, step=0.05, advanced=True,
                                    tooltip="Step of the Langevin equation; 0 takes half the calls and suits photographs, "
                                    "which leave little to explore."),
                    host.node_input(io.Float, "coarse", default=0.3, min=0.0, max=1.0, step=0.05, advanced=True,
                                    tooltip="Share of the sweeps that are rendered at half the size and magnified: faster."),
                    *learning_inputs(0.03),
                    keep_input(),
                    io.Image.Input("image", optional=True, tooltip="Photographs that the object keeps looking like, 0..1."),
                    CamerasSocket.Input("cameras", optional=True, tooltip="Where the photographs were taken from, in their "
                                        "order."),
                    io.Mask.Input("mask", optional=True, tooltip="Where the object is in the photographs; the rest is replaced "
                                  "by the background."),
                    DenoiserSocket.Input("side", optional=True, tooltip="The prior of views from the side."),
                    DenoiserSocket.Input("back", optional=True, tooltip="The prior of views from behind."),
                    DenoiserSocket.Input("above", optional=True, tooltip="The prior of views from above, 60 degrees and more."),
                    PriorSocket.Input("prior", optional=True, tooltip="From Prior Settings: instead of sweeps, sigma and tau; "
                                      "the patent's own target, which keeps what no picture of the prior shows.")],
            outputs=[FieldSocket.Output("field", tooltip="The radiance field."),
                     io.String.Output("report", tooltip="Sweeps, calls of the denoiser, and the share of the way to their "
                                      "targets that views went.")])

    @classmethod
    def execute(cls, denoiser: Source, sweeps: int, views: int, inner_steps: int, rays: int, form: Form, resolution: int,
                background: Background, elevation_from: float, elevation_to: float, distance: float, fov: float, seed: int,
                sigma_max: float, sigma_min: float, tau: float, coarse: float, learning_rate: float, smoothness: float,
                ray_samples: int, keep: str, image: Tensor | None = None, cameras: Cameras | None = None,
                mask: Tensor | None = None, side: Source | None = None, back: Source | None = None, above: Source | None = None,
                prior: Preset | None = None) -> io.NodeOutput:
        model = prior_model(denoiser)
        if model.axes != 2:
            raise InvalidInputError(f"The denoiser '{model.name}' works along {model.axes} axes; this node needs one of "
                                    f"pictures.")
        changed = PriorSettings(sweeps=sweeps, sigma_max=max(sigma_max, sigma_min), sigma_min=sigma_min, tau=tau,
                                inversion=PRIOR.inversion, keep=PRIOR.keep)
        settings = FieldPriorSettings(
            prior=changed if prior is None else prior.prior, views=views, inner=inner_steps, rays=rays,
            size=(model.crop[0], model.crop[1]),
            coarse=coarse, elevation=(elevation_from, elevation_to), distance=(distance, distance), fov=(fov, fov), seed=seed,
            learning=Learning(learning_rate, Sampling(ray_samples, 2 * ray_samples), smooth=smoothness))
        config = shaped(model, form, resolution, background)
        sides = [None if other is None else prior_model(other) for other in (side, back, above)]
        named = [f"{each.name} {each.condition}".strip() if each is not None else "" for each in (model, *sides)]
        with host.autograd(), room_for("a radiance field and its prior", ADVICE):
            anchors = _anchors(model, config, image, cameras, mask)
            progress = host.Progress(len(settings.prior.sigmas(1.0)))

            def body(denoisers: Sequence[Denoiser]) -> tuple[RadianceField, str]:
                there = iter(denoisers[1:])
                others = [None if other is None else next(there) for other in sides]
                main = ByDirection(denoisers[0], *others) if any(sides) else denoisers[0]
                with host.autograd():
                    job = FieldPrior(config, main, settings, anchors=anchors, check=host.check_cancel, device=model.device)
                    found = shape_field(job, folder=host.work_folder(f"{FIELDS}/{keep}") if keep else None,
                                        identity={"denoisers": named}, on_step=progress.on_step)
                    return copied(found, torch.device("cpu")).requires_grad_(False), told(job)

            field, report = run_together(model, [other for other in sides if other is not None], model.crop, body)
        return io.NodeOutput(field, report)


def shaped(model: PriorModel, form: Form, resolution: int, background: Background) -> FieldConfig:
    """The configuration of a field that a model's denoiser shapes: of pictures, or of its latents, whose background is
    learned."""
    common = {"resolution": resolution, "blob": BLOB, "blob_radius": BLOB_RADIUS}
    if model.pictures.scale == 1 and model.channels == 3:
        return field_config(form, background=background, **common)
    return field_config(form, background="learned", channels=model.channels, colour="linear", **common)


def _anchors(model: PriorModel, config: FieldConfig, image: Tensor | None, cameras: Cameras | None,
             mask: Tensor | None) -> PosedImages | None:
    """The photographs as the field shows them: in front of its background, and in the model's latents."""
    if image is None:
        return None
    if cameras is None:
        raise InvalidInputError("A photograph needs its camera: connect Cameras, with the side that it shows.")
    given = posed(image, cameras, mask)
    pictures = given.pictures
    if given.cover is not None:
        shade = SHADES.get(config.background, 1.0)
        pictures = given.cover[:, None] * pictures + (1 - given.cover[:, None]) * shade
    if config.colour == "linear":
        pictures = model.pictures.encode(pictures * 2 - 1, (False, False))
    return PosedImages(pictures, cameras)


def told(job: FieldPrior) -> str:
    """What happened, in a few lines."""
    calls, last = sum(sweep.calls for sweep in job.sweeps), job.sweeps[-1] if job.sweeps else None
    lines = [f"{job.done} sweeps, {calls} views denoised", f"views went {100 * job.views.measured:.0f} % of the way to their "
             f"targets"]
    if last is not None:
        lines.append(f"noise level {job.schedule[0]:.3g} to {last.sigma:.3g}")
    return "\n".join(lines)


NODES = [RadianceFieldFromPrior]
