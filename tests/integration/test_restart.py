"""Losing parts and coming back: what `/ready` says meanwhile, what a later start goes on with, what is left behind.

Each test has a stack of its own, on the system's clock unless trading has to be seen.
"""

import datetime as dt
import json
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.integration import market
from tests.integration.harness import Raw, Stack, eventually, frozen

pytestmark = pytest.mark.integration

LOST_WITHIN, BACK_WITHIN = 15.0, 20.0
PARTS = ("agents.worker", "connectors", "api", "kafka.Kafka", "postgres")
CHECKS = [
    "kafka",
    "database",
    "topics",
    "migrations",
    "worker",
    "connectors",
    "state_loaded",
    "reconciled",
    "consuming",
    "projection",
]


def now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()


def decided_within(stack: Stack, recommendation_id: str, *, seconds: float = 5.0) -> float:
    """Send a recommendation of an unknown symbol and return how long its decision took: what 200 promises.

    A price that is no number is refused as soon: prices come another way than the rest.
    """
    stack.produce("recommendations", [market.recommendation("NOBODY", recommendation_id, now())])
    [price] = stack.produce("price-ticks", [market.tick("NOBODY", "none", now())])
    took = eventually(
        lambda: bool(stack.bodies("decisions", source_id=recommendation_id)),
        seconds=seconds,
        what=f"a decision on {recommendation_id}",
    )
    place = (price.topic, price.partition, price.offset)
    eventually(lambda: place in stack.dead_letters(), seconds=seconds, what=f"the price after {recommendation_id}")
    return took


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give a stack on the system's clock that the tests of this module break and let mend itself."""
    with Stack(clock="system") as stack:
        yield stack.start()


@pytest.mark.covers("R1.7")
def test_ready_names_every_check_in_its_words(stack: Stack) -> None:
    status, body = stack.readiness()
    assert status == 200
    assert body["ready"] is True
    assert [check["name"] for check in body["checks"]] == CHECKS
    for check in body["checks"]:
        assert set(check) == {"name", "ok", "required", "detail", "since"}
        assert dt.datetime.fromisoformat(check["since"]).tzinfo is not None
    assert all(check["ok"] for check in body["checks"])
    assert stack.request("GET", "/health", role=None).status_code == 200
    assert set(stack.endpoints) == {"kafka", "database_url", "http", "pid", "build", "started_at"}


def test_every_part_is_a_descendant_that_carries_its_name(stack: Stack) -> None:
    for part in PARTS:
        assert len(stack.children(part)) == 1, part


def test_a_second_start_on_the_same_data_is_refused_with_5_and_the_pid_of_the_first(stack: Stack) -> None:
    refused = stack.run("up")
    assert refused.returncode == 5
    assert refused.stderr.splitlines()[-1].startswith("error: ")
    assert str(stack.endpoints["pid"]) in refused.stderr.splitlines()[-1]
    assert stack.readiness()[0] == 200


def test_a_record_more_than_five_minutes_ahead_of_the_clock_is_a_dead_letter(stack: Stack) -> None:
    ahead = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=6)).isoformat()
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=4)).isoformat()
    early = [
        *stack.produce("price-ticks", [market.tick("AHEAD", "1.00", ahead)]),
        *stack.produce("recommendations", [market.recommendation("AHEAD", "ahead", ahead)]),
        *stack.produce("market-stress", [{"name": "vix", "value": "20", "at": ahead}]),
    ]
    stack.produce("price-ticks", [market.tick("AHEAD", "1.00", soon)])
    stack.produce("recommendations", [market.recommendation("AHEAD", "soon", soon)])
    stack.until_lag_zero()
    letters = stack.dead_letters()
    assert set(letters) == {(place.topic, place.partition, place.offset) for place in early}
    assert all(letter["error"].startswith("invalid_field: ") for letter in letters.values())
    assert [decision["source_id"] for decision in stack.bodies("decisions")] == ["soon"]


