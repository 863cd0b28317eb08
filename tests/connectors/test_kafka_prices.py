"""Prices from a real `price-ticks`: the last tick up to an instant, wherever in the log it lies."""

import asyncio
import contextlib
import datetime as dt
import pathlib
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from connectors import kafka_prices
from connectors.kafka_prices import KafkaPrices
from tests.connectors.examples import NOON, minutes
from tests.connectors.running import Topics, settings_of, topics_of
from trading.inputs import PriceTicks, Tick

pytestmark = pytest.mark.integration


@pytest.fixture
async def topics(kafka: str, topic_prefix: str, tmp_path: pathlib.Path) -> AsyncIterator[Topics]:
    async with topics_of(settings_of(kafka, topic_prefix, tmp_path)) as given:
        yield given


@contextlib.asynccontextmanager
async def following(topics: Topics) -> AsyncIterator[KafkaPrices]:
    prices = KafkaPrices(topics.settings)
    task = asyncio.create_task(prices.follow())
    yield prices
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def one(minute: float, price: str, symbol: str = "AAPL") -> PriceTicks:
    return PriceTicks(symbol=symbol, price=Decimal(price), at=NOON + minutes(minute))


async def price_at(prices: KafkaPrices, minute: float, symbol: str = "AAPL") -> Decimal | None:
    quote = await prices.last(symbol, at=NOON + minutes(minute))
    return quote.tick.price if quote.tick else None


async def test_the_last_tick_is_the_one_with_the_greatest_instant_up_to_then(topics: Topics) -> None:
    async with following(topics) as prices:
        assert await price_at(prices, 99) is None
        await topics.send("price-ticks", one(1, "101"), one(3, "103"), one(2, "102"), one(3, "103.5"))
        assert [await price_at(prices, minute) for minute in (0, 1, 2, 2.9, 3, 99)] == [
            None,
            Decimal(101),
            Decimal(102),
            Decimal(102),
            Decimal("103.5"),  # of two at one instant the later in the log
            Decimal("103.5"),
        ]


async def test_what_was_sent_before_the_question_counts_and_batches_and_poison_are_understood(topics: Topics) -> None:
    async with following(topics) as prices:
        ticks = tuple(Tick(at=NOON + minutes(number), price=Decimal(100 + number)) for number in range(3))
        await topics.send("price-ticks", PriceTicks(symbol="AAPL", ticks=ticks))
        await topics.send_bytes("price-ticks", b"AAPL", b"poison")
        await topics.send_bytes("price-ticks", b"AAPL", b'{"symbol": "KO", "price": 1, "at": "2024-03-14T17:00:00Z"}')
        await topics.send_bytes("price-ticks", b"AAPL", None)
        assert [await price_at(prices, minute) for minute in (0, 1.5, 9)] == [Decimal(100), Decimal(101), Decimal(102)]
        for number in range(20):
            await topics.send("price-ticks", one(10 + number, f"{200 + number}"))
            assert await price_at(prices, 999) == Decimal(200 + number)


async def test_before_the_tail_the_log_is_searched_back_to_its_start(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_prices, "_TAIL", 3)
    await topics.send("price-ticks", one(0, "100"), one(0, "50", "KO"))
    for number in range(1, 41):
        await topics.send("price-ticks", one(number, f"{100 + number}"))
    async with following(topics) as prices:
        assert [await price_at(prices, minute) for minute in (0.5, 7.5, 38.5, 99)] == [
            Decimal(100),
            Decimal(107),
            Decimal(138),
            Decimal(140),
        ]
        assert await price_at(prices, 0, "KO") == Decimal(50)
        assert await price_at(prices, 0, "NOBODY") is None
        for _ in range(2):
            newest = await prices.newest(["AAPL", "KO", "NOBODY"])
            assert {symbol: tick.price for symbol, tick in newest.items()} == {"AAPL": Decimal(140), "KO": Decimal(50)}
        await topics.send("price-ticks", one(50, "55", "KO"))
        assert (await prices.newest(["KO"]))["KO"].price == Decimal(55)


async def test_what_came_since_an_offset_comes_once_and_in_order(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_prices, "_TAIL", 2)
    for number in range(10):
        await topics.send("price-ticks", one(number, f"{100 + number}"), one(number, "50", "KO"))
    async with following(topics) as prices:
        quote = await prices.last("AAPL", at=NOON + minutes(4))
        ticks, offset = await prices.since("AAPL", offset=quote.from_offset)
        assert [tick.price for tick in ticks] == [Decimal(100 + number) for number in range(4, 10)]
        assert await prices.since("AAPL", offset=offset) == ([], offset)
        await topics.send("price-ticks", one(20, "120"))
        ticks, _ = await prices.since("AAPL", offset=offset)
        assert [tick.price for tick in ticks] == [Decimal(120)]


async def test_a_symbol_without_a_tick_up_to_then_says_where_later_ones_begin(topics: Topics) -> None:
    await topics.send("price-ticks", one(5, "105"))
    async with following(topics) as prices:
        quote = await prices.last("AAPL", at=NOON)
        assert quote.tick is None
        ticks, _ = await prices.since("AAPL", offset=quote.from_offset)
        assert [tick.at for tick in ticks] == [NOON + dt.timedelta(minutes=5)]
