"""The broker's account against ours (R1.6): the broker wins, but only over a difference that lasts."""

import json
from decimal import Decimal

import pytest

from tests.trading.desk import ACCOUNT, Desk, at
from trading import circuit_breaker
from trading.inputs import AccountSnapshot

D = Decimal


def test_before_the_first_snapshot_nothing_is_bought_and_nothing_is_due() -> None:
    desk = Desk(cash=None)
    desk.recommend()
    assert desk.reason == "not_ready"
    assert desk.row.schedule is None
    desk.clock(at("16:00"))
    assert desk.records("portfolio_heat") == []


@pytest.mark.covers("R1.6")
def test_the_first_snapshot_opens_the_account() -> None:
    desk = Desk(cash=None)
    desk.snapshot(cash="500", equity="500")
    assert (desk.row.cash, desk.row.initial_capital, desk.row.reconciled) == (500, 500, True)
    record = desk.records("reconciliation")[0]
    assert (record.clean, record.adjusted, record.differences) == (True, False, ())


def test_initial_capital_is_the_lesser_of_the_limit_and_the_opening_equity() -> None:
    for equity, initial in (("300", 300), ("100000", 500)):
        desk = Desk(cash=None)
        desk.snapshot(cash=equity, equity=equity)
        assert desk.row.initial_capital == initial


def test_what_the_broker_held_before_us_is_kept_apart_and_never_bought() -> None:
    desk = Desk(cash=None)
    desk.snapshot(cash="500", positions={"AAPL": 7, "KO": 0})
    assert [(each.symbol, each.quantity) for each in desk.row.foreign] == [("AAPL", 7)]
    assert desk.row.total_value == 500
    desk.recommend()
    assert desk.reason == "already_held"
    desk.snapshot()
    assert desk.row.reconciled


def test_snapshots_that_are_told_again_show_what_is_past_and_are_passed_over() -> None:
    """A killed `intake` tells again what it told: two old snapshots in a row must not take a newer position away."""
    desk = Desk()
    for name in ("s-1", "s-2"):
        desk.snapshot(event_id=name)
    told = [event for _, event in desk.log if isinstance(event, AccountSnapshot) and event.event_id in {"s-1", "s-2"}]
    desk.hold()
    held = desk.row.position("AAPL")
    assert held is not None
    for event in told:
        desk.send(event)
    assert desk.row.position("AAPL") == held
    assert desk.row.reconciled


def test_a_difference_once_stops_entries_and_twice_in_a_row_is_taken_over() -> None:
    desk = Desk()
    desk.hold()
    desk.snapshot(cash="455")
    assert desk.row.cash == 460
    assert circuit_breaker.trading_state(desk.row) == "reducing"
    desk.snapshot(cash="455")
    assert desk.row.cash == 455
    record = desk.records("reconciliation")[-1]
    assert (record.clean, record.adjusted) == (False, True)
    assert record.differences == ({"what": "cash", "broker": "455", "engine": "460"},)
    assert desk.records("alert")[-1].severity == "critical"
    assert not desk.row.reconciled
    desk.snapshot()
    assert desk.row.reconciled
    assert circuit_breaker.trading_state(desk.row) == "active"


def test_the_same_snapshot_twice_is_not_two_in_a_row() -> None:
    desk = Desk()
    for _ in range(3):
        desk.snapshot(cash="455", event_id="s-1")
    assert desk.row.cash == 500


def test_a_difference_that_is_gone_with_the_next_snapshot_is_forgotten() -> None:
    desk = Desk()
    desk.snapshot(cash="455")
    desk.snapshot()
    desk.snapshot(cash="455")
    assert desk.row.cash == 500


def test_another_difference_begins_anew() -> None:
    desk = Desk()
    desk.snapshot(cash="455")
    desk.snapshot(cash="454")
    assert desk.row.cash == 500
    desk.snapshot(cash="454")
    assert desk.row.cash == 454


def test_an_order_event_in_between_begins_anew() -> None:
    desk = Desk()
    desk.hold("KO", sector="staples")
    desk.snapshot(cash="455")
    desk.mark("KO", "8.9")
    desk.fill(desk.orders("sell")[0], "8.9")
    desk.snapshot(cash="455")
    assert desk.row.cash == D("495.60")


