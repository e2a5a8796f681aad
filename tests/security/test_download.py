"""Whatever a server does, there is never a file under its name that loads and is wrong."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import trustme
from latent_atelier.headless import weights_command
from latent_atelier.headless.cli import main
from latent_atelier.pipelines.stylegan2.generator import Generator
from latent_atelier.runtime import download
from latent_atelier.runtime.download import Patience, fetch
from latent_atelier.runtime.weights import Entry, OfficialFile, WeightsError
from weights_server import CONTENT, SHA256, Log, misbehaving_server

QUICK = Patience(timeout=0.4, attempts=3, pause=0.01, lock=20.0)
AUTHORITY = trustme.CA()
TRUSTING = ssl.create_default_context()
AUTHORITY.configure_trust(TRUSTING)


@pytest.fixture(scope="module")
def certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def server(certificate: ssl.SSLContext) -> Iterator[Log]:
    with misbehaving_server(certificate) as log:
        yield log


def entry_at(url: str | None, **fields: object) -> Entry:
    file = OfficialFile(name="net.pkl", format="pkl", size=len(CONTENT), sha256=SHA256, url=url,
                        page=None if url else "https://example.org/page")
    return Entry(name="net", family="stylegan2", architecture="stylegan2-generator", files=(replace(file, **fields),),
                 folder="stylegan2", part="generator", input_size=64, value_range=(-1.0, 1.0), labels=None,
                 license="A Licence", terms="https://example.org/terms", provenance="a test", used_by=("AtelierLoadIdentity",))


def get(models: Path, url: str | None, *, trust: bool = False, tls: ssl.SSLContext | None = TRUSTING,
        **fields: object) -> bytes:
    paths = fetch(entry_at(url, **fields), models, accept_license=True, trust_first_use=trust, patience=QUICK, tls=tls)
    return paths[0].read_bytes()


def left(models: Path) -> set[str]:
    """The files that lie in the folder, without locks."""
    return {path.name for path in models.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.mark.parametrize("path", ["good", "forwards", "busy", "truncates-once", "truncates-without-range", "stalls-once",
                                  "changes"])
def test_a_whole_file_comes_of_it(tmp_path: Path, server: Log, path: str) -> None:
    assert get(tmp_path, f"{server.url}/{path}") == CONTENT
    assert left(tmp_path) == {"net.pkl"}
    requests = len(server.requests)
    assert get(tmp_path, f"{server.url}/{path}") == CONTENT
    assert len(server.requests) == requests  # what is here is not asked for again


def test_a_cut_off_download_goes_on_where_it_stopped(tmp_path: Path, server: Log) -> None:
    seen: list[tuple[str, int, int | None]] = []
    fetch(entry_at(f"{server.url}/truncates-once"), tmp_path, accept_license=True, patience=QUICK, tls=TRUSTING,
          on_bytes=lambda *report: seen.append(report))
    assert [asked for _, asked in server.requests] == [None, f"bytes={len(CONTENT) // 2}-"]
    done = [count for _, count, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == ("net.pkl", len(CONTENT), len(CONTENT))


REFUSED = [("truncates", "connection ended after 100000 of 200000 bytes", {"net.pkl.part", "net.pkl.part.json"}),
           ("corrupts", "has the SHA-256 .* it was thrown away", set()),
           ("stalls", "could not be downloaded from localhost", {"net.pkl.part", "net.pkl.part.json"}),
           ("page", "answers with a web page instead of net.pkl", set()),
           ("longer", "a net.pkl of 200004 bytes, expected 200000", set()),
           ("wrong-range", "with the bytes '0-9/200000'|with the bytes 'bytes 0-9", {"net.pkl.part", "net.pkl.part.json"}),
           ("open", "forwards to http://localhost.* which is not https", set()),
           ("forwards-forever", "30\\d|could not be downloaded|redirect", set()),
           ("packed", "packed \\(gzip\\)", set()),
           ("nothing", "answers 404 .*look whether it has moved", set())]


@pytest.mark.parametrize(("path", "words", "kept"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_wrong_never_gets_the_name(tmp_path: Path, server: Log, path: str, words: str, kept: set[str]) -> None:
    with pytest.raises(WeightsError, match=words):
        get(tmp_path, f"{server.url}/{path}")
    assert left(tmp_path) == kept


def test_a_server_that_does_not_say_the_length(tmp_path: Path, server: Log) -> None:
    assert get(tmp_path, f"{server.url}/no-length") == CONTENT  # the manifest says it; the first answer was cut off
    with pytest.raises(WeightsError, match="does not say how long"):
        get(tmp_path / "other", f"{server.url}/no-length", size=None)


def test_an_open_connection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not https"):
        get(tmp_path, "http://localhost:1/net.pkl")


def test_a_server_that_cannot_prove_who_it_is(tmp_path: Path, server: Log) -> None:
    with pytest.raises(WeightsError, match="cannot prove that it is who it says"):
        get(tmp_path, f"{server.url}/good", tls=None)
    assert left(tmp_path) == set()


def test_a_hash_that_nobody_published_is_locked_at_first_use(tmp_path: Path, server: Log) -> None:
    url = f"{server.url}/good"
    with pytest.raises(WeightsError, match="--trust-first-use"):
        get(tmp_path, url, sha256=None)
    assert get(tmp_path, url, sha256=None, trust=True) == CONTENT
    folder = tmp_path / "atelier" / "official"
    assert json.loads((folder / "locked_hashes.json").read_text()) == {"net.pkl": SHA256}
    (folder / "net.pkl").unlink()
    with pytest.raises(WeightsError, match=f"expected {SHA256}"):
        get(tmp_path, f"{server.url}/corrupts", sha256=None)
    assert get(tmp_path, url, sha256=None) == CONTENT


def test_the_beginning_of_a_hash_counts(tmp_path: Path, server: Log) -> None:
    assert get(tmp_path, f"{server.url}/good", sha256=None, sha256_prefix=SHA256[:8]) == CONTENT
    with pytest.raises(WeightsError, match="expected deadbeef"):
        get(tmp_path / "b", f"{server.url}/good", sha256=None, sha256_prefix="deadbeef")


def test_torchvision_says_where_its_weights_are(tmp_path: Path, server: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"torchvision": "VGG16_Weights.IMAGENET1K_V1", "page": None}
    models = SimpleNamespace(VGG16_Weights=SimpleNamespace(IMAGENET1K_V1=SimpleNamespace(url=f"{server.url}/good")))
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    assert get(tmp_path, None, **named) == CONTENT
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(WeightsError, match="not installed here or does not know VGG16_Weights"):
        get(tmp_path / "other", None, **named)


def test_a_file_that_changed_on_the_disk_is_not_used(tmp_path: Path, server: Log) -> None:
    get(tmp_path, f"{server.url}/good")
    path = tmp_path / "atelier" / "official" / "net.pkl"
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(WeightsError, match="delete it and fetch it again"):
        get(tmp_path, f"{server.url}/good")


def test_licence_hand_offline_and_room(tmp_path: Path, server: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"A Licence \(https://example.org/terms\); .*--accept-licence"):
        fetch(entry_at(f"{server.url}/good"), tmp_path, accept_license=False, tls=TRUSTING)
    with pytest.raises(WeightsError, match=r"open https://example.org/page in a browser, save it as .*net\.pkl"):
        get(tmp_path, None)
    monkeypatch.setenv(download.OFFLINE, "1")
    with pytest.raises(WeightsError, match="ATELIER_OFFLINE is set"):
        get(tmp_path, f"{server.url}/good")
    monkeypatch.setenv(download.OFFLINE, "0")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=3))
    with pytest.raises(WeightsError, match="MB free"):
        get(tmp_path, f"{server.url}/good")
    assert left(tmp_path) == set()


CHILD = """
import json, ssl, sys
from pathlib import Path
from types import SimpleNamespace
from latent_atelier.runtime.download import Patience, fetch
from latent_atelier.runtime.weights import Entry, OfficialFile
fields = json.loads(sys.argv[1])
entry = Entry(**{**fields, "files": tuple(OfficialFile(**f) for f in fields["files"])})
def told(name, done, total):
    sys.stdout.write(f"{done}\\n")
    sys.stdout.flush()
