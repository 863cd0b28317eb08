"""Kafka's data lost, all of it or the tables alone: the account goes on from PostgreSQL, and nothing happens twice.

One stack goes through a day: where the tests run in their order, the tables are lost after the whole log was.
"""

import asyncio
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from migrations.runner import migrate
from streams.identity import committed
from streams.settings import Settings
from streams.topics import APP, FEED_GROUP, PRICES
from tests.integration import market
from tests.integration.engine import Producer, engine
from tests.integration.harness import KEYED_BY, PARTITIONS, Json, Stack, eventually, frozen

pytestmark = [pytest.mark.integration, pytest.mark.covers("R18.5")]

DAY = next(market.sessions())
OF_NOW = {"as_of", "lag", "projection_lag", "paused", "trading_state"}
KEPT_TABLES = ("reserve_pool_ledger", "tax_lots", "positions", "trades", "fills", "circuit_breaker_events")
CHANGELOGS = ("positions", "circuit", "levels", "facts", "cursors")


def at(clock: str) -> str:
    return market.instant(DAY, clock)


def price(stack: Stack, symbol: str, dollars: str, clock: str) -> None:
    stack.produce("price-ticks", [market.tick(symbol, dollars, at(clock))])
    stack.until_lag_zero()


def recommend(stack: Stack, symbol: str, clock: str) -> Json:
    """Send a recommendation and return the decision on it."""
    stack.produce("recommendations", [market.recommendation(symbol, f"{symbol} {clock}", at(clock))])
    stack.until_lag_zero()
    [decision] = stack.bodies("decisions", source_id=f"{symbol} {clock}")
    return decision


def shown(stack: Stack) -> Json:
    """Return what an operator sees of the account, but for what a start may change."""
    status = {name: value for name, value in stack.status().items() if name not in OF_NOW}
    return {"status": status, "positions": stack.get("/api/trading/positions")["items"]}


def tables(stack: Stack) -> dict[str, list[Json]]:
    stack.until_lag_zero(projected=True)
    return {name: stack.sql(f"SELECT * FROM {name} ORDER BY 1") for name in KEPT_TABLES}  # noqa: S608 - our own names


def row(stack: Stack) -> Json:
    """Return the account's row as projected."""
    stack.until_lag_zero(projected=True)
    [found] = stack.sql("SELECT seq, state FROM account_states")
    return {"seq": found["seq"], "state": json.loads(found["state"])}


