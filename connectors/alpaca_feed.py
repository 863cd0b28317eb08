"""Alpaca's market data by WebSocket, as it comes: trades and minute bars of the symbols that are wanted.

MessagePack, read here and not by alpaca-py: its stream reconnects without a word, so that nobody could fill the gap,
and only logs that a subscription was refused.
"""

from collections.abc import Callable, Collection
from typing import Any

import aiohttp
import msgpack

from connectors.alpaca_socket import AlpacaSocket, received

CHANNELS = ("trades", "bars")


class MarketFeed(AlpacaSocket):
    """Follow the market data of one account; `hear` gets each message about a symbol, and only these count as heard.

    `confirmed` gets the symbols of which the stream tells from now on.
    """

    name = "market data"
    headers = {"Content-Type": "application/msgpack"}  # noqa: RUF012 - a constant of the class

    def __init__(self, *given: Any, confirmed: Callable[[Collection[str]], None], **named: Any) -> None:
        super().__init__(*given, **named)
        self._confirmed = confirmed
        self._told: frozenset[str] = frozenset()
        self._subscribed: frozenset[str] = frozenset()
        self._wanted: frozenset[str] = frozenset()

    async def want(self, symbols: Collection[str]) -> None:
        """Subscribe to these symbols and no others."""
        self._wanted = frozenset(symbols)
        if self._socket is not None:
            await self._subscribe(self._socket)

    async def _join(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._subscribed = self._told = frozenset()
        await _expect(socket, "connected")
        await socket.send_bytes(msgpack.packb({"action": "auth", **self._login()}))
        await _expect(socket, "authenticated")
        while self._subscribed != self._wanted:  # others may be wanted while these are sent
            await self._subscribe(socket)

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        before, self._subscribed = self._subscribed, self._wanted
        for action, symbols in (("unsubscribe", before - self._subscribed), ("subscribe", self._subscribed - before)):
            if symbols:
                await socket.send_bytes(msgpack.packb({"action": action, **dict.fromkeys(CHANNELS, sorted(symbols))}))

    def _take(self, held: str | bytes) -> None:
        for message in _read(held):
            said = message if isinstance(message, dict) else {}
            if said.get("T") == "error":
                raise ValueError(f"Alpaca refuses: {said.get('code')} {said.get('msg')}")
            if said.get("T") == "subscription":
                before, self._told = self._told, frozenset(said.get("trades") or ())
                self._confirmed(self._told - before)
            elif said.get("T") != "success":
                self._news(said)


async def _expect(socket: aiohttp.ClientWebSocketResponse, word: str) -> None:
    messages = _read(await received(socket))
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    if first.get("msg") != word:
        raise ValueError(f"Alpaca says {first.get('code', '')} {first.get('msg', 'nothing')}, not {word}")


def _read(held: str | bytes) -> list[Any]:
    """Return the messages of a frame; raises ValueError for one that is no list of them."""
    found = msgpack.unpackb(held)
    if not isinstance(found, list):
        raise ValueError("a frame that is no list")
    return found