@pytest.mark.parametrize("part", ["agents.worker", "connectors", "kafka.Kafka"])
def test_ready_is_503_soon_after_a_part_is_killed_and_200_again_within_twenty_seconds(stack: Stack, part: str) -> None:
    stack.until_ready(seconds=30)
    victim = stack.child(part)
    victim.kill()
    began = time.monotonic()
    stack.until_unready(seconds=LOST_WITHIN)
    stack.until_ready(seconds=BACK_WITHIN)
    back = time.monotonic() - began
    took = decided_within(stack, f"after the death of {part}")
    print(f"{part}: killed, /ready 200 again after {back:.1f} s, the next decision within {took:.2f} s")
    assert back <= BACK_WITHIN
    assert stack.child(part).pid != victim.pid


@pytest.mark.parametrize("part", ["agents.worker", "connectors", "kafka.Kafka"])
def test_ready_is_503_within_fifteen_seconds_of_a_part_that_hangs_and_200_again_when_it_goes_on(
    stack: Stack, part: str
) -> None:
    stack.until_ready(seconds=30)
    with frozen(stack.child(part)):
        lost = stack.until_unready(seconds=LOST_WITHIN)
        time.sleep(1)
        assert stack.readiness()[0] == 503
        assert stack.request("GET", "/health", role=None).status_code == 200
    back = stack.until_ready(seconds=BACK_WITHIN)
    took = decided_within(stack, f"after {part} hung")
    print(f"{part}: hung, 503 after {lost:.1f} s; woken, 200 after {back:.1f} s, then a decision in {took:.2f} s")


def test_a_dead_api_is_back_within_twenty_seconds(stack: Stack) -> None:
    stack.until_ready(seconds=30)
    stack.child("api").kill()
    stack.until_unready(seconds=LOST_WITHIN)
    stack.until_ready(seconds=BACK_WITHIN)


def test_trading_goes_on_without_postgresql_and_the_tables_catch_up(stack: Stack) -> None:
    stack.until_ready(seconds=30)
    server = stack.child("postgres")
    with frozen(server, *server.children()):
        time.sleep(3)
        assert stack.readiness()[0] == 200  # the database is not required once the engine has started
        took = decided_within(stack, "without postgresql")
        status = stack.status()
        assert status["lag"] == 0
        assert status["projection_lag"] > 0
    stack.until_lag_zero(projected=True)
    [row] = stack.sql("SELECT * FROM trading_decisions WHERE source_id = $1", "without postgresql")
    assert row["skip_reason"] == "unknown_symbol"
    print(f"without PostgreSQL a decision took {took:.2f} s")


def test_a_dead_postgresql_is_back_and_nothing_is_missing_in_the_tables(stack: Stack) -> None:
    stack.until_ready(seconds=30)
    stack.child("postgres").kill()
    decided_within(stack, "while postgresql is dead")
    eventually(lambda: bool(stack.children("postgres")), seconds=BACK_WITHIN, what="postgres is back")
    stack.until_lag_zero(projected=True, seconds=BACK_WITHIN)
    rows = stack.sql("SELECT source_id FROM trading_decisions")
    decided = [decision["source_id"] for decision in stack.bodies("decisions")]
    assert sorted(row["source_id"] for row in rows) == sorted(decided)


def test_what_is_sent_while_the_worker_is_away_is_processed_when_it_is_back(stack: Stack) -> None:
    stack.until_ready(seconds=30)
    count = 200
    stop = threading.Event()

    def kill_once() -> None:
        time.sleep(0.05)
        stack.child("agents.worker").kill()
        stop.set()

    killer = threading.Thread(target=kill_once)
    killer.start()
    records = [market.recommendation("NOBODY", f"backlog-{number}", now()) for number in range(count)]
    for start in range(0, count, 20):
        stack.produce("recommendations", records[start : start + 20])
    killer.join()
    assert stop.is_set()
    stack.until_ready(seconds=BACK_WITHIN)
    stack.until_lag_zero()
    decided = [each["source_id"] for each in stack.bodies("decisions") if each["source_id"].startswith("backlog-")]
    assert sorted(decided) == sorted(record["recommendation_id"] for record in records)


