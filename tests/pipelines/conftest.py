from __future__ import annotations

import pytest
from tiny import Networks, tiny_networks


@pytest.fixture(scope="session")
def networks() -> Networks:
    return tiny_networks()
