"""Checks a workflow against the declared nodes before anything runs, and finds every problem at once."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..pipelines.errors import AtelierError
from .constants import UnfitConstant, check_limits, convert, show
from .graph import Constant, Graph, GraphNode, Link, name_node
from .node_calls import call_each
from .node_types import Classes, InputSpec, NodeType
from .plain import Json
from .problems import InvalidWorkflowError, Problem
from .workflow import PromptNode, Workflow


def validate(workflow: Workflow, classes: Classes, found: Sequence[Problem] = ()) -> Graph:
    """The checked graph of what the output nodes need.

    As in the host, every node's class must exist, and the inputs of all nodes that an output node depends on must
    fit. Unlike the host, one bad output keeps the others from running. `found` are problems known before. Raises
    InvalidWorkflowError with all problems; nothing has run by then but the nodes' own validate_inputs.
    """
    return _Validation(workflow, classes, found).result()


class _Validation:
    def __init__(self, workflow: Workflow, classes: Classes, found: Sequence[Problem]) -> None:
        self.nodes = workflow.nodes
        self.extra = workflow.extra_pnginfo
        self.classes = classes
        self.problems = list(found)
        used = {node.class_type for node in self.nodes.values() if node.class_type in classes}
        self.types = {name: NodeType.of(classes[name]) for name in sorted(used)}

    def result(self) -> Graph:
        for node_id, node in self.nodes.items():
            if node.class_type not in self.types:
                self.report(node_id, self.unknown_class(node.class_type))
        outputs = tuple(key for key, node in self.nodes.items() if self.is_output(node))
        if not outputs and not self.problems:
            self.problems.append(Problem("nothing to do: the workflow has no output node such as Save Image."))
        order = self.needed(outputs)
        checked = {node_id: self.check_node(node_id) for node_id in order}
        self.check_cycles(checked)
        if self.problems:
            raise InvalidWorkflowError(self.problems)
        return Graph(checked, outputs, self.prompt(checked), self.extra)

    def report(self, node_id: str, message: str, input_name: str | None = None) -> None:
        node = self.nodes[node_id]
        self.problems.append(Problem(message, node_id, node.title, node.class_type, input_name))

    def is_output(self, node: PromptNode) -> bool:
        return node.class_type in self.types and self.types[node.class_type].is_output_node

    def unknown_class(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.classes, 1, 0.85)
        hint = f"did you mean {close[0]}?" if close else "run this workflow in ComfyUI itself."
        return f"the node class {show(name)} is not available here; {hint}"

    def needed(self, outputs: Sequence[str]) -> list[str]:
        """The output nodes and all that they link to, in a fixed order; unknown classes left out."""
        order: dict[str, None] = {}
        stack = list(reversed(outputs))
        while stack:
            node_id = stack.pop()
            node = self.nodes.get(node_id)
            if node is None or node_id in order or node.class_type not in self.types:
                continue
            order[node_id] = None
            for name in reversed(list(self.types[node.class_type].inputs)):
                value = node.inputs.get(name)
                if isinstance(value, list) and value and isinstance(value[0], str):
                    stack.append(value[0])
        return list(order)

    def check_node(self, node_id: str) -> GraphNode:
        node, kind = self.nodes[node_id], self.types[self.nodes[node_id].class_type]
        specs = kind.inputs
        own = inspect.getfullargspec(kind.cls.validate_inputs) if kind.overrides("validate_inputs") else None
        takes_over = set(own.args[1:]) if own and not own.varkw else set(specs) if own else set[str]()
        inputs: dict[str, Link | Constant] = {}
        unfit: set[str] = set()
        for name, spec in specs.items():
            if name not in node.inputs:
                if spec.required:
                    what = "a link or value" if spec.takes_constant else "a link from an output"
                    self.report(node_id, f"{what} of type {spec.io_type} is required, but nothing is given.", name)
                    unfit.add(name)
                continue
            try:
                inputs[name] = self.check_input(spec, node.inputs[name], takes_over)
            except UnfitConstant as error:
                self.report(node_id, str(error), name)
                unfit.add(name)
        checked = GraphNode(node_id, node.title, kind, inputs)
        if own is not None and not takes_over & unfit:
            self.ask_node(checked, takes_over)
        return checked

    def check_input(self, spec: InputSpec, value: Json, takes_over: set[str]) -> Link | Constant:
        if isinstance(value, list):
            return self.check_link(spec, value, typed="input_types" not in takes_over)
        converted = convert(spec, value)
        if spec.name not in takes_over:
            check_limits(spec, converted)
        return Constant(converted)

    def check_link(self, spec: InputSpec, value: list[Json], *, typed: bool) -> Link:
        node_id, slot = value if len(value) == 2 else (None, None)
        if not isinstance(node_id, str) or not isinstance(slot, int) or isinstance(slot, bool):
            raise UnfitConstant(f"a link is [node id, output number], got {show(value)}.")
        source = self.nodes.get(node_id)
        if source is None:
            raise UnfitConstant(f"it is linked to node {node_id}, which is not in the workflow.")
        if source.class_type in self.types:
            offered = self.types[source.class_type].outputs
            what = name_node(node_id, source.title, source.class_type)
            if not 0 <= slot < len(offered):
                raise UnfitConstant(f"it is linked to output {slot} of {what}, which has {len(offered)} output(s).")
            if typed and not spec.accepts(offered[slot]):
                raise UnfitConstant(f"expected {spec.io_type}, got {offered[slot]} from output {slot} of {what}.")
        return Link(node_id, slot)

    def ask_node(self, node: GraphNode, takes_over: set[str]) -> None:
        """The node's own validate_inputs: constants by name, None for links, `input_types` as the host gives it."""
        values: dict[str, list[Any]] = {
            name: [source.value if isinstance(source, Constant) else None]
            for name, source in node.inputs.items()
            if name in takes_over
        }
        if "input_types" in takes_over:
            values["input_types"] = [{name: self.offered(link) for name, link in node.links()}]
        names = ", ".join(name for name in node.inputs if name in takes_over) or None
        try:
            answers = call_each(node.type, "validate_inputs", values)
        except AtelierError as error:
            answers: list[Any] = [str(error)]
        for answer in dict.fromkeys(answers):
            if answer is not True:
                self.report(node.id, str(answer) if answer else "the node refuses this value.", names)

    def offered(self, link: Link) -> str:
        class_type = self.nodes[link.node_id].class_type
        return self.types[class_type].outputs[link.slot] if class_type in self.types else "*"

    def check_cycles(self, checked: Mapping[str, GraphNode]) -> None:
        """Reports each cycle that a walk along the links meets, once, with its path."""
        done: set[str] = set()
        for start in checked:
            path: dict[str, Iterator[tuple[str, Link]]] = {}
            if start not in done:
                path[start] = checked[start].links()
            while path:
                current = next(reversed(path))
                step = next(path[current], None)
                if step is None:
                    done.add(current)
                    del path[current]
                    continue
                name, link = step
                if link.node_id in path:
                    keys = list(path)
                    cycle = [*keys[keys.index(link.node_id) :], link.node_id]
                    arrows = " <- ".join(f"{key} ({self.nodes[key].class_type})" for key in cycle)
                    self.report(current, f"the nodes wait for each other in a circle: {arrows}.", name)
                elif link.node_id in checked and link.node_id not in done:
                    path[link.node_id] = checked[link.node_id].links()

    def prompt(self, checked: Mapping[str, GraphNode]) -> dict[str, Json]:
        """The whole workflow in API form; constants of the checked nodes as converted."""
        prompt: dict[str, Json] = {}
        for node_id, node in self.nodes.items():
            inputs = dict(node.inputs)
            for name, source in checked[node_id].inputs.items() if node_id in checked else ():
                if isinstance(source, Constant) and not isinstance(source.value, list):
                    inputs[name] = source.value
            prompt[node_id] = {"inputs": inputs, "class_type": node.class_type, "_meta": {"title": node.title}}
        return prompt
