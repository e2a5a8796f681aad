"""`atelier weights`: official weights listed, downloaded, checked and imported."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..checkpoints.convert import PARTS, convert
from ..pipelines.errors import InvalidInputError
from ..runtime.download import fetch
from ..runtime.folders import MissingModelError
from ..runtime.weights import OFFICIAL, Entry, WeightsError, fault_of, find, locked_hashes, manifest
from .exit_codes import DONE, FAILED
from .label_file import read_label_set

MODELS = "ATELIER_MODELS"


def add_weights_commands(commands: Any) -> None:
    """`weights` and its actions on an argparse parser's subcommands."""
    weights = commands.add_parser("weights", help="official weights", description=__doc__)
    actions = weights.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=help, description=run.__doc__)
        parser.set_defaults(command=run)
        return parser

    def models(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--models", type=Path, metavar="DIR", help=f"the models folder (default: ${MODELS}, or the one of "
                                                                       f"the ComfyUI that the pack is installed in)")

    listing = action("list", _list, "what there is, and what is here")
    listing.add_argument("family", nargs="?", help="only those of a family, such as stylegan2 or encoder")
    models(listing)
    fetching = action("fetch", _fetch, "download and import")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="as `atelier weights list` shows them")
    fetching.add_argument("--accept-licence", action="store_true", help="you have read the licence and accept it")
    fetching.add_argument("--trust-first-use", action="store_true", help="take a file that nobody published a hash of; "
                                                                         "its hash is kept")
    fetching.add_argument("--no-import", action="store_true", help="only download")
    models(fetching)
    verifying = action("verify", _verify, "check downloaded files against their hashes")
    verifying.add_argument("names", nargs="*", metavar="NAME", help="default: everything that is here")
    models(verifying)
    path = action("path", _path, "where the imported file is")
    path.add_argument("name", metavar="NAME")
    models(path)
    importing = action("convert", _convert, "import an official file")
    importing.add_argument("source", type=Path, help="a .pkl, .pt or .pth file, or a folder with the classifiers of a label "
                                                     "branch; nothing in it is run")
    importing.add_argument("target", type=Path, help="the .safetensors file to write")
    importing.add_argument("--part", choices=tuple(PARTS), default="generator",
                           help="which network of a file that holds several")
    importing.add_argument("--heads", type=Path, help="LPIPS: the learned heads for a torchvision backbone")
    importing.add_argument("--label-set", type=Path, help="label branch: JSON with names and, if wanted, colours")
    importing.add_argument("--licence", help="kept in the written file")


def models_folder(given: Path | None) -> Path:
    """The models folder: the one given, that of the environment, or that of the ComfyUI around the pack."""
    if given is not None:
        return given
    if os.environ.get(MODELS):
        return Path(os.environ[MODELS])
    around = Path(__file__).resolve().parents[2]
    if around.name == "custom_nodes" and (around.parent / "models").is_dir():
        return around.parent / "models"
    raise InvalidInputError(f"Which models folder? Name it with --models, or set {MODELS}.")


def _state(entry: Entry, models: Path | None) -> str:
    if models is None:
        return ""
    imported = entry.imported(models)
    if imported is not None and imported.is_file():
        return "imported"
    return "downloaded" if all(entry.source(models, file).exists() for file in entry.files) else ""


def _list(options: argparse.Namespace) -> int:
    """Write name, family, size, licence and state of every published network, one per line."""
    try:
        models = models_folder(options.models)
    except InvalidInputError:
        models = None
    for entry in manifest():
        if options.family in (None, entry.family):
            sizes = [file.size for file in entry.files]
            size = f"{sum(s for s in sizes if s) / 2**20:.0f} MB" if all(sizes) else "size unknown"
            how = "by hand" if entry.by_hand else "fetch"
            sys.stdout.write(f"{entry.name:58} {entry.family:12} {size:>12}  {how:8} {_state(entry, models):11} "
                             f"{entry.license}\n")
    return DONE


def _fetch(options: argparse.Namespace) -> int:
    """Download official files over HTTPS, check them, and import the networks in them as safetensors."""
    models = models_folder(options.models)
    for name in options.names:
        entry = find(name)
        accepted = options.accept_licence or _accepted(entry)
        try:
            with _Bars() as bars:
                sources = fetch(entry, models, accept_license=accepted, trust_first_use=options.trust_first_use,
                                on_bytes=bars)
        except WeightsError as error:
            sys.stderr.write(f"{error}\n")
            return FAILED
        target = entry.imported(models)
        if target is None or options.no_import:
            sys.stdout.write("".join(f"{source}\n" for source in sources))
            continue
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            convert(sources[0], target, part=entry.part or "generator", heads=sources[1] if len(sources) > 1 else None,
                    license=entry.license)
        sys.stdout.write(f"{target}\n")
    return DONE


def _accepted(entry: Entry) -> bool:
    """Ask a person; a script has to say it on its command line."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"{entry.name} is published under the {entry.license}:\n  {entry.terms}\nDo you accept it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


class _Bars:
    """A progress bar per file."""

    def __init__(self) -> None:
        self.bars: dict[str, Any] = {}

    def __enter__(self) -> _Bars:
        return self

    def __call__(self, name: str, done: int, total: int | None) -> None:
        if name not in self.bars:
            self.bars[name] = tqdm(total=total, desc=name, unit="B", unit_scale=True, file=sys.stderr)
        self.bars[name].update(done - self.bars[name].n)

    def __exit__(self, *_: object) -> None:
        for bar in self.bars.values():
            bar.close()


def _verify(options: argparse.Namespace) -> int:
    """Compare downloaded files with their published hashes, or with those they had at first."""
    models = models_folder(options.models)
    entries: Sequence[Entry] = [find(name) for name in options.names] or manifest()
    locked, fine = locked_hashes(models / "atelier" / OFFICIAL), True
    for entry in entries:
        for file in entry.files:
            path = entry.source(models, file)
            if path.exists():
                fault = fault_of(file, path, locked)
                fine = fine and fault is None
                sys.stdout.write(f"{'ok  ' if fault is None else 'FAIL'}  {file.name}{'' if fault is None else f' {fault}'}\n")
            elif options.names:
                fine = False
                sys.stdout.write(f"FAIL  {file.name} is not in {path.parent}\n")
    return DONE if fine else FAILED


def _path(options: argparse.Namespace) -> int:
    """Write where the imported file of NAME is."""
    entry, models = find(options.name), models_folder(options.models)
    path = entry.imported(models) or entry.source(models, entry.files[0])
    if not path.exists():
        raise MissingModelError(f"{entry.name} is not here; `atelier weights fetch {entry.name}` puts it at {path}.")
    sys.stdout.write(f"{path}\n")
    return DONE


def _convert(options: argparse.Namespace) -> int:
    """Read SOURCE as data, recognise the network in it, and write it to TARGET."""
    labels = None if options.label_set is None else read_label_set(options.label_set)
    info = convert(options.source, options.target, part=options.part, heads=options.heads, labels=labels,
                   license=options.licence)
    sys.stdout.write(f"{info.path}: {info.architecture} {json.dumps(info.config)}\n")
    return DONE
