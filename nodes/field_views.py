"""Cameras, and what radiance fields look like from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.codec import Codec, Pixels
from ..pipelines.langevin.fields.camera_lists import camera_of_view, cameras_from_text, row_of
from ..pipelines.langevin.fields.cameras import DISTANCE, FOV, Cameras, turntable
from ..pipelines.langevin.fields.occupancy import OccupancyGrid
from ..pipelines.langevin.fields.radiance_field import RadianceField, copied
from ..pipelines.langevin.fields.rendering import Picture, Sampling, render
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle
from ..runtime.room import room_for
from .prior_model import PriorModel, prior_model
from .sockets import CamerasSocket, DenoiserSocket, FieldSocket, ViewCameraSocket

CATEGORY = "Atelier/Radiance Fields"
LARGEST = 8192
DETAIL = "width, height or samples"
NORMAL_STEP = 0.015
"""Half a cell of the default planes: normals show the surface, not the grid."""


def samples_input() -> io.Input:
    return host.node_input(io.Int, "samples", default=64, min=8, max=1024, advanced=True,
                           tooltip="Places that a ray is looked at: more is finer and slower.")


def pictures_only(field: RadianceField) -> RadianceField:
    """The field, if its colours are those of pictures."""
    if field.config.colour != "sigmoid" or field.config.channels != 3:
        raise InvalidInputError(f"The radiance field has {field.config.channels} channels of latents, which are no colours; "
                                f"render views of it with its denoiser connected, and fit a field to these.")
    return field


def codec_of(field: RadianceField, denoiser: ModelHandle | PriorModel | None) -> Codec:
    """What turns a field's channels into pictures -1..1."""
    if denoiser is None or field.config.colour == "sigmoid":
        pictures_only(field)
        return Pixels(3)
    model = prior_model(denoiser)
    if model.axes != 2 or model.channels != field.config.channels:
        raise InvalidInputError(f"The radiance field has {field.config.channels} channels and '{model.name}' has "
                                f"{model.channels}; connect the denoiser that shaped it.")
    return model.pictures


def decoder_input() -> io.Input:
    return DenoiserSocket.Input("denoiser", optional=True, tooltip="For a field of latents: the denoiser that shaped it, whose "
                                "VAE shows it.")


def angle_input(name: str, default: float, low: float, high: float, tooltip: str) -> io.Input:
    return host.node_input(io.Float, name, default=default, min=low, max=high, step=1.0, tooltip=tooltip)


