"""The matrix of all tracked companies in PostgreSQL: of the right closes, once a close, in nobody's way."""

import asyncio
import contextlib
import datetime as dt
import pathlib
import threading
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import numpy as np
import pytest

from connectors import correlations
from connectors.checks import Check
from connectors.correlations import Correlations, known_pairs
from migrations.runner import migrate
from streams.settings import Settings
from tests.connectors.running import process, settings_of, topics_of, with_database
from trading.correlation import Pair
from trading.inputs import Company, PriceBar
from trading.market import Closes

CLOSE = dt.datetime(2024, 3, 14, 20, tzinfo=dt.UTC)  # a Thursday


def closes(symbol: str, count: int) -> list[Decimal]:
    """Return closes that look like prices: a walk of its own for every symbol."""
    seed = sum(map(ord, symbol))
    return [Decimal(100 + (day * seed * 7919) % 23) for day in range(count)]


def day_at(number: int) -> dt.datetime:
    return CLOSE + dt.timedelta(days=number)


def bar(symbol: str, number: int, close: Decimal, **changes: Any) -> PriceBar:
    fields = {"symbol": symbol, "interval": "1d", "at": day_at(number), "volume": Decimal(1)}
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    return PriceBar(**(fields | prices | changes))


def bars(symbol: str, count: int, *, last: int = 0) -> list[PriceBar]:
    """Return daily bars, the newest on day `last`."""
    return [bar(symbol, last - count + 1 + place, close) for place, close in enumerate(closes(symbol, count))]


def company(symbol: str) -> Company:
    return Company(symbol=symbol, name=symbol, sector="technology")


def of_numpy(first: str, second: str, count: int) -> float:
    """Return the correlation of the simple returns of two symbols by numpy."""
    returns = [np.diff(prices) / prices[:-1] for prices in (np.array(closes(s, count), float) for s in (first, second))]
    return float(np.corrcoef(*returns)[0, 1])


class Tables:
    """A migrated database with companies and bars, and the part under test beside it."""

    def __init__(self, connection: asyncpg.Connection, settings: Settings) -> None:
        self.connection = connection
        self.check = Check("correlations", required=False)
        self.part = Correlations(settings, check=self.check)

    async def track(self, *symbols: str) -> None:
        await self.connection.executemany(
            "INSERT INTO companies (symbol, at, name, sector) VALUES ($1, $2, $1, 'technology')",
            [(symbol, CLOSE) for symbol in symbols],
        )

    async def add(self, *added: PriceBar) -> None:
        await self.connection.executemany(
            "INSERT INTO price_bars (symbol, interval, at, open, high, low, close, volume)"
            " VALUES ($1, $2, $3, $4, $4, $4, $4, 1) ON CONFLICT (symbol, interval, at) DO UPDATE SET close = $4",
            [(each.symbol, each.interval, each.at, each.close) for each in added],
        )
        self.part.note()

    async def matrix(self) -> dict[tuple[int, str, str], tuple[Decimal, int]]:
        rows = await self.connection.fetch("SELECT * FROM correlation_matrix_cache")
        return {
            ((row["computed_on"] - CLOSE.date()).days, row["symbol_a"], row["symbol_b"]): (
                row["correlation"],
                row["observations"],
            )
            for row in rows
        }

    async def until(self, *keys: tuple[int, str, str]) -> dict[tuple[int, str, str], tuple[Decimal, int]]:
        deadline = time.monotonic() + 30
        while not (found := await self.matrix()).keys() >= set(keys):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.05)
        return found

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.part.run())
        try:
            yield
        finally:
            assert not task.done(), task.exception()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def tables(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tables]:
    """Give a database of its own to a test, and the part on it with little patience."""
    monkeypatch.setattr(correlations, "SECONDS_OF_QUIET", 0.1)
    await migrate(database)
    connection = await asyncpg.connect(database)
    yield Tables(connection, with_database(Settings(clock="events"), database))
    await connection.close()


@pytest.mark.covers("R9.1")
@pytest.mark.integration
async def test_each_pair_of_tracked_companies_has_a_row_of_the_last_ninety_closes(tables: Tables) -> None:
    await tables.track("AAPL", "MSFT", "XOM", "NEW")
    await tables.add(*bars("AAPL", 90), *bars("MSFT", 90), *bars("XOM", 40), *bars("NEW", 30), *bars("ALIEN", 90))
    await tables.add(*(bar("AAPL", place - 100, Decimal(1)) for place in range(10)))  # older than ninety
    await tables.add(bar("AAPL", 0, Decimal(999), interval="5m", at=day_at(0) - dt.timedelta(minutes=1)))
    async with tables.running():
        found = await tables.until((0, "AAPL", "MSFT"), (0, "AAPL", "XOM"), (0, "MSFT", "XOM"))
    assert len(found) == 3  # NEW has 29 returns, ALIEN is not tracked
    correlation, observations = found[0, "AAPL", "MSFT"]
    assert observations == 89
    assert float(correlation) == pytest.approx(of_numpy("AAPL", "MSFT", 90), abs=1e-9)
    assert found[0, "AAPL", "XOM"][1] == 39
    assert tables.check.ok


