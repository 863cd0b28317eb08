"""The connectors' process with Alpaca's client on a real Kafka: killed anywhere, an intent is one order."""

import asyncio
import pathlib
import signal
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from tests.connectors.alpaca_desk import CASH, HELD, exchange
from tests.connectors.examples import cancel_of, order
from tests.connectors.running import Process, Topics, has_applied, process, settings_of, topics_of, trades_of
from tests.fakes.alpaca import FakeAlpaca, Fault

pytestmark = pytest.mark.integration


def leading_to(fake: FakeAlpaca) -> dict[str, str]:
    """Return the variables by which the process finds the fake."""
    return {
        "STONKS_BROKER": "fake-alpaca",
        "STONKS_ALPACA_KEY_ID": fake.keys.key_id,
        "STONKS_ALPACA_SECRET_KEY": fake.keys.secret_key,
        "STONKS_ALPACA_TRADING_URL": fake.url,
        "STONKS_ALPACA_DATA_URL": fake.url,
        "STONKS_ALPACA_STREAM_URL": fake.stream_url,
    }


async def until_filled(topics: Topics, running: Process, shares: dict[str, int]) -> list[dict[str, Any]]:
    """Return the broker's events as soon as they tell of these shares."""

    async def is_told() -> list[dict[str, Any]]:
        events = await topics.read("broker-events")
        return events if trades_of(events) == shares else []

    for _ in range(300):  # a minute and more, on a busy machine
        if events := await is_told():
            return events
        assert running.child.poll() is None, running.log.read_text()
        await asyncio.sleep(0.2)
    raise AssertionError((await topics.read("broker-events"), running.log.read_text()))


@pytest.mark.parametrize("point", ["broker.before_post", "broker.posted", "broker.before_send", "broker.sent"])
async def test_killed_anywhere_between_order_and_report_one_order_is_at_the_broker(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, point: str
) -> None:
    settings = settings_of(kafka, topic_prefix, tmp_path)
    # The sell's symbol has no buy: Alpaca takes no opposite orders, and which of them it then cancels is a race.
    sent = [
        order(symbol="KO", quantity="5", number=1),
        order("sell", f"{HELD}", number=2),
        order(symbol="KO", number=3),
    ]
    async with exchange() as fake, topics_of(settings) as topics:
        fake.faults.add(Fault(kind="partial_fills", method="POST", parts=2, seconds=0.05))
        with process(settings, STONKS_CRASH_AT=f"{point}:2", **leading_to(fake)) as crashed:
            await topics.until("broker-events", count=1)  # caught up: from now on an order may go at once
            for number, each in enumerate(sent, 1):
                await topics.send("orders", each)
                await crashed.until_dead_or(partial(has_applied, orders=number))
            await crashed.until_dead_or(lambda _: False, seconds=60)
            assert crashed.child.poll() == 137
        with process(settings, **leading_to(fake)) as running:
            events = await until_filled(topics, running, {"order-1": 5, "order-2": int(HELD), "order-3": 1})
            await asyncio.to_thread(stop, running)
        assert sorted(entry["client_order_id"] for entry in fake.log.of("created")) == ["order-1", "order-2", "order-3"]
        by_id: dict[str, dict[str, Any]] = {}
        for event in events:
            assert by_id.setdefault(event["event_id"], event) == event  # said twice, it is the same
        fills = [event for event in by_id.values() if event["kind"] == "order_fill"]
        signs = {"order-1": 1, "order-2": -1, "order-3": 1}
        spent = sum(
            signs[each["client_order_id"]] * Decimal(each["quantity"]) * Decimal(each["price"]) for each in fills
        )
        assert CASH - spent == fake.exchange.state.cash
        held = {symbol: position.qty for symbol, position in fake.exchange.state.positions.items()}
        assert held == {"KO": 5 + 1}


def stop(running: Process) -> None:
    """End a process in order."""
    running.child.send_signal(signal.SIGTERM)
    assert running.child.wait(20) == 0, running.log.read_text()


async def test_orders_cancels_checks_and_snapshots_come_through_the_process(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path
) -> None:
    settings = settings_of(kafka, topic_prefix, tmp_path)
    async with exchange() as fake, topics_of(settings) as topics:
        with process(settings, **leading_to(fake)) as running:
            (snapshot,) = await topics.until("broker-events", count=1)
            assert (snapshot["kind"], snapshot["cash"]) == ("account_snapshot", "1000")
            assert snapshot["positions"] == [{"symbol": "AAPL", "quantity": "6", "avg_entry_price": "9"}]
            assert "at" not in snapshot
            await topics.send(
                "orders", order(quantity="2"), order(number=2, order_type="limit", limit_price=Decimal(9))
            )
            events = await topics.until("broker-events", count=4)
            await topics.send("order-cancels", cancel_of(1), cancel_of(2), cancel_of(3))
            events = await topics.until("broker-events", count=8)
            told = {(each.get("client_order_id"), each["kind"]) for each in events}
            assert told >= {
                ("order-1", "order_accepted"),
                ("order-1", "order_fill"),
                ("order-2", "order_accepted"),
                ("order-2", "order_cancelled"),
                ("order-3", "order_cancelled"),  # the broker never had it
            }
            assert trades_of(events) == {"order-1": 2}
            checks = (await asyncio.to_thread(running.get, "/ready"))[1]["checks"]
            assert {each["name"]: each["required"] for each in checks} == {
                "broker": True,
                "prices": False,
                "alpaca": True,
                "trade_updates": False,
                "delivery": False,
                "sms": False,
                "email": False,
            }
            assert all(each["ok"] for each in checks if each["name"] != "prices")
            assert fake.keys.secret_key not in running.log.read_text()
            await asyncio.to_thread(stop, running)


def says_whose_keys_these_are(running: Process) -> bool:
    """Tell whether the process is not ready because of keys that are another account's."""
    status, body = running.get("/ready")
    wrong = [each["detail"] for each in body["checks"] if each["required"] and not each["ok"]] if body else []
    return status == 503 and any("…0042, and this data directory trades …0001" in detail for detail in wrong)


async def test_keys_of_another_account_make_the_process_unready_and_it_says_why(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path
) -> None:
    settings = settings_of(kafka, topic_prefix, tmp_path)
    async with topics_of(settings) as topics:
        async with exchange() as first:
            with process(settings, **leading_to(first)):
                await topics.until("broker-events", count=1)
        async with exchange(number="PA0OTHER0042") as second:
            with process(settings, **leading_to(second)) as running:
                await topics.send("orders", order())
                await asyncio.to_thread(running.until, says_whose_keys_these_are)
            assert second.log.of("created") == []


@pytest.mark.parametrize("broker", ["alpaca", "fake-alpaca"])
def test_alpaca_trades_one_account_a_process(tmp_path: pathlib.Path, broker: str) -> None:
    chosen = {"STONKS_BROKER": broker, "STONKS_ACCOUNTS": "one,two"}
    with process(settings_of("127.0.0.1:1", "", tmp_path), **chosen) as running:
        assert running.child.wait(20) == 2
        last = running.log.read_text().splitlines()[-1]
        assert last == f"error: STONKS_BROKER={broker} trades one account, not 2"