def test_what_a_live_order_may_explain_is_no_difference() -> None:
    desk = Desk()
    desk.recommend()
    desk.snapshot(cash="480", positions={"AAPL": 2})
    assert desk.row.reconciled
    assert desk.row.unmatched == ""


def test_equity_that_differs_by_marks_alone_is_no_difference() -> None:
    desk = Desk()
    desk.hold()
    desk.snapshot(equity="1")
    assert desk.row.reconciled


def test_cash_that_the_broker_rounds_to_the_cent_is_taken_over_quietly() -> None:
    desk = Desk()
    desk.recommend(price="10.1234")
    desk.fill(desk.orders()[0], "10.1234", cumulative=1)
    desk.command("pause")
    desk.cancelled(desk.orders()[0], cumulative=1)
    assert desk.row.cash == D("489.8766")
    desk.snapshot(cash="489.88")
    assert desk.row.cash == D("489.88")
    assert desk.row.reconciled
    assert len(desk.records("reconciliation")) == 1


def test_shares_that_the_broker_does_not_have_leave_without_a_trade() -> None:
    desk = Desk()
    desk.hold()
    for _ in range(2):
        desk.snapshot(positions={"AAPL": 3})
    assert desk.row.positions[0].quantity == 3
    assert sum(lot.open_quantity for lot in desk.row.lots) == 3
    assert desk.records("trade") == []
    for _ in range(2):
        desk.snapshot(positions={})
    assert desk.row.positions == ()
    assert type(desk.levels("AAPL")).__name__ == "LevelsRemoved"
    assert desk.records("stop_level")[-1].reason == "closed"


def test_shares_that_we_do_not_have_are_kept_apart() -> None:
    desk = Desk()
    desk.hold()
    for _ in range(2):
        desk.snapshot(positions={"AAPL": 6, "KO": 2})
    assert desk.row.positions[0].quantity == 4
    assert [(each.symbol, each.quantity) for each in desk.row.foreign] == [("AAPL", 2), ("KO", 2)]
    desk.snapshot()
    assert desk.row.reconciled


def test_a_short_position_at_the_broker_takes_ours_away_and_is_kept_apart() -> None:
    desk = Desk()
    desk.hold()
    for _ in range(2):
        desk.snapshot(positions={"AAPL": -2})
    assert desk.row.positions == ()
    assert [(each.symbol, each.quantity) for each in desk.row.foreign] == [("AAPL", -2)]


def test_the_parts_of_a_position_count_together_and_what_no_symbol_of_ours_could_be_is_kept_apart() -> None:
    desk = Desk(cash=None)
    desk.snapshot(cash="500", positions={"SPY261218C00600000": 1, "BTC/USD": "0.5", "912797LX3": 2})
    assert [each.symbol for each in desk.row.foreign] == ["912797LX3", "BTC/USD", "SPY261218C00600000"]
    desk.hold()
    foreign = [
        {"symbol": each.symbol, "quantity": str(each.quantity), "avg_entry_price": "1"} for each in desk.row.foreign
    ]
    halves = [{"symbol": "AAPL", "quantity": "2", "avg_entry_price": "10"}] * 2
    body = {"kind": "account_snapshot", "event_id": "parts", "account_id": ACCOUNT, "at": desk.now.isoformat()}
    money = {"cash": "460", "buying_power": "460", "equity": "500"}
    lists = {"positions": foreign + halves, "open_orders": []}
    desk.send(AccountSnapshot.model_validate_json(json.dumps(body | money | lists)))
    assert (desk.row.unmatched, desk.row.reconciled) == ("", True)


def test_the_row_with_fifty_orders_of_others_survives_a_restart() -> None:
    desk = Desk(cash=None)
    order = {"symbol": "KO", "side": "buy", "quantity": "1", "filled_quantity": "0", "client_order_id": None}
    desk.snapshot(cash="500", open_orders=[order | {"broker_order_id": f"b-{number}"} for number in range(60)])
    before = desk.row
    desk.restart()
    assert (desk.row, len(desk.row.foreign_orders)) == (before, 50)