@pytest.mark.covers("R18.5")
def test_sigterm_ends_within_thirty_seconds_and_a_later_start_goes_on_where_it_was() -> None:
    """The order that is sent before the end is filled, protected and left after it."""
    day = next(market.sessions())
    with Stack() as stack:
        stack.start()
        stack.produce("companies", [market.company("KEPT")])
        stack.produce("price-bars", market.bars_before("KEPT", day, "40.00"))
        stack.until_lag_zero()
        stack.produce("price-ticks", [market.tick("KEPT", "40.00", market.instant(day, "14:00"))])
        stack.until_lag_zero()
        stack.produce("recommendations", [market.recommendation("KEPT", "kept", market.instant(day, "14:01"))])
        before = stack.until_lag_zero()
        endpoints = stack.endpoints
        tokens = json.loads((stack.data_dir / "tokens.json").read_text())

        began = time.monotonic()
        assert stack.ask_to_stop(signal.SIGTERM) == 0
        print(f"SIGTERM to the end: {time.monotonic() - began:.1f} s")
        assert stack.survivors() == []
        assert not (stack.data_dir / "endpoints.json").exists()

        began = time.monotonic()
        stack.start()
        print(f"a later start is ready after {time.monotonic() - began:.1f} s")
        kept = ("kafka", "database_url", "http")
        assert {name: stack.endpoints[name] for name in kept} == {name: endpoints[name] for name in kept}
        assert json.loads((stack.data_dir / "tokens.json").read_text()) == tokens
        after = stack.until_lag_zero()
        changing = {"as_of", "lag", "projection_lag"}
        assert {k: v for k, v in after.items() if k not in changing} == {
            k: v for k, v in before.items() if k not in changing
        }
        assert after["as_of"] >= before["as_of"]

        stack.produce("recommendations", [market.recommendation("KEPT", "kept", market.instant(day, "14:01"))])
        stack.produce("price-ticks", [market.tick("KEPT", "38.00", market.instant(day, "14:03"))])
        stack.until_lag_zero(projected=True)
        sides = [(order["side"], order["purpose"]) for order in stack.bodies("orders")]
        assert sides == [("buy", "entry"), ("sell", "stop_loss")]
        assert len(stack.bodies("records", kind="duplicate")) == 1
        assert len(stack.sql("SELECT 1 FROM trades")) == 1
        assert stack.ask_to_stop(signal.SIGINT) == 0
        assert stack.survivors() == []


@pytest.mark.covers("R18.5")
def test_nothing_outlives_a_stack_that_is_killed_and_the_next_one_has_lost_nothing() -> None:
    with Stack(clock="system") as stack:
        stack.start()
        decided_within(stack, "before")
        late = [market.recommendation("NOBODY", f"late-{number}", now()) for number in range(50)]
        stack.produce("recommendations", late)
        stack.kill()
        eventually(lambda: stack.survivors() == [], seconds=10, what="everything below has ended")
        stack.start()
        stack.until_lag_zero(projected=True)
        decided = {decision["source_id"] for decision in stack.bodies("decisions")}
        assert decided == {"before", *(each["recommendation_id"] for each in late)}
        assert {row["source_id"] for row in stack.sql("SELECT source_id FROM trading_decisions")} == decided


def test_a_stack_takes_up_a_topic_prefix_and_poison_of_ours_carries_public_names() -> None:
    with Stack(clock="system", STONKS_TOPIC_PREFIX="mine-") as stack:
        stack.start()
        stack.produce("mine-recommendations", [Raw(b"{", b"AAA")])
        stack.until_lag_zero()
        [message] = stack.read("mine-dead-letters")
        assert message.body["topic"] == "recommendations"
        assert message.key == b"recommendations"
