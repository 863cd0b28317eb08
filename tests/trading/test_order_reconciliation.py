"""The broker's open orders against ours (R1.6): missing fills are found, lost ones end once, foreign ones stay."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from tests.trading.desk import ACCOUNT, Desk, at
from trading.events import WorkerStarted
from trading.order_watch import ANSWER_WITHIN
from trading.portfolio import LiveOrder, row_bytes

D = Decimal
pytestmark = pytest.mark.covers("R1.6")


def listing(order: Any, *, filled: Any = "0", **changes: Any) -> dict[str, Any]:
    """Return an order as a snapshot lists it."""
    return {
        "client_order_id": order.client_order_id,
        "broker_order_id": f"b-{order.client_order_id}",
        "symbol": order.symbol,
        "side": order.side,
        "quantity": str(order.quantity),
        "filled_quantity": str(filled),
    } | changes


FOREIGN = {"broker_order_id": "b-1", "symbol": "KO", "side": "sell", "quantity": "3", "filled_quantity": "1"}


def buying() -> tuple[Desk, LiveOrder]:
    """Return a desk whose first tranche of two shares at 10 dollars is live, and that order."""
    desk = Desk()
    desk.recommend()
    return desk, desk.row.orders[0]


def selling() -> tuple[Desk, LiveOrder]:
    """Return a desk that holds four shares for 10 dollars each, and has sent their sell."""
    desk = Desk()
    desk.hold()
    desk.recommend(action="sell")
    return desk, desk.row.live("AAPL", side="sell")[0]


def test_an_order_that_is_not_ours_is_remembered_recorded_and_told_once() -> None:
    desk = Desk(cash=None)
    for _ in range(3):
        desk.snapshot(cash="500", open_orders=[FOREIGN])
    assert [order.broker_order_id for order in desk.row.foreign_orders] == ["b-1"]
    found = [record for record in desk.records("reconciliation") if record.differences]
    assert [each.differences for each in found] == [
        ({"what": "KO", "order": "b-1", "broker": "sell 3, 1 filled", "engine": "not ours"},)
    ]
    assert len(desk.records("alert")) == 1
    assert desk.row.reconciled
    desk.snapshot(open_orders=[FOREIGN, FOREIGN | {"broker_order_id": "b-2", "symbol": "JPM"}])
    assert len(desk.records("alert")) == 2
    desk.snapshot()
    assert desk.row.foreign_orders == ()


def test_nothing_is_bought_in_a_symbol_with_a_foreign_order_and_no_more_than_it_leaves_of_the_buying_power() -> None:
    desk = Desk()
    desk.snapshot(open_orders=[FOREIGN], buying_power="19.99")
    desk.recommend("KO", sector="staples")
    assert desk.reason == "already_held"
    assert desk.gate("already_held").detail == "an order that is not ours is open in it"
    desk.recommend("AAPL", price="20")
    assert desk.reason == "insufficient_active_pool"
    desk.snapshot()
    desk.recommend("KO", sector="staples")
    assert desk.reason is None


def test_no_more_than_fifty_foreign_orders_are_remembered() -> None:
    desk = Desk()
    desk.snapshot(open_orders=[FOREIGN | {"broker_order_id": f"b-{number:03d}" * 20} for number in range(200)])
    assert len(desk.row.foreign_orders) == 50
    assert len(row_bytes(desk.row)) < 64 * 1024


def test_an_exit_sells_our_shares_alone_whatever_else_the_account_holds() -> None:
    desk = Desk()
    desk.hold()
    for _ in range(2):
        desk.snapshot(positions={"AAPL": 9}, open_orders=[FOREIGN | {"symbol": "AAPL"}])
    desk.mark("AAPL", "8.90")
    assert [order.quantity for order in desk.orders("sell")] == [4]


def test_a_fill_of_a_foreign_order_moves_foreign_shares_alone_and_is_told_once() -> None:
    desk = Desk(cash=None)
    desk.snapshot(cash="500", positions={"KO": 5}, open_orders=[FOREIGN])
    told = len(desk.records("alert"))
    stranger = type("Order", (), {"client_order_id": "theirs", "symbol": "KO", "quantity": D(3)})
    for _ in range(2):
        desk.fill(stranger, "60", cumulative=3, broker_order_id="b-1")
    assert [alert.severity for alert in desk.records("alert")[told:]] == ["warning"]
    before = desk.row.total_value, desk.row.day_base, desk.row.peak_value
    for _ in range(3):
        desk.snapshot(cash="680", positions={"KO": 2})
    assert [(each.symbol, each.quantity) for each in desk.row.foreign] == [("KO", 2)]
    assert (desk.row.total_value, desk.row.day_base, desk.row.peak_value) == before  # the limit is 500 dollars
    assert desk.row.reconciled
    assert desk.records("trade") == []


def test_an_order_that_is_listed_without_our_id_is_known_by_its_terms() -> None:
    desk, order = buying()
    for _ in range(3):
        desk.snapshot(open_orders=[listing(order, client_order_id=None)])
    assert desk.row.foreign_orders == ()
    assert [live.client_order_id for live in desk.row.orders] == [order.client_order_id]


@pytest.mark.parametrize("state", ["new", "accepted", "unknown"])
def test_a_buy_that_two_snapshots_do_not_list_ends_and_is_never_sent_again(state: str) -> None:
    desk, order = buying()
    if state != "new":
        desk.broker(f"order_{state}", order, reason="timeout")
    seen_at = order.created_at + (ANSWER_WITHIN if state == "new" else dt.timedelta())
    desk.snapshot(positions={}, at=seen_at)
    assert len(desk.row.orders) == 1
    assert desk.row.reconciled
    desk.snapshot(positions={}, at=seen_at)
    assert desk.row.orders == ()
    assert desk.row.entries == ()
    assert desk.row.open_buy_holds == 0
    assert [each.client_order_id for each in desk.cancels] == [order.client_order_id]
    record = desk.records("reconciliation")[-1]
    assert (record.clean, record.adjusted) == (False, True)
    assert record.differences[0]["order"] == order.client_order_id
    assert desk.records("alert")[-1].severity == "critical"
    assert not desk.row.reconciled
    desk.snapshot()
    assert desk.row.reconciled
    desk.clock(at("16:00"))
    assert len(desk.orders()) == 1


@pytest.mark.parametrize("seen_at", [None, dt.timedelta(), ANSWER_WITHIN - dt.timedelta(seconds=1)])
def test_an_order_of_which_the_broker_said_no_word_is_not_ended_by_snapshots_that_may_be_older(
    seen_at: dt.timedelta | None,
) -> None:
    """A worker that comes back to a backlog reads snapshots that were made before it sent the order."""
    for desk, order in (buying(), selling()):
        for _ in range(4):
            desk.snapshot(at=None if seen_at is None else order.created_at + seen_at)
        assert [live.client_order_id for live in desk.row.orders] == [order.client_order_id]
        assert (desk.row.reconciled, desk.cancels) == (True, [])
        desk.fill(order, "10")
        assert desk.row.orders == ()


def test_a_snapshot_says_nothing_of_an_order_that_had_not_been_read_when_it_was_made() -> None:
    """A worker that comes back after long finds snapshots in its backlog which are stamped when they are read."""
    for desk, order in (buying(), selling()):
        late = order.created_at + ANSWER_WITHIN
        for newest in ("", "of long ago", ""):
            desk.snapshot(at=late, newest_order_id=newest)
        assert [live.client_order_id for live in desk.row.orders] == [order.client_order_id]
        assert (desk.row.reconciled, desk.cancels) == (True, [])
        for _ in range(2):
            desk.snapshot(at=late, newest_order_id=order.client_order_id)
        assert [cancel.client_order_id for cancel in desk.cancels] == [order.client_order_id]


def test_an_order_is_older_than_one_that_was_sent_after_it_and_read() -> None:
    desk, first = buying()
    desk.fill(first, "10")
    desk.recommend(action="sell")
    sell = desk.row.live("AAPL", side="sell")[0]
    assert [each.number for each in (*desk.row.done, *desk.row.orders)] == [1, 2]
    late = sell.created_at + ANSWER_WITHIN
    for _ in range(3):
        desk.snapshot(at=late, newest_order_id=first.client_order_id)
    assert desk.cancels == []
    for _ in range(2):
        desk.snapshot(at=late, newest_order_id=sell.client_order_id)
    assert [cancel.client_order_id for cancel in desk.cancels] == [sell.client_order_id]


def test_an_order_that_is_listed_again_or_heard_of_in_between_is_not_given_up() -> None:
    desk, order = buying()
    desk.snapshot(positions={})
    desk.snapshot(positions={}, open_orders=[listing(order)])
    desk.snapshot(positions={})
    desk.accept(order)
    desk.snapshot(positions={})
    assert len(desk.row.orders) == 1


def test_a_given_up_buy_that_fills_after_all_opens_a_position_with_levels() -> None:
    desk, order = buying()
    desk.accept(order)
    for _ in range(2):
        desk.snapshot(positions={})
    desk.restart()
    desk.fill(order, "10")
    position = desk.row.positions[0]
    assert (position.quantity, position.entry_complete) == (2, True)
    assert (position.stop_price, position.target_price) == (D("9.00"), D("11.50"))  # 2 ATR below, 1.5 times that above
    assert desk.row.cash == 480
    assert desk.row.entries == ()
    desk.mark("AAPL", "8.99")
    assert [sell.quantity for sell in desk.orders("sell")] == [2]


def test_a_part_of_a_given_up_buy_that_fills_after_all_completes_its_entry() -> None:
    desk, order = buying()
    desk.accept(order)
    for _ in range(2):
        desk.snapshot(positions={})
    desk.fill(order, "10", cumulative=1)
    assert (desk.row.positions[0].quantity, desk.row.positions[0].entry_complete) == (1, True)
    assert (desk.row.entries, desk.row.orders) == ((), ())


def test_a_fill_that_nobody_told_of_is_taken_from_two_snapshots_at_the_price_they_imply() -> None:
    desk, order = buying()
    desk.accept(order)
    for _ in range(2):
        desk.snapshot(cash="479.80", positions={"AAPL": 2})
    position = desk.row.positions[0]
    assert (position.quantity, position.avg_entry_price, desk.row.cash) == (2, 10, 480)  # the broker's own average
    assert desk.records("fill")[-1].fill_id == f"{order.client_order_id}:2"
    assert [alert.severity for alert in desk.records("alert") if "orders differ" in alert.subject] == ["critical"]
    desk.fill(order, "9.90")
    assert desk.row.positions[0].quantity == 2  # told after all: it counts once
    for _ in range(3):
        desk.snapshot(cash="479.80")
    assert (desk.row.cash, desk.row.reconciled) == (D("479.80"), True)


def test_a_part_that_nobody_told_of_is_taken_from_the_listing_and_the_rest_goes_on() -> None:
    desk, order = buying()
    for _ in range(2):
        desk.snapshot(cash="490", positions={"AAPL": 1}, open_orders=[listing(order, filled=1)])
    assert [(live.filled, live.status) for live in desk.row.orders] == [(1, "partially_filled")]
    assert desk.row.positions[0].quantity == 1
    desk.fill(order, "10", cumulative=2)
    assert (desk.row.positions[0].quantity, desk.row.cash) == (2, 480)


def test_a_snapshot_that_contains_a_fill_before_it_is_told_moves_nothing() -> None:
    desk, order = buying()
    desk.snapshot(cash="480", positions={"AAPL": 2})
    assert desk.row.positions == ()
    desk.fill(order, "10")
    for _ in range(3):
        desk.snapshot()
    assert (desk.row.positions[0].quantity, desk.row.cash, desk.row.reconciled) == (2, 480, True)
    assert desk.records("alert") == []


def test_a_sale_that_nobody_told_of_is_a_trade_at_the_price_that_cash_implies() -> None:
    desk, _ = selling()
    for _ in range(2):
        desk.snapshot(cash="501.20", positions={})
    trade = desk.records("trade")[-1]
    assert (trade.quantity, trade.exit_price, trade.realized_pnl) == (4, D("10.3"), D("1.2"))  # 41.20 for 40
    assert (desk.row.positions, desk.row.orders, desk.row.cash) == ((), (), D("501.20"))
    assert desk.row.reserve == D("0.24")
    desk.snapshot()
    assert desk.row.reconciled


def test_an_exit_that_two_snapshots_do_not_list_is_asked_back_and_sent_once_more_when_that_is_confirmed() -> None:
    desk, order = selling()
    desk.accept(order)
    for _ in range(2):
        desk.snapshot()
    assert [each.client_order_id for each in desk.cancels] == [order.client_order_id]
    assert len(desk.orders("sell")) == 1
    assert desk.records("alert")[-1].severity == "critical"
    desk.cancelled(order)
    desk.mark("AAPL", "10")
    assert [sell.quantity for sell in desk.orders("sell")] == [4, 4]
    assert len({sell.client_order_id for sell in desk.orders("sell")}) == 2


def test_an_exit_whose_cancel_is_not_answered_either_goes_out_again_after_two_more_snapshots() -> None:
    desk, order = selling()
    desk.accept(order)
    for _ in range(3):
        desk.snapshot()
    desk.mark("AAPL", "10")
    assert len(desk.orders("sell")) == 1
    desk.snapshot()
    desk.mark("AAPL", "10")
    assert len(desk.orders("sell")) == 2
    assert len(desk.row.live("AAPL", side="sell")) == 1


def test_an_ended_order_that_the_broker_lists_as_open_is_asked_back_again() -> None:
    desk, order = buying()
    desk.command("pause")
    desk.cancelled(order)
    for _ in range(4):
        desk.snapshot(open_orders=[listing(order)])
    assert [each.client_order_id for each in desk.cancels] == [order.client_order_id] * 2
    assert len({each.cancel_id for each in desk.cancels}) == 2
    assert not desk.row.reconciled
    desk.snapshot()
    assert desk.row.reconciled


def test_a_difference_elsewhere_is_taken_over_while_an_order_rests() -> None:
    desk, order = buying()
    for _ in range(2):
        desk.snapshot(positions={"KO": 3}, open_orders=[listing(order)])
    assert [(each.symbol, each.quantity) for each in desk.row.foreign] == [("KO", 3)]


def test_a_restart_of_the_worker_asks_for_no_pass_of_its_own() -> None:
    desk = Desk()
    desk.send(WorkerStarted(account_id=ACCOUNT, at=desk.now, mode="paper", build="next"))
    assert desk.row.reconciled
