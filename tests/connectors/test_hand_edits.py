"""A hand edit in PostgreSQL, through the real connectors, a real log and the real `react`, and back into the table."""

import asyncio
import contextlib
import json
import pathlib
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer

from connectors.hand_edits import SECONDS_BETWEEN_LOOKS
from migrations.runner import migrate
from streams.settings import Settings
from tests.connectors.running import Process, Topics, process, settings_of, topics_of, with_database
from tests.trading.desk import at
from trading import records
from trading.engine import react
from trading.events import AccountOpened, Event
from trading.inputs import COMMAND, AccountSnapshot
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio

pytestmark = pytest.mark.integration


class Engine:
    """One account that obeys the log; everything it records goes where the projection reads it."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self.row: Portfolio | None = None
        self.seq = -1

    async def react(self, event: Event) -> None:
        self.seq += 1
        self.row, effects = react(self.row, event, seq=self.seq)
        await self.topics.send(
            "records",
            *(effect for effect in effects if isinstance(effect, records.Record.__origin__)),  # type: ignore[attr-defined]
        )

    async def open(self) -> None:
        await self.react(
            AccountOpened(account_id="paper", at=at("15:00"), policy=TradingPolicy(), mode="paper", build="test")
        )
        await self.react(
            AccountSnapshot(
                event_id="1",
                at=at("15:00"),
                cash=Decimal(500),
                buying_power=Decimal(500),
                equity=Decimal(500),
                positions=(),
                open_orders=(),
            )
        )

    async def obey(self) -> None:
        """Read `commands` from its beginning and react to each, until cancelled."""
        settings = self.topics.settings
        consumer = AIOKafkaConsumer(
            settings.topic("commands"), bootstrap_servers=settings.kafka, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            async for message in consumer:
                await self.react(COMMAND.validate_json(message.value))
        finally:
            await consumer.stop()

    @contextlib.asynccontextmanager
    async def obeying(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.obey())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Table:
    """The database as a person with `psql` sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def run(self, query: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.url)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    async def edit(self, what: str) -> None:
        await self.run(f"UPDATE trading_engine_config SET {what}")  # noqa: S608 - our own words

    async def config(self) -> dict[str, Any]:
        rows = await self.run("SELECT * FROM trading_engine_config")
        return dict(rows[0]) | {"policy": json.loads(rows[0]["policy"])} if rows else {}

    async def until(self, condition: Callable[[dict[str, Any]], bool], running: Process) -> dict[str, Any]:
        deadline = time.monotonic() + 60  # the contract's minute
        while not condition(row := await self.config()):
            assert time.monotonic() < deadline, f"{row}\n{running.log.read_text()}"
            await asyncio.sleep(0.1)
        return row


@pytest.fixture
async def settings(kafka: str, topic_prefix: str, tmp_path: pathlib.Path, database: str) -> Settings:
    """Give the settings of connectors on a migrated database, without a broker."""
    await migrate(database)
    return with_database(settings_of(kafka, topic_prefix, tmp_path, broker="external"), database)


def url_of(settings: Settings) -> str:
    return settings.database_url.get_secret_value()


