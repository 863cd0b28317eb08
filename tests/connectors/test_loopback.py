"""The guard that no socket leaves this machine, seen red: by Alpaca's own client at its own address."""

import asyncio
import contextlib
import socket

import aiohttp
import pytest
from pydantic import SecretStr

from connectors.alpaca_rest import AlpacaRest
from stack.ports import LOOPBACK
from tests.loopback import LeftLoopback, is_loopback, loopback_only

OUTSIDE = "192.0.2.1"
"""An address that is nobody's: RFC 5737."""


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        (LOOPBACK, True),
        ("127.8.8.8", True),
        ("::1", True),
        (b"127.0.0.1", True),
        ("localhost", True),
        (OUTSIDE, False),
        ("10.0.0.1", False),
        ("paper-api.alpaca.markets", False),
    ],
)
def test_only_this_machines_addresses_are_here(host: object, is_ours: bool) -> None:
    assert is_loopback(host) == is_ours


def test_a_plain_socket_that_leaves_fails() -> None:
    with loopback_only() as tried, socket.socket() as leaving, pytest.raises(LeftLoopback):
        leaving.connect((OUTSIDE, 443))
    assert tried == [OUTSIDE]


async def test_a_client_that_leaves_fails_and_is_known_though_it_hides_the_error() -> None:
    with loopback_only() as tried:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(LeftLoopback):
                await session.get(f"http://{OUTSIDE}/")
        rest = AlpacaRest(key_id=SecretStr("PK"), secret_key=SecretStr("s"), url=f"http://{OUTSIDE}")
        with contextlib.suppress(LeftLoopback):
            await asyncio.wait_for(rest.account(), 30)
    assert tried == [OUTSIDE, OUTSIDE]
