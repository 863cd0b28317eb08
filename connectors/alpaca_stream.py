"""Alpaca's trade updates by WebSocket, as they come: nothing is dropped because it cannot be read.

The stream only makes us faster. What it does not say, or says twice, late or wrong, the answers to questions mend.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import aiohttp
import structlog

from connectors.checks import Check

_log = structlog.get_logger(__name__)


class StreamTimes(NamedTuple):
    """Seconds: to connect and log in, between pings, and between two tries, the first and the longest."""

    login: float = 10.0
    heartbeat: float = 10.0
    first_rest: float = 0.5
    longest_rest: float = 30.0


TIMES = StreamTimes()


class TradeUpdates:
    """Follow the updates of one account until cancelled.

    `hear` gets the data of each, None for one that cannot be read; `joined` is called at every (re)start. `heard_at` is
    when something came last, on the monotonic clock.
    """

    def __init__(
        self,
        url: str,
        login: Callable[[], Mapping[str, str]],
        *,
        hear: Callable[[Any], None],
        joined: Callable[[], None],
        check: Check,
        times: StreamTimes = TIMES,
    ) -> None:
        self._url, self._login = url, login
        self._hear, self._joined = hear, joined
        self._check = check
        self._times = times
        self._again = asyncio.Event()
        self.heard_at = 0.0
        self.is_up = False

    def restart(self, reason: str) -> None:
        """Leave a connection that is open and says nothing, and join anew."""
        self._check.fails(reason)
        _log.warning("the trade updates are joined anew", reason=reason)
        self._again.set()

    async def follow(self) -> None:
        """Join, listen, and join again when the connection ends, after a rest that grows while nothing comes."""
        rest = self._times.first_rest
        while True:
            began = time.monotonic()
            try:
                await self._listen()
            except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
                self._check.fails(f"{type(error).__name__}: {error}"[:300])
            self.is_up = False
            rest = self._times.first_rest if self.heard_at > began else min(rest * 2, self._times.longest_rest)
            await asyncio.sleep(rest)

    async def _listen(self) -> None:
        self._again.clear()
        async with aiohttp.ClientSession() as session:
            async with asyncio.timeout(self._times.login):
                socket = await session.ws_connect(self._url, heartbeat=self._times.heartbeat)
                await socket.send_json({"action": "authenticate", "data": dict(self._login())})
                if (await self._next(socket)).get("data", {}).get("status") != "authorized":
                    raise ValueError("Alpaca refuses the keys for its stream")
                await socket.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
                await self._next(socket)
            self.is_up = True
            self._check.holds("trade updates come")
            self._joined()
            async with leaving(socket, self._again):
                async for message in socket:
                    self._read(message)

    async def _next(self, socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        message = await socket.receive()
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            raise ValueError("the stream was closed before it began")
        found = json.loads(message.data)
        if not isinstance(found, dict):
            raise ValueError("the stream's answer is no object")
        return found

    def _read(self, message: aiohttp.WSMessage) -> None:
        """Hear one message; what cannot be read is an update nobody understood, which a look at the orders replaces."""
        self.heard_at = time.monotonic()
        try:
            found = json.loads(message.data)
        except (TypeError, ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self._hear(None)
        elif found.get("stream") == "trade_updates":
            self._hear(found.get("data"))


@contextlib.asynccontextmanager
async def leaving(socket: aiohttp.ClientWebSocketResponse, asked: asyncio.Event) -> Any:
    """Close the socket as soon as that is asked for, and at the end."""

    async def close_when_asked() -> None:
        await asked.wait()
        await socket.close()

    closing = asyncio.create_task(close_when_asked())
    try:
        yield
    finally:
        closing.cancel()
        await socket.close()