@pytest.mark.covers("R16.1")
async def test_a_hand_edit_is_in_force_within_a_minute_or_refused_told_and_undone(settings: Settings) -> None:
    table = Table(url_of(settings))
    async with topics_of(settings) as topics:
        engine = Engine(topics)
        with process(settings, STONKS_BROKER="external") as running:
            await engine.open()
            async with engine.obeying():
                await table.until(lambda row: row.get("version") == 1, running)

                await table.edit("daily_loss_pct = 0.03, gradual_entry_tranches = 4")
                row = await table.until(lambda row: row["version"] == 2, running)
                assert (row["daily_loss_pct"], row["gradual_entry_tranches"]) == (Decimal("0.03"), 4)
                assert (row["policy"]["daily_loss_pct"], row["policy"]["version"]) == ("0.03", 2)

                await table.edit("daily_loss_pct = 0.5, risk_tier = 'aggressive'")  # loosens: confirmed by itself
                row = await table.until(lambda row: (row["version"], row["policy"]["version"]) == (3, 3), running)
                assert (row["daily_loss_pct"], row["risk_tier"]) == (Decimal("0.5"), "aggressive")

                await table.edit("policy = jsonb_set(policy, '{tiers,moderate,min_confidence}', '0.6')")
                row = await table.until(lambda row: row["version"] == 4, running)
                assert row["policy"]["tiers"]["moderate"]["min_confidence"] == "0.6"

                refused = ["daily_loss_pct = 'NaN'", "version = 9, daily_loss_pct = 0.01", "policy = '[]'"]
                for number, wrong in enumerate(refused, start=1):
                    await table.edit(wrong)
                    assert await table.until(lambda found: found == row, running) == row
                    for _ in range(50):
                        if len(await table.run("SELECT FROM alerts")) == number:
                            break
                        await asyncio.sleep(0.1)
                assert len(await table.run("SELECT FROM alerts WHERE subject LIKE '%hand edit%'")) == 3

    audited = await table.run("SELECT version, issued_by FROM config_audit WHERE source = 'operator' ORDER BY version")
    assert [tuple(each) for each in audited] == [(2, "sql"), (3, "sql"), (4, "sql")]
    tiers = await table.run("SELECT new_tier, metrics ->> 'issued_by' FROM risk_tier_history")
    assert [tuple(each) for each in tiers] == [("aggressive", "sql")]
    assert engine.row is not None
    assert (engine.row.policy.version, engine.row.risk_tier, engine.row.tier_held) == (4, "aggressive", True)


@pytest.mark.covers("R16.1")
async def test_an_edit_on_a_version_that_is_no_more_is_stale_and_undoes_nothing(settings: Settings) -> None:
    """An operator changes the policy over HTTP after the edit, and before it is seen."""
    table = Table(url_of(settings))
    async with topics_of(settings) as topics:
        engine = Engine(topics)
        await engine.open()
        with process(settings, STONKS_BROKER="external") as running:
            await table.until(lambda row: row.get("version") == 1, running)
        await table.edit("stop_cluster_count = 2")
        await engine.react(
            COMMAND.validate_python(
                {
                    "kind": "update_config",
                    "command_id": "http",
                    "issued_by": "api:operator",
                    "version": 1,
                    "changes": {"max_open_positions": 4},
                }
            )
        )
        with process(settings, STONKS_BROKER="external") as running:
            async with engine.obeying():
                row = await table.until(lambda row: row["version"] == 2, running)
                alerts = await table.run("SELECT body FROM alerts")
    assert (row["stop_cluster_count"], row["policy"]["max_open_positions"]) == (3, 4)
    assert [alert["body"].partition(":")[0] for alert in alerts] == ["stale_version"]
    assert engine.row is not None
    assert engine.row.policy.version == 2


async def test_a_restart_repeats_no_command(settings: Settings) -> None:
    """The connectors end while the engine is away; whoever comes after them sends the same id, and then no more."""
    table = Table(url_of(settings))
    async with topics_of(settings) as topics:
        engine = Engine(topics)
        await engine.open()
        with process(settings, STONKS_BROKER="external") as running:
            await table.until(lambda row: row.get("version") == 1, running)
            await table.edit("daily_loss_pct = 0.9")
            await topics.until("commands", count=1)
        with process(settings, STONKS_BROKER="external") as running:
            await topics.until("commands", count=2)
            async with engine.obeying():
                row = await table.until(lambda row: row["version"] == 2, running)
        with process(settings, STONKS_BROKER="external") as running:
            running.until(lambda here: here.checks().get("hand_edits", False))
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS / 2)
        sent = await topics.read("commands")
    assert row["daily_loss_pct"] == Decimal("0.9")
    assert engine.row is not None
    assert engine.row.policy.version == 2
    first, repeated, confirmation = [command["command_id"] for command in sent]
    assert first == repeated
    assert confirmation == f"{first}-confirmed"


async def test_without_postgresql_an_edit_waits(settings: Settings) -> None:
    table = Table(url_of(settings))
    name = url_of(settings).rpartition("/")[2].partition("?")[0]
    others = f"datname = '{name}' AND pid <> pg_backend_pid()"
    async with topics_of(settings) as topics:
        engine = Engine(topics)
        await engine.open()
        with process(settings, STONKS_BROKER="external") as running:
            async with engine.obeying():
                await table.until(lambda row: row.get("version") == 1, running)
                await table.edit("daily_loss_pct = 0.02")
                await table.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")  # noqa: S608
                row = await table.until(lambda row: row["version"] == 2, running)
    assert row["daily_loss_pct"] == Decimal("0.02")
