"""`--set ID.INPUT=VALUE`: constants that replace what a workflow says."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from .node_types import Classes, InputSpec, NodeType
from .plain import Json
from .problems import Problem
from .workflow import PromptNode, Workflow, WorkflowError

_FORM = re.compile(r"(?P<node_id>[^.=\s]+)\.(?P<input_name>[^=\s]+)=(?P<text>.*)", re.DOTALL)


@dataclass(frozen=True)
class Override:
    """One replacement; `text` is not yet of the input's type."""

    node_id: str
    input_name: str
    text: str


def parse_override(argument: str) -> Override:
    """ "3.steps=20" -> node 3, input steps, "20". Raises WorkflowError when the form is another."""
    match = _FORM.fullmatch(argument)
    if match is None:
        raise WorkflowError(f"--set expects ID.INPUT=VALUE, such as 3.steps=20, got {argument!r}.")
    return Override(**match.groupdict())


def apply_overrides(
    workflow: Workflow, overrides: Sequence[Override], classes: Classes
) -> tuple[Workflow, list[Problem]]:
    """The workflow with the values in place, and what is wrong with the overrides.

    A text becomes the type that the input declares: as it stands for STRING, the choice it names for COMBO, true or
    false for BOOLEAN, JSON otherwise. A changed workflow no longer carries the UI form it was read from, since
    pictures must not embed a workflow that did not make them.
    """
    nodes = dict(workflow.nodes)
    problems: list[Problem] = []
    for override in overrides:
        node = nodes.get(override.node_id)
        if node is None:
            known = ", ".join(nodes)
            problems.append(Problem(f"--set names node {override.node_id!r}; the workflow has {known}."))
            continue
        specs = NodeType.of(classes[node.class_type]).inputs if node.class_type in classes else None
        spec = specs.get(override.input_name) if specs is not None else None
        if specs is not None and spec is None:
            names = ", ".join(specs) or "none"
            problems.append(_problem(override, node, f"--set names an input that it does not have; it has {names}."))
            continue
        value = _value(override.text, spec)
        nodes[override.node_id] = replace(node, inputs={**node.inputs, override.input_name: value})
    return replace(workflow, nodes=nodes, extra_pnginfo=None if overrides else workflow.extra_pnginfo), problems


def _problem(override: Override, node: PromptNode, message: str) -> Problem:
    return Problem(message, override.node_id, node.title, node.class_type, override.input_name)


def _value(text: str, spec: InputSpec | None) -> Json:
    if spec is not None and spec.io_type == "STRING":
        return text
    if spec is not None and spec.io_type == "COMBO":
        choices = cast("list[Json]", spec.options.get("options") or [])
        named = [choice for choice in choices if str(choice) == text]
        if named or not spec.options.get("multiselect"):
            return named[0] if named else text
    if spec is not None and spec.io_type == "BOOLEAN" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = cast("Json", json.loads(text))
    except (ValueError, RecursionError):
        return text
    several = spec is not None and bool(spec.options.get("multiselect"))
    return {"__value__": value} if several and isinstance(value, list) else value
