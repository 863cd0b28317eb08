"""Both channels of messages as local servers that a module's tests share: name this one in `pytest_plugins`."""

from collections.abc import Iterator

import pytest

from tests.fakes.gmail.server import FakeGmail, fake_gmail
from tests.fakes.sns.server import FakeSns, fake_sns


@pytest.fixture(scope="module")
def sns() -> Iterator[FakeSns]:
    with fake_sns() as server:
        yield server


@pytest.fixture(scope="module")
def gmail() -> Iterator[FakeGmail]:
    with fake_gmail() as server:
        yield server
