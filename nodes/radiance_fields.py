"""Radiance fields: from pictures, to meshes, to and from files."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pipelines.errors import AtelierError, InvalidInputError
from ..pipelines.langevin.fields.cameras import Cameras
from ..pipelines.langevin.fields.field_file import load_field, save_field
from ..pipelines.langevin.fields.field_learner import Learning
from ..pipelines.langevin.fields.fitting import FitSettings, PosedImages, fit_images
from ..pipelines.langevin.fields.meshes import density_grid, extract_mesh, to_linear
from ..pipelines.langevin.fields.radiance_field import Background, Form, RadianceField, copied, field_config
from ..pipelines.langevin.fields.rendering import Sampling, render
from ..runtime import host
from ..runtime.geometry import mesh_value, voxel_value
from ..runtime.host import io
from ..runtime.room import room_for
from .field_views import CATEGORY, pictures_only
from .sockets import CamerasSocket, FieldSocket

FIELDS = "radiance_fields"
BLOB, BLOB_RADIUS = 5.0, 0.6
FORMS = ("planes", "mlp", "hash")
BACKGROUNDS = ("white", "black", "grey", "learned", "random")


def form_inputs() -> list[io.Input]:
    return [host.node_input(io.Combo, "form", options=list(FORMS), default="planes", tooltip="What the field is made of: "
                            "'planes' suits a CPU, 'hash' a GPU and fine detail, 'mlp' is the classic network, small and "
                            "slow."),
            host.node_input(io.Int, "resolution", default=64, min=16, max=2048, step=8, tooltip="Detail of planes, or of the "
                            "finest hash grid: about the side of the pictures."),
            host.node_input(io.Combo, "background", options=list(BACKGROUNDS), default="white", tooltip="What the pictures "
                            "show behind the object. With a mask use 'random', which keeps the background out of the object.")]


def keep_input() -> io.Input:
    return io.String.Input("keep", default="", advanced=True, tooltip="A name: the state is kept in "
                           "output/radiance_fields/NAME, and a run that was cancelled goes on where it was. Empty keeps "
                           "nothing.")


def learning_inputs(rate: float) -> list[io.Input]:
    return [host.node_input(io.Float, "learning_rate", default=rate, min=0.0001, max=1.0, step=0.005, advanced=True,
                            tooltip="Of planes and grids; the network learns at a tenth of it."),
            host.node_input(io.Float, "smoothness", default=0.02, min=0.0, max=100.0, step=0.01, advanced=True,
                            tooltip="Weight of the total variation of planes: less noise where few pictures look, less "
                                    "detail."),
            host.node_input(io.Int, "ray_samples", default=32, min=8, max=512, advanced=True,
                            tooltip="Places that a ray is looked at while the field learns.")]


class RadianceFieldFromImages(io.ComfyNode):
    """A field from pictures with known cameras."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierRadianceFieldFromImages", display_name="Radiance Field from Images", category=CATEGORY,
            description="Fits a radiance field (NeRF) to pictures whose cameras are known. The object lies within the cube "
                        "from -1 to 1. Some 20 pictures from all sides are enough.",
            search_aliases=["nerf", "photogrammetry", "reconstruction", "3d"],
            inputs=[io.Image.Input("image", tooltip="The pictures, one per camera, 0..1."),
                    CamerasSocket.Input("cameras", tooltip="Where they were taken from, in their order."),
                    host.node_input(io.Int, "steps", default=400, min=1, max=1_000_000, tooltip="Updates of the field."),
                    host.node_input(io.Int, "rays", default=2048, min=16, max=262_144, step=16,
                                    tooltip="Pixels looked at in a step: what bounds the memory."),
                    *form_inputs(),
                    host.node_input(io.Int, "seed", default=0, min=0, max=2**31 - 1, tooltip="Of everything drawn."),
                    *learning_inputs(0.05),
                    io.Boolean.Input("directional", default=False, advanced=True,
                                     tooltip="Colours may depend on where they are seen from: for glossy things."),
                    keep_input(),
                    io.Mask.Input("mask", optional=True, tooltip="Where the object is, one per picture, 1 for the object.")],
            outputs=[FieldSocket.Output("field", tooltip="The radiance field."),
                     io.String.Output("report", tooltip="How well it shows the pictures.")])

    @classmethod
    def execute(cls, image: Tensor, cameras: Cameras, steps: int, rays: int, form: Form, resolution: int,
                background: Background, seed: int, learning_rate: float, smoothness: float, ray_samples: int,
                directional: bool, keep: str, mask: Tensor | None = None) -> io.NodeOutput:
        config = field_config(form, resolution=resolution, background=background, directional=directional, blob=BLOB,
                              blob_radius=BLOB_RADIUS)
        learning = Learning(learning_rate, Sampling(ray_samples, 2 * ray_samples), smooth=smoothness)
        settings = FitSettings(steps, rays, seed, learning)
        device = host.compute_device()
        with host.autograd(), room_for("the fit of a radiance field", "rays, ray_samples or resolution"):
            images = posed(image, cameras, mask)
            found = fit_images(images, config, settings, folder=host.work_folder(f"{FIELDS}/{keep}") if keep else None,
                               device=device, on_step=host.Progress(steps).on_step)
            report = agreement(found, images.to(device))
            field = copied(found, torch.device("cpu")).requires_grad_(False)
        return io.NodeOutput(field, report)


