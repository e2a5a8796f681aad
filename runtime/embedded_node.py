"""Schema, node and node output of the host's V3 API, as far as our nodes use them, for when there is no host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, cast

from .embedded_types import Input, Output


class Hidden(str, Enum):
    """What a node may ask the runner for."""

    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"


class HiddenHolder:
    """The hidden values of one call; None where the runner gave none."""

    def __init__(self, values: Mapping[Hidden, Any]) -> None:
        self.unique_id: str | None = values.get(Hidden.unique_id)
        self.prompt: dict[str, Any] | None = values.get(Hidden.prompt)
        self.extra_pnginfo: dict[str, Any] | None = values.get(Hidden.extra_pnginfo)
        self.dynprompt: Any = values.get(Hidden.dynprompt)


@dataclass
class NodeInfoV1:
    """A node's description as the host answers it at /object_info."""

    input: dict[str, Any]
    input_order: dict[str, list[str]]
    is_input_list: bool
    output: list[str]
    output_is_list: list[bool]
    output_name: list[str]
    output_tooltips: list[str | None]
    output_matchtypes: list[str | None] | None
    name: str
    display_name: str | None
    description: str
    python_module: str
    category: str
    output_node: bool
    deprecated: bool
    experimental: bool
    dev_only: bool
    api_node: bool
    price_badge: dict[str, Any] | None
    search_aliases: list[str] | None
    essentials_category: str | None
    has_intermediate_output: bool


@dataclass
class Schema:
    """What a node is."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list[Input])
    outputs: list[Output] = field(default_factory=list[Output])
    hidden: list[Hidden] = field(default_factory=list[Hidden])
    description: str = ""
    search_aliases: list[str] = field(default_factory=list[str])
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_dev_only: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False
    accept_all_inputs: bool = False
    essentials_category: str | None = None
    has_intermediate_output: bool = False

    def validate(self) -> None:
        """ValueError when an id stands twice among the inputs or the outputs."""
        for what, ids in (("Input", [i.id for i in self.inputs]), ("Output", [o.id for o in self.outputs])):
            twice = [name for name, count in Counter(ids).items() if count > 1]
            if twice:
                raise ValueError(f"{what} ids must be unique, but {twice} are not.")

    def finalize(self) -> None:
        """Adds the hidden inputs of output nodes and the ids of nameless outputs."""
        if self.is_output_node:
            self.hidden += [h for h in (Hidden.prompt, Hidden.extra_pnginfo) if h not in self.hidden]
        for i, output in enumerate(self.outputs):
            if output.id is None:
                output.id = f"_{i}_{output.io_type}_"

    def get_v1_info(self, cls: type[ComfyNode]) -> NodeInfoV1:
        """The description."""
        inputs: dict[str, dict[str, Any]] = {"required": {}}
        for item in self.inputs:
            section = inputs.setdefault("optional" if item.optional else "required", {})
            options = item.as_dict()
            options.pop("optional", None)
            section[item.id] = (item.get_io_type(), options)
        for hidden in self.hidden:
            inputs.setdefault("hidden", {})[hidden.name] = (hidden.value,)
        return NodeInfoV1(
            input=inputs, input_order={section: list(names) for section, names in inputs.items()},
            is_input_list=self.is_input_list, output=[o.io_type for o in self.outputs],
            output_is_list=[o.is_output_list for o in self.outputs],
            output_name=[o.display_name or o.io_type for o in self.outputs],
            output_tooltips=[o.tooltip or None for o in self.outputs], output_matchtypes=None, name=self.node_id,
            display_name=self.display_name, description=self.description,
            python_module=getattr(cls, "RELATIVE_PYTHON_MODULE", "nodes"), category=self.category,
            output_node=self.is_output_node, deprecated=self.is_deprecated, experimental=self.is_experimental,
            dev_only=self.is_dev_only, api_node=self.is_api_node, price_badge=None,
            search_aliases=self.search_aliases or None, essentials_category=self.essentials_category,
            has_intermediate_output=self.has_intermediate_output)


class NodeOutput:
    """What a node returns: one value per output, and what it shows."""

    def __init__(self, *args: Any, ui: Any = None, expand: dict[str, Any] | None = None,
                 block_execution: str | None = None) -> None:
        self.args, self.ui, self.expand, self.block_execution = args, ui, expand, block_execution

    @property
    def result(self) -> tuple[Any, ...] | None:
        """The values, None when there are none."""
        return self.args or None

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class _OfSchema:
    """A class attribute read from the node's schema."""

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute

    def __get__(self, instance: object, owner: type[ComfyNode]) -> Any:
        schema = owner.GET_SCHEMA()
        if self.attribute == "OUTPUT_IS_LIST":
            return [output.is_output_list for output in schema.outputs]
        return getattr(schema, self.attribute)


class ComfyNode:
    """Base class of all nodes: class methods only."""

    hidden: HiddenHolder = HiddenHolder({})
    INPUT_IS_LIST = _OfSchema("is_input_list")
    OUTPUT_IS_LIST = _OfSchema("OUTPUT_IS_LIST")
    OUTPUT_NODE = _OfSchema("is_output_node")
    NOT_IDEMPOTENT = _OfSchema("not_idempotent")

    @classmethod
    def define_schema(cls) -> Schema:
        """The node's schema; every node brings its own."""
        raise NotImplementedError(f"{cls.__name__} defines no schema")

    if TYPE_CHECKING:  # every node declares its own parameters
        execute: ClassVar[Callable[..., Any]]
        validate_inputs: ClassVar[Callable[..., Any]]
        fingerprint_inputs: ClassVar[Callable[..., Any]]
        check_lazy_status: ClassVar[Callable[..., Any]]
    else:
        @classmethod
        def execute(cls, **kwargs: Any) -> NodeOutput:
            """The node's work; every node brings its own."""
            raise NotImplementedError(f"{cls.__name__} has no execute")

        @classmethod
        def validate_inputs(cls, **kwargs: Any) -> bool | str:
            """True, or the sentence that says what is wrong with the constants it names."""
            return True

        @classmethod
        def fingerprint_inputs(cls, **kwargs: Any) -> Any:
            """Something that changes when the node must run again though its inputs are equal."""
            return None

        @classmethod
        def check_lazy_status(cls, **kwargs: Any) -> list[str]:
            """The lazy inputs still needed."""
            return [name for name, value in kwargs.items() if value is None]

    @classmethod
    def FINALIZE_SCHEMA(cls) -> Schema:
        """A fresh schema."""
        schema = cls.define_schema()
        schema.finalize()
        return schema

    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        """A fresh, checked schema."""
        schema = cls.FINALIZE_SCHEMA()
        schema.validate()
        return schema

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:
        """The inputs in the host's older form."""
        return cls.FINALIZE_SCHEMA().get_v1_info(cls).input

    @classmethod
    def GET_NODE_INFO_V1(cls) -> dict[str, Any]:
        """The description as a dict."""
        return asdict(cls.GET_SCHEMA().get_v1_info(cls))

    @classmethod
    def PREPARE_CLASS_CLONE(cls, v3_data: Mapping[str, Any] | None) -> type[ComfyNode]:
        """A throw-away subclass with `hidden` filled in."""
        values = cast("Mapping[Hidden, Any]", (v3_data or {}).get("hidden_inputs") or {})
        return type(cls.__name__, (cls,), {"hidden": HiddenHolder(values), "__module__": cls.__module__})


class ComfyExtension:
    """What a pack hands to the host."""

    async def on_load(self) -> None:
        """Called once after loading."""

    async def get_node_list(self) -> list[type[ComfyNode]]:
        """The node classes."""
        return []
