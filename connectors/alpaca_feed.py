"""Alpaca's market data by WebSocket, as it comes: trades and minute bars of the symbols that are wanted.

MessagePack, read here and not by alpaca-py: its stream reconnects without a word, so that nobody could fill the gap,
and only logs that a subscription was refused.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import aiohttp
import msgpack
import structlog

from connectors.alpaca_stream import TIMES, StreamTimes, leaving
from connectors.checks import Check

CHANNELS = ("trades", "bars")
_HEADERS = {"Content-Type": "application/msgpack"}
_log = structlog.get_logger(__name__)


class MarketFeed:
    """Follow the market data of one account until cancelled.

    `hear` gets each message about a symbol; `joined` is called at every (re)start. `heard_at` is when the last of these
    came, on the monotonic clock, or when it was joined if that is later.
    """

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
        self._url, self._login = url, login
        self._hear, self._joined = hear, joined
        self._check = check
        self._times = times
        self._again = asyncio.Event()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._subscribed: frozenset[str] = frozenset()
        self._wanted: frozenset[str] = frozenset()
        self.heard_at = 0.0
        self.has_heard = False

    @property
    def is_up(self) -> bool:
        """Return whether it is connected and subscribed."""
        return self._socket is not None

    async def want(self, symbols: Collection[str]) -> None:
        """Subscribe to these symbols and no others."""
        self._wanted = frozenset(symbols)
        if self._socket is not None:
            await self._subscribe(self._socket)

    def restart(self, reason: str) -> None:
        """Leave a connection that is open and says nothing, and join anew."""
        _log.warning("the market data is joined anew", reason=reason)
        self._check.fails(reason)
        self.has_heard = False  # of the connection that is to come
        self._again.set()

    async def follow(self) -> None:
        """Join, listen, and join again when the connection ends, after a rest that grows while nothing comes."""
        rest = self._times.first_rest
        while True:
            self.has_heard = False
            try:
                await self._listen()
            except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
                self._check.fails(f"{type(error).__name__}: {error}"[:300])
                _log.warning("the market data ended", error=f"{type(error).__name__}: {error}"[:300])
            finally:
                self._socket, self._subscribed = None, frozenset()
            rest = self._times.first_rest if self.has_heard else min(rest * 2, self._times.longest_rest)
            await asyncio.sleep(rest)

    async def _listen(self) -> None:
        self._again.clear()
        async with aiohttp.ClientSession() as session:
            async with asyncio.timeout(self._times.login):
                socket = await session.ws_connect(self._url, headers=_HEADERS, heartbeat=self._times.heartbeat)
                await _expect(socket, "connected")
                await socket.send_bytes(msgpack.packb({"action": "auth", **self._login()}))
                await _expect(socket, "authenticated")
                await self._subscribe(socket)
            self._socket, self.heard_at = socket, time.monotonic()
            self._check.holds("market data comes")
            self._joined()
            async with leaving(socket, self._again):
                async for message in socket:
                    for one in _read(message):
                        self._take(one)
            raise ConnectionError(f"it was closed with {socket.close_code}")

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        for action, symbols in (
            ("unsubscribe", self._subscribed - self._wanted),
            ("subscribe", self._wanted - self._subscribed),
        ):
            if symbols:
                await socket.send_bytes(msgpack.packb({"action": action, **dict.fromkeys(CHANNELS, sorted(symbols))}))
        self._subscribed = self._wanted

    def _take(self, message: Any) -> None:
        kind = message.get("T") if isinstance(message, dict) else None
        if kind == "error":
            raise ValueError(f"Alpaca refuses: {message.get('code')} {message.get('msg')}")
        if kind in ("success", "subscription"):
            return
        self.heard_at, self.has_heard = time.monotonic(), True
        self._hear(message if isinstance(message, dict) else {})


async def _expect(socket: aiohttp.ClientWebSocketResponse, word: str) -> None:
    messages = _read(await socket.receive())
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    if first.get("msg") != word:
        raise ValueError(f"Alpaca says {first.get('code', '')} {first.get('msg', 'nothing')}, not {word}")


def _read(message: aiohttp.WSMessage) -> list[Any]:
    """Return the messages of a frame; raises ValueError for one that is no list of them."""
    if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        raise ValueError("the stream was closed before it began")
    found = msgpack.unpackb(message.data)
    if not isinstance(found, list):
        raise ValueError("a frame that is no list")
    return found