fetch(entry, Path(sys.argv[2]), accept_license=True, on_bytes=told, patience=Patience(timeout=20.0, lock=20.0),
      tls=ssl.create_default_context(cafile=sys.argv[3]))
"""


def child(models: Path, url: str, authority: Path) -> subprocess.Popen[str]:
    entry = entry_at(url)
    fields = {**entry.__dict__, "files": [file.__dict__ for file in entry.files]}
    return subprocess.Popen([sys.executable, "-c", CHILD, json.dumps(fields), str(models), str(authority)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    return path


def test_killed_midway_it_goes_on(tmp_path: Path, server: Log, authority: Path) -> None:
    models = tmp_path / "models"
    process = child(models, f"{server.url}/dies-once", authority)
    end = time.monotonic() + 20
    part = models / "atelier" / "official" / "net.pkl.part"
    while not (part.is_file() and part.stat().st_size >= len(CONTENT) // 4) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left(models) == {"net.pkl.part", "net.pkl.part.json"}
    begun = part.stat().st_size
    assert 0 < begun < len(CONTENT)
    assert get(models, f"{server.url}/dies-once") == CONTENT
    assert server.requests[-1] == ("/dies-once", f"bytes={begun}-")
    assert left(models) == {"net.pkl"}


def test_two_processes_download_it_once(tmp_path: Path, server: Log, authority: Path) -> None:
    models = tmp_path / "models"
    both = [child(models, f"{server.url}/slow", authority) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
    assert (models / "atelier" / "official" / "net.pkl").read_bytes() == CONTENT
    assert server.count("/slow") == 1


def test_fetch_verify_and_path_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    """A person put the file where it belongs; the command checks it, imports it and says where it is."""
    torch.manual_seed(0)
    generator = Generator(z_dim=8, c_dim=0, w_dim=8, resolution=8, channels={4: 8, 8: 8}, mapping_layers=2)
    entry = entry_at(None, size=None, sha256=None)
    monkeypatch.setattr(weights_command, "manifest", lambda: (entry,))
    monkeypatch.setattr(weights_command, "find", lambda _: entry)
    models = ["--models", str(tmp_path)]
    assert main(["weights", "fetch", "net", *models]) == 1
    assert "--accept-licence" in capsys.readouterr().err
    assert main(["weights", "fetch", "net", "--accept-licence", *models]) == 1
    assert "only a person can download it" in capsys.readouterr().err
    assert main(["weights", "verify", "net", *models]) == 1
    capsys.readouterr()
    torch.save(generator.state_dict(), tmp_path / "atelier" / "official" / "net.pkl")
    assert main(["weights", "fetch", "net", "--accept-licence", *models]) == 0
    target = tmp_path / "atelier" / "stylegan2" / "net.safetensors"
    assert capsys.readouterr().out == f"{target}\n"
    assert target.is_file()
    assert main(["weights", "verify", *models]) == 0
    assert main(["weights", "path", "net", *models]) == 0
    assert capsys.readouterr().out.endswith(f"{target}\n")
