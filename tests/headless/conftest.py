"""Toy nodes for the tests of the embedded host."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from latent_atelier.headless.executor import Executor
from latent_atelier.headless.graph import Graph
from latent_atelier.headless.node_types import by_id
from latent_atelier.headless.validation import validate
from latent_atelier.headless.workflow import Workflow, workflow_from_json
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.runtime.context import ExecutionContext, Folders
from latent_atelier.runtime.host import Progress, io


def make_toys(calls: list[str], state: dict[str, Any]) -> list[type[io.ComfyNode]]:
    """Nodes that write down in `calls` when they run and read what they need from `state`."""

    class ToyNumber(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(
                node_id="ToyNumber",
                inputs=[io.Int.Input("value", default=1, min=0, max=100)],
                outputs=[io.Int.Output()],
            )

        @classmethod
        def execute(cls, value):
            calls.append(f"number {value}")
            return io.NodeOutput(value)

    class ToyAdd(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(
                node_id="ToyAdd",
                inputs=[io.Int.Input("a"), io.Int.Input("b", default=10, optional=True)],
                outputs=[io.Int.Output()],
            )

        @classmethod
        def execute(cls, a, b=10):
            calls.append(f"add {a} {b}")
            return io.NodeOutput(a + b)

    class ToyRange(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(
                node_id="ToyRange", inputs=[io.Int.Input("n")], outputs=[io.Int.Output(is_output_list=True)]
            )

        @classmethod
        def execute(cls, n):
            return io.NodeOutput(list(range(n)))

    class ToySum(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(
                node_id="ToySum", inputs=[io.Int.Input("values")], outputs=[io.Int.Output()], is_input_list=True
            )

        @classmethod
        def execute(cls, values):
            calls.append(f"sum {values}")
            return io.NodeOutput(sum(values))

    class ToyShow(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="ToyShow", inputs=[io.AnyType.Input("value")], is_output_node=True)

        @classmethod
        def execute(cls, value):
            calls.append(f"show {value}")
            return io.NodeOutput(ui={"text": [str(value)]})

    class ToyPick(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(
                node_id="ToyPick",
                inputs=[
                    io.Boolean.Input("flag"),
                    io.Int.Input("yes", lazy=True),
                    io.Int.Input("no", lazy=True),
                ],
                outputs=[io.Int.Output()],
            )

        @classmethod
        def check_lazy_status(cls, flag, yes=None, no=None):
            return ["yes"] if flag else ["no"]

        @classmethod
        def execute(cls, flag, yes=None, no=None):
            return io.NodeOutput(yes if flag else no)

    class ToyFail(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="ToyFail", inputs=[io.String.Input("kind")], outputs=[io.Int.Output()])

        @classmethod
        def execute(cls, kind):
            if kind == "input":
                raise InvalidInputError("the moon is not a picture.")
            if kind == "interrupt":
                raise KeyboardInterrupt
            raise RuntimeError("broken inside")

    class ToyMode(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="ToyMode", outputs=[io.String.Output()])

        @classmethod
        def execute(cls):
            return io.NodeOutput(f"{torch.is_inference_mode_enabled()} {torch.is_grad_enabled()}")

    class ToyStamp(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="ToyStamp", inputs=[io.Int.Input("value")], outputs=[io.Int.Output()])

        @classmethod
        def fingerprint_inputs(cls, value):
            stamp = state["stamp"]
            if isinstance(stamp, Exception):
                raise stamp
            return stamp

        @classmethod
        def execute(cls, value):
            calls.append("stamp")
            return io.NodeOutput(value)

    class ToySteps(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="ToySteps", inputs=[io.Int.Input("total")], outputs=[io.Int.Output()])

        @classmethod
        def execute(cls, total):
            progress = Progress(total)
            for step in range(1, total + 1):
                calls.append(f"step {step}")
                state.get("on_step", lambda _: None)(step)
                progress.step_to(step)
            return io.NodeOutput(total)

    class ToyChoice(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(
                node_id="ToyChoice",
                inputs=[
                    io.Combo.Input("which", options=["left", "right"]),
                    io.Boolean.Input("on", default=True),
                    io.Float.Input("rate", default=0.5, min=0.0, max=1.0),
                    io.MultiType.Input("mixed", [io.Int, io.Image], optional=True),
                    io.Image.Input("picture", optional=True),
                ],
                outputs=[io.String.Output(), io.Image.Output()],
            )

        @classmethod
        def execute(cls, which, on, rate, mixed=None, picture=None):
            return io.NodeOutput(f"{which} {on} {rate} {mixed}", torch.zeros(1, 2, 2, 3))

    class ToyChecked(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(
                node_id="ToyChecked",
                inputs=[io.Int.Input("even", min=0, max=4), io.Int.Input("free", min=0, max=4)],
                outputs=[io.Int.Output()],
            )

        @classmethod
        def validate_inputs(cls, even):
            calls.append(f"validate {even}")
            return True if even is None or even % 2 == 0 else f"{even} is odd, give an even number."

        @classmethod
        def execute(cls, even, free):
            return io.NodeOutput(even + free)

    class ToyTypes(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="ToyTypes", inputs=[io.Image.Input("value")], outputs=[io.Int.Output()])

        @classmethod
        def validate_inputs(cls, input_types):
            return True if input_types["value"] in ("IMAGE", "INT") else f"no {input_types['value']} please."

        @classmethod
        def execute(cls, value):
            return io.NodeOutput(0)

    class ToyBlock(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="ToyBlock", inputs=[io.Int.Input("value")], outputs=[io.Int.Output()])

        @classmethod
        def execute(cls, value):
            return io.NodeOutput(block_execution="odd") if value % 2 else io.NodeOutput(value)

    class ToyAsync(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="ToyAsync", inputs=[io.Int.Input("value")], outputs=[io.Int.Output()])

        @classmethod
        async def execute(cls, value):
            return io.NodeOutput(value + 1)

    class ToyId(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            hidden = [io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo]
            return io.Schema(node_id="ToyId", hidden=hidden, outputs=[io.String.Output()])

        @classmethod
        def execute(cls):
            cls.leak = True
            classes = sorted(node["class_type"] for node in cls.hidden.prompt.values())
            return io.NodeOutput(f"{cls.hidden.unique_id} {classes} {cls.hidden.extra_pnginfo}")

    return [value for value in locals().values() if isinstance(value, type) and issubclass(value, io.ComfyNode)]


class Bench(SimpleNamespace):
    """The toys, what they did, and an executor over temporary folders."""

    calls: list[str]
    state: dict[str, Any]
    classes: dict[str, type[io.ComfyNode]]
    context: ExecutionContext
    executor: Executor
    root: Path

    def workflow(self, nodes: dict[str, Any], **extra: Any) -> Workflow:
        """{"1": ("ToyAdd", {"a": 1})} as a workflow."""
        prompt = {key: {"class_type": name, "inputs": inputs} for key, (name, inputs) in nodes.items()}
        return workflow_from_json(json.loads(json.dumps(prompt | extra)), "test", dict)

    def graph(self, nodes: dict[str, Any]) -> Graph:
        with self.context.activate():
            return validate(self.workflow(nodes), self.classes)

    def run(self, nodes: dict[str, Any], *observers: Any) -> dict[str, Any]:
        return self.executor.run(self.graph(nodes), observers)

    def texts(self, nodes: dict[str, Any]) -> dict[str, Any]:
        return {key: shown["text"] for key, shown in self.run(nodes).items()}


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[[], Bench]:
    def make() -> Bench:
        calls: list[str] = []
        state: dict[str, Any] = {"stamp": 1}
        folders = Folders(input=[tmp_path / "input"], output=tmp_path / "output", temp=tmp_path / "temp")
        context = ExecutionContext(folders=folders, device=torch.device("cpu"))
        return Bench(
            calls=calls,
            state=state,
            classes=by_id(make_toys(calls, state)),
            context=context,
            executor=Executor(context),
            root=tmp_path,
        )

    return make


@pytest.fixture
def bench(make_bench: Callable[[], Bench]) -> Bench:
    return make_bench()
