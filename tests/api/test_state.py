"""The live state: one account state from the workers, and lags that are never smaller than the truth."""

import asyncio
import contextlib
import datetime as dt
import functools
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiokafka
import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from api.lag import APPLIED, TRADED
from streams.settings import Settings
from streams.topics import TOPICS
from tests.api.conftest import api_on
from tests.api.engine_double import NOON, EngineDouble
from trading.inputs import AccountSnapshot, Pause

pytestmark = pytest.mark.integration
CONTRACT = """enabled, paused, trading_state, risk_tier, circuit_breaker, active_pool, reserve_pool, total_value, cash,
    buying_power, open_buy_holds, portfolio_heat, max_portfolio_heat, open_positions, queued, last_decision_at, mode,
    armed_until, build, as_of, lag, projection_lag"""


@pytest.fixture
async def api(stack: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an API on the real stack, once it knows the broker."""
    async with api_on(stack, listening=True) as client:
        yield client


async def produce(settings: Settings, topic: str, *, count: int = 1) -> None:
    """Send records to a topic and wait until the broker has them."""
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=settings.kafka)
    await producer.start()
    for number in range(count):
        await producer.send_and_wait(settings.topic(topic), b"{}", key=b"any", partition=number % 2)
    await producer.stop()


async def status(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/api/trading/status")
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


@pytest.mark.covers("R16.2")
async def test_the_status_has_the_fields_of_the_contract(api: httpx.AsyncClient) -> None:
    shown = await status(api)
    assert list(shown) == CONTRACT.replace("\n", " ").replace(" ", "").split(",")
    assert shown["total_value"] == shown["active_pool"] == "500"
    assert shown["circuit_breaker"] == {
        "status": "inactive",
        "trigger": None,
        "until": None,
        "remaining_seconds": 0,
        "active": [],
    }
    assert (shown["lag"], shown["projection_lag"]) == (0, 0)
    assert shown["as_of"] == "2026-03-02T17:00:00Z"


async def test_each_record_not_applied_counts_in_the_lag_whatever_its_topic(
    api: httpx.AsyncClient, stack: Settings, engine: EngineDouble
) -> None:
    for topic in (*APPLIED, *TRADED):
        if TOPICS[topic].partition_count(stack) == 1:
            await produce(stack, topic)
            applied = {"0": 1}
        else:
            await produce(stack, topic, count=3)
            applied = {"0": 2, "1": 1}
        assert (await status(api))["lag"] == sum(applied.values()), topic
        (engine.connector_positions if topic in TRADED else engine.positions)[topic] = applied
        assert (await status(api))["lag"] == 0, topic


async def test_a_record_that_arrives_while_the_workers_answer_counts_as_not_applied(
    api: httpx.AsyncClient, stack: Settings, engine: EngineDouble
) -> None:
    """Ends read before the positions, or beside them, would say 0 here: the lie that a waiting caller must not hear."""
    assert (await status(api))["lag"] == 0
    engine.before_answering = functools.partial(produce, stack, "recommendations")
    assert (await status(api))["lag"] >= 1


async def test_a_partition_that_nobody_owns_is_not_applied(
    api: httpx.AsyncClient, stack: Settings, engine: EngineDouble
) -> None:
    await produce(stack, "recommendations", count=2)
    engine.positions["recommendations"] = {"0": 1}
    assert (await status(api))["lag"] == 1


async def test_with_an_external_broker_our_connectors_have_no_part_in_the_lag(stack: Settings) -> None:
    external = stack.model_copy(update={"broker": "external"})
    await produce(stack, "orders", count=2)
    async with api_on(external, listening=True) as client:
        shown = await status(client)
    assert (shown["lag"], shown["projection_lag"]) == (0, 2)


async def test_the_projection_lag_counts_what_postgresql_has_not(
    api: httpx.AsyncClient, stack: Settings, migrated: str
) -> None:
    await produce(stack, "decisions", count=4)
    await produce(stack, "companies")
    assert (await status(api))["projection_lag"] == 5
    connection = await asyncpg.connect(migrated)
    offsets = "('decisions', 0, 2), ('decisions', 1, 1), ('companies', 0, 1)"
    await connection.execute(f"INSERT INTO projection_offsets VALUES {offsets}")  # noqa: S608
    await connection.close()
    assert (await status(api))["projection_lag"] == 1


async def test_as_of_is_the_latest_instant_of_the_row_and_the_workers(
    api: httpx.AsyncClient, engine: EngineDouble
) -> None:
    engine.event_time = NOON - dt.timedelta(minutes=1)
    assert (await status(api))["as_of"] == "2026-03-02T17:00:00Z"
    engine.event_time = NOON + dt.timedelta(minutes=1)
    assert (await status(api))["as_of"] == "2026-03-02T17:01:00Z"


async def test_an_event_in_the_row_is_in_the_status_at_once(api: httpx.AsyncClient, engine: EngineDouble) -> None:
    assert (await status(api))["trading_state"] == "active"
    engine.react(Pause(command_id="1", issued_by="test"))
    shown = await status(api)
    assert (shown["paused"], shown["trading_state"]) == (True, "reducing")


async def test_the_row_of_the_worker_that_is_furthest_counts(stack: Settings, engine: EngineDouble) -> None:
    zombie = EngineDouble(token=engine.token)
    engine.react(
        AccountSnapshot(
            event_id="2",
            account_id="paper",
            at=NOON,
            cash=Decimal(400),
            buying_power=Decimal(400),
            equity=Decimal(400),
            positions=(),
            open_orders=(),
        )
    )
    async with zombie.serving() as url:
        for urls in ((engine.url, url), (url, engine.url)):
            async with api_on(stack.model_copy(update={"worker_urls": urls}), listening=True) as client:
                assert (await client.get("/api/trading/portfolio")).json()["cash"] in {"400", "500"}
                engine.react(Pause(command_id=urls[0], issued_by="test"))
                assert (await status(client))["paused"] is True


async def test_a_worker_that_is_gone_leaves_the_others_answering(stack: Settings, engine: EngineDouble) -> None:
    async with api_on(stack.model_copy(update={"worker_urls": ("http://127.0.0.1:1", engine.url)})) as client:
        assert (await client.get("/api/trading/portfolio")).status_code == 200


async def test_without_a_worker_the_state_is_a_503_problem(api: httpx.AsyncClient, engine: EngineDouble) -> None:
    engine.answers = False
    for path in ("status", "portfolio", "config", "streams"):
        answer = await api.get(f"/api/trading/{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")


async def test_an_account_that_no_worker_has_loaded_is_a_503_problem(
    api: httpx.AsyncClient, engine: EngineDouble
) -> None:
    engine.portfolio = None
    answer = await api.get("/api/trading/status")
    assert (answer.status_code, answer.json()["code"]) == (503, "account_unavailable")


class FrozenAtWill:
    """A way to PostgreSQL that can be made to say nothing, with its connections left open."""

    def __init__(self, url: str) -> None:
        self._before, _, rest = url.rpartition("@")
        self._address, _, self._name = rest.partition("/")
        self.flows = asyncio.Event()
        self.flows.set()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while piece := await source.read(65536):
            await self.flows.wait()
            target.write(piece)
        target.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._address.partition(":")
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer), return_exceptions=True)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[SecretStr]:
        """Give the database's address by this way."""
        async with await asyncio.start_server(self._join, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            yield SecretStr(f"{self._before}@127.0.0.1:{port}/{self._name}")


async def test_the_status_waits_for_no_postgresql(stack: Settings, migrated: str) -> None:
    way = FrozenAtWill(migrated)
    loop = asyncio.get_running_loop()
    async with way.serving() as url, api_on(stack.model_copy(update={"database_url": url}), listening=True) as client:
        assert (await status(client))["projection_lag"] == 0
        await produce(stack, "records", count=3)
        way.flows.clear()
        for _ in range(10):
            began = loop.time()
            assert (await status(client))["projection_lag"] == 3
            assert loop.time() - began < 1.5
        began = loop.time()
        answer = await client.get("/api/trading/orders")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert loop.time() - began < 7
        way.flows.set()
        assert (await client.get("/api/trading/orders")).status_code == 200


async def test_the_policy_is_shown_flat_and_in_decimal_strings(api: httpx.AsyncClient) -> None:
    shown = (await api.get("/api/trading/config")).json()
    assert shown["version"] == 1
    assert shown["base_allocation_pct"] == "0.05"
    assert shown["tiers"]["aggressive"]["min_confidence"] == "0.40"
    assert shown["max_open_positions"] == 10


async def test_the_streams_show_where_every_partition_stands(
    api: httpx.AsyncClient, stack: Settings, engine: EngineDouble
) -> None:
    await produce(stack, "recommendations", count=3)
    engine.positions["recommendations"] = {"0": 1, "1": 1}
    shown = {stream["topic"]: stream for stream in (await api.get("/api/trading/streams")).json()["items"]}
    assert shown["recommendations"]["lag"] == 1
    assert shown["recommendations"]["partitions"] == [
        {"partition": 0, "end_offset": 2, "applied_offset": 1, "projected_offset": None},
        {"partition": 1, "end_offset": 1, "applied_offset": 1, "projected_offset": None},
    ]
    assert shown["dead-letters"]["lag"] is None


@pytest.mark.covers("R5.5", "R6.6")
async def test_the_risk_tier_and_the_breaker_are_shown_with_their_history(
    api: httpx.AsyncClient, migrated: str
) -> None:
    connection = await asyncpg.connect(migrated)
    await connection.execute(
        "INSERT INTO risk_tier_history VALUES ('c', 'paper', $1, 7, 'moderate', 'conservative', 'auto', '{}')", NOON
    )
    breaker = "'e', 'paper', $1, 8, 'triggered', 'daily_loss', NULL, 0.05, 0.06, $1"
    await connection.execute(f"INSERT INTO circuit_breaker_events VALUES ({breaker})", NOON)  # noqa: S608
    await connection.close()
    tier = (await api.get("/api/trading/risk-tier")).json()
    assert (tier["risk_tier"], tier["held"], tier["items"][0]["new_tier"]) == ("moderate", False, "conservative")
    shown = (await api.get("/api/trading/circuit-breakers")).json()
    assert shown["circuit_breaker"]["status"] == "inactive"
    assert shown["items"][0]["actual_value"] == "0.06"
