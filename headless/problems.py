"""What is wrong with a workflow, as a list: every problem names its node and input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..pipelines.errors import AtelierError
from .graph import name_node


@dataclass(frozen=True)
class Problem:
    """One thing to mend. `message` is one sentence; the others say where; input_name may list several by commas."""

    message: str
    node_id: str | None = None
    title: str = ""
    class_type: str = ""
    input_name: str | None = None

    def __str__(self) -> str:
        if self.node_id is None:
            return self.message
        several = "s" if self.input_name and ", " in self.input_name else ""
        where = f", input{several} {self.input_name}" if self.input_name else ""
        return f"{name_node(self.node_id, self.title, self.class_type)}{where}: {self.message}"


class InvalidWorkflowError(AtelierError):
    """The workflow cannot run. `problems` is everything that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"The workflow cannot run, {count}:{lines}")