@pytest.mark.covers("R9.1")
@pytest.mark.integration
async def test_every_close_adds_its_rows_and_the_old_ones_stay(tables: Tables) -> None:
    await tables.track("A", "B")
    await tables.add(*bars("A", 40), *bars("B", 40))
    async with tables.running():
        first = await tables.until((0, "A", "B"))
        await tables.add(*(bar(symbol, day, Decimal(90 + day)) for day in (1, 2) for symbol in ("A", "B")))
        after = await tables.until((1, "A", "B"), (2, "A", "B"))
    assert after.items() >= first.items()
    assert [observations for _, observations in after.values()] == [39, 40, 41]


@pytest.mark.integration
async def test_a_late_bar_mends_the_newest_rows_and_twice_changes_nothing(tables: Tables) -> None:
    await tables.track("A", "B")
    await tables.add(*bars("A", 40), *bars("B", 39, last=-1))
    async with tables.running():
        before = await tables.until((0, "A", "B"))
        await tables.add(bar("B", 0, Decimal(150)))
        for _ in range(100):
            if (after := await tables.matrix()) != before:
                break
            await asyncio.sleep(0.05)
    assert (before[0, "A", "B"][1], after[0, "A", "B"][1]) == (38, 39)
    written = await tables.connection.fetch("SELECT xmin::text FROM correlation_matrix_cache")
    tables.check.fails("not yet")
    async with tables.running():
        for _ in range(200):
            if tables.check.ok:
                break
            await asyncio.sleep(0.05)
    assert tables.check.ok
    assert await tables.connection.fetch("SELECT xmin::text FROM correlation_matrix_cache") == written


@pytest.mark.integration
async def test_what_closed_while_nobody_looked_is_caught_up_with(tables: Tables) -> None:
    await tables.track("A", "B")
    await tables.add(*bars("A", 40), *bars("B", 40))
    async with tables.running():
        await tables.until((0, "A", "B"))
    await tables.add(*(bar(symbol, day, Decimal(90 + day)) for day in (1, 4) for symbol in ("A", "B")))
    async with tables.running():
        found = await tables.until((1, "A", "B"), (4, "A", "B"))
    assert len(found) == 3


@pytest.mark.integration
async def test_a_company_that_comes_after_its_bars_is_in_the_matrix(tables: Tables) -> None:
    await tables.track("B.A", "BA")  # in another order by many a locale
    await tables.add(*bars("B.A", 40), *bars("BA", 40), *bars("C", 40))
    async with tables.running():
        await tables.until((0, "B.A", "BA"))
        await tables.track("C")
        tables.part.note()
        assert len(await tables.until((0, "BA", "C"))) == 3


@pytest.mark.integration
async def test_a_bar_from_the_future_stops_no_close(database: str, tables: Tables) -> None:
    tables.part = Correlations(with_database(Settings(clock="system"), database), check=tables.check)
    await tables.track("A", "B")
    await tables.add(*bars("A", 40), *bars("B", 40))
    async with tables.running():
        await tables.until((0, "A", "B"))
        await tables.add(bar("A", 20_000, Decimal(1)), bar("A", 1, Decimal(1)), bar("B", 1, Decimal(1)))
        found = await tables.until((1, "A", "B"))
    assert len(found) == 2


def pairs_of(closes: dict[str, Closes]) -> list[Pair]:
    return list(known_pairs(closes, given_up=threading.Event()))


def test_a_pair_is_known_from_thirty_common_returns_on() -> None:
    first, second = closes("A", 31), closes("B", 31)
    days = [day_at(number).date() for number in range(31)]
    both = {"B": tuple(zip(days, second, strict=True)), "A": tuple(zip(days, first, strict=True))}
    (pair,) = pairs_of(both)
    assert (pair.symbol_a, pair.symbol_b, pair.observations) == ("A", "B", 30)
    assert pairs_of(both | {"B": both["B"][1:]}) == []
    assert pairs_of(both | {"B": tuple((day, Decimal(5)) for day in days)}) == []  # without variance


async def test_work_that_nobody_waits_for_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a process with hundreds of companies could not end in time."""
    begun, calls = threading.Event(), []

    def slowly(closes: dict[str, Closes]) -> tuple[Pair, ...]:
        calls.append(sorted(closes))
        begun.set()
        time.sleep(0.05)
        return ()

    monkeypatch.setattr(correlations, "matrix", slowly)
    days = tuple((day_at(number).date(), Decimal(1)) for number in range(31))
    task = asyncio.create_task(correlations._in_a_thread({f"S{number}": days for number in range(1000)}))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert len(calls) < 1000  # of 499,500


@pytest.mark.integration
async def test_bars_on_the_topic_become_rows_of_the_matrix(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, database: str
) -> None:
    await migrate(database)
    settings = with_database(settings_of(kafka, topic_prefix, tmp_path), database)
    connection = await asyncpg.connect(database)
    async with topics_of(settings) as topics:
        with process(settings, STONKS_BROKER="external") as running:
            await topics.send("companies", company("AAPL"), company("MSFT"))
            await topics.send("price-bars", *bars("AAPL", 40), *bars("MSFT", 40))
            for _ in range(300):
                if rows := await connection.fetch("SELECT * FROM correlation_matrix_cache WHERE observations = 39"):
                    break
                await asyncio.sleep(0.1)
            assert running.checks()["correlations"]
    await connection.close()
    assert rows[0]["at"] == rows[0]["at"].replace(hour=20, minute=0)
    assert {(row["symbol_a"], row["symbol_b"]) for row in rows} == {("AAPL", "MSFT")}
    newest = next(row for row in rows if row["computed_on"] == CLOSE.date())
    assert float(newest["correlation"]) == pytest.approx(of_numpy("AAPL", "MSFT", 40), abs=1e-9)