class CamerasNode(io.ComfyNode):
    """Where pictures are taken from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierCameras", display_name="Cameras", category=CATEGORY,
            description="Cameras around an object that lies within the cube from -1 to 1, Y up, its front towards azimuth 0. A "
                        "row of them, a list, a transforms.json, or the camera of a 3-D view.",
            search_aliases=["pose", "orbit", "nerf", "colmap", "transforms"],
            inputs=[host.node_input(io.Int, "count", default=24, min=1, max=10_000, tooltip="Cameras in the row."),
                    angle_input("azimuth", 0.0, -360, 360, "Of the first, in degrees: 0 sees the front, 90 the object's left "
                           "hand side (+X)."),
                    angle_input("span", 360.0, -3600, 3600, "Degrees from the first camera to the last; a full turn ends one "
                           "step before it began, and 720 goes round twice."),
                    angle_input("elevation", 15.0, -89, 89, "Of the first, in degrees above the ground plane."),
                    angle_input("elevation_to", 15.0, -89, 89, "Of the last; the ones between rise evenly."),
                    host.node_input(io.Float, "distance", default=DISTANCE, min=0.01, max=1000, step=0.1,
                                    tooltip="From the middle of the object. At 3.5 and an angle of 40 degrees all of it is "
                                            "seen."),
                    angle_input("fov", FOV, 1, 170, "Vertical angle of view, in degrees."),
                    io.String.Input("poses", default="", multiline=True, tooltip="Instead of the row: lines 'azimuth elevation "
                                    "[distance [fov]]', or the content of a transforms.json, as photogrammetry tools write "
                                    "it."),
                    host.node_input(io.Float, "scale", default=1.0, min=0.0001, max=10_000, step=0.01, advanced=True,
                                    tooltip="Times the positions of a transforms.json: brings the object into the cube."),
                    ViewCameraSocket.Input("view", optional=True, tooltip="Instead of all these: the camera of a 3-D view.")],
            outputs=[CamerasSocket.Output("cameras", tooltip="The cameras."),
                     io.String.Output("about", tooltip="Azimuth, elevation, distance and angle of view of each.")])

    @classmethod
    def execute(cls, count: int, azimuth: float, span: float, elevation: float, elevation_to: float, distance: float,
                fov: float, poses: str, scale: float, view: Mapping[str, Any] | None = None) -> io.NodeOutput:
        if view is not None:
            found = camera_of_view(view)
        elif poses.strip():
            found = cameras_from_text(poses, distance=distance, fov=fov, scale=scale)
        else:
            found = row_of(count, azimuth, span, (elevation, elevation_to), distance, fov)
        each = torch.stack([found.azimuth, found.elevation, found.distance, found.fov], dim=1)
        rows = cast("list[list[float]]", each.tolist())
        return io.NodeOutput(found, "\n".join(" ".join(f"{value:.4g}" for value in row) for row in rows))


def seen(field: RadianceField, cameras: Cameras, width: int, height: int, samples: int, *, codec: Codec,
         normals: bool = False, use: Callable[[Tensor, Picture], None]) -> None:
    """Render camera by camera, with progress and previews; `use` gets a picture's colours [1,H,W,3], 0..1, and what else was
    seen, at the size of the field's own views."""
    device = host.compute_device()
    progress = host.Progress(len(cameras))
    with room_for(f"pictures of {width}x{height}", DETAIL), host.autograd(), torch.no_grad():
        there = copied(field, device)
        behind, space = there.shown_background().detach(), OccupancyGrid.of(there.density, device=device)
        size = (-(-height // codec.scale), -(-width // codec.scale))
        for i in range(len(cameras)):
            found = render(there, cameras[i].to(device), *size, behind, Sampling(samples, 2 * samples), occupancy=space,
                           normals=normals, step=NORMAL_STEP)
            colour = found.colour.permute(0, 3, 1, 2)
            if field.config.colour == "linear":
                colour = (codec.decode(colour, (False, False))[..., :height, :width] + 1) / 2
            colour = colour.clamp(0, 1).float().cpu()
            use(colour.permute(0, 2, 3, 1).contiguous(), found)
            progress.step_to(i + 1, lambda colour=colour: colour * 2 - 1)


def enlarged(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Values [B,H,W,...] at another size, as they are where they have it."""
    if tuple(values.shape[1:3]) == size:
        return values
    flat = values.reshape(*values.shape[:3], -1).permute(0, 3, 1, 2)
    grown = torch.nn.functional.interpolate(flat, size, mode="bilinear", align_corners=False)
    return grown.permute(0, 2, 3, 1).reshape(len(values), *size, *values.shape[3:])


def depth_picture(depth: Tensor, opacity: Tensor) -> Tensor:
    """depth, opacity [B,H,W] -> IMAGE [B,H,W,3]: 1 for the nearest of all that is seen, 0 for the farthest and for nothing."""
    solid = opacity > 0.5
    if not bool(solid.any()):
        return torch.zeros(*depth.shape, 3)
    near, far = float(depth[solid].min()), float(depth[solid].max())
    shade = torch.where(solid, 1 - (depth - near) / max(far - near, 1e-6) * 0.9, torch.zeros_like(depth))
    return shade[..., None].expand(-1, -1, -1, 3).contiguous()


def normal_picture(normals: Tensor, cameras: Cameras) -> Tensor:
    """normals [B,H,W,3] of the world -> IMAGE of them as the camera sees them: red to its right, green up, blue towards it."""
    local = torch.einsum("bji,bhwj->bhwi", cameras.poses[:, :3, :3].to(normals), normals)
    return (local + 1) / 2


class RenderViews(io.ComfyNode):
    """Pictures of a field from given cameras."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierRenderViews", display_name="Render Views", category=CATEGORY,
            description="Pictures of a radiance field from cameras, with mask, depth and normals.",
            search_aliases=["nerf", "depth", "normal map"],
            inputs=[FieldSocket.Input("field", tooltip="The radiance field."),
                    CamerasSocket.Input("cameras", tooltip="Where from."),
                    host.node_input(io.Int, "width", default=256, min=8, max=LARGEST, tooltip="Of the pictures, in pixels."),
                    host.node_input(io.Int, "height", default=256, min=8, max=LARGEST, tooltip="Of the pictures, in pixels."),
                    samples_input(), decoder_input()],
            outputs=[io.Image.Output("image", tooltip="The pictures, one per camera, 0..1."),
                     io.Mask.Output("mask", tooltip="Where the object is: its opacity, 0..1."),
                     io.Image.Output("depth", tooltip="1 for the nearest of all pictures, down to 0.1 for the farthest, 0 for "
                                     "the background."),
                     io.Image.Output("normals", tooltip="As the camera sees them: red to the right, green up, blue towards it; "
                                     "grey for nothing.")])

    @classmethod
    def execute(cls, field: RadianceField, cameras: Cameras, width: int, height: int, samples: int,
                denoiser: ModelHandle | PriorModel | None = None) -> io.NodeOutput:
        colours: list[Tensor] = []
        parts: list[Picture] = []

        def use(colour: Tensor, found: Picture) -> None:
            colours.append(colour)
            parts.append(found)

        seen(field, cameras, width, height, samples, codec=codec_of(field, denoiser), normals=True, use=use)
        opacity, depth = (enlarged(torch.cat([getattr(part, name).float().cpu() for part in parts]), (height, width))
                          for name in ("opacity", "depth"))
        normals = torch.cat([part.normals.float().cpu() for part in parts if part.normals is not None])
        return io.NodeOutput(torch.cat(colours), opacity.clamp(0, 1), depth_picture(depth, opacity),
                             normal_picture(enlarged(normals, (height, width)), cameras))


class Turntable(io.ComfyNode):
    """Once around a field."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTurntable", display_name="Turntable", category=CATEGORY,
            description="A film once around a radiance field, for Create Video or Save Animated WEBP.",
            search_aliases=["nerf", "orbit", "360"],
            inputs=[FieldSocket.Input("field", tooltip="The radiance field."),
                    host.node_input(io.Int, "frames", default=36, min=1, max=3600, tooltip="Pictures of one turn."),
                    host.node_input(io.Int, "size", default=256, min=8, max=4096, tooltip="Side of the pictures, in pixels."),
                    angle_input("elevation", 15.0, -89, 89, "Degrees above the ground plane."),
                    host.node_input(io.Float, "distance", default=DISTANCE, min=0.1, max=100, step=0.1,
                                    tooltip="Of the camera from the middle."),
                    samples_input(), decoder_input()],
            outputs=[io.Image.Output("frames", tooltip="The frames, 0..1; the first sees the front.")])

    @classmethod
    def execute(cls, field: RadianceField, frames: int, size: int, elevation: float, distance: float, samples: int,
                denoiser: ModelHandle | PriorModel | None = None) -> io.NodeOutput:
        parts: list[Tensor] = []
        seen(field, turntable(frames, elevation, distance), size, size, samples, codec=codec_of(field, denoiser),
             use=lambda colour, _: parts.append(colour))
        return io.NodeOutput(torch.cat(parts))


NODES = [CamerasNode, RenderViews, Turntable]
