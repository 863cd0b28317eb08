"""The fake's market data, asked by Alpaca's own clients: bars by the page, latest prices, and the stream."""

import asyncio
import datetime as dt
import pathlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from alpaca.common.exceptions import APIError
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from tests.fakes.alpaca import FakeAlpaca
from tests.outside.clients import data_client, data_stream

IN_SESSION = dt.datetime(2026, 11, 24, 15, 30, tzinfo=dt.UTC)
PRICES = {"AAPL": Decimal("190.00"), "F": Decimal("11.00")}
DATA = pathlib.Path(__file__).parents[2] / "data"


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeAlpaca]:
    async with FakeAlpaca(at=IN_SESSION, rate=0, prices=PRICES, half_spread=Decimal("0.01")) as server:
        yield server


@pytest.fixture
def client(fake: FakeAlpaca) -> StockHistoricalDataClient:
    return data_client(fake)


async def test_daily_bars_come_page_after_page_and_end_with_the_unfinished_day(
    fake: FakeAlpaca, client: StockHistoricalDataClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.alpaca.data_api.MOST", 70)  # so that alpaca-py has to ask three times
    asked = StockBarsRequest(
        symbol_or_symbols=["AAPL", "F"],
        timeframe=TimeFrame.Day,
        start=dt.datetime(2026, 7, 1, tzinfo=dt.UTC),
        end=IN_SESSION,
    )
    found = (await asyncio.to_thread(client.get_stock_bars, asked)).data
    sessions = 22 + 21 + 21 + 22 + 17  # July without the 3rd, August, September without the 7th, October, November
    assert {symbol: len(bars) for symbol, bars in found.items()} == {"AAPL": sessions, "F": sessions}
    assert [f"{bar.timestamp:%Y-%m-%d %H:%M}" for bar in found["AAPL"][-2:]] == ["2026-11-23 05:00", "2026-11-24 05:00"]
    assert found["AAPL"][-2].close == 190.0
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in found["F"])


async def test_minutes_are_joined_to_longer_bars(fake: FakeAlpaca, client: StockHistoricalDataClient) -> None:
    for minute, price in enumerate((191, 189, 195, 192, 193, 194)):
        fake.clock.set(IN_SESSION + dt.timedelta(minutes=minute), rate=0)
        fake.market.set_price("AAPL", Decimal(price))
    asked = StockBarsRequest(
        symbol_or_symbols="AAPL", timeframe=TimeFrame(5, TimeFrameUnit.Minute), start=IN_SESSION, end=fake.clock.now()
    )
    first, second = (await asyncio.to_thread(client.get_stock_bars, asked)).data["AAPL"]
    assert (first.open, first.high, first.low, first.close) == (190, 195, 189, 193)
    assert (second.open, second.volume) == (194, 100)


async def test_the_latest_prices_of_many_symbols(fake: FakeAlpaca, client: StockHistoricalDataClient) -> None:
    fake.market.set_price("F", Decimal("11.40"))
    both = ["AAPL", "F", "NONE"]
    trades = await asyncio.to_thread(client.get_stock_latest_trade, StockLatestTradeRequest(symbol_or_symbols=both))
    assert {symbol: trade.price for symbol, trade in trades.items()} == {"AAPL": 190.0, "F": 11.4}
    quotes = await asyncio.to_thread(client.get_stock_latest_quote, StockLatestQuoteRequest(symbol_or_symbols=both))
    assert (quotes["F"].bid_price, quotes["F"].ask_price) == (11.39, 11.41)
    bars = await asyncio.to_thread(client.get_stock_latest_bar, StockLatestBarRequest(symbol_or_symbols="F"))
    assert (bars["F"].low, bars["F"].close) == (11.0, 11.4)
    shots = await asyncio.to_thread(client.get_stock_snapshot, StockSnapshotRequest(symbol_or_symbols=both))
    assert shots["F"].latest_trade.price == 11.4
    assert shots["AAPL"].previous_daily_bar.close == 190.0
    tape = await asyncio.to_thread(
        client.get_stock_trades, StockTradesRequest(symbol_or_symbols="F", start=IN_SESSION, end=IN_SESSION)
    )
    assert [trade.price for trade in tape.data["F"]] == [11.0, 11.4]


async def test_wrong_keys_see_no_prices(fake: FakeAlpaca) -> None:
    stranger = StockHistoricalDataClient("PK", "wrong", url_override=fake.url)
    with pytest.raises(APIError) as caught:
        await asyncio.to_thread(stranger.get_stock_latest_trade, StockLatestTradeRequest(symbol_or_symbols="F"))
    assert caught.value.status_code == 403


async def test_the_stream_tells_trades_quotes_and_minutes(fake: FakeAlpaca) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    stream = data_stream(fake)
    stream.subscribe_trades(heard.put, "F")
    stream.subscribe_quotes(heard.put, "F")
    stream.subscribe_bars(heard.put, "*")
    running = asyncio.create_task(stream._run_forever())
    try:
        for _ in range(300):
            if any(one.hears("trades", "F") for one in fake.feed.subscribers):
                break
            await asyncio.sleep(0.02)
        fake.market.set_price("AAPL", Decimal(200))
        fake.market.set_price("F", Decimal("11.5"))
        trade, quote = [await asyncio.wait_for(heard.get(), 5) for _ in range(2)]
        fake.clock.set(IN_SESSION + dt.timedelta(minutes=1), rate=0)
        bars = {bar.symbol: bar for bar in [await asyncio.wait_for(heard.get(), 5) for _ in range(2)]}
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await stream.close()
    assert (trade.symbol, trade.price, trade.timestamp) == ("F", 11.5, IN_SESSION)
    assert (quote.bid_price, quote.ask_price) == (11.49, 11.51)
    assert (bars["AAPL"].high, bars["F"].timestamp) == (200.0, IN_SESSION)


async def test_a_second_connection_of_one_account_is_refused(fake: FakeAlpaca) -> None:
    first, second = data_stream(fake), data_stream(fake)
    await first._start_ws()
    with pytest.raises(ValueError, match="connection limit exceeded"):
        await second._start_ws()
    await first.close()
    await second.close()


async def test_a_walk_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    def walked(seed: int) -> list[Decimal]:
        fake = FakeAlpaca(at=IN_SESSION, rate=0, prices=PRICES, seed=seed)
        fake.market.walk(seconds=1)
        for second in range(1, 30):
            fake.clock.set(IN_SESSION + dt.timedelta(seconds=second), rate=0)
            fake.market.step()
        return [trade.price for listing in fake.market.listings.values() for trade in listing.tape]

    assert walked(1) == walked(1)
    assert walked(1) != walked(2)
    assert len(walked(1)) == 2 * (1 + 29)  # both symbols, at the start and each second


async def test_real_bars_become_the_days_before_today() -> None:
    fake = FakeAlpaca(at=IN_SESSION, bars=DATA)
    newest = (DATA / "sp500.csv").read_text().splitlines()[-1].split(",")
    spy = fake.market.listings["SPY"]
    assert spy.days[-1].close == (Decimal(newest[4]) / 10).quantize(Decimal("0.01")) == fake.market.prices()["SPY"]
    assert spy.days[-1].start == dt.datetime(2026, 11, 23, 5, tzinfo=dt.UTC)
    assert {"AAPL", "KO", "IBM", "MSFT"} <= fake.market.listings.keys()
