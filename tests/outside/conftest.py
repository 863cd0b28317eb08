"""No test of the fakes speaks to another machine."""

from collections.abc import Iterator

import pytest

from tests.loopback import loopback_only


@pytest.fixture(autouse=True)
def no_socket_leaves_loopback() -> Iterator[None]:
    """Fail what connects to anything but this machine, also where it hides the error."""
    with loopback_only() as tried:
        yield
    assert tried == []
