"""The `io` of the embedded host: one namespace, as comfy_api.latest.io is."""

from __future__ import annotations

from .embedded_node import ComfyExtension, ComfyNode, Hidden, HiddenHolder, NodeInfoV1, NodeOutput, Schema
from .embedded_types import (
    AnyType,
    Audio,
    Boolean,
    Combo,
    ComfyTypeIO,
    Conditioning,
    ControlAfterGenerate,
    Custom,
    Float,
    FolderType,
    Image,
    Input,
    Int,
    Latent,
    Mask,
    Mesh,
    Model,
    MultiType,
    NumberDisplay,
    Output,
    Sampler,
    String,
    UploadType,
    Vae,
    Video,
    Voxel,
    WidgetInput,
)

__all__ = ["AnyType", "Audio", "Boolean", "Combo", "ComfyExtension", "ComfyNode", "ComfyTypeIO", "Conditioning",
           "ControlAfterGenerate", "Custom", "Float", "FolderType", "Hidden", "HiddenHolder", "Image", "Input", "Int",
           "Latent", "Mask", "Mesh", "Model", "MultiType", "NodeInfoV1", "NodeOutput", "NumberDisplay", "Output", "Sampler",
           "Schema", "String", "UploadType", "Vae", "Video", "Voxel", "WidgetInput"]
