"""The socket types and widgets of the host's V3 schema API, as far as our nodes use them, for when there is no host.

Names, order of parameters, defaults and the resulting node descriptions are the host's (comfy_api.latest, ComfyUI
0.18 to 0.33); a test compares the descriptions in the real host.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, ClassVar


class FolderType(str, Enum):
    """Where a file lies."""

    input = "input"
    output = "output"
    temp = "temp"


class UploadType(str, Enum):
    """What a combo offers to upload."""

    image = "image_upload"
    audio = "audio_upload"
    video = "video_upload"
    model = "file_upload"


class NumberDisplay(str, Enum):
    """How a number widget is shown."""

    number = "number"
    slider = "slider"
    gradient_slider = "gradientslider"


class ControlAfterGenerate(str, Enum):
    """What happens to a seed after a run."""

    fixed = "fixed"
    increment = "increment"
    decrement = "decrement"
    randomize = "randomize"


def _pruned(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class Input:
    """One input slot."""

    io_type: ClassVar[str] = "*"

    def __init__(self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 lazy: bool | None = None, extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                 advanced: bool | None = None) -> None:
        self.id, self.display_name, self.optional, self.tooltip = id, display_name, optional, tooltip
        self.lazy, self.extra_dict, self.rawLink, self.advanced = lazy, extra_dict or {}, raw_link, advanced

    def as_dict(self) -> dict[str, Any]:
        """The options as the frontend gets them."""
        return _pruned({"display_name": self.display_name, "optional": self.optional, "tooltip": self.tooltip,
                        "lazy": self.lazy, "rawLink": self.rawLink, "advanced": self.advanced}) | _pruned(self.extra_dict)

    def get_io_type(self) -> str:
        """The type's name on the wire."""
        return self.io_type


class WidgetInput(Input):
    """An input slot with a widget."""

    def __init__(self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 lazy: bool | None = None, default: Any = None, socketless: bool | None = None,
                 widget_type: str | None = None, force_input: bool | None = None,
                 extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                 advanced: bool | None = None) -> None:
        super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
        self.default, self.socketless, self.widget_type, self.force_input = default, socketless, widget_type, force_input

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | _pruned({"default": self.default, "socketless": self.socketless,
                                            "widgetType": self.widget_type, "forceInput": self.force_input})

    def get_io_type(self) -> str:
        return self.widget_type or super().get_io_type()


class Output:
    """One output slot."""

    io_type: ClassVar[str] = "*"

    def __init__(self, id: str | None = None, display_name: str | None = None, tooltip: str | None = None,
                 is_output_list: bool = False) -> None:
        self.id, self.display_name = id, display_name or id
        self.tooltip, self.is_output_list = tooltip, is_output_list


_AnyInput, _AnyOutput = Input, Output


class ComfyTypeIO:
    """A socket type: its name, its Input and its Output."""

    io_type: ClassVar[str] = "*"
    Input = _AnyInput
    Output = _AnyOutput

    def __init_subclass__(cls) -> None:
        name = {"io_type": cls.io_type}
        cls.Input = type("Input", (cls.Input,), name)
        cls.Output = type("Output", (cls.Output,), name)


def Custom(io_type: str) -> type[ComfyTypeIO]:
    """A socket type of our own."""
    return type("CustomComfyType", (ComfyTypeIO,), {"io_type": io_type})


class BooleanInput(WidgetInput):
    """A switch."""

    def __init__(self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 lazy: bool | None = None, default: bool | None = None, label_on: str | None = None,
                 label_off: str | None = None, socketless: bool | None = None, force_input: bool | None = None,
                 extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                 advanced: bool | None = None) -> None:
        super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input, extra_dict,
                         raw_link, advanced)
        self.label_on, self.label_off = label_on, label_off

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | _pruned({"label_on": self.label_on, "label_off": self.label_off})


class IntInput(WidgetInput):
    """A whole number."""

    def __init__(self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 lazy: bool | None = None, default: int | None = None, min: int | None = None, max: int | None = None,
                 step: int | None = None, control_after_generate: bool | ControlAfterGenerate | None = None,
                 display_mode: NumberDisplay | None = None, socketless: bool | None = None,
                 force_input: bool | None = None, extra_dict: dict[str, Any] | None = None,
                 raw_link: bool | None = None, advanced: bool | None = None) -> None:
        super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input, extra_dict,
                         raw_link, advanced)
        self.min, self.max, self.step = min, max, step
        self.control_after_generate, self.display_mode = control_after_generate, display_mode

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | _pruned({
            "min": self.min, "max": self.max, "step": self.step, "control_after_generate": self.control_after_generate,
            "display": self.display_mode.value if self.display_mode else None})


class FloatInput(WidgetInput):
    """A number."""

    def __init__(self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 lazy: bool | None = None, default: float | None = None, min: float | None = None,
                 max: float | None = None, step: float | None = None, round: float | None = None,
                 display_mode: NumberDisplay | None = None, gradient_stops: list[dict[str, Any]] | None = None,
                 socketless: bool | None = None, force_input: bool | None = None,
                 extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                 advanced: bool | None = None) -> None:
        super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input, extra_dict,
                         raw_link, advanced)
        self.min, self.max, self.step, self.round = min, max, step, round
        self.display_mode, self.gradient_stops = display_mode, gradient_stops

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | _pruned({
            "min": self.min, "max": self.max, "step": self.step, "round": self.round,
            "display": self.display_mode.value if self.display_mode else None, "gradient_stops": self.gradient_stops})


