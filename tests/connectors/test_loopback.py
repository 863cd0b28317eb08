"""The guard that no socket leaves this machine, seen red: by Alpaca's own client at its own address."""

import asyncio
import socket

import aiohttp
import pytest
from pydantic import SecretStr

from connectors.alpaca_rest import AlpacaRest
from stack.ports import LOOPBACK
from tests.loopback import is_here

OUTSIDE = "192.0.2.1"
"""An address that is nobody's: RFC 5737."""


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ((LOOPBACK, 1), True),
        (("127.8.8.8", 1), True),
        (("::1", 1, 0, 0), True),
        (("localhost", 1), True),
        ("/run/socket", True),
        ((OUTSIDE, 443), False),
        (("10.0.0.1", 1), False),
        (("paper-api.alpaca.markets", 443), False),
    ],
)
def test_only_this_machines_addresses_are_here(address: object, is_ours: bool) -> None:
    assert is_here(address) == is_ours


def test_a_plain_socket_that_leaves_fails() -> None:
    with socket.socket() as leaving, pytest.raises(pytest.fail.Exception, match="left loopback"):
        leaving.connect((OUTSIDE, 443))


async def test_a_client_that_leaves_fails() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(pytest.fail.Exception, match="left loopback"):
            await session.get(f"http://{OUTSIDE}/")
    rest = AlpacaRest(key_id=SecretStr("PK"), secret_key=SecretStr("s"), url=f"http://{OUTSIDE}")
    with pytest.raises(pytest.fail.Exception, match="left loopback"):
        await asyncio.wait_for(rest.account(), 30)
