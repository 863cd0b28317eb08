"""When a record produced from now on is processed, and what is said when it is not."""

import asyncio
import contextlib
import datetime as dt
import pathlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import httpx
import pytest

from api.database import Database
from api.problems import Problem
from api.readiness import NAMES
from stack import kafka
from stack.jars import cache_dir
from stack.ports import free_port
from stack.programs import running
from streams.settings import Settings
from streams.topics import create_topics
from tests.api.conftest import api_on
from tests.api.engine_double import EngineDouble
from tests.api.test_state import produce
from tests.conftest import execute

pytestmark = pytest.mark.integration
CONTRACT = """kafka, database, topics, migrations, worker, connectors, state_loaded, reconciled, consuming,
    projection"""
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"


@pytest.fixture
async def api(stack: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an API that hears its Kafka."""
    async with api_on(stack, listening=True) as client:
        yield client


async def ready(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    """Return the checks by name, and see that status and body agree."""
    answer = await client.get("/ready")
    body = answer.json()
    assert set(body) == {"ready", "checks"}
    assert all(set(check) == {"name", "ok", "required", "detail", "since"} for check in body["checks"])
    assert body["ready"] is all(check["ok"] for check in body["checks"] if check["required"])
    assert answer.status_code == (200 if body["ready"] else 503)
    return {check["name"]: check for check in body["checks"]}


def failing(checks: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, check in checks.items() if not check["ok"]}


async def until_ready_is(client: httpx.AsyncClient, status: int, *, seconds: float = 15) -> float:
    """Return how long it took until `/ready` answered that status."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (await client.get("/ready")).status_code != status:
        assert loop.time() - began < seconds, (await client.get("/ready")).text
        await asyncio.sleep(0.1)
    return loop.time() - began


def test_the_checks_have_the_names_of_the_contract() -> None:
    assert tuple(CONTRACT.replace("\n", "").replace(" ", "").split(",")) == NAMES


@pytest.mark.covers("R1.7")
async def test_everything_in_place_is_ready(api: httpx.AsyncClient) -> None:
    checks = await ready(api)
    assert tuple(checks) == NAMES
    assert failing(checks) == set(), checks
    assert all(check["required"] for check in checks.values())


@pytest.mark.covers("R1.7")
@pytest.mark.parametrize("name", ["state_loaded", "reconciled", "consuming"])
async def test_what_a_worker_says_of_itself_counts(api: httpx.AsyncClient, engine: EngineDouble, name: str) -> None:
    await ready(api)
    engine.checks[name] = False
    checks = await ready(api)
    assert failing(checks) == {name}
    assert (await api.get("/ready")).status_code == 503


async def test_with_an_external_broker_reconciliation_is_not_required(stack: Settings, engine: EngineDouble) -> None:
    engine.checks["reconciled"] = False
    async with api_on(stack.model_copy(update={"broker": "external"}), listening=True) as client:
        checks = await ready(client)
        assert (await client.get("/ready")).status_code == 200
    assert failing(checks) == {"reconciled"}


async def test_a_lost_worker_and_lost_connectors_show_at_once_and_again_when_back(
    api: httpx.AsyncClient, engine: EngineDouble
) -> None:
    await ready(api)
    engine.answers = False
    assert failing(await ready(api)) == {"worker", "state_loaded", "reconciled", "consuming"}
    engine.answers, engine.connectors_answer = True, False
    assert failing(await ready(api)) == {"connectors"}
    engine.connectors_answer = True
    assert failing(await ready(api)) == set()


async def test_one_of_two_workers_lost_is_not_ready(stack: Settings, engine: EngineDouble) -> None:
    two = stack.model_copy(update={"worker_urls": (engine.url, "http://127.0.0.1:1")})
    async with api_on(two, listening=True) as client:
        checks = await ready(client)
    assert failing(checks) == {"worker"}
    assert checks["worker"]["detail"] == "1 of 2 answer"


async def test_a_partition_that_no_worker_reads_is_not_ready(api: httpx.AsyncClient, engine: EngineDouble) -> None:
    del engine.positions["commands"]["1"]
    checks = await ready(api)
    assert failing(checks) == {"consuming"}
    assert "commands/1" in checks["consuming"]["detail"]


async def test_a_part_of_the_connectors_that_fails_is_named(api: httpx.AsyncClient, engine: EngineDouble) -> None:
    engine.connector_checks = [{"name": "broker", "ok": False, "required": True, "detail": "refuses", "since": ""}]
    checks = await ready(api)
    assert failing(checks) == {"connectors"}
    assert checks["connectors"]["detail"] == "broker: refuses"


async def test_a_channel_that_fails_is_told_and_stops_nothing(api: httpx.AsyncClient, engine: EngineDouble) -> None:
    engine.connector_checks = [
        {"name": "sms", "ok": False, "required": False, "detail": "SNS refused: Throttling", "since": ""}
    ]
    checks = await ready(api)
    assert failing(checks) == set()
    assert checks["connectors"]["detail"] == "sms: SNS refused: Throttling"


async def test_since_is_the_instant_of_the_last_change(api: httpx.AsyncClient, engine: EngineDouble) -> None:
    first = (await ready(api))["consuming"]["since"]
    await asyncio.sleep(0.01)
    assert (await ready(api))["consuming"]["since"] == first
    engine.checks["consuming"] = False
    second = (await ready(api))["consuming"]["since"]
    assert dt.datetime.fromisoformat(second) > dt.datetime.fromisoformat(first)
    assert (await ready(api))["consuming"]["since"] == second


def database_name(url: str) -> str:
    return url.rpartition("/")[2].partition("?")[0]


@contextlib.contextmanager
def without_postgresql(server: str, settings: Settings) -> Iterator[None]:
    """Let the database refuse every connection for a while, and cut those that are there."""
    name = database_name(settings.database_url.get_secret_value())
    execute(server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    execute(server, CUT.replace("$1", f"'{name}'"))
    yield
    execute(server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


async def test_trading_goes_on_without_postgresql_once_it_has_started(
    api: httpx.AsyncClient, stack: Settings, postgres_url: str
) -> None:
    assert (await api.get("/ready")).status_code == 200
    with without_postgresql(postgres_url, stack):
        checks = await ready(api)
        assert failing(checks) == {"database", "projection"}
        assert not checks["database"]["required"]
        assert not checks["projection"]["required"]
        assert (await api.get("/ready")).status_code == 200
        assert (await api.get("/api/trading/status")).status_code == 200
        assert (await api.get("/api/trading/orders")).json()["code"] == "database_unavailable"
        async with api_on(stack, listening=True) as never_started:
            assert {"database", "projection", "migrations"} <= failing(await ready(never_started))
            assert (await never_started.get("/ready")).status_code == 503
    assert failing(await ready(api)) == set()
    assert (await api.get("/api/trading/orders")).status_code == 200


async def test_a_connection_that_is_cut_at_any_instant_is_an_outage(migrated: str, postgres_url: str) -> None:
    """Between the server's last word and the end of the connection, asyncpg fails in ways of its own."""
    database, outcomes, over = Database(migrated), set(), asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            try:
                await database.rows("SELECT 1")
                outcomes.add("rows")
            except Problem as problem:
                outcomes.add(problem.document.code)

    await database.start()
    asking = [asyncio.create_task(ask()) for _ in range(6)]
    cutter = await asyncpg.connect(postgres_url)
    try:
        for _ in range(30):
            await cutter.execute(CUT, database_name(migrated))
            await asyncio.sleep(0.01)
        over.set()
        await asyncio.gather(*asking)
    finally:
        await cutter.close()
        await database.stop()
    assert outcomes == {"rows", "database_unavailable"}


async def test_a_database_that_is_not_migrated_is_not_ready(stack: Settings, migrated: str) -> None:
    await asyncio.to_thread(execute, migrated, "DROP TABLE schema_migrations")
    async with api_on(stack, listening=True) as client:
        assert failing(await ready(client)) == {"migrations"}


async def test_a_projection_that_stands_still_is_not_ready(
    api: httpx.AsyncClient, stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await api.get("/ready")).status_code == 200
    await produce(stack, "records", count=3)
    monkeypatch.setattr("api.readiness.SECONDS_WITHOUT_PROGRESS", 0.2)
    await asyncio.sleep(0.3)
    checks = await ready(api)
    assert failing(checks) == {"projection"}
    assert checks["projection"]["detail"] == "3 records behind"


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"partitions": 3}, "recommendations has 2 partitions and must have 3"),
        ({"topic_prefix": "nothing-"}, "recommendations is missing"),
    ],
)
async def test_topics_that_are_missing_or_of_another_size_are_named(
    stack: Settings, change: dict[str, Any], detail: str
) -> None:
    async with api_on(stack.model_copy(update=change)) as client:
        checks = await ready(client)
        assert detail in checks["topics"]["detail"]
        assert (await client.get("/ready")).status_code == 503


async def test_a_lost_kafka_shows_within_fifteen_seconds_and_so_does_its_return(
    stack: Settings, tmp_path: pathlib.Path
) -> None:
    port, controller_port = free_port(), free_port()
    program = kafka.prepare(tmp_path / "kafka", port=port, controller_port=controller_port, cache=cache_dir(stack))
    own = stack.model_copy(update={"kafka": kafka.bootstrap(port)})

    def is_ready(_: int) -> bool:
        return kafka.is_ready(own.kafka)

    async with contextlib.AsyncExitStack() as later:
        with running(program, is_ready):
            await asyncio.to_thread(create_topics, own.kafka, own)
            client = await later.enter_async_context(api_on(own, listening=True))
            await until_ready_is(client, 200)
        await until_ready_is(client, 503, seconds=15)
        checks = await ready(client)
        assert {"kafka", "topics"} <= failing(checks)
        assert (await client.get("/health")).status_code == 200
        answer = await client.get("/api/trading/status")
        assert (answer.status_code, answer.json()["code"]) == (503, "kafka_unavailable")
        with running(program, is_ready):
            await until_ready_is(client, 200, seconds=20)
            answer = await client.get("/api/trading/status")
            assert answer.json()["lag"] == 0
