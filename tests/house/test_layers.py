"""Imports run downwards only, only runtime/ touches the host, and the pack imports itself by relative names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ["pipelines", "checkpoints", "runtime", "nodes", "headless"]
HOST = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "server", "execution", "nodes"}
FILES = [path for layer in [*LAYERS, "demo"] for path in sorted((ROOT / layer).rglob("*.py"))]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(level, module) of every import statement, however deep."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, f"{node.module or ''}.{alias.name}".strip(".")) for alias in node.names)
        elif (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module"
              and isinstance(node.args[0], ast.Constant)):
            yield 0, str(node.args[0].value)


def layer_of(path: Path, level: int, module: str) -> str:
    """The top folder that a relative import reaches."""
    package = path.relative_to(ROOT).parent.parts
    return (*package[: len(package) - (level - 1)], *module.split("."))[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    for level, module in imports(path):
        if level == 0:
            top = module.split(".")[0]
            assert top != "latent_atelier", f"{module}: import it relatively"
            if layer != "runtime":
                assert top not in HOST, f"{module} belongs to the host: reach it through runtime/"
            continue
        reached = layer_of(path, level, module)
        if layer == "demo":
            assert reached in {"demo", "pipelines", "checkpoints"}, module
        else:
            assert reached in LAYERS, module
            assert LAYERS.index(reached) <= LAYERS.index(layer), f"{layer} imports {module} of a higher layer"


def test_only_the_entry_point_stands_in_the_root() -> None:
    names = {getattr(node, "name", None) or node.targets[0].id for node in ast.parse(
        (ROOT / "__init__.py").read_text()).body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef | ast.Assign)}
    assert names == {"comfy_entrypoint", "WEB_DIRECTORY"}
