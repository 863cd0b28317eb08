"""A guard for tests that speak to servers of their own: no socket of this process leaves the machine.

It stands in `socket.socket.connect`, which asyncio, aiohttp, requests and websockets all go through.
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import pytest


def is_here(address: Any) -> bool:
    """Tell whether an address is this machine's own: loopback, or a path in the file system."""
    if isinstance(address, str | bytes):
        return True
    host = address[0] if isinstance(address, tuple) and address else ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def forbid_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every connection to another machine fail the test that makes it."""

    def guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
        def checked(self: socket.socket, address: Any) -> Any:
            if not is_here(address):
                pytest.fail(f"a socket left loopback: {address}")
            return connect(self, address)

        return checked

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
