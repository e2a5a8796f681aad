"""One run of one workflow file, from the options of `atelier run` to its exit code."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from ..pipelines.errors import InvalidInputError
from ..runtime.context import ExecutionContext, Folders
from ..runtime.host import EMBEDDED, Cancelled
from .executor import Executor, NodeFailedError, NodeRecord, Observer
from .exit_codes import CANCELLED, DONE, FAILED
from .graph import Graph, GraphNode
from .node_types import Classes, all_classes, object_info
from .overrides import apply_overrides, parse_override
from .progress import ProgressBars
from .report import Report
from .validation import validate
from .workflow import read_workflow

DEMO_PICTURES = Path(__file__).parent.parent / "demo" / "images"
"""Always the last input folder, so that the shipped workflows run anywhere."""


@dataclass(frozen=True)
class RunOptions:
    """What `atelier run` was asked to do."""

    workflow: Path
    overrides: tuple[str, ...] = ()
    input: Path | None = None
    output: Path = Path("output")
    models: Path | None = None
    report: Path | None = None
    device: str | None = None
    quiet: bool = False

    @staticmethod
    def from_arguments(options: argparse.Namespace) -> RunOptions:
        def path(text: str | None) -> Path | None:
            return None if text is None else Path(text)

        return RunOptions(
            workflow=Path(options.workflow),
            overrides=tuple(options.set),
            input=path(options.input),
            output=Path(options.output),
            models=path(options.models),
            report=path(options.report),
            device=options.device,
            quiet=options.quiet,
        )


def run_file(options: RunOptions, write: Callable[[str], object], classes: Classes | None = None) -> int:
    """Reads, checks and runs the workflow; `write` gets the path of each saved file, a line each.

    Raises AtelierError when the input is wrong; nothing has run or been written by then. A failing node and a
    cancelled run are said on standard error and in the exit code; the report then tells what had run before.
    """
    if not EMBEDDED:
        raise InvalidInputError(
            "atelier runs workflows without ComfyUI, but ComfyUI is importable here: use its own API."
        )
    _check_paths(options)
    device = choose_device(options.device)
    classes = all_classes() if classes is None else classes
    with tempfile.TemporaryDirectory(prefix="atelier-") as temp:
        context = ExecutionContext(folders=folders(options, Path(temp)), device=device)
        with context.activate():
            workflow = read_workflow(options.workflow, lambda: object_info(classes))
            replacements = [parse_override(argument) for argument in options.overrides]
            workflow, problems = apply_overrides(workflow, replacements, classes)
            graph = validate(workflow, classes, problems)
        report = Report(workflow.name, device)
        saved = SavedFiles(options.output)
        code, error = _execute(context, graph, [report, saved], options.quiet)
    for path in saved.paths:
        write(f"{path}\n")
    if error:
        sys.stderr.write(f"{error}\n")
    if options.report is not None:
        status = "done" if code == DONE else "cancelled" if code == CANCELLED else "failed"
        report.write(options.report, status, error)
    return code


class SavedFiles:
    """An Observer that gathers the files that lie in the output folder; previews do not."""

    def __init__(self, output: Path) -> None:
        self._output = output.resolve()
        self.paths: list[Path] = []

    def started(self, node: GraphNode) -> None:
        """Part of Observer; files are there when a node has finished."""

    def finished(self, record: NodeRecord) -> None:
        self.paths.extend(path for path in record.files if path.resolve().is_relative_to(self._output))


def _execute(context: ExecutionContext, graph: Graph, observers: list[Observer], quiet: bool) -> tuple[int, str | None]:
    """Exit code and, unless done, the sentence that explains it."""
    try:
        with ExitStack() as stack:
            if not quiet:
                bars = stack.enter_context(ProgressBars(graph, draw=sys.stderr.isatty()))
                context.on_progress = bars.stepped
                observers = [*observers, bars]
            stack.enter_context(cancel_on_interrupt(context))
            Executor(context).run(graph, observers)
    except NodeFailedError as error:
        return FAILED, str(error)
    except (Cancelled, KeyboardInterrupt):
        return CANCELLED, "Cancelled."
    return DONE, None


@contextmanager
def cancel_on_interrupt(context: ExecutionContext) -> Generator[None, None, None]:
    """The first Ctrl-C ends the run at the next step, the second at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGINT)

    def cancel(signal_number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        context.cancel()

    signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def folders(options: RunOptions, temp: Path) -> Folders:
    """Input: --input, else ./input when it exists; then the demo pictures."""
    given = options.input if options.input is not None else Path("input")
    inputs = [folder for folder in (given, DEMO_PICTURES) if folder.is_dir()]
    models = [] if options.models is None else [options.models]
    return Folders(input=inputs, output=options.output, temp=temp, models=models)


def choose_device(name: str | None) -> torch.device:
    """The named device, else CUDA when there is one. Raises InvalidInputError when it is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidInputError("--device cuda: PyTorch finds no CUDA device here; use --device cpu.")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _check_paths(options: RunOptions) -> None:
    for flag, folder in (("--input", options.input), ("--models", options.models)):
        if folder is not None and not folder.is_dir():
            raise InvalidInputError(f"{flag} {folder}: there is no such folder.")
    if options.output.exists() and not options.output.is_dir():
        raise InvalidInputError(f"--output {options.output}: this is a file, expected a folder.")
    if options.report is not None and options.report.is_dir():
        raise InvalidInputError(f"--report {options.report}: this is a folder, expected a file.")
    if options.report is not None and not options.report.parent.is_dir():
        raise InvalidInputError(f"--report {options.report}: there is no folder {options.report.parent}.")
