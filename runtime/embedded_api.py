"""The `io` of the embedded host: one namespace, as comfy_api.latest.io is."""

from __future__ import annotations

from .embedded_node import ComfyExtension, ComfyNode, Hidden, HiddenHolder, NodeInfoV1, NodeOutput, Schema
from .embedded_types import (
    AnyType,
    Audio,
    Boolean,
    Combo,
    ComfyTypeIO,
    ControlAfterGenerate,
    Custom,
    Float,
    FolderType,
    Image,
    Input,
    Int,
    Latent,
    Mask,
    MultiType,
    NumberDisplay,
    Output,
    String,
    UploadType,
    Video,
    WidgetInput,
)

__all__ = ["AnyType", "Audio", "Boolean", "Combo", "ComfyExtension", "ComfyNode", "ComfyTypeIO", "ControlAfterGenerate",
           "Custom", "Float", "FolderType", "Hidden", "HiddenHolder", "Image", "Input", "Int", "Latent", "Mask",
           "MultiType", "NodeInfoV1", "NodeOutput", "NumberDisplay", "Output", "Schema", "String", "UploadType",
           "Video", "WidgetInput"]
