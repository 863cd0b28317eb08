"""Alpaca's market data by WebSocket, as it comes: trades and minute bars of the symbols that are wanted.

MessagePack, read here and not by alpaca-py: its stream reconnects without a word, so that nobody could fill the gap,
and only logs that a subscription was refused.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import aiohttp
import msgpack

from connectors.alpaca_socket import TIMES, AlpacaSocket, StreamTimes, content
from connectors.checks import Check

CHANNELS = ("trades", "bars")


class MarketFeed(AlpacaSocket):
    """Follow the market data of one account; `hear` gets each message about a symbol, and only these count as heard."""

    name = "market data"
    headers = {"Content-Type": "application/msgpack"}  # noqa: RUF012 - a constant of the class

    def __init__(
        self,
        url: str,
        login: Callable[[], Mapping[str, str]],
        *,
        hear: Callable[[Mapping[str, Any]], None],
        joined: Callable[[], None],
        check: Check,
        times: StreamTimes = TIMES,
    ) -> None:
        super().__init__(url, login, joined=joined, check=check, times=times)
        self._hear = hear
        self._subscribed: frozenset[str] = frozenset()
        self._wanted: frozenset[str] = frozenset()

    async def want(self, symbols: Collection[str]) -> None:
        """Subscribe to these symbols and no others."""
        self._wanted = frozenset(symbols)
        if self._socket is not None:
            await self._subscribe(self._socket)

    async def _join(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._subscribed = frozenset()
        await _expect(socket, "connected")
        await socket.send_bytes(msgpack.packb({"action": "auth", **self._login()}))
        await _expect(socket, "authenticated")
        await self._subscribe(socket)

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        for action, symbols in (
            ("unsubscribe", self._subscribed - self._wanted),
            ("subscribe", self._wanted - self._subscribed),
        ):
            if symbols:
                await socket.send_bytes(msgpack.packb({"action": action, **dict.fromkeys(CHANNELS, sorted(symbols))}))
        self._subscribed = self._wanted

    def _take(self, message: aiohttp.WSMessage) -> bool:
        heard = [self._is_heard(one) for one in _read(message)]
        return any(heard)

    def _is_heard(self, message: Any) -> bool:
        kind = message.get("T") if isinstance(message, dict) else None
        if kind == "error":
            raise ValueError(f"Alpaca refuses: {message.get('code')} {message.get('msg')}")
        if kind in ("success", "subscription"):
            return False
        self._hear(message if isinstance(message, dict) else {})
        return True


async def _expect(socket: aiohttp.ClientWebSocketResponse, word: str) -> None:
    messages = _read(await socket.receive())
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    if first.get("msg") != word:
        raise ValueError(f"Alpaca says {first.get('code', '')} {first.get('msg', 'nothing')}, not {word}")


def _read(message: aiohttp.WSMessage) -> list[Any]:
    """Return the messages of a frame; raises ValueError for one that is no list of them."""
    found = msgpack.unpackb(content(message))
    if not isinstance(found, list):
        raise ValueError("a frame that is no list")
    return found
