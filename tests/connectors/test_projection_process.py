"""The connectors' process on a real Kafka and PostgreSQL: what lies on the topics gets into the tables, once."""

import asyncio
import pathlib
from decimal import Decimal
from functools import partial

import asyncpg
import pytest

from migrations.runner import migrate
from tests.connectors.examples import order, prices
from tests.connectors.records import account_state, alert, decision, fill, lot, order_status
from tests.connectors.running import has_projected, process, settings_of, topics_of, trades_of, with_database
from trading.inputs import Company

pytestmark = pytest.mark.integration


async def fetch(url: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def rows_until(url: str, table: str, *, count: int) -> list[asyncpg.Record]:
    for _ in range(300):
        rows = await fetch(url, f"SELECT * FROM {table}")  # noqa: S608 - our own names
        if len(rows) >= count:
            return rows
        await asyncio.sleep(0.1)
    raise AssertionError(f"{table} holds {len(rows)} rows, not {count}")


async def test_with_an_external_broker_nothing_trades_and_the_projection_runs(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, database: str
) -> None:
    await migrate(database)
    settings = with_database(settings_of(kafka, topic_prefix, tmp_path), database)
    async with topics_of(settings) as topics:
        with process(settings, STONKS_BROKER="external") as running:
            running.until(
                lambda here: (
                    here.checks()
                    == dict.fromkeys(("projection", "correlations", "hand_edits", "delivery", "sms", "email"), True)
                )
            )
            assert running.get("/live")[1]["positions"] == {}
            await topics.send("orders", order())
            await rows_until(database, "orders", count=1)
            assert await topics.read("broker-events") == []


async def test_what_lies_on_the_topics_gets_into_the_tables_and_poison_does_not_stop_it(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, database: str
) -> None:
    await migrate(database)
    settings = with_database(settings_of(kafka, topic_prefix, tmp_path), database)
    async with topics_of(settings) as topics:
        await topics.send("companies", Company(symbol="AAPL", name="Apple", sector="technology"))
        await topics.send_bytes("companies", b"KO", b"poison")
        await topics.send_bytes("records", b"paper", b'{"kind": "nonsense"}')
        await topics.send("decisions", decision())
        await topics.send("orders", order(quantity="10"))
        await topics.send(
            "records", order_status(1, "accepted"), fill(2, "10", quantity="10"), lot(2), account_state(2)
        )
        with process(settings, STONKS_BROKER="external"):
            await rows_until(database, "positions", count=1)
            (company,) = await rows_until(database, "companies", count=1)
            (kept,) = await rows_until(database, "orders", count=1)
            await rows_until(database, "trading_decisions", count=1)
            letters = await topics.until("dead-letters", count=1)
    assert (company["symbol"], kept["status"]) == ("AAPL", "filled")
    assert [(letter["topic"], letter["error"].partition(":")[0]) for letter in letters] == [
        ("records", "invalid_field")
    ]
    offsets = await fetch(database, "SELECT topic, sum(next_offset)::int AS sum FROM projection_offsets GROUP BY 1")
    reached = {row["topic"]: row["sum"] for row in offsets if row["sum"]}
    assert reached == {"companies": 2, "decisions": 1, "orders": 1, "records": 5}


@pytest.mark.parametrize("point", ["projection.read", "projection.written"])
async def test_the_projection_killed_at_any_step_goes_on_where_the_tables_stand(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, database: str, point: str
) -> None:
    await migrate(database)
    settings = with_database(settings_of(kafka, topic_prefix, tmp_path), database)
    async with topics_of(settings) as topics:
        with process(settings, STONKS_CRASH_AT=f"{point}:2", STONKS_BROKER="external") as crashed:
            for number in range(1, 4):
                await topics.send("records", alert(number))
                await crashed.until_dead_or(partial(has_projected, count=number))
            assert crashed.child.poll() == 137
        with process(settings, STONKS_BROKER="external"):
            rows = await rows_until(database, "alerts", count=3)
    assert sorted(row["record_id"] for row in rows) == ["alert-paper-1", "alert-paper-2", "alert-paper-3"]


async def test_at_every_commit_positions_are_what_the_lots_say(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, database: str
) -> None:
    """Steps come in pieces, and one stays unfinished; whoever looks meanwhile never sees half a step."""
    await migrate(database)
    settings = with_database(settings_of(kafka, topic_prefix, tmp_path), database)
    seen: list[tuple[Decimal, Decimal]] = []

    async def look() -> None:
        query = """
            SELECT (SELECT coalesce(sum(quantity), 0) FROM positions),
                   (SELECT coalesce(sum(open_quantity), 0) FROM tax_lots)
        """
        connection = await asyncpg.connect(database)
        try:
            while True:
                row = await connection.fetchrow(query)
                assert row is not None
                seen.append((row[0], row[1]))
                await asyncio.sleep(0.002)
        finally:
            await connection.close()

    async with topics_of(settings) as topics:
        watcher = asyncio.create_task(look())
        with process(settings, STONKS_BROKER="external"):
            await topics.send("records", lot(0, opened="40", left="31"), account_state(0, quantity="31"))
            await rows_until(database, "positions", count=1)  # it runs
            for seq in range(1, 31):
                left = str(31 - seq)
                await topics.send("records", lot(seq, opened="40", left=left))
                await asyncio.sleep(0.05)
                await topics.send("records", account_state(seq, quantity=left))
            await topics.send("records", lot(31, opened="40", left="0"), alert(31))
            await asyncio.sleep(2)
            assert await rows_until(database, "alerts", count=0) == []  # it waits for the end of its step
            await topics.send("records", account_state(31, quantity="0"))
            await rows_until(database, "alerts", count=1)
        watcher.cancel()
    assert [pair for pair in seen if pair[0] != pair[1]] == []
    assert len(set(seen)) > 3  # it was looked at in between


async def test_the_projection_outlives_its_database_connection_and_the_broker_does_not_care(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, database: str
) -> None:
    await migrate(database)
    settings = with_database(settings_of(kafka, topic_prefix, tmp_path), database)
    name = database.rpartition("/")[2].partition("?")[0]
    async with topics_of(settings) as topics:
        with process(settings) as running:
            running.until(lambda here: len(here.checks()) == 7 and all(here.checks().values()))
            for number in range(1, 6):
                await topics.send("records", alert(number))
                others = f"datname = '{name}' AND pid <> pg_backend_pid()"
                await fetch(database, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")  # noqa: S608
                await asyncio.sleep(0.1)
            await rows_until(database, "alerts", count=5)
            await topics.send("price-ticks", *prices("10"))
            await topics.send("orders", order())
            assert trades_of(await topics.until("broker-events", count=3)) == {"order-1": 1}
