"""A guard for tests of clients that know the real services: what leaves the loopback fails the test.

It stands in `socket`, which asyncio, aiohttp, requests, websockets and httplib2 all go through; librdkafka and other
processes do not.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any


class LeftLoopback(AssertionError):
    """A socket was to leave this machine."""


@contextlib.contextmanager
def loopback_only() -> Iterator[list[str]]:
    """Refuse, in this process, to connect to or to look up anything but loopback; give what was tried."""
    tried: list[str] = []
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def judged(host: Any) -> None:
        if not is_loopback(host):
            tried.append(str(host))
            raise LeftLoopback(f"{host} is not on the loopback")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            judged(address[0])
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        if self.family != socket.AF_UNIX:
            judged(address[0])
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **named: Any) -> Any:
        judged(host)
        return getaddrinfo(host, *args, **named)

    socket.socket.connect = guarded_connect  # type: ignore[assignment, method-assign]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[assignment, method-assign]
    socket.getaddrinfo = guarded_getaddrinfo
    try:
        yield tried
    finally:
        socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign]
        socket.getaddrinfo = getaddrinfo


def is_loopback(host: Any) -> bool:
    """Tell whether a host is this machine by its loopback."""
    if host in (None, "", "localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    return False
