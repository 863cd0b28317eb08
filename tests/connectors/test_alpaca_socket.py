"""A stream of Alpaca's that ends, falls silent or refuses is joined again, and the check says why."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import aiohttp
import msgpack
import pytest
from aiohttp import web

from connectors.alpaca_feed import MarketFeed
from connectors.alpaca_socket import AlpacaSocket, StreamTimes
from connectors.alpaca_stream import TradeUpdates
from connectors.checks import Check
from stack.ports import LOOPBACK
from tests.fakes.local import cut

TIMES = StreamTimes(login=5, heartbeat=5, first_rest=1, longest_rest=5)
UPDATE = {"stream": "trade_updates", "data": {"event": "fill"}}

Talk = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]


class Rest(NamedTuple):
    """What could be seen while a stream rested between two connections."""

    seconds: float
    is_up: bool
    is_well: bool
    detail: str


class Side:
    """Our side of a stream that rests as long as the test lets it, and what came of it."""

    def __init__(self, stream: Callable[..., AlpacaSocket], url: str, times: StreamTimes) -> None:
        self.check = Check("stream", required=False)
        self.heard: list[Any] = []
        self.joins = 0
        self.rests: list[Rest] = []
        self.stream = stream(
            url,
            lambda: {"key": "PKTEST"},
            hear=self.heard.append,
            joined=self._joined,
            check=self.check,
            times=times,
            sleep=self._sleep,
        )

    async def until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, (self.rests, self.check.detail)
            await asyncio.sleep(0.005)

    async def until_rested(self, times: int) -> Sequence[Rest]:
        await self.until(lambda: len(self.rests) >= times)
        return self.rests[:times]

    def _joined(self) -> None:
        self.joins += 1

    async def _sleep(self, seconds: float) -> None:
        self.rests.append(Rest(seconds, self.stream.is_up, self.check.ok, self.check.detail))
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def following(
    *talks: Talk, stream: Callable[..., AlpacaSocket] = TradeUpdates, times: StreamTimes = TIMES
) -> AsyncIterator[Side]:
    """Follow a stream whose connections talk as given, one after the other; those after the last are mute."""
    left = list(talks)

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        await (left.pop(0) if left else joined(mute))(socket, request)
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, 0)
        await site.start()
        side = Side(stream, f"http://{LOOPBACK}:{runner.addresses[0][1]}/", times)
        running = asyncio.create_task(side.stream.follow())
        try:
            yield side
            assert not running.done(), running.exception()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    finally:
        await runner.cleanup()


def joined(talk: Talk) -> Talk:
    """Let the trade updates log in before a connection talks."""

    async def log_in(socket: web.WebSocketResponse, request: web.Request) -> None:
        await socket.receive()
        await socket.send_json({"stream": "authorization", "data": {"status": "authorized"}})
        await socket.receive()
        await socket.send_json({"stream": "listening", "data": {"streams": ["trade_updates"]}})
        await talk(socket, request)

    return log_in


async def mute(socket: web.WebSocketResponse, _: web.Request) -> None:
    """Answer pings, and say nothing until the other side goes."""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.PING:
            await socket.pong(message.data)


async def dead(socket: web.WebSocketResponse, _: web.Request) -> None:
    """Stay open and answer no ping: a peer that is gone."""
    async for _message in socket:
        pass


async def cut_off(_: web.WebSocketResponse, request: web.Request) -> None:
    """End without a word."""
    cut(request)


async def tells_and_ends(socket: web.WebSocketResponse, _: web.Request) -> None:
    """Say one piece of news, then close in good order."""
    await socket.send_json(UPDATE)
    await socket.close()


async def refuses(socket: web.WebSocketResponse, _: web.Request) -> None:
    """Refuse the keys."""
    await socket.receive()
    await socket.send_json({"stream": "authorization", "data": {"status": "unauthorized"}})


async def test_a_stream_that_is_cut_is_said_to_be_away_and_joined_again() -> None:
    async with following(joined(cut_off), joined(tells_and_ends)) as side:
        (rest, _) = await side.until_rested(2)
        assert (rest.is_up, rest.is_well) == (False, False)
        assert rest.detail.startswith("ConnectionError: it was closed")
        await side.until(lambda: side.check.ok)
        assert side.heard == [UPDATE["data"]]
        assert side.joins == 3


async def test_also_a_stream_that_its_server_closes_in_good_order_is_away() -> None:
    async with following(joined(tells_and_ends)) as side:
        (rest,) = await side.until_rested(1)
        assert (rest.is_well, rest.detail) == (False, "ConnectionError: it was closed with 1000")


async def test_rests_double_up_to_the_longest_while_nothing_comes_and_are_short_again_after_news() -> None:
    talks = [cut_off, joined(cut_off), refuses, joined(tells_and_ends), joined(cut_off)]
    async with following(*talks) as side:
        assert [rest.seconds for rest in await side.until_rested(5)] == [2, 4, 5, 1, 2]
        assert len(side.heard) == 1


async def test_a_mute_stream_is_left_when_asked_and_the_reason_stands_until_it_is_joined_again() -> None:
    async with following() as side:
        await side.until(lambda: side.stream.is_up)
        side.stream.restart("it is mute")
        (rest,) = await side.until_rested(1)
        assert rest == Rest(2, False, False, "it is mute")
        await side.until(lambda: side.stream.is_up)
        assert side.check.ok
        assert side.joins == 2


async def test_a_wish_to_leave_is_met_by_a_connection_that_was_being_joined_anyway() -> None:
    is_asked, may_tell = asyncio.Event(), asyncio.Event()

    async def slow(socket: web.WebSocketResponse, request: web.Request) -> None:
        is_asked.set()
        await may_tell.wait()
        await joined(waits_and_tells)(socket, request)

    async def waits_and_tells(socket: web.WebSocketResponse, request: web.Request) -> None:
        ping = asyncio.create_task(mute(socket, request))
        await socket.send_json(UPDATE)
        await ping

    async with following(slow) as side:
        await is_asked.wait()
        side.stream.restart("it is mute")
        may_tell.set()
        await side.until(lambda: side.heard)
        assert (side.joins, side.rests, side.check.ok) == (1, [], True)


async def test_a_peer_that_answers_no_ping_is_gone_and_its_end_is_no_news() -> None:
    async with following(joined(dead), times=TIMES._replace(heartbeat=0.05)) as side:
        (rest,) = await side.until_rested(1)
        assert (rest.seconds, rest.is_well) == (2, False)
        assert side.heard == []


async def test_a_login_that_is_not_answered_ends_in_time_and_is_tried_again() -> None:
    async with following(mute, times=TIMES._replace(login=0.1)) as side:
        (rest,) = await side.until_rested(1)
        assert rest.detail.startswith("TimeoutError")
        await side.until(lambda: side.check.ok)
        assert side.joins == 1


async def test_refused_keys_are_said_without_the_key() -> None:
    async with following(refuses) as side:
        (rest,) = await side.until_rested(1)
        assert rest == Rest(2, False, False, "ValueError: Alpaca refuses the keys for its stream")


@pytest.mark.parametrize("said", ["no JSON", "[1]", "[" * 100_000])
async def test_an_update_that_cannot_be_read_is_heard_as_one_that_nobody_understood(said: str) -> None:
    async def garbled(socket: web.WebSocketResponse, request: web.Request) -> None:
        await socket.send_str(said)
        await mute(socket, request)

    async with following(joined(garbled)) as side:
        await side.until(lambda: side.heard)
        assert side.heard == [None]
        assert side.stream.has_heard


def packed(*messages: dict[str, Any]) -> bytes:
    packed_up: bytes = msgpack.packb(list(messages))
    return packed_up


async def market(socket: web.WebSocketResponse, _: web.Request) -> None:
    """Let the market data log in, tell of a trade, and refuse what comes after."""
    await socket.send_bytes(packed({"T": "success", "msg": "connected"}))
    await socket.receive()
    await socket.send_bytes(packed({"T": "success", "msg": "authenticated"}))
    for symbols in (["KO"], ["AAPL", "KO"], ["AAPL"]):
        await socket.send_bytes(packed({"T": "subscription", "trades": symbols, "bars": []}))
    await socket.send_bytes(packed({"T": "t", "S": "KO"}, {"T": "error", "code": 405, "msg": "symbol limit exceeded"}))
    await socket.receive()


async def test_a_refused_subscription_ends_the_market_data_with_alpacas_word_after_the_news_before_it() -> None:
    async with following(market, stream=functools.partial(MarketFeed, confirmed=lambda _: None)) as side:
        (rest,) = await side.until_rested(1)
        assert rest == Rest(1, False, False, "ValueError: Alpaca refuses: 405 symbol limit exceeded")
        assert side.heard == [{"T": "t", "S": "KO"}]


async def test_symbols_are_confirmed_once_a_connection_and_after_it_has_joined() -> None:
    confirmed: list[tuple[int, frozenset[str]]] = []

    def confirm(symbols: frozenset[str]) -> None:
        confirmed.append((side.joins, symbols))

    async with following(market, market, stream=functools.partial(MarketFeed, confirmed=confirm)) as side:
        await side.until_rested(2)
    each = [frozenset({"KO"}), frozenset({"AAPL"}), frozenset()]
    assert confirmed == [(join, symbols) for join in (1, 2) for symbols in each]


async def test_symbols_that_are_wanted_while_others_are_subscribed_at_the_login_are_subscribed_too() -> None:
    class Socket:
        """Let another symbol be wanted while the first is sent."""

        def __init__(self) -> None:
            self.words = [packed({"T": "success", "msg": word}) for word in ("connected", "authenticated")]
            self.subscribed: list[list[str]] = []

        async def receive(self) -> aiohttp.WSMessage:
            return aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, self.words.pop(0), None)

        async def send_bytes(self, held: bytes) -> None:
            said = msgpack.unpackb(held)
            if said["action"] == "subscribe":
                self.subscribed.append(said["trades"])
                await feed.want({"AAPL", "KO"})

    socket = Socket()
    feed = MarketFeed("", dict, hear=print, joined=print, confirmed=print, check=Check("stream", required=False))
    await feed.want({"AAPL"})
    await feed._join(socket)  # type: ignore[arg-type]
    assert socket.subscribed == [["AAPL"], ["KO"]]