def replayed(stack: Stack) -> None:
    ran = stack.run("replay", "--assert-identical")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give a stack on which WIN was sold at its target, HELD is held, the tier was set and a breaker has tripped."""
    with Stack() as stack:
        stack.start()
        prices = {"WIN": "40.00", "HELD": "40.00"}
        stack.produce("companies", [market.company(symbol, sector=f"sector {symbol}") for symbol in prices])
        for symbol in prices:
            stack.produce("price-bars", market.bars_before(symbol, DAY, "40.00"))
        stack.until_lag_zero()
        for symbol, dollars in prices.items():
            price(stack, symbol, dollars, "14:00")
            assert recommend(stack, symbol, "14:01")["decision"] == "act"
        price(stack, "WIN", "43.02", "14:10")  # 40.02 paid, ATR 1: the target; 42.99 - 40.02 = 2.97, a fifth is 0.59
        stack.request("PUT", "/api/trading/risk-tier", json={"risk_tier": "aggressive"})
        stack.produce("market-stress", [{"name": "vix", "value": "40", "at": at("14:12")}])
        stack.until_lag_zero()
        yield stack


def test_with_all_of_kafkas_data_lost_the_account_goes_on_from_postgresql(stack: Stack) -> None:
    before, kept, known = shown(stack), tables(stack), row(stack)
    assert before["status"]["reserve_pool"] == "0.59"
    assert before["status"]["risk_tier"] == "aggressive"
    assert before["status"]["circuit_breaker"]["status"] == "active"
    assert [position["symbol"] for position in before["positions"]] == ["HELD"]

    stack.kill()
    eventually(lambda: stack.survivors() == [], seconds=10, what="everything below has ended")
    stack.lose_kafka()
    stack.start()

    assert shown(stack) == before
    assert tables(stack) == kept
    after = row(stack)
    assert after["seq"] > known["seq"]
    apart = {
        "seq",
        "now",
        "paused",
        "snapshot_at",
        "snapshot_id",
        "earlier_snapshots",
        "buying_power",
        "moved_since_snapshot",
    }
    same = known["state"].keys() - apart
    assert {name: after["state"][name] for name in same} == {name: known["state"][name] for name in same}
    [alert] = stack.bodies("records", kind="alert", severity="critical")
    assert alert["subject"].startswith("Kafka's data is lost")
    assert [told["severity"] for told in stack.bodies("notifications", event_type="alert")] == ["critical"]
    assert stack.status()["paused"] is True

    price(stack, "WIN", "40.00", "14:14")
    assert recommend(stack, "WIN", "14:14")["skip_reason"] == "engine_paused"
    price(stack, "HELD", "37.00", "14:15")
    assert [(order["symbol"], order["purpose"]) for order in stack.bodies("orders")] == [("HELD", "stop_loss")]
    assert stack.status()["open_positions"] == 0

    assert stack.request("POST", "/api/trading/resume").status_code in (200, 202)  # 202: on its way, on a slow machine
    stack.until_lag_zero()
    assert stack.status()["paused"] is False
    price(stack, "WIN", "40.00", "16:30")  # the breaker's pause and the reading's half hour are over
    assert recommend(stack, "WIN", "16:30")["skip_reason"] is None
    assert [position["symbol"] for position in stack.get("/api/trading/positions")["items"]] == ["WIN"]
    later = tables(stack)
    for name in ("reserve_pool_ledger", "fills", "circuit_breaker_events"):
        assert all(each in later[name] for each in kept[name]), name
    assert len(later["fills"]) == len(kept["fills"]) + 2
    assert row(stack)["seq"] > after["seq"]
    assert len(stack.read("account-inbox")) < 1_000  # what filled the numbers is given back
    replayed(stack)


def test_with_the_tables_of_kafka_lost_the_log_is_folded_on_and_nobody_is_told_twice(stack: Stack) -> None:
    before = shown(stack)
    known = row(stack)
    positions = {topic: len(stack.read(topic)) for topic in ("orders", "decisions", "account-inbox")}
    eventually(lambda: _group_has_read(stack), seconds=10, what="the positions are committed")

    with frozen(stack.child("agents.worker")):
        _lose_tables(stack)
        stack.child("agents.worker").kill()
    stack.until_unready(seconds=15)
    stack.until_ready(seconds=60)
    stack.until_lag_zero(projected=True)

    assert shown(stack) == before
    new = stack.read("account-inbox")[positions["account-inbox"] :]
    told = [(message.body["kind"], message.body.get("reason")) for message in new]
    assert told[0] == ("worker_started", None)
    assert set(told[1:]) <= {("mark", "level")}  # the levels that it has said again are compared at once
    assert {topic: len(stack.read(topic)) for topic in ("orders", "decisions")} == {
        topic: positions[topic] for topic in ("orders", "decisions")
    }
    after = row(stack)
    same = known["state"].keys() - {"seq", "now"}
    assert {name: after["state"][name] for name in same} == {name: known["state"][name] for name in same}
    [position] = before["positions"]
    price(stack, position["symbol"], "37.00", "16:40")
    [sell] = stack.bodies("orders")[positions["orders"] :]
    assert (sell["symbol"], sell["side"], sell["purpose"]) == (position["symbol"], "sell", "stop_loss")
    replayed(stack)


async def test_a_worker_opens_no_account_before_postgresql_has_said_that_it_knows_none(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, database: str
) -> None:
    """It is not ready and says why; when the tables are there the account is opened and what came is decided."""
    changes = {"STONKS_ACCOUNTS": "paper", "STONKS_DATABASE_URL": database}
    with engine(kafka, topic_prefix, tmp_path, **changes) as worker:
        async with Producer(worker) as producer:
            worker.start()
            await producer.recommend(3)
            await worker.when_applied()
            status, body = worker.ask("worker-1", "/ready")
            [loaded] = [check for check in json.loads(body)["checks"] if check["name"] == "state_loaded"]
            assert (status, loaded["ok"]) == (503, False)
            assert "paper: PostgreSQL cannot be read" in loaded["detail"]
            kinds = [json.loads(record.value)["kind"] for record in await worker.read("account-inbox")]
            assert set(kinds) <= {"recommendation", "clock"}
            assert (kinds.count("recommendation"), await worker.read("decisions")) == (3, [])

            await migrate(database)
            deadline = asyncio.get_running_loop().time() + 20
            while len(decided := await worker.read("decisions")) < 3:
                assert asyncio.get_running_loop().time() < deadline, "the account was not opened"
            assert {json.loads(record.value)["source_id"] for record in decided} == set(producer.ids)


def _group_has_read(stack: Stack) -> bool:
    """Tell whether all that lies in the topics that a worker applies is committed, prices by their own group."""
    ends: dict[tuple[str, int], int] = {}
    for topic in (*KEYED_BY, "account-inbox", "stop-levels"):
        for message in stack.read(topic):
            here = message.topic, message.partition
            ends[here] = max(ends.get(here, 0), message.offset + 1)
    here_now = Settings(kafka=stack.endpoints["kafka"])
    found = {}
    for group, is_prices in ((APP, False), (FEED_GROUP, True)):
        found |= committed(here_now, group, [here for here in ends if (here[0] == PRICES) is is_prices])
    return found == ends


def _lose_tables(stack: Stack) -> None:
    """Delete the changelogs and make them anew, empty."""
    admin = AdminClient({"bootstrap.servers": stack.endpoints["kafka"], "log_level": 0})
    counts: dict[str, int] = {f"stonks-{table}-changelog": PARTITIONS for table in CHANGELOGS}
    counts["stonks-market-cursors-changelog"] = 1
    _await(admin.delete_topics(list(counts)))
    eventually(lambda: not counts.keys() & admin.list_topics(timeout=5).topics.keys(), seconds=10, what="deleted")
    config = {"cleanup.policy": "compact"}
    _await(admin.create_topics([NewTopic(name, count, 1, config=config) for name, count in counts.items()]))


def _await(answers: dict[str, Any]) -> None:
    for answer in answers.values():
        answer.result()
