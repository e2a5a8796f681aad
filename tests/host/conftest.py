"""The real host, started once for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from real_host import Host, real_host


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with real_host(tmp_path_factory.mktemp("host")) as running:
        yield running
