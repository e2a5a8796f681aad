"""The command `atelier`.

Exit codes: 0 done, 1 a node failed, 2 the input is wrong, 130 cancelled. Standard output carries results only: the
paths of saved files, or JSON; everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ..pipelines.errors import AtelierError
from .exit_codes import CANCELLED, DONE, FAILED, WRONG_INPUT
from .train_options import add_train_commands
from .weights_command import add_weights_commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; a wrong command line exits with 2 as argparse does."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        sys.stderr.write("Cancelled.\n")
        return CANCELLED
    except AtelierError as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="atelier", description="Run Latent Atelier's workflows without a browser.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a saved workflow", description=_run.__doc__)
    run.add_argument("workflow", metavar="WORKFLOW", help="UI JSON, API JSON, or a PNG that a workflow is embedded in")
    run.add_argument(
        "--set", action="append", default=[], metavar="ID.INPUT=VALUE", help="replace one input; may be repeated"
    )
    run.add_argument("--input", metavar="DIR", help="where LoadImage looks (default: ./input; then the demo pictures)")
    run.add_argument("--output", metavar="DIR", default="output", help="where files are saved (default: ./output)")
    run.add_argument("--models", metavar="DIR", help="a models folder, searched besides the shipped weights")
    run.add_argument("--report", metavar="FILE", help="write per node times, files and memory as JSON")
    run.add_argument("--device", choices=("cpu", "cuda"), help="where networks run (default: cuda when there is one)")
    run.add_argument("--quiet", action="store_true", help="no progress bars")
    run.set_defaults(command=_run)

    api = commands.add_parser("api", help="print a workflow in the API form", description=_api.__doc__)
    api.add_argument("workflow", metavar="WORKFLOW", help="UI JSON, API JSON, or a PNG that a workflow is embedded in")
    api.set_defaults(command=_api)
    nodes = commands.add_parser("nodes", help="describe every node as JSON, as the host's /object_info does")
    nodes.set_defaults(command=_nodes)
    add_train_commands(commands)
    add_weights_commands(commands)
    doctor = commands.add_parser("doctor", help="check that this installation is complete")
    doctor.set_defaults(command=_doctor)
    return parser


def _run(options: argparse.Namespace) -> int:
    """Run WORKFLOW and write the paths of the files it saved to standard output."""
    from .run import RunOptions, run_file

    return run_file(RunOptions.from_arguments(options), sys.stdout.write)


def _api(options: argparse.Namespace) -> int:
    """Write WORKFLOW as the API JSON that ComfyUI's /prompt takes to standard output."""
    from .node_types import all_classes, object_info
    from .workflow import read_workflow

    workflow = read_workflow(Path(options.workflow), lambda: object_info(all_classes()))
    nodes = {name: {"class_type": node.class_type, "inputs": node.inputs, "_meta": {"title": node.title}}
             for name, node in workflow.nodes.items()}
    sys.stdout.write(json.dumps(nodes, indent=1) + "\n")
    return DONE


def _nodes(_: argparse.Namespace) -> int:
    from .node_types import all_classes, object_info

    sys.stdout.write(json.dumps(object_info(all_classes()), indent=2) + "\n")
    return DONE


def _doctor(_: argparse.Namespace) -> int:
    from .doctor import examine

    results = list(examine())
    for fine, line in results:
        sys.stdout.write(f"{'ok  ' if fine else 'FAIL'}  {line}\n")
    return DONE if all(fine for fine, _ in results) else FAILED
