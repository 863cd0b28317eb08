"""No test of the connectors speaks to another machine."""

import pytest

from tests.loopback import forbid_leaving


@pytest.fixture(autouse=True)
def no_socket_leaves_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail whatever connects to anything but this machine."""
    forbid_leaving(monkeypatch)