def posed(image: Tensor, cameras: Cameras, mask: Tensor | None) -> PosedImages:
    """IMAGE [B,H,W,C] and MASK [B,H,W] with their cameras; one mask serves all pictures."""
    pictures = image[..., :3].permute(0, 3, 1, 2).float().clone()
    pictures = pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures
    if len(pictures) != len(cameras):
        raise InvalidInputError(f"There are {len(pictures)} pictures and {len(cameras)} cameras; give one camera per picture, "
                                f"in the same order.")
    cover = None if mask is None else mask.float().clone()
    if cover is not None and len(cover) == 1:
        cover = cover.expand(len(pictures), -1, -1)
    return PosedImages(pictures, cameras, cover)


def agreement(field: RadianceField, images: PosedImages) -> str:
    """How well the field shows (at most eight of) the pictures, in words."""
    chosen = torch.linspace(0, len(images) - 1, min(8, len(images))).round().long().to(images.pictures.device)
    height, width = images.pictures.shape[2:]
    behind = field.shown_background().detach()
    found = render(field, images.cameras[chosen], height, width, behind, Sampling()).colour.permute(0, 3, 1, 2)
    wanted = images.pictures[chosen]
    if images.cover is not None:
        cover = images.cover[chosen][:, None]
        wanted = cover * wanted + (1 - cover) * behind[:, None, None]
    error = (found - wanted).square().flatten(1).mean(dim=1).clamp_min(1e-10)
    return f"{float((-10 * error.log10()).mean()):.1f} dB on {len(chosen)} of the {len(images)} pictures"


class RadianceFieldToMesh(io.ComfyNode):
    """The surface of a field."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierRadianceFieldToMesh", display_name="Radiance Field to Mesh", category=CATEGORY,
            description="The surface of a radiance field as a closed mesh with a colour per vertex, Y up, for Save 3D Model.",
            search_aliases=["marching cubes", "glb", "3d", "voxel"],
            inputs=[FieldSocket.Input("field", tooltip="The radiance field."),
                    host.node_input(io.Int, "resolution", default=128, min=16, max=1024, step=8,
                                    tooltip="Cells along each side of the cube: the detail of the mesh."),
                    host.node_input(io.Float, "level", default=0.0, min=0.0, max=100_000.0, step=1.0, tooltip="Density at "
                                    "which the surface lies; 0 finds where the solid begins."),
                    io.Boolean.Input("largest_piece", default=True, tooltip="Leave out everything but the largest piece."),
                    io.Boolean.Input("unlit", default=True, tooltip="Show the colours as they are, as they hold the light of "
                                     "the pictures; off lets a viewer light them again.")],
            outputs=[io.Mesh.Output("mesh", tooltip="The mesh."),
                     io.Voxel.Output("voxel", tooltip="How solid each cell is, 0..1; the surface is at 0.5."),
                     io.String.Output("about", tooltip="Vertices, faces and the level.")])

    @classmethod
    def execute(cls, field: RadianceField, resolution: int, level: float, largest_piece: bool, unlit: bool) -> io.NodeOutput:
        with room_for("the mesh of a radiance field", "resolution"):
            there = copied(pictures_only(field), host.compute_device())
            grid = density_grid(there.density, resolution, device=there.device, on_step=host.Progress(resolution).on_step)
            mesh = extract_mesh(there, grid, level=level or None, largest=largest_piece)
        at = level or grid.level
        value = mesh_value(mesh.vertices, mesh.faces, colours=to_linear(mesh.colours), normals=mesh.normals, unlit=unlit)
        density = torch.from_numpy(grid.density)
        return io.NodeOutput(value, voxel_value(density / (density + at)),
                             f"{len(mesh.vertices)} vertices, {len(mesh.faces)} faces at density {at:.3g}")


class SaveRadianceField(io.ComfyNode):
    """A field to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierSaveRadianceField", display_name="Save Radiance Field", category=CATEGORY, is_output_node=True,
            description="Saves a radiance field in the output folder. Move it to models/atelier/radiance_fields to use it "
                        "everywhere.",
            inputs=[FieldSocket.Input("field", tooltip="Radiance field to save."),
                    io.String.Input("filename_prefix", default="radiance_fields/field", tooltip="File name, with folders, in "
                                    "the output folder; a number is added.")],
            outputs=[])

    @classmethod
    def execute(cls, field: RadianceField, filename_prefix: str) -> io.NodeOutput:
        target = host.save_target(filename_prefix, ".safetensors")
        save_field(target.path, field)
        return io.NodeOutput(ui={"files": [{"filename": target.filename, "subfolder": target.subfolder, "type": "output"}]})


class LoadRadianceField(io.ComfyNode):
    """A field from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLoadRadianceField", display_name="Load Radiance Field", category=CATEGORY,
            description="Loads a radiance field from models/atelier/radiance_fields.",
            inputs=[host.node_input(io.Combo, "field", options=host.model_files(FIELDS),
                                    tooltip="A .safetensors file in models/atelier/radiance_fields.")],
            outputs=[FieldSocket.Output("field", tooltip="The radiance field.")])

    @classmethod
    def validate_inputs(cls, field: str) -> bool | str:
        try:
            host.model_path(FIELDS, field)
        except AtelierError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, field: str) -> tuple[int, int]:
        status = host.model_path(FIELDS, field).stat()
        return status.st_mtime_ns, status.st_size

    @classmethod
    def execute(cls, field: str) -> io.NodeOutput:
        return io.NodeOutput(load_field(host.model_path(FIELDS, field)))


NODES = [RadianceFieldFromImages, RadianceFieldToMesh, SaveRadianceField, LoadRadianceField]
