"""One of Alpaca's WebSockets: joined, listened to, and joined again when it ends or is left because it is mute.

What is said over it is its kind's own: `alpaca_stream` has the trade updates, `alpaca_feed` the market data.
"""

import abc
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import aiohttp
import structlog

from connectors.checks import Check

_LONGEST_REASON = 300
_log = structlog.get_logger(__name__)


class StreamTimes(NamedTuple):
    """Seconds: to connect and log in, between pings, and between two tries, the first and the longest."""

    login: float = 10.0
    heartbeat: float = 10.0
    first_rest: float = 0.5
    longest_rest: float = 30.0


TIMES = StreamTimes()


class AlpacaSocket(abc.ABC):
    """Follow one stream until cancelled; `hear` gets its news, `joined` is called at every (re)start.

    `heard_at` is when news came last, or when it was joined if that is later, on the monotonic clock; `has_heard` tells
    whether any came since it was joined.
    """

    name: ClassVar[str]
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        url: str,
        login: Callable[[], Mapping[str, str]],
        *,
        hear: Callable[[Any], None],
        joined: Callable[[], None],
        check: Check,
        times: StreamTimes = TIMES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url, self._login = url, login
        self._hear, self._joined = hear, joined
        self._check = check
        self._times = times
        self._sleep = sleep
        self._again = asyncio.Event()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self.heard_at = 0.0
        self.has_heard = False

    @abc.abstractmethod
    async def _join(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Log in and say what is wanted; raises ValueError for a refusal."""

    @abc.abstractmethod
    def _take(self, held: str | bytes) -> None:
        """Call `_news` for each piece of news in a message; raises ValueError to join anew."""

    def _news(self, news: Any) -> None:
        self.heard_at, self.has_heard = time.monotonic(), True
        self._hear(news)

    @property
    def is_up(self) -> bool:
        """Return whether it is connected and logged in."""
        return self._socket is not None

    def restart(self, reason: str) -> None:
        """Leave a connection that is open and says nothing, and join anew."""
        _log.warning("a stream is joined anew", stream=self.name, reason=reason)
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
                said = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
                self._check.fails(said)
                _log.warning("a stream ended", stream=self.name, error=said)
            finally:
                self._socket = None
            rest = self._times.first_rest if self.has_heard else min(rest * 2, self._times.longest_rest)
            await self._sleep(rest)

    async def _listen(self) -> None:
        async with aiohttp.ClientSession() as session:
            async with asyncio.timeout(self._times.login):
                socket = await session.ws_connect(self._url, headers=self.headers, heartbeat=self._times.heartbeat)
                await self._join(socket)
            self._socket, self.heard_at = socket, time.monotonic()
            self._again.clear()  # whoever asked until now asked to leave the one before
            self._check.holds(f"{self.name}: joined")
            self._joined()
            async with _leaving(socket, self._again):
                async for message in socket:
                    self._take(_held_by(message))
        if not self._again.is_set():  # else whoever asked to leave has said why
            raise ConnectionError(f"it was closed with {socket.close_code}")


async def received(socket: aiohttp.ClientWebSocketResponse) -> str | bytes:
    """Return what the next message holds, while a stream is joined; raises ConnectionError for the connection's end."""
    return _held_by(await socket.receive())


def _held_by(message: aiohttp.WSMessage) -> str | bytes:
    if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        raise ConnectionError(f"it ended: {message.type.name} {message.data!r}")
    held: str | bytes = message.data
    return held


@contextlib.asynccontextmanager
async def _leaving(socket: aiohttp.ClientWebSocketResponse, asked: asyncio.Event) -> AsyncIterator[None]:
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
