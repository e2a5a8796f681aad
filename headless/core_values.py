"""The host's nodes that hold or show one plain value."""

from __future__ import annotations

import json
import sys

from ..runtime.host import io


class PrimitiveString(io.ComfyNode):
    """A line of text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PrimitiveString",
            display_name="Text",
            category="utilities/primitive",
            inputs=[io.String.Input("value")],
            outputs=[io.String.Output()],
        )

    @classmethod
    def execute(cls, value: str) -> io.NodeOutput:
        return io.NodeOutput(value)


class PrimitiveStringMultiline(io.ComfyNode):
    """Lines of text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PrimitiveStringMultiline",
            display_name="Text (Multiline)",
            category="utilities/primitive",
            inputs=[io.String.Input("value", multiline=True)],
            outputs=[io.String.Output()],
        )

    @classmethod
    def execute(cls, value: str) -> io.NodeOutput:
        return io.NodeOutput(value)


class PrimitiveInt(io.ComfyNode):
    """A whole number."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PrimitiveInt",
            display_name="Int",
            category="utilities/primitive",
            inputs=[io.Int.Input("value", min=-sys.maxsize, max=sys.maxsize, control_after_generate=True)],
            outputs=[io.Int.Output()],
        )

    @classmethod
    def execute(cls, value: int) -> io.NodeOutput:
        return io.NodeOutput(value)


class PrimitiveFloat(io.ComfyNode):
    """A number."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PrimitiveFloat",
            display_name="Float",
            category="utilities/primitive",
            inputs=[io.Float.Input("value", min=-sys.maxsize, max=sys.maxsize, step=0.1)],
            outputs=[io.Float.Output()],
        )

    @classmethod
    def execute(cls, value: float) -> io.NodeOutput:
        return io.NodeOutput(value)


class PrimitiveBoolean(io.ComfyNode):
    """True or false."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PrimitiveBoolean",
            display_name="Boolean",
            category="utilities/primitive",
            inputs=[io.Boolean.Input("value")],
            outputs=[io.Boolean.Output()],
        )

    @classmethod
    def execute(cls, value: bool) -> io.NodeOutput:
        return io.NodeOutput(value)


class PreviewAny(io.ComfyNode):
    """Any value as text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreviewAny",
            display_name="Preview as Text",
            category="utilities",
            description="Preview any input value as text.",
            inputs=[io.AnyType.Input("source")],
            outputs=[io.String.Output()],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, source: object) -> io.NodeOutput:
        text = _as_text(source)
        return io.NodeOutput(text, ui={"text": (text,)})


def _as_text(value: object) -> str:
    if isinstance(value, (str, int, float, bool)) or value is None:
        return str(value)
    try:
        return json.dumps(value, indent=4, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


VALUES: list[type[io.ComfyNode]] = [
    PrimitiveString,
    PrimitiveStringMultiline,
    PrimitiveInt,
    PrimitiveFloat,
    PrimitiveBoolean,
    PreviewAny,
]
