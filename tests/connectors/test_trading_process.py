"""The connectors' process on a real Kafka: killed anywhere, an order trades once; ended, it ends; wrong, it says so."""

import asyncio
import pathlib
import signal
import socket
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from migrations.runner import migrate
from stack.ports import LOOPBACK
from streams.settings import Settings
from tests.connectors.examples import NOON, cancel_of, minutes, order, prices
from tests.connectors.running import (
    Process,
    Topics,
    has_applied,
    is_ready,
    process,
    settings_of,
    topics_of,
    trades_of,
    with_database,
)
from trading.inputs import PriceTicks

pytestmark = pytest.mark.integration


async def test_orders_and_cancels_are_answered_on_broker_events(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path
) -> None:
    settings = settings_of(kafka, topic_prefix, tmp_path)
    async with topics_of(settings) as topics:
        with process(settings) as running:
            (snapshot,) = await topics.until("broker-events", count=1)
            assert (snapshot["kind"], snapshot["cash"], snapshot["positions"]) == ("account_snapshot", "500", [])
            assert "at" not in snapshot
            assert snapshot["newest_order_id"] == ""
            running.until(is_ready)
            await topics.send("price-ticks", *prices("99", "100"), *prices("150"))
            await topics.send("price-ticks", PriceTicks(symbol="AAPL", price=Decimal(7), at=NOON - minutes(9)))
            await topics.send("orders", order(quantity="2"), order(number=2, symbol="KO"))
            events = await topics.until("broker-events", count=4)
            assert [(event["kind"], event.get("price")) for event in events[1:]] == [
                ("order_accepted", None),
                ("order_fill", "150.08"),  # 150 x 1.0005, up; the late tick of 7 changes no price
                ("order_rejected", None),
            ]
            assert events[2]["fill_id"] == "order-1:2"
            await topics.send("order-cancels", cancel_of(1), cancel_of(3))
            events = await topics.until("broker-events", count=7)
            assert events[4:6] == events[1:3]  # too late: the same words
            assert (events[6]["kind"], events[6]["cumulative_quantity"]) == ("order_cancelled", "0")
            await topics.send("orders", order(number=3))
            assert (await topics.until("broker-events", count=8))[7] == events[6]  # it was cancelled before it came
            running.until(lambda here: has_applied(here, orders=3, order_cancels=2))
            assert running.get("/live")[1]["positions"]["orders"].keys() == {"0", "1"}


@pytest.mark.parametrize("point", ["broker.read", "broker.committed", "broker.sent"])
@pytest.mark.parametrize("times", [1, 3])
async def test_killed_between_any_two_steps_an_order_trades_once(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, point: str, times: int
) -> None:
    settings = settings_of(kafka, topic_prefix, tmp_path)
    async with topics_of(settings) as topics:
        await topics.send("price-ticks", *prices("10"))
        with process(settings, STONKS_CRASH_AT=f"{point}:{times}", STONKS_SIM_PARTIAL_PCT="50") as crashed:
            for number in range(1, 7):
                await topics.send("orders", order(quantity="5", number=number))
                await crashed.until_dead_or(partial(has_applied, orders=number))
            assert crashed.child.poll() == 137
        with process(settings, STONKS_SIM_PARTIAL_PCT="50") as running:
            running.until(lambda here: has_applied(here, orders=6))
            events = await topics.read("broker-events")
            book = await snapshot_after_restart(running, settings, topics)
        shares = trades_of(events)
        assert set(shares) == {f"order-{number}" for number in range(1, 7)}
        assert {position["symbol"]: int(Decimal(position["quantity"])) for position in book["positions"]} == {
            "AAPL": shares.total()
        }
        assert book["newest_order_id"] == "order-6"
        assert Decimal(book["cash"]) == 500 - shares.total() * Decimal("10.01")
        by_id: dict[str, dict[str, Any]] = {}
        for event in events:
            assert by_id.setdefault(event["event_id"], event) == event  # said twice, it is the same


async def snapshot_after_restart(running: Process, settings: Settings, topics: Topics) -> dict[str, Any]:
    """Restart the process and return the snapshot that it begins with."""
    running.child.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(running.child.wait, 10) == 0
    before = len(await topics.read("broker-events"))
    with process(settings):
        return (await topics.until("broker-events", count=before + 1))[-1]


async def test_it_ends_on_sigterm_within_seconds_and_comes_back_after_a_kill(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, database: str
) -> None:
    await migrate(database)
    settings = with_database(settings_of(kafka, topic_prefix, tmp_path), database)
    async with topics_of(settings):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
            with process(settings) as running:
                running.until(is_ready)
                running.child.send_signal(number)
                ended = await asyncio.to_thread(running.child.wait, 8)
                assert ended == (-signal.SIGKILL if number == signal.SIGKILL else 0)


async def test_its_http_shows_every_part_and_asks_for_the_token(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, database: str
) -> None:
    await migrate(database)
    settings = with_database(settings_of(kafka, topic_prefix, tmp_path), database)
    async with topics_of(settings):
        with process(settings, STONKS_INTERNAL_TOKEN="secret") as running:
            running.until(lambda here: here.get("/ready", "secret")[0] == 200)
            assert running.get("/health") == (200, {"status": "ok"})
            assert {path: running.get(path, "wrong")[0] for path in ("/ready", "/live", "/metrics")} == {
                "/ready": 401,
                "/live": 401,
                "/metrics": 401,
            }
            running.until(lambda here: all(here.checks("secret").values()))
            checks = running.get("/ready", "secret")[1]["checks"]
            assert [(each["name"], each["required"]) for each in checks] == [
                ("broker", True),
                ("projection", False),
                ("correlations", False),
                ("hand_edits", False),
                ("delivery", False),
                ("sms", False),
                ("email", False),
            ]
            assert 'stonks_connector_ok{part="broker"} 1.0' in running.get("/metrics", "secret")[1]


@pytest.mark.parametrize(
    ("variables", "code", "text"),
    [
        ({"STONKS_BROKER": "etrade"}, 2, "error: STONKS_BROKER: Input should be 'simulated'"),
        ({"STONKS_SIM_SEED": "one"}, 2, "error: STONKS_SIM_SEED: Input should be a valid integer"),
        ({"STONKS_BROKER": "alpaca"}, 2, "error: STONKS_ALPACA_KEY_ID and STONKS_ALPACA_SECRET_KEY are not both set"),
        ({"STONKS_BROKER": "fake-alpaca"}, 2, "error: STONKS_BROKER=fake-alpaca goes to this machine alone"),
    ],
)
def test_wrong_settings_are_named(tmp_path: pathlib.Path, variables: dict[str, str], code: int, text: str) -> None:
    with process(settings_of("127.0.0.1:1", "", tmp_path), **variables) as running:
        assert running.child.wait(20) == code
        assert running.log.read_text().splitlines()[-1].startswith(text)


def test_a_port_in_use_is_named(tmp_path: pathlib.Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = str(taken.getsockname()[1])
        with process(settings_of("127.0.0.1:1", "", tmp_path), STONKS_CONNECTORS_PORT=port) as running:
            assert running.child.wait(20) == 4
            assert running.log.read_text().startswith(f"error: port {port} of the connectors cannot be used")
