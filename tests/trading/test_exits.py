"""Exits: wanted until they are done, sent in the session, never twice, whatever else stands still."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.trading.desk import MONDAY, Desk, at, days, minutes
from trading.effects import Decision, Order

D = Decimal
TUESDAY = MONDAY + days(1)


def held(**changes: object) -> Desk:
    """Return a desk with 4 AAPL at 10 dollars, stop 9.00, target 11.50, at 15:30."""
    desk = Desk(**changes)
    desk.hold(atr="0.5")
    return desk


def sells(desk: Desk, symbol: str | None = None) -> list[tuple[str, int]]:
    return [(order.purpose, int(order.quantity)) for order in desk.orders("sell", symbol)]


@pytest.mark.covers("R17.1")
def test_an_exit_has_a_decision_of_its_own_with_no_gate_asked() -> None:
    desk = held()
    desk.mark("AAPL", "9")
    order, decision = desk.last(Order), desk.last(Decision)
    position_id = desk.row.positions[0].position_id
    assert (decision.source_type, decision.source_id) == ("exit", f"{position_id}:stop_loss:1")
    assert (decision.decision, decision.skip_reason, decision.quantity) == ("act", None, 4)
    assert order.decision_id == decision.decision_id
    assert all(gate.passed is None and gate.value is None and gate.limit is None for gate in decision.gates)
    assert len(decision.gates) == 26


def trouble() -> dict[str, Callable[[Desk], object]]:
    """What stops entries, each in its way."""
    return {
        "pause": lambda desk: desk.command("pause"),
        "stress": lambda desk: desk.stress("80"),
        "disabled": lambda desk: desk.configure(enabled=False),
        "conservative": lambda desk: desk.command("set_risk_tier", risk_tier="conservative"),
        "unreconciled": lambda desk: desk.snapshot(cash="1"),
        "small": lambda desk: desk.configure(active_pool_minimum="100000"),
        "outside the window": lambda desk: desk.clock(at("20:50")),
        "before the window": lambda desk: desk.clock(at("14:31") + days(1)),
    }


@pytest.mark.covers("R4.4")
@pytest.mark.parametrize("name", trouble())
def test_nothing_keeps_a_stop_from_selling_in_the_session(name: str) -> None:
    desk = held()
    trouble()[name](desk)
    desk.mark("AAPL", "8.90")
    assert sells(desk) == [("stop_loss", 4)]


@pytest.mark.covers("R4.4")
def test_outside_the_session_an_exit_waits_for_the_first_price_of_the_next() -> None:
    desk = held()
    desk.mark("AAPL", "8.90", at=at("21:30"))
    desk.clock(at("14:30", on=TUESDAY))
    assert sells(desk) == []
    desk.mark("AAPL", "8.95", at=at("14:30:05", on=TUESDAY))
    assert sells(desk) == [("stop_loss", 4)]


def test_an_exit_that_the_first_price_of_the_session_no_longer_wants_is_dropped() -> None:
    desk = held()
    desk.mark("AAPL", "8.90", at=at("21:30"))
    desk.mark("AAPL", "9.40", at=at("14:31", on=TUESDAY))
    assert sells(desk) == []
    assert desk.row.positions[0].exit is None
    desk.mark("AAPL", "8.90", at=at("14:32", on=TUESDAY))
    assert sells(desk) == [("stop_loss", 4)]


def test_the_first_price_of_the_session_decides_the_purpose() -> None:
    desk = held()
    desk.mark("AAPL", "8.90", at=at("21:30"))
    desk.mark("AAPL", "8.00", at=at("14:31", on=TUESDAY))
    assert sells(desk) == [("breaker", 4)]


def test_a_symbol_that_stays_silent_is_left_after_fifteen_minutes_of_the_session() -> None:
    desk = held(gradual_entry_tranches=1)
    desk.hold("KO", sector="staples")
    desk.mark("AAPL", "8.90", at=at("21:30"))
    for clock in ("14:31", "14:45"):
        desk.mark("KO", "10", at=at(clock, on=TUESDAY))
        desk.clock(at(clock, on=TUESDAY) + minutes(0.9))
        assert sells(desk) == []
    desk.mark("KO", "10", at=at("14:45:30", on=TUESDAY))
    desk.clock(at("14:47", on=TUESDAY))
    assert sells(desk) == [("stop_loss", 4)]


@pytest.mark.covers("R4.8")
def test_a_feed_that_is_mute_altogether_sells_nothing() -> None:
    desk = held()
    desk.mark("AAPL", "8.90", at=at("21:30"))
    desk.clock(at("17:00", on=TUESDAY))
    assert sells(desk) == []
    desk.mark("AAPL", "9.40", at=at("17:00", on=TUESDAY))
    assert sells(desk) == []


def test_while_an_entry_is_live_its_cancel_goes_first_and_the_exit_on_the_confirmation() -> None:
    desk = Desk()
    desk.recommend(atr="0.5")
    order = desk.orders()[0]
    desk.fill(order, "10", cumulative=1)
    desk.mark("AAPL", "8.90")
    assert sells(desk) == []
    assert [cancel.client_order_id for cancel in desk.cancels] == [order.client_order_id]
    desk.mark("AAPL", "9.60", at=at("15:00:30"))  # a recovery does not call it back
    desk.mark("AAPL", "8.80", at=at("15:01"))
    assert len(desk.cancels) == 1
    desk.cancelled(order, cumulative=1)
    assert sells(desk) == [("stop_loss", 1)]


def test_a_price_that_recovers_before_the_confirmation_does_not_call_the_exit_back() -> None:
    desk = Desk()
    desk.recommend(atr="0.5")
    order = desk.orders()[0]
    desk.fill(order, "10", cumulative=1)
    desk.mark("AAPL", "8.90")
    desk.mark("AAPL", "9.90", at=at("15:00:30"))
    desk.cancelled(order, cumulative=1)
    assert sells(desk) == [("stop_loss", 1)]


def test_a_cancel_that_came_too_late_ends_in_an_exit_of_all_that_was_bought() -> None:
    desk = Desk()
    desk.recommend(atr="0.5")
    order = desk.orders()[0]
    desk.fill(order, "10", cumulative=1)
    desk.mark("AAPL", "8.90")
    desk.fill(order, "8.90", cumulative=2)
    assert sells(desk) == [("stop_loss", 2)]


def test_a_rejected_exit_goes_out_again_on_the_next_price_with_the_same_decision() -> None:
    desk = held()
    desk.mark("AAPL", "8.90")
    desk.reject(desk.orders("sell")[0])
    assert len(desk.orders("sell")) == 1
    desk.mark("AAPL", "9.90")
    first, second = desk.orders("sell")
    assert first.decision_id == second.decision_id
    assert first.client_order_id != second.client_order_id
    assert (second.purpose, second.quantity) == ("stop_loss", 4)
    assert len([each for each in desk.decisions if each.source_type == "exit"]) == 1


def test_a_rejected_exit_goes_out_again_on_the_next_loop_tick() -> None:
    desk = held()
    desk.mark("AAPL", "8.90")
    desk.reject(desk.orders("sell")[0])
    desk.clock(desk.now + minutes(1))
    assert len(desk.orders("sell")) == 2


def test_a_short_filled_exit_goes_out_again_with_what_is_left() -> None:
    desk = held()
    desk.mark("AAPL", "8.90")
    order = desk.orders("sell")[0]
    desk.fill(order, "8.90", cumulative=3)
    desk.mark("AAPL", "8.80")
    assert len(desk.orders("sell")) == 1
    desk.cancelled(order, cumulative=3)
    desk.mark("AAPL", "8.70")
    assert sells(desk) == [("stop_loss", 4), ("stop_loss", 1)]


def test_an_unknown_exit_is_not_sent_a_second_time() -> None:
    desk = held()
    desk.mark("AAPL", "8.90")
    desk.unknown(desk.orders("sell")[0])
    desk.mark("AAPL", "8.80")
    desk.clock(desk.now + minutes(5))
    assert len(desk.orders("sell")) == 1


@pytest.mark.covers("R1.3")
def test_a_sell_recommendation_sells_the_whole_position_by_its_own_decision() -> None:
    desk = held()
    desk.recommend(action="sell", recommendation_id="r-9")
    decision, order = desk.decisions[-1], desk.orders("sell")[0]
    assert (decision.source_type, decision.source_id, decision.quantity) == ("recommendation", "r-9", 4)
    assert (order.purpose, order.quantity, order.decision_id) == ("signal", 4, decision.decision_id)
    desk.recommend(action="sell")
    assert desk.reason == "no_position_to_sell"  # an exit is under way


def test_a_sell_recommendation_passes_while_paused() -> None:
    desk = held()
    desk.command("pause")
    desk.recommend(action="sell")
    assert sells(desk) == [("signal", 4)]


def test_a_sell_recommendation_outside_the_window_waits_for_it() -> None:
    desk = held()
    desk.recommend(action="sell", at=at("20:50"))
    assert sells(desk) == []
    desk.mark("AAPL", "10", at=at("14:45", on=TUESDAY))
    assert sells(desk) == [("signal", 4)]


def test_a_sell_recommendation_takes_over_an_exit_that_no_price_has_confirmed() -> None:
    desk = held(gradual_entry_tranches=1)
    desk.hold("KO", sector="staples")
    desk.mark("AAPL", "8.90", at=at("21:30"))
    desk.recommend(action="sell", at=at("14:45", on=TUESDAY), price_at=at("21:30"))
    assert sells(desk, "AAPL") == [("signal", 4)]


@pytest.mark.covers("R6.2")
def test_a_stop_and_the_position_breaker_on_one_price_are_one_exit_and_a_cooldown() -> None:
    desk = held()
    desk.mark("AAPL", "8.40")  # under the stop of 9.00 and under 8.50
    assert sells(desk) == [("breaker", 4)]
    event = desk.records("breaker_event")[0]
    assert (event.event, event.trigger, event.symbol) == ("triggered", "position_loss", "AAPL")
    assert (event.threshold, event.actual_value) == (D("0.15"), D("0.16"))
    assert event.until == desk.now + days(2)
    desk.fill(desk.orders("sell")[0], "8.40")
    desk.recommend()
    assert desk.reason == "ticker_cooldown"
    desk.recommend(at=at("15:31") + days(2))
    assert desk.reason is None


@pytest.mark.covers("R6.2")
def test_the_cooldown_begins_also_when_the_price_falls_that_low_after_the_stop_was_sent() -> None:
    desk = held()
    desk.mark("AAPL", "8.90")
    assert desk.records("breaker_event") == []
    desk.mark("AAPL", "8.40")
    desk.mark("AAPL", "8.30")
    assert len(desk.records("breaker_event")) == 1
    desk.fill(desk.orders("sell")[0], "8.30")
    desk.recommend()
    assert desk.reason == "ticker_cooldown"


def test_the_position_breaker_leaves_the_accounts_breaker_inactive() -> None:
    desk = held()
    desk.mark("AAPL", "8.40")
    assert desk.row.breakers == ()
    desk.recommend("KO", sector="staples")
    assert desk.decisions[-1].circuit_breaker_status == "inactive"
    assert desk.reason is None


def test_kill_cancels_entries_sells_everything_and_halts() -> None:
    desk = held()
    desk.recommend("KO", sector="staples")
    pending = desk.orders("buy", "KO")[0]
    result = desk.command("kill", reason="enough")
    assert result.accepted
    assert sells(desk) == [("kill", 4)]
    decision = desk.decisions[-1]
    assert (decision.source_type, decision.source_id) == ("kill", f"{desk.row.positions[0].position_id}:kill:1")
    assert [cancel.client_order_id for cancel in desk.cancels] == [pending.client_order_id]
    desk.recommend("JPM", sector="financials")
    assert desk.reason == "engine_paused"
    desk.command("resume")
    desk.recommend("JPM", sector="financials")
    assert desk.reason is None


def test_what_is_bought_while_the_kill_is_on_its_way_is_sold_too() -> None:
    desk = Desk()
    desk.recommend()
    order = desk.orders()[0]
    desk.command("kill", reason="enough")
    desk.fill(order, "10")
    assert sells(desk) == [("kill", 2)]


def test_a_kill_outside_the_session_sells_on_the_first_price_of_the_next() -> None:
    desk = held()
    desk.clock(at("22:00"))
    desk.command("kill", reason="enough")
    desk.clock(at("14:31", on=TUESDAY))
    assert sells(desk) == []
    desk.mark("AAPL", "11", at=at("14:31", on=TUESDAY))
    assert sells(desk) == [("kill", 4)]


def test_a_kill_needs_no_price_for_more_than_fifteen_minutes_of_a_session() -> None:
    desk = held()
    desk.clock(at("22:00"))
    desk.command("kill", reason="enough")
    desk.clock(at("14:46", on=TUESDAY))
    assert sells(desk) == [("kill", 4)]


def test_a_kill_inside_the_session_waits_for_no_price() -> None:
    desk = held()
    desk.clock(at("14:35", on=TUESDAY))
    desk.command("kill", reason="enough")
    assert sells(desk) == [("kill", 4)]


def test_a_kill_takes_over_an_exit_that_waits() -> None:
    desk = held()
    desk.mark("AAPL", "8.90", at=at("21:30"))
    desk.command("kill", reason="enough")
    desk.mark("AAPL", "9.90", at=at("14:31", on=TUESDAY))
    assert sells(desk) == [("kill", 4)]


def test_a_second_kill_sends_nothing_twice() -> None:
    desk = held()
    desk.command("kill", reason="enough")
    desk.command("kill", reason="enough, I said")
    assert sells(desk) == [("kill", 4)]


@pytest.mark.covers("R18.5")
def test_an_exit_that_was_sent_survives_a_restart() -> None:
    desk = held()
    desk.mark("AAPL", "8.90")
    desk.restart()
    desk.mark("AAPL", "8.80")
    assert len(desk.orders("sell")) == 1
    desk.reject(desk.orders("sell")[0])
    desk.restart()
    desk.mark("AAPL", "8.70")
    assert len(desk.orders("sell")) == 2
