"""A log that has lost the market is told again what PostgreSQL knows of it, and the projection begins anew on it."""

import datetime as dt
import json
import pathlib
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from migrations.runner import migrate
from tests.connectors.records import account_state, alert
from tests.connectors.running import process, settings_of, topics_of, with_database
from tests.connectors.test_projection_process import rows_until
from trading.inputs import Company

pytestmark = [pytest.mark.integration, pytest.mark.covers("R18.5")]

FIRST = dt.datetime(2026, 3, 2, 21, tzinfo=dt.UTC)
LOST = "the id of a topic that is lost"


async def remember(url: str) -> None:
    """Put a market into the tables, and offsets of a log that is lost."""
    connection = await asyncpg.connect(url)
    try:
        companies = [(symbol, FIRST, symbol, "old sector") for symbol in ("AAPL", "KO")]
        await connection.executemany(
            "INSERT INTO companies (symbol, at, name, sector) VALUES ($1, $2, $3, $4)", companies
        )
        bars = [("AAPL", "1d", FIRST + dt.timedelta(days=day), Decimal(day + 1)) for day in range(100)]
        bars.append(("AAPL", "5m", FIRST, Decimal(7)))
        await connection.executemany(
            'INSERT INTO price_bars (symbol, "interval", at, open, high, low, close, volume) '
            "VALUES ($1, $2, $3, $4, $4, $4, $4, 9)",
            bars,
        )
        await connection.execute(
            "INSERT INTO earnings_calendar (symbol, at, earnings_on, session, source, reported_at) "
            "VALUES ('KO', $1, '2026-07-21', 'bmo', 'a vendor', $1)",
            FIRST,
        )
        topics = ("companies", "price-bars", "earnings-dates", "records")
        offsets = [(topic, number, 2, LOST) for topic in topics for number in range(2)]
        await connection.executemany("INSERT INTO projection_offsets VALUES ($1, $2, $3, now(), $4)", offsets)
        state = account_state(500)
        await connection.execute(
            "INSERT INTO account_states VALUES ('paper', $1, 500, $2, $3, $4)",
            FIRST,
            json.dumps(state.state, default=str),
            state.hash,
            LOST,
        )
    finally:
        await connection.close()


async def test_a_new_log_is_told_what_it_does_not_say_itself_and_is_projected_from_its_start(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, database: str
) -> None:
    await migrate(database)
    await remember(database)
    settings = with_database(settings_of(kafka, topic_prefix, tmp_path), database)
    async with topics_of(settings) as topics:
        # The new log is as long as the lost one was: only its identity says that it is another.
        await topics.send("companies", Company(symbol="AAPL", name="Apple", sector="new sector"))
        await topics.send("records", *(alert(number) for number in range(1, 6)), account_state(501))
        with process(settings, STONKS_BROKER="external") as running:
            running.until(lambda here: here.checks().get("projection") is True)
            companies = await topics.until("companies", count=2)
            [earnings] = await topics.until("earnings-dates", count=1)
            bars = await topics.until("price-bars", count=90)
            alerts = await rows_until(database, "alerts", count=5)
            [state] = await rows_until(database, "account_states", count=1)
            while state["seq"] == 500:
                [state] = await rows_until(database, "account_states", count=1)
            first = {(row["topic"], row["partition"]): row["topic_id"] for row in await offsets(database)}
        with process(settings, STONKS_BROKER="external") as running:  # it is the same log: nothing is told again
            await topics.send("records", alert(9))
            await rows_until(database, "alerts", count=6)
            assert len(await topics.read("price-bars")) == 90
            assert {(row["topic"], row["partition"]): row["topic_id"] for row in await offsets(database)} == first
    assert {each["symbol"]: each["sector"] for each in companies} == {"AAPL": "new sector", "KO": "old sector"}
    assert (earnings["symbol"], earnings["earnings_on"], earnings["source"]) == ("KO", "2026-07-21", "a vendor")
    assert [bar["close"] for bar in bars] == [str(day + 1) for day in range(10, 100)]  # the newest 90, oldest first
    assert {bar["source"] for bar in bars} == {"postgresql"}
    assert len(alerts) == 5
    assert state["log_id"] == first["records", 0] != LOST


async def offsets(url: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch("SELECT * FROM projection_offsets"))
    finally:
        await connection.close()