class StringInput(WidgetInput):
    """Text."""

    def __init__(self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 lazy: bool | None = None, multiline: bool = False, placeholder: str | None = None,
                 default: str | None = None, dynamic_prompts: bool | None = None, socketless: bool | None = None,
                 force_input: bool | None = None, extra_dict: dict[str, Any] | None = None,
                 raw_link: bool | None = None, advanced: bool | None = None) -> None:
        super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input, extra_dict,
                         raw_link, advanced)
        self.multiline, self.placeholder, self.dynamic_prompts = multiline, placeholder, dynamic_prompts

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | _pruned({"multiline": self.multiline, "placeholder": self.placeholder,
                                            "dynamicPrompts": self.dynamic_prompts})


class ComboInput(WidgetInput):
    """One of several values."""

    def __init__(self, id: str, options: Sequence[str] | Sequence[int] | type[Enum] | None = None,
                 display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 lazy: bool | None = None, default: str | int | Enum | None = None,
                 control_after_generate: bool | ControlAfterGenerate | None = None, upload: UploadType | None = None,
                 image_folder: FolderType | None = None, remote: Any = None, socketless: bool | None = None,
                 extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                 advanced: bool | None = None) -> None:
        default = default.value if isinstance(default, Enum) else default
        super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, None, extra_dict, raw_link,
                         advanced)
        self.options = [member.value for member in options] if isinstance(options, type) else options
        self.control_after_generate, self.upload, self.image_folder = control_after_generate, upload, image_folder

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | _pruned({
            "multiselect": False, "options": self.options, "control_after_generate": self.control_after_generate,
            **({self.upload.value: True} if self.upload else {}),
            "image_folder": self.image_folder.value if self.image_folder else None})


class Boolean(ComfyTypeIO):
    """BOOLEAN."""

    io_type = "BOOLEAN"
    Input: type[BooleanInput] = BooleanInput  # pyright: ignore[reportIncompatibleVariableOverride]


class Int(ComfyTypeIO):
    """INT."""

    io_type = "INT"
    Input: type[IntInput] = IntInput  # pyright: ignore[reportIncompatibleVariableOverride]


class Float(ComfyTypeIO):
    """FLOAT."""

    io_type = "FLOAT"
    Input: type[FloatInput] = FloatInput  # pyright: ignore[reportIncompatibleVariableOverride]


class String(ComfyTypeIO):
    """STRING."""

    io_type = "STRING"
    Input: type[StringInput] = StringInput  # pyright: ignore[reportIncompatibleVariableOverride]


class Combo(ComfyTypeIO):
    """COMBO."""

    io_type = "COMBO"
    Input: type[ComboInput] = ComboInput  # pyright: ignore[reportIncompatibleVariableOverride]


class Image(ComfyTypeIO):
    """IMAGE: float [B,H,W,C] 0..1."""

    io_type = "IMAGE"


class Mask(ComfyTypeIO):
    """MASK: float [B,H,W] 0..1."""

    io_type = "MASK"


class Audio(ComfyTypeIO):
    """AUDIO: {waveform [B,C,T], sample_rate}."""

    io_type = "AUDIO"


class Video(ComfyTypeIO):
    """VIDEO: a film, see `headless.films.Film`."""

    io_type = "VIDEO"


class Latent(ComfyTypeIO):
    """LATENT: {samples, ...}."""

    io_type = "LATENT"


class Model(ComfyTypeIO):
    """MODEL: a diffusion model of the host."""

    io_type = "MODEL"


class Conditioning(ComfyTypeIO):
    """CONDITIONING: prompts, for such a model."""

    io_type = "CONDITIONING"


class Vae(ComfyTypeIO):
    """VAE: an autoencoder of the host."""

    io_type = "VAE"


class Sampler(ComfyTypeIO):
    """SAMPLER: what goes down the noise levels, for the host's sampling nodes."""

    io_type = "SAMPLER"


class Mesh(ComfyTypeIO):
    """MESH, see `embedded_geometry`."""

    io_type = "MESH"


class Voxel(ComfyTypeIO):
    """VOXEL, see `embedded_geometry`."""

    io_type = "VOXEL"


class AnyType(ComfyTypeIO):
    """Any type."""

    io_type = "*"


class MultiType:
    """Several types on one input."""

    class Input(Input):
        """Accepts a link of any of `types`."""

        def __init__(self, id: str | Input, types: Sequence[type[ComfyTypeIO]], display_name: str | None = None,
                     optional: bool = False, tooltip: str | None = None, lazy: bool | None = None,
                     extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                     advanced: bool | None = None) -> None:
            self.widget = None if isinstance(id, str) else id
            if self.widget is not None:
                optional, tooltip = self.widget.optional or optional, self.widget.tooltip or tooltip
                display_name, lazy = self.widget.display_name or display_name, self.widget.lazy or lazy
                if isinstance(self.widget, WidgetInput):
                    self.widget.widget_type = self.widget.get_io_type()
            name = id if isinstance(id, str) else id.id
            super().__init__(name, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
            self.types = list(types)

        def get_io_type(self) -> str:
            names = [] if self.widget is None else [self.widget.get_io_type()]
            return ",".join(dict.fromkeys([*names, *(kind.io_type for kind in self.types)]))

        def as_dict(self) -> dict[str, Any]:
            return super().as_dict() if self.widget is None else self.widget.as_dict() | super().as_dict()
