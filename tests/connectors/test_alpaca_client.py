"""alpaca-py's clients end in time, ask once, and belong to one thread each; both callers get it from here."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from alpaca.trading.client import TradingClient
from pydantic import SecretStr

from connectors import alpaca_market
from connectors.alpaca_client import ThreadedClient, Timeouts
from connectors.alpaca_market import Away, MarketRest
from connectors.alpaca_rest import AlpacaRest
from tests.fakes.local import Handler, LocalServer

KEYS = {"key_id": SecretStr("PKTEST"), "secret_key": SecretStr("canary-secret")}


@contextlib.contextmanager
def served(handler: Handler) -> Iterator[str]:
    server = LocalServer(handler)
    try:
        yield server.url
    finally:
        server.close()


async def drip(request: web.Request) -> web.StreamResponse:
    """Answer without end, a byte at a time, so that no silence is ever long."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b" ")
        await asyncio.sleep(0.02)


async def hang(_: web.Request) -> web.StreamResponse:
    """Take a request and never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def trade_outcome(url: str, timeouts: Timeouts) -> str:
    rest = AlpacaRest(**KEYS, url=url, timeouts=timeouts)
    try:
        answer = await rest.account()
        assert answer.outcome == "unclear"
        return answer.reason
    finally:
        rest.close()


async def market_outcome(url: str, timeouts: Timeouts, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(alpaca_market, "TIMEOUTS", timeouts)
    rest = MarketRest(**KEYS, data_url=url, trading_url=url)
    try:
        with pytest.raises(Away) as away:
            await rest.latest_trades(["KO"])
        return str(away.value)
    finally:
        rest.close()


@pytest.mark.parametrize(
    ("handler", "timeouts", "said"),
    [
        (drip, Timeouts(connect=5, read=5, whole=0.3), "no whole answer within 0.3 s"),
        (hang, Timeouts(connect=5, read=0.2, whole=30), "ReadTimeout"),
    ],
    ids=["drips", "hangs"],
)
async def test_a_call_that_hangs_ends_in_time_for_orders_and_for_prices(
    handler: Handler, timeouts: Timeouts, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(handler) as url:
        async with asyncio.timeout(10):
            reasons = (await trade_outcome(url, timeouts), await market_outcome(url, timeouts, monkeypatch))
        for reason in reasons:
            assert said in reason
            assert "canary-secret" not in reason


@pytest.mark.parametrize("status", [429, 504])
async def test_orders_and_prices_are_asked_for_once_also_where_alpaca_py_would_ask_again(status: int) -> None:
    asked = []

    async def busy(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.json_response({"message": "busy"}, status=status)

    with served(busy) as url:
        trading, market = AlpacaRest(**KEYS, url=url + "/"), MarketRest(**KEYS, data_url=url, trading_url=url)
        await trading.place({})
        with pytest.raises(Away, match="busy"):
            await market.latest_trades(["KO"])
        with pytest.raises(Away, match="busy"):
            await market.clock()
        trading.close()
        market.close()
    assert asked == ["/v2/orders", "/v2/stocks/trades/latest", "/v2/clock"]


async def test_each_thread_has_one_client_of_its_own_and_keeps_it() -> None:
    met = threading.Barrier(2, timeout=10)
    built: list[TradingClient] = []

    def build() -> TradingClient:
        built.append(TradingClient("PKTEST", "canary-secret"))
        return built[-1]

    def meet(client: Any) -> Any:
        met.wait()  # so that both threads are at work
        return client

    client = ThreadedClient(build, timeouts=Timeouts(), threads=2)
    try:
        for _ in range(2):
            assert {id(one) for one in await asyncio.gather(client.ask(meet), client.ask(meet))} == {
                id(one) for one in built
            }
        assert len(built) == 2
    finally:
        client.close()
