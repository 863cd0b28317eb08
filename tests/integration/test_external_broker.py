"""`STONKS_BROKER=external` through Kafka on a running stack: a broker of somebody else's, honest, forgetful or killed.

In most tests the test itself is the broker; in one the example of `docs/` is, as a program of its own.
"""

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.integration import market, outsider
from tests.integration.harness import ROOT, Json, Raw, Stack, eventually
from tests.integration.outsider import Outsider, fill_of, listing
from tests.tether import tethered

pytestmark = [pytest.mark.integration, pytest.mark.covers("R1.6")]

D = Decimal
FOREIGN = {"broker_order_id": "by-hand", "side": "sell", "quantity": "3", "filled_quantity": "0"}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give a stack in event time that has no broker, its accounts paused."""
    with Stack(accounts=outsider.ACCOUNTS, STONKS_BROKER="external") as stack:
        stack.start()
        stack.produce("commands", [market.command("pause", f"{account}-first", account) for account in stack.accounts])
        stack.until_lag_zero()
        yield stack


@pytest.fixture(scope="module")
def days() -> Iterator[tuple[str, dt.date]]:
    return outsider.days()


@pytest.fixture
def unopened(stack: Stack, days: Iterator[tuple[str, dt.date]]) -> Iterator[Outsider]:
    """Give an account that has had no snapshot."""
    broker = outsider.begin(stack, *next(days))
    yield broker
    broker.command("pause")


@pytest.fixture
def broker(unopened: Outsider) -> Outsider:
    """Give an account of 500 dollars whose broker is the test."""
    unopened.report()
    return unopened


def test_entries_wait_for_the_first_snapshot_and_readiness_does_not(unopened: Outsider) -> None:
    code, body = unopened.stack.readiness()
    reconciled = next(check for check in body["checks"] if check["name"] == "reconciled")
    assert (code, reconciled["ok"], reconciled["required"]) == (200, False, False)
    assert not unopened.may_enter("14:00")
    unopened.report()
    assert unopened.may_enter("14:01")
    assert [each["clean"] for each in unopened.records("reconciliation")] == [True]


def test_a_foreign_position_and_a_foreign_order_at_the_start_are_adopted_recorded_and_told(unopened: Outsider) -> None:
    held, ordered = unopened.symbol("H"), unopened.symbol("O")
    unopened.shares = {held: D(7), "SPY261218C00600000": D(1)}  # an option contract is no reason to refuse the account
    unopened.open_orders = [{**FOREIGN, "symbol": ordered}]
    assert not unopened.may_enter("13:59")
    unopened.report(times=3)
    found = [(each["what"], each["broker"]) for each in unopened.differences()]
    assert found == [(symbol, f"{unopened.shares[symbol]}") for symbol in sorted(unopened.shares)] + [
        (ordered, "sell 3, 0 filled")
    ]
    assert len(unopened.alerts("warning", held)) == len(unopened.alerts("warning", ordered)) == 1
    for symbol in (held, ordered):
        unopened.enlist(symbol, "40.00", sector=symbol)
        unopened.tick(symbol, "40.00", "14:00")
        unopened.recommend(symbol, "14:00")
        assert unopened.decisions(symbol=symbol)[-1]["skip_reason"] == "already_held"
    assert unopened.may_enter("14:01")
    assert unopened.held() == {}


def test_a_fill_that_nobody_told_of_is_found_by_two_snapshots_and_protected(broker: Outsider) -> None:
    order = broker.buy()
    broker.accept(order)
    broker.execute(order)  # and nothing is told
    broker.report()
    assert broker.held() == {}
    broker.report()
    assert not broker.may_enter("14:01")
    broker.report()
    assert broker.may_enter("14:02")
    assert broker.held() == {order["symbol"]: 1}
    [stop] = broker.rows("position_stop_levels")
    assert (stop["entry_price"], stop["stop_price"]) == (40, 38)
    assert [each["order"] for each in broker.differences()] == [order["client_order_id"]]
    assert len(broker.alerts("critical", order["client_order_id"])) == 1
    broker.tick(order["symbol"], "37.90", "14:03")
    assert [sell["purpose"] for sell in broker.orders(symbol=order["symbol"], side="sell")] == ["stop_loss"]


def test_a_position_that_is_gone_leaves_without_a_trade_and_entries_wait(broker: Outsider) -> None:
    symbol = broker.hold()
    broker.report()
    broker.shares.clear()
    broker.report()
    assert broker.held() == {symbol: 1}
    assert not broker.may_enter("14:01")
    broker.report()
    assert not broker.may_enter("14:02")
    broker.report()
    assert broker.may_enter("14:03")
    assert broker.held() == {}
    assert broker.rows("trades") == []
    assert broker.differences() == [{"what": symbol, "broker": "0", "engine": "1"}]
    assert len(broker.alerts("critical", symbol)) == 1
    level = [
        message for message in broker.stack.read("stop-levels") if message.key == f"{symbol}/{broker.account}".encode()
    ]
    assert level[-1].value is None
    broker.tick(symbol, "30.00", "14:04")
    assert broker.orders(symbol=symbol, side="sell") == []


def test_a_deposit_is_no_profit_and_only_the_limit_is_traded(broker: Outsider) -> None:
    broker.cash = D(100_000)
    broker.report(times=3)
    status = broker.status()
    assert (D(status["total_value"]), D(status["cash"]), status["trading_state"]) == (500, 100_000, "active")
    broker.cash = D(400)
    broker.report(times=3)
    status = broker.status()
    assert (D(status["total_value"]), status["circuit_breaker"]["status"]) == (400, "inactive")  # no loss of 20 %
    assert [each["what"] for each in broker.differences()] == ["cash", "cash"]


def test_the_fill_of_an_order_that_nobody_here_placed_moves_foreign_shares_alone(broker: Outsider) -> None:
    symbol = broker.hold()
    stranger: Json = {"client_order_id": "by-hand", "symbol": symbol, "side": "buy", "quantity": "2"}
    fill = broker.execute(stranger)
    for _ in range(2):
        broker.tell("order_fill", event_id="by-hand", **fill)
    assert len(broker.alerts("critical", "by-hand")) == 1
    assert broker.held() == {symbol: 1}
    broker.report(times=3)
    assert broker.may_enter("14:01")
    broker.tick(symbol, "37.90", "14:02")
    assert [sell["quantity"] for sell in broker.orders(symbol=symbol, side="sell")] == ["1"]


def test_an_unknown_order_keeps_its_reservation_until_it_fills_and_fills_count_once_in_any_order(
    broker: Outsider,
) -> None:
    order = broker.buy()
    broker.tell("order_unknown", client_order_id=order["client_order_id"], symbol=order["symbol"], reason="timeout")
    assert D(broker.status()["open_buy_holds"]) == 40
    assert broker.order_states(order["symbol"]) == [("buy", "unknown")]
    halves = [fill_of(order, quantity="0.5", price="40", cumulative=each) for each in ("1", "0.5")]
    broker.execute(order)
    for number, half in enumerate([*halves, halves[0]]):
        broker.tell("order_fill", event_id=f"{broker.account}-half-{number}", **half)
        assert broker.status()["open_positions"] == 1
    broker.tell("order_accepted", client_order_id=order["client_order_id"], symbol=order["symbol"])
    assert broker.held() == {order["symbol"]: 1}
    assert broker.order_states(order["symbol"]) == [("buy", "filled")]
    assert D(broker.status()["cash"]) == 460
    broker.report()
    assert broker.may_enter("14:01")
    assert broker.differences() == []


def test_a_snapshot_that_runs_ahead_of_its_fill_changes_nothing(broker: Outsider) -> None:
    order = broker.buy()
    broker.accept(order)
    fill = broker.execute(order)
    broker.report()
    broker.tell("order_fill", **fill)
    broker.report()
    assert broker.may_enter("14:01")
    assert (broker.held(), broker.differences()) == ({order["symbol"]: 1}, [])


def test_an_order_that_is_gone_ends_once_and_a_fill_after_all_is_kept_and_protected(broker: Outsider) -> None:
    order = broker.buy()
    broker.report(times=2)
    assert broker.order_states(order["symbol"]) == [("buy", "new")]  # both may be older than the order
    broker.accept(order)
    broker.open_orders.clear()  # it has had it, and has lost it
    broker.report(times=2)
    assert D(broker.status()["open_buy_holds"]) == 0
    [cancel] = broker.stack.bodies("order-cancels", account_id=broker.account)
    assert cancel["client_order_id"] == order["client_order_id"]
    assert broker.order_states(order["symbol"]) == [("buy", "cancelled")]
    assert len(broker.alerts("critical", order["client_order_id"])) == 1
    assert not broker.may_enter("14:01")
    broker.report()
    assert broker.may_enter("14:02")
    assert len(broker.orders(symbol=order["symbol"])) == 1
    broker.fill(order)
    broker.report()
    assert broker.held() == {order["symbol"]: 1}
    assert broker.rows("position_stop_levels")[-1]["stop_price"] == 38


@pytest.mark.covers("R4.4")
def test_a_crossing_while_the_entry_is_live_cancels_it_first_and_sells_what_filled_too_late(broker: Outsider) -> None:
    order = broker.buy()
    broker.accept(order)
    half = fill_of(order, quantity="0.5", price="40", cumulative="0.5")
    broker.tell("order_fill", **half)
    broker.tick(order["symbol"], "37.90", "14:01")
    [cancel] = broker.stack.bodies("order-cancels", account_id=broker.account)
    assert (cancel["client_order_id"], cancel["reason"]) == (order["client_order_id"], "an exit is wanted")
    assert broker.orders(side="sell") == []
    broker.tell("order_fill", **fill_of(order, quantity="0.5", price="40", cumulative="1"))  # too late
    broker.cancel(order, cumulative="1")
    assert [(sell["purpose"], D(sell["quantity"])) for sell in broker.orders(side="sell")] == [("stop_loss", 1)]


@pytest.mark.covers("R16.4")
def test_a_kill_cancels_a_live_entry_and_sells_what_had_filled(broker: Outsider) -> None:
    order = broker.buy()
    broker.accept(order)
    broker.command("kill", reason="a scenario")
    [cancel] = broker.stack.bodies("order-cancels", account_id=broker.account)
    assert (cancel["client_order_id"], cancel["reason"]) == (order["client_order_id"], "kill")
    broker.fill(order)
    assert [sell["purpose"] for sell in broker.orders(side="sell")] == ["kill"]
    broker.fill(broker.orders(side="sell")[0])
    assert broker.held() == {}


def test_an_entry_ends_with_its_window_and_an_exit_without_an_answer_is_told_of_and_not_doubled(
    broker: Outsider,
) -> None:
    symbol = broker.hold("A", "14:00")
    order = broker.buy("B", "14:01")
    broker.accept(order)
    broker.tick(symbol, "37.90", "14:02")
    for minute in range(3, 12):
        broker.tick(symbol, "37.90", f"14:{minute:02d}")
    [sell] = broker.orders(side="sell")
    assert len(broker.alerts("critical", sell["client_order_id"])) == 1
    assert order["valid_until"] == broker.at("19:45")
    broker.tick(symbol, "37.90", "19:45")
    cancels = broker.stack.bodies("order-cancels", account_id=broker.account)
    assert [(each["client_order_id"], each["reason"]) for each in cancels] == [
        (order["client_order_id"], "its time is over")
    ]
    broker.cancel(order)
    assert D(broker.status()["open_buy_holds"]) == 0
    assert broker.order_states(order["symbol"]) == [("buy", "cancelled")]
    assert len(broker.orders(side="sell")) == 1


def test_an_exit_that_the_broker_does_not_have_goes_out_again_once_its_cancel_is_confirmed(broker: Outsider) -> None:
    symbol = broker.hold()
    broker.tick(symbol, "37.90", "14:01")
    [lost] = broker.orders(side="sell")
    broker.accept(lost)
    broker.open_orders.clear()
    broker.report(times=2)
    [cancel] = broker.stack.bodies("order-cancels", account_id=broker.account)
    assert cancel["client_order_id"] == lost["client_order_id"]
    broker.tick(symbol, "37.90", "14:02")
    assert len(broker.orders(side="sell")) == 1
    broker.cancel(lost)
    broker.tick(symbol, "37.90", "14:03")
    first, second = broker.orders(side="sell")
    assert (first["decision_id"], first["quantity"]) == (second["decision_id"], second["quantity"])
    broker.fill(second, price="37.90")
    broker.report()
    assert broker.held() == {}
    assert len(broker.rows("trades")) == 1


def test_an_ended_order_that_the_broker_still_has_is_asked_back_again(broker: Outsider) -> None:
    order = broker.buy()
    broker.cancel(order)
    broker.open_orders = [listing(order)]
    broker.report(times=3)
    [cancel] = broker.stack.bodies("order-cancels", account_id=broker.account)
    assert cancel["client_order_id"] == order["client_order_id"]
    assert not broker.may_enter("14:01")
    broker.open_orders = []
    broker.report()
    assert broker.may_enter("14:02")


def test_the_example_of_the_docs_buys_and_sells_is_killed_in_the_middle_and_does_nothing_twice(
    unopened: Outsider,
) -> None:
    stack, symbol, other = unopened.stack, unopened.symbol("A"), unopened.symbol("B")
    unwanted = unopened.symbol("C")
    example = ROOT / "docs" / "external_broker.py"
    program = tethered(sys.executable, str(example), stack.endpoints["kafka"], unopened.account)

    def fills(**where: str) -> list[tuple[str, str, str]]:
        return [(each["symbol"], each["side"], each["price"]) for each in unopened.records("fill", **where)]

    def run() -> subprocess.Popen[bytes]:
        return subprocess.Popen([*program, "500"])

    assert not unopened.may_enter("13:59")
    first = run()
    try:
        eventually(lambda: unopened.records("reconciliation") != [], seconds=30, what="its first snapshot")
        unopened.enlist(symbol, "40.00")
        unopened.tick(symbol, "40.00", "14:00")
        unopened.recommend(symbol, "14:00")
        eventually(lambda: fills() == [(symbol, "buy", "40.00")], seconds=30, what="the buy is filled")
    finally:
        first.kill()
        first.wait()
    unopened.tick(symbol, "37.90", "14:01")
    unopened.enlist(other, "40.00", sector="energy")
    unopened.tick(other, "40.00", "14:02")
    unopened.recommend(other, "14:02")
    unopened.enlist(unwanted, "40.00", sector="health")
    unopened.tick(unwanted, "40.00", "14:03")
    unopened.recommend(unwanted, "14:03")
    _, _, half_done, late = unopened.orders()
    asked = {"client_order_id": late["client_order_id"], "account_id": unopened.account, "symbol": unwanted}
    stack.produce("order-cancels", [Raw(json.dumps(asked).encode(), unopened.account.encode())])
    said = {"client_order_id": half_done["client_order_id"], "symbol": other}
    unopened.tell("order_accepted", event_id=f"{half_done['client_order_id']}:order_accepted", **said)  # and it died
    second = run()
    try:
        expected = [(symbol, "buy", "40.00"), (symbol, "sell", "37.90"), (other, "buy", "40.00")]
        eventually(lambda: sorted(fills()) == sorted(expected), seconds=30, what="both orders are filled")
        eventually(
            lambda: unopened.order_states(unwanted) == [("buy", "cancelled")], seconds=30, what="the third is cancelled"
        )
    finally:
        second.kill()
        second.wait()
    stack.until_lag_zero()
    assert unopened.held() == {other: 1}
    assert D(unopened.status()["cash"]) == D(500) - 40 + D("37.90") - 40
    told = [each.body["event_id"] for each in stack.read("broker-events") if each.key == unopened.account.encode()]
    # Two snapshots, three orders accepted and filled, one cancelled, and one word repeated.
    assert (len(told), len(set(told))) == (10, 9)
    assert unopened.differences() == []
