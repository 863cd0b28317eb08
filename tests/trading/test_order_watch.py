"""Orders that are live for too long: their time ends, and nobody's silence goes unnoticed or doubles an order."""

import datetime as dt

import pytest

from tests.trading.desk import MONDAY, Desk, at, days

TUESDAY = MONDAY + days(1)


@pytest.mark.covers("R11.1")
def test_an_entry_that_is_not_filled_when_the_window_closes_is_asked_back_and_its_cash_released() -> None:
    desk = Desk(gradual_entry_tranches=1)
    desk.recommend()
    [order] = desk.orders()
    desk.accept(order)
    assert order.valid_until == at("20:45")
    desk.clock(at("20:44:59"))
    assert desk.cancels == []
    desk.clock(at("20:45"))
    assert [(each.client_order_id, each.reason) for each in desk.cancels] == [
        (order.client_order_id, "its time is over")
    ]
    assert desk.row.open_buy_holds == 40  # until the broker confirms it
    desk.cancelled(order)
    assert (desk.row.open_buy_holds, desk.row.entries, desk.row.orders) == (0, (), ())
    desk.recommend(at=at("15:00", on=TUESDAY))
    assert len(desk.orders()) == 2


def test_the_rest_of_a_half_filled_entry_ends_with_the_window_and_the_position_is_complete() -> None:
    desk = Desk(gradual_entry_tranches=1)
    desk.recommend()
    [order] = desk.orders()
    desk.fill(order, "10", cumulative=3)
    desk.live_to(at("20:45"))
    desk.cancelled(order, cumulative=3)
    assert (desk.row.positions[0].quantity, desk.row.positions[0].entry_complete) == (3, True)
    assert desk.row.open_buy_holds == 0


def test_an_exit_that_the_session_leaves_unfilled_goes_out_again_on_the_next_ones_first_price() -> None:
    desk = Desk()
    desk.hold()
    desk.live_to(at("20:50"))
    desk.mark("AAPL", "8.9")
    [order] = desk.orders("sell")
    desk.accept(order)
    desk.clock(at("21:00"))
    assert [each.client_order_id for each in desk.cancels] == [order.client_order_id]
    desk.cancelled(order)
    assert len(desk.orders("sell")) == 1
    desk.mark("AAPL", "8.8", at=at("14:30:01", on=TUESDAY))
    assert [sell.quantity for sell in desk.orders("sell")] == [4, 4]


@pytest.mark.covers("R4.4")
def test_an_exit_without_an_answer_is_told_of_once_and_never_doubled() -> None:
    desk = Desk()
    desk.hold()
    desk.mark("AAPL", "8.9")
    asked_at = desk.now
    for minute in range(1, 30):
        desk.mark("AAPL", "8.9", at=asked_at + dt.timedelta(minutes=minute))
    told = [alert for alert in desk.records("alert") if "not answered" in alert.subject]
    assert [(alert.severity, alert.at - asked_at) for alert in told] == [("critical", dt.timedelta(minutes=5))]
    assert len(desk.orders("sell")) == 1
    assert desk.row.positions[0].exit is not None


def test_an_order_that_was_answered_is_not_told_of_and_an_unknown_one_is() -> None:
    for kind, fields, told in (("order_accepted", {}, 0), ("order_unknown", {"reason": "timeout"}, 1)):
        desk = Desk(gradual_entry_tranches=1)
        desk.recommend()
        desk.broker(kind, desk.orders()[0], **fields)
        desk.clock(at("15:10"))
        assert len(desk.records("alert")) == told


def test_a_cancel_without_an_answer_is_told_of_while_the_exit_waits_for_it() -> None:
    desk = Desk(gradual_entry_tranches=1)
    desk.recommend()
    [order] = desk.orders()
    desk.fill(order, "10", cumulative=1)
    desk.mark("AAPL", "8.9")
    assert [each.client_order_id for each in desk.cancels] == [order.client_order_id]
    assert desk.orders("sell") == []
    desk.clock(at("15:05"))
    [told] = [alert for alert in desk.records("alert") if "not answered" in alert.subject]
    assert (told.severity, told.subject) == ("critical", "The cancel of an order is not answered: AAPL")
    desk.fill(order, "8.9", cumulative=2)  # too late, and still not ended: the broker works on the rest
    assert desk.orders("sell") == []
    desk.cancelled(order, cumulative=2)
    assert [sell.quantity for sell in desk.orders("sell")] == [2]
