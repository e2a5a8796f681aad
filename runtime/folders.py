"""Where files are: models, inputs and outputs, through the host's folders or those of the headless run."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..pipelines.errors import AtelierError, InvalidInputError
from .context import active
from .identity import EMBEDDED
from .weights import advice_for

FAMILIES = ("stylegan2", "encoders", "label_branches", "perceptual", "identity", "funit", "unit", "denoisers", "class_codes",
            "edit_vectors", "radiance_fields")
SUFFIXES = frozenset({".safetensors"})
SHIPPED = Path(__file__).parent.parent / "demo" / "weights"


class MissingModelError(AtelierError, FileNotFoundError):
    """A model file is not where models are."""


def _host_folders() -> Any:
    return importlib.import_module("folder_paths")


def _kind(family: str) -> str:
    return f"atelier_{family}"


def register_folders() -> None:
    """Tell the host our model folders; folders the user configured for them are kept and stay first."""
    if EMBEDDED:
        return
    host = _host_folders()
    for family in FAMILIES:
        known, suffixes = host.folder_names_and_paths.get(_kind(family), ([], set()))
        own = [str(Path(host.models_dir) / "atelier" / family), str(SHIPPED / family)]
        host.folder_names_and_paths[_kind(family)] = ([*known, *(f for f in own if f not in known)],
                                                      set(suffixes) | SUFFIXES)


def _model_folders(family: str) -> list[Path]:
    context = active()
    models = [] if context is None else [folder / "atelier" / family for folder in context.folders.models]
    return [*models, SHIPPED / family]


def model_files(family: str) -> list[str]:
    """Names of the model files of a family, with '/' between folders, sorted, each once."""
    if not EMBEDDED:
        return list(_host_folders().get_filename_list(_kind(family)))
    return sorted({path.relative_to(folder).as_posix() for folder in _model_folders(family) if folder.is_dir()
                   for path in folder.rglob("*") if path.suffix in SUFFIXES})


def model_path(family: str, name: str) -> Path:
    """The file of that name. MissingModelError says where it was looked for."""
    if name in model_files(family):
        if not EMBEDDED:
            return Path(_host_folders().get_full_path_or_raise(_kind(family), name))
        for folder in _model_folders(family):
            if (folder / name).is_file():
                return folder / name
    have = ", ".join(model_files(family)) or "none"
    raise MissingModelError(f"The model file '{name}' is missing; put it into models/atelier/{family} or choose one of "
                            f"those there are: {have}.{advice_for(family, name)}")


def model_target(family: str, name: str) -> Path:
    """Where a model of that name is saved: the user's first folder of the family, never the shipped one.

    The suffix is added. Raises InvalidInputError for a name that leads out of the folder, or without such a folder.
    """
    if EMBEDDED:
        context = active()
        own = [] if context is None else [folder / "atelier" / family for folder in context.folders.models]
    else:
        own = [Path(folder) for folder in _host_folders().get_folder_paths(_kind(family)) if Path(folder) != SHIPPED / family]
    if not own:
        raise InvalidInputError(f"There is no models folder to save '{name}' in; name one with --models.")
    return contained(own[0], f"{name}.safetensors", "model name")


def work_folder(name: str) -> Path:
    """A folder of that name in the output folder, for what is more than one file. It is not made."""
    return contained(_output_root(name), name, "folder name")


def _output_root(name: str) -> Path:
    if not EMBEDDED:
        return Path(_host_folders().get_output_directory())
    context = active()
    if context is None:
        raise InvalidInputError(f"Nothing can be saved as '{name}' outside a run; run the workflow.")
    return context.folders.output


def input_folder(name: str) -> Path:
    """The folder of that name in an input folder, or in the output folder with ' [output]' behind its name.

    Raises InvalidInputError where there is none.
    """
    if name.endswith(" [output]"):
        roots: Sequence[Path] = [_output_root(name)]
    elif not EMBEDDED:
        roots = [Path(_host_folders().get_input_directory())]
    else:
        context = active()
        roots = () if context is None else context.folders.input
    plain = name.removesuffix(" [output]")
    found = [path for root in roots if (path := contained(root, plain, "folder name")).is_dir()]
    if not found:
        raise InvalidInputError(f"There is no folder '{plain}' in {', '.join(map(str, roots)) or 'the input folder'}; put "
                                f"the pictures there.")
    return found[0]


def input_files() -> list[str]:
    """Names of the files directly in the input folders, sorted, each once. Embedded host only."""
    context = active()
    folders: Sequence[Path] = () if context is None else context.folders.input
    return sorted({path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()})


def input_path(name: str) -> Path:
    """The file behind 'name', 'folder/name' or 'name [input|output|temp]'. InvalidInputError outside these folders.

    Where no folder has it, the path in the first folder: the caller says what is missing.
    """
    if not EMBEDDED:
        return Path(_host_folders().get_annotated_filepath(name))
    context = active()
    if context is None:
        raise InvalidInputError(f"The input file '{name}' was asked for outside a run; run the workflow.")
    plain, folders = name, list(context.folders.input)
    for kind in ("input", "output", "temp"):
        if name.endswith(f" [{kind}]"):
            plain = name.removesuffix(f" [{kind}]")
            folders = folders if kind == "input" else [context.folders.of_type(kind)]
    candidates = [contained(folder, plain, "input file") for folder in folders]
    found = [path for path in candidates if path.is_file()]
    if not candidates:
        raise InvalidInputError(f"There is no input folder to read '{plain}' from; name one with --input.")
    return found[0] if found else candidates[0]


def contained(folder: Path, name: str, what: str) -> Path:
    """folder / name, refused when it leads out of the folder."""
    path = None if not name or "\0" in name else (folder / name).resolve()
    if path is None or not path.is_relative_to(folder.resolve()):
        raise InvalidInputError(f"The {what} '{name}' does not lie inside its folder; give a name without '..' and "
                                f"without a drive or leading '/'.")
    return path


@dataclass(frozen=True)
class SaveTarget:
    """A file that does not exist yet. subfolder: below the output (or temp) folder, as the frontend asks for it."""

    path: Path
    filename: str
    subfolder: str


def save_targets(prefix: str, suffix: str, *, count: int = 1, folder: str = "output", width: int = 0,
                 height: int = 0) -> list[SaveTarget]:
    """`count` new files prefix_00001_suffix and so on, numbered as the host numbers; folders are made."""
    if EMBEDDED:
        context = active()
        if context is None:
            raise InvalidInputError(f"Nothing can be saved as '{prefix}' outside a run; run the workflow.")
        root = context.folders.of_type(folder)
        prefix = _filled(prefix, width, height)
        parent = contained(root, f"{prefix}_", "file name prefix").parent
        stem, subfolder = Path(prefix).name, parent.relative_to(root.resolve()).as_posix()
        subfolder = "" if subfolder == "." else subfolder
        parent.mkdir(parents=True, exist_ok=True)
        counter = 1 + max((_number(path.name, stem) for path in parent.iterdir()), default=0)
    else:
        host = _host_folders()
        root = Path(host.get_output_directory() if folder == "output" else host.get_temp_directory())
        contained(root, f"{prefix}_", "file name prefix")
        full, stem, counter, subfolder, _ = host.get_save_image_path(prefix, str(root), width, height)
        parent = Path(full)
    names = [f"{stem}_{counter + i:05}_{suffix}" for i in range(count)]
    return [SaveTarget(parent / name, name, subfolder) for name in names]


def save_target(prefix: str, suffix: str) -> SaveTarget:
    """One new file in the output folder."""
    return save_targets(prefix, suffix)[0]


def _filled(prefix: str, width: int, height: int) -> str:
    """The prefix with the host's %variables% filled in."""
    now = time.localtime()
    values = {"width": f"{width}", "height": f"{height}", "year": f"{now.tm_year}", "month": f"{now.tm_mon:02}",
              "day": f"{now.tm_mday:02}", "hour": f"{now.tm_hour:02}", "minute": f"{now.tm_min:02}",
              "second": f"{now.tm_sec:02}"}
    for name, value in values.items():
        prefix = prefix.replace(f"%{name}%", value)
    return prefix


def _number(name: str, stem: str) -> int:
    """12 for 'stem_00012_.png', 0 for anything else."""
    if not name.startswith(f"{stem}_"):
        return 0
    digits = name[len(stem) + 1:].partition(".")[0].partition("_")[0]
    return int(digits) if digits.isdecimal() else 0
