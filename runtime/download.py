"""Downloading official weights: only when asked, over HTTPS alone, resumable, and whole or not at all.

A download grows as NAME.part beside a note of what it is a part of. It becomes NAME in one step, after its length and its
SHA-256 were found right, so that a file of that name is always the right one.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from .weights import LOCKED, OFFICIAL, Entry, OfficialFile, WeightsError, fault_of, is_proven, locked_hashes, sha256_of

OFFLINE = "ATELIER_OFFLINE"
CHUNK = 2**18
AGENT = "latent-atelier"

OnBytes = Callable[[str, int, "int | None"], None]
"""Called with the name of the file, the bytes that are there, and how many there will be."""


@dataclass(frozen=True)
class Patience:
    """timeout: seconds without a byte. attempts: in a row without progress. pause: seconds before the second, doubled then.
    lock: seconds to wait for another process that downloads the same file."""

    timeout: float = 30.0
    attempts: int = 5
    pause: float = 1.0
    lock: float = 3600.0


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message,
                         newurl: str) -> urllib.request.Request | None:
        _require_https(newurl, f"{urlsplit(req.full_url).netloc} forwards to")
        return super().redirect_request(req, fp, code, msg, cast(Any, headers), newurl)


def _require_https(url: str, who: str) -> None:
    if urlsplit(url).scheme != "https":
        raise WeightsError(f"{who} {url[:200]}, which is not https; nothing is downloaded over an open connection.")


def fetch(entry: Entry, models: Path, *, accept_license: bool, trust_first_use: bool = False, on_bytes: OnBytes | None = None,
          patience: Patience | None = None, tls: ssl.SSLContext | None = None) -> list[Path]:
    """The official files of an entry in models/atelier/official, downloaded where they are not there yet.

    accept_license: the caller has read `entry.license`. trust_first_use: a file that nobody published a hash of may be
    downloaded; its hash is kept, and a later download must have the same. tls: certificates to trust, those of the system
    by default. Raises WeightsError in a sentence; what was downloaded so far stays for the next attempt.
    """
    if not accept_license:
        raise WeightsError(f"{entry.name} is published under the {entry.license} ({entry.terms}); read it and say that you "
                           f"accept it with --accept-licence.")
    folder = models / "atelier" / OFFICIAL
    folder.mkdir(parents=True, exist_ok=True)
    return [_one(entry, file, folder, trust_first_use, on_bytes or _silent, patience or Patience(), tls)
            for file in entry.files]


def _silent(_: str, __: int, ___: int | None) -> None:
    return


def _one(entry: Entry, file: OfficialFile, folder: Path, trust: bool, on_bytes: OnBytes, patience: Patience,
         tls: ssl.SSLContext | None) -> Path:
    target = folder / file.name
    with _locked(target, patience.lock):
        locked = locked_hashes(folder)
        if target.exists():
            fault = fault_of(file, target, locked)
            if fault is not None:
                raise WeightsError(f"{target} is not what was published: it {fault}; delete it and fetch it again.")
            return target
        if file.page is not None:
            raise WeightsError(f"{entry.name} lies where only a person can download it: open {file.page} in a browser, save "
                               f"it as {target}, and give this command again.")
        url = file.url or _torchvision_url(file)
        _require_https(url, f"The manifest sends {entry.name} to")
        if os.environ.get(OFFLINE, "") not in ("", "0"):
            raise WeightsError(f"{file.name} is not here and {OFFLINE} is set; unset it to download.")
        if not is_proven(file, locked) and not trust:
            raise WeightsError(f"Nobody published a hash of {file.name}, so a download cannot be checked; say "
                               f"--trust-first-use to take what {urlsplit(url).netloc} sends and hold later downloads "
                               f"against it.")
        part = target.with_name(f"{target.name}.part")
        _transfer(file, url, part, on_bytes, patience, tls)
        fault = fault_of(file, part, locked)
        if fault is not None:
            _discard(part)
            raise WeightsError(f"{file.name} from {urlsplit(url).netloc} {fault}; it was thrown away. Try again, or get "
                               f"it from elsewhere.")
        if file.sha256 is None and file.name not in locked:
            _keep(folder / LOCKED, {**locked, file.name: sha256_of(part)})
        part.replace(target)
        _note(part).unlink(missing_ok=True)
        return target


def _torchvision_url(file: OfficialFile) -> str:
    """The address that torchvision gives for its own weights."""
    family, _, member = (file.torchvision or "").partition(".")
    try:
        return str(getattr(getattr(importlib.import_module("torchvision.models"), family), member).url)
    except (ImportError, AttributeError) as error:
        raise WeightsError(f"torchvision knows where {file.name} is, and it is not installed here or does not know "
                           f"{file.torchvision}; install or update it.") from error


@contextlib.contextmanager
def _locked(target: Path, seconds: float) -> Generator[None, None, None]:
    lock = FileLock(target.with_name(f"{target.name}.lock"), timeout=seconds)
    try:
        with lock:
            yield
    except Timeout as error:
        raise WeightsError(f"Another process has been downloading {target.name} for {seconds:.0f} seconds; wait for "
                           f"it.") from error


def _keep(path: Path, hashes: dict[str, str]) -> None:
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(json.dumps(hashes, indent=1, sort_keys=True), encoding="utf-8")
    draft.replace(path)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Answer:
    """What a server says before it sends. start: the byte it begins with. total: length of the whole file."""

    start: int
    total: int | None
    validator: str | None


def _transfer(file: OfficialFile, url: str, part: Path, on_bytes: OnBytes, patience: Patience,
              tls: ssl.SSLContext | None) -> None:
    """The whole file at `part`, over as many connections as it takes."""
    trusted = urllib.request.HTTPSHandler(context=tls or ssl.create_default_context())
    opener = urllib.request.build_opener(_SecureRedirects, trusted)
    failures, pause = 0, patience.pause
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            total = _receive(opener, file, url, part, on_bytes, patience.timeout)
            if part.stat().st_size == total:
                return
            reason = f"the connection ended after {part.stat().st_size} of {total} bytes"
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is longer than the file: another file by now
                _discard(part)
            elif error.code < 500 and error.code not in (408, 429):
                raise WeightsError(f"{urlsplit(url).netloc} answers {error.code} ({error.reason}) for {file.name}; look "
                                   f"whether it has moved.") from error
            reason = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.URLError) and isinstance(error.reason, ssl.SSLCertVerificationError):
                raise WeightsError(f"{urlsplit(url).netloc} cannot prove that it is who it says "
                                   f"({error.reason.verify_message}); nothing was downloaded.") from error
            reason = str(error) or type(error).__name__
        grown = part.exists() and part.stat().st_size > before
        failures = 0 if grown else failures + 1
        pause = patience.pause if grown else pause * 2
        if failures >= patience.attempts:
            raise WeightsError(f"{file.name} could not be downloaded from {urlsplit(url).netloc}: {reason}. What is there is "
                               f"kept; try again later.")
        time.sleep(min(pause, 60.0))


def _receive(opener: urllib.request.OpenerDirector, file: OfficialFile, url: str, part: Path, on_bytes: OnBytes,
             timeout: float) -> int:
    """One connection: what the part lacks, as far as it comes. Returns the length of the whole file."""
    have, validator = _begun(part, url)
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - https was required
    with opener.open(request, timeout=timeout) as response:
        answer = _read_answer(response, file, have)
        if file.size is not None and answer.total is not None and answer.total != file.size:
            raise WeightsError(f"{urlsplit(url).netloc} offers a {file.name} of {answer.total} bytes, expected {file.size}; it "
                               f"is another file, so it was not downloaded.")
        total = answer.total if answer.total is not None else file.size
        if total is None:
            raise WeightsError(f"{urlsplit(url).netloc} does not say how long {file.name} is, so a cut-off download could not "
                               f"be told from a whole one; get it by hand.")
        _require_space(part, total - answer.start)
        _note(part).write_text(json.dumps({"url": url, "validator": answer.validator}), encoding="utf-8")
        with part.open("r+b" if answer.start else "wb") as out:
            out.seek(answer.start)
            out.truncate()
            done = answer.start
            while done < total and (chunk := response.read1(min(CHUNK, total - done))):
                out.write(chunk)
                done += len(chunk)
                on_bytes(file.name, done, total)
            out.flush()
            os.fsync(out.fileno())
        return total


def _begun(part: Path, url: str) -> tuple[int, str | None]:
    """How many bytes of this download are there, and what tells whether the file is still the same."""
    try:
        note: dict[str, Any] = json.loads(_note(part).read_text(encoding="utf-8"))
        return (part.stat().st_size, note["validator"]) if note["url"] == url else (0, None)
    except (OSError, ValueError, KeyError, TypeError):
        return 0, None


def _read_answer(response: Any, file: OfficialFile, have: int) -> _Answer:
    headers: Message = response.headers
    where = urlsplit(str(response.url)).netloc
    if headers.get_content_type() == "text/html":
        raise WeightsError(f"{where} answers with a web page instead of {file.name}; open it in a browser to see what it "
                           f"wants.")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise WeightsError(f"{where} sends {file.name} packed ({headers['Content-Encoding']}), which was not asked for.")
    etag = headers.get("ETag")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    length = headers.get("Content-Length")
    if response.status == 206:
        span = headers.get("Content-Range", "")
        first, _, total = span.removeprefix("bytes ").partition("-")[0], None, span.rpartition("/")[2]
        if not first.isdecimal() or int(first) != have or not total.isdecimal():
            raise WeightsError(f"{where} answers a request for the rest of {file.name} with the bytes '{span[:60]}'; delete "
                               f"the .part file and try again.")
        return _Answer(have, int(total), validator)
    return _Answer(0, int(length) if length is not None and length.isdecimal() else None, validator)


def _require_space(part: Path, missing: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < missing:
        raise WeightsError(f"{part.parent} has {free / 2**20:.0f} MB free, and {missing / 2**20:.0f} MB are still to come; "
                           f"make room or choose another models folder.")
