"""Prices from the fake Alpaca to a real Kafka: the past, the stream, its gaps, its silence, and direct quotes."""

import asyncio
import contextlib
import datetime as dt
import json
import pathlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from connectors.alpaca_prices import AlpacaPrices, Rhythm
from connectors.alpaca_socket import StreamTimes
from connectors.checks import Check
from streams.settings import Settings
from streams.topics import partition_for
from tests.connectors.running import PARTITIONS, Topics, settings_of, topics_of
from tests.fakes.alpaca import FakeAlpaca, Fault
from trading import trading_window
from trading.effects import QuoteRequest
from trading.inputs import Company, PriceBar
from trading.market import SymbolFacts, with_bar

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
IN_SESSION = dt.datetime(2026, 11, 24, 15, 30, 10, tzinfo=dt.UTC)  # a Tuesday, 10:30 in New York
QUICK = Rhythm(mute=1.5, patience=1.0, look=0.1, poll=0.2, together=0.05, clock=0.2)


class Desk:
    """The part that is tested, between the fake and the topics."""

    def __init__(self, fake: FakeAlpaca, topics: Topics, settings: Settings) -> None:
        self.fake = fake
        self.topics = topics
        self.settings = settings
        self.check = Check("prices", required=False)
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        part = AlpacaPrices(self.settings, check=self.check, rhythm=QUICK, times=StreamTimes(first_rest=0.2))
        self._running = asyncio.create_task(part.run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def ticks(self, symbol: str, *, source: str = "alpaca-iex") -> list[Decimal]:
        """Return all prices of a symbol in the log's order."""
        found = []
        for one in await self.topics.read("price-ticks"):
            if one["symbol"] == symbol and one["source"] == source:
                found += [Decimal(tick["price"]) for tick in one.get("ticks") or [one]]
        return found

    async def bars(self, symbol: str, interval: str) -> list[PriceBar]:
        read = [PriceBar.model_validate_json(json.dumps(one)) for one in await self.topics.read("price-bars")]
        return [one for one in read if (one.symbol, one.interval) == (symbol, interval)]

    async def subscribed(self, symbol: str) -> None:
        await self.until(lambda: any(one.hears("trades", symbol) for one in self.fake.feed.subscribers))

    async def until(self, condition: Callable[[], Any], *, seconds: float = 60) -> None:
        """Wait until something holds; it may have to be awaited."""
        deadline = time.monotonic() + seconds
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            assert self._running is None or not self._running.done(), self._running
            assert time.monotonic() < deadline, self.check.shown()
            await asyncio.sleep(0.1)

    async def has_tick(self, symbol: str, price: str, **asked: Any) -> bool:
        return Decimal(price) in await self.ticks(symbol, **asked)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    folder: pathlib.Path = tmp_path_factory.mktemp("prices")
    prices = {"AAPL": Decimal("190.00"), "F": Decimal("11.00"), "SPY": Decimal("560.00")}
    async with FakeAlpaca(at=IN_SESSION, prices=prices) as fake:
        settings = settings_of(
            kafka,
            f"t{uuid.uuid4().hex[:10]}-",
            folder,
            broker="fake-alpaca",
            alpaca_key_id=SecretStr(fake.keys.key_id),
            alpaca_secret_key=SecretStr(fake.keys.secret_key),
            alpaca_trading_url=fake.url,
            alpaca_data_url=fake.url,
            alpaca_stream_url=fake.stream_url,
        )
        async with topics_of(settings) as topics:
            here = Desk(fake, topics, settings)
            here.start()
            yield here
            await here.stop()


async def test_a_new_company_gets_the_past_that_a_decision_needs_and_a_restart_sends_none_of_it_again(
    desk: Desk,
) -> None:
    await desk.topics.send("companies", Company(symbol="AAPL", name="Apple", sector="technology"))
    await desk.until(lambda: _has(desk.bars("AAPL", "1d"), 100))
    bars = await desk.bars("AAPL", "1d")
    days = [bar.at.date() for bar in bars]
    assert days == sorted(set(days))
    assert days[-1] == dt.date(2026, 11, 23)  # Monday: Tuesday's session is not over
    for bar in bars:
        session = trading_window.previous_session(bar.at)
        assert session is not None
        assert bar.at == session.close_at
    facts = SymbolFacts(symbol="AAPL")
    for bar in bars:
        facts = with_bar(facts, bar)
    assert facts.atr is not None  # 15 bars and more
    assert len(facts.bars) == 90
    assert len(await desk.bars("SPY", "1d")) == 100  # the canary needs no company

    places = await desk.topics.places("price-bars")
    assert {(key, number) for number, key in places} == {
        (symbol, partition_for(symbol, PARTITIONS)) for symbol in (b"AAPL", b"SPY")
    }
    await desk.stop()
    desk.start()
    await desk.subscribed("AAPL")
    await desk.until(lambda: desk.has_tick("AAPL", "190"))
    assert len(await desk.topics.places("price-bars")) == len(places)


async def test_trades_become_ticks_and_minutes_become_bars(desk: Desk) -> None:
    await desk.subscribed("AAPL")
    desk.fake.market.set_price("AAPL", Decimal("191.25"))
    await desk.until(lambda: desk.has_tick("AAPL", "191.25"))
    known = {bar.at for bar in await desk.bars("AAPL", "1m")}
    desk.fake.clock.set(desk.fake.clock.now() + dt.timedelta(minutes=1))
    await desk.until(lambda: _has(desk.bars("AAPL", "1m"), len(known) + 1))
    bar = (await desk.bars("AAPL", "1m"))[-1]
    assert (bar.high, bar.at.second, bar.at.microsecond) == (Decimal("191.25"), 0, 0)
    assert bar.at <= desk.fake.clock.now()  # named by its end


async def test_a_gap_is_filled_after_a_cut_socket(desk: Desk) -> None:
    await desk.subscribed("AAPL")
    desk.fake.feed.cut()
    for price in ("180.10", "170.20", "185.30"):  # a stop at 175 would be crossed by the middle one
        desk.fake.market.set_price("AAPL", Decimal(price))
    await desk.until(lambda: desk.has_tick("AAPL", "185.30"))
    assert (await desk.ticks("AAPL"))[-3:] == [Decimal("180.1"), Decimal("170.2"), Decimal("185.3")]


async def test_what_a_gap_missed_goes_before_what_the_stream_tells_then(desk: Desk) -> None:
    await desk.subscribed("AAPL")
    desk.fake.faults.add(Fault("slow", path="/v2/stocks/trades", seconds=1, times=0))
    before = set(desk.fake.feed.subscribers)
    desk.fake.feed.cut()
    for price in ("181.10", "171.20"):  # a stop at 175 would be crossed by the second
        desk.fake.market.set_price("AAPL", Decimal(price))
    await desk.until(lambda: any(one.hears("trades", "AAPL") for one in desk.fake.feed.subscribers - before))
    desk.fake.market.set_price("AAPL", Decimal("186.30"))
    await desk.until(lambda: desk.has_tick("AAPL", "186.30"))
    desk.fake.faults.clear()
    assert (await desk.ticks("AAPL"))[-3:] == [Decimal("181.1"), Decimal("171.2"), Decimal("186.3")]


async def test_prices_do_not_wait_for_a_rest_that_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.price_gaps.SECONDS_HELD", 0.5)
    await desk.subscribed("AAPL")
    away = desk.fake.faults.add(Fault("status", path="/v2/stocks/trades*", status=503, times=0))
    before = set(desk.fake.feed.subscribers)
    desk.fake.feed.cut()
    await desk.until(lambda: any(one.hears("trades", "AAPL") for one in desk.fake.feed.subscribers - before))
    desk.fake.market.set_price("AAPL", Decimal("186.41"))
    await desk.until(lambda: desk.has_tick("AAPL", "186.41"))
    assert away.met > 0
    desk.fake.faults.clear()


async def test_a_mute_stream_is_noticed_told_of_once_and_rest_takes_over(desk: Desk) -> None:
    await desk.subscribed("AAPL")
    desk.fake.faults.add(Fault("mute", path="/v2/iex", times=0))
    desk.fake.market.set_price("AAPL", Decimal("188.01"))
    await desk.until(lambda: desk.has_tick("AAPL", "188.01"))
    await desk.until(
        lambda: not desk.check.ok and "the stream is mute; the latest trades come by REST" in desk.check.detail
    )
    desk.fake.market.set_price("AAPL", Decimal("188.02"))
    await desk.until(lambda: desk.has_tick("AAPL", "188.02"))
    desk.fake.faults.clear()

    async def is_back() -> bool:
        desk.fake.market.set_price("AAPL", Decimal("188.03"))
        return len(await desk.topics.read("notifications")) == 2

    await desk.until(is_back)
    told = await desk.topics.read("notifications")
    assert [(one["event_type"], one["severity"]) for one in told] == [("alert", "warning"), ("alert", "info")]
    assert desk.check.ok


async def test_a_direct_quote_is_answered(desk: Desk) -> None:
    await desk.topics.send("companies", Company(symbol="F", name="Ford", sector="consumer"))
    await desk.subscribed("F")
    desk.fake.market.set_price("F", Decimal("11.37"))
    await desk.topics.send("quote-requests", QuoteRequest(symbol="F", account_id="paper", at=IN_SESSION))
    await desk.until(lambda: desk.has_tick("F", "11.37", source="quote"))


async def test_what_cannot_be_read_is_dropped_loudly_and_the_next_price_comes(desk: Desk) -> None:
    await desk.subscribed("AAPL")
    desk.fake.faults.add(Fault("garbage_updates", path="/v2/iex", symbol="AAPL", event="trades"))
    desk.fake.market.set_price("AAPL", Decimal("177.77"))
    await desk.until(lambda: "could not be read" in desk.check.detail)
    desk.fake.market.set_price("AAPL", Decimal("177.78"))
    await desk.until(lambda: desk.has_tick("AAPL", "177.78"))
    assert Decimal("177.77") not in await desk.ticks("AAPL")


async def _has(found: Any, count: int) -> bool:
    return len(await found) >= count
