"""Swaps at the position limit (R8.4, decisions 28 and 57): who goes, who waits, and one decision for each."""

from decimal import Decimal
from typing import Any

import pytest

from tests.trading.desk import Desk, at, days, minutes
from trading.effects import Order
from trading.entries import MOST_WAITING

D = Decimal


def full(*confidences: str, **changes: Any) -> Desk:
    """Return a desk at its position limit: S0, S1, ... in sectors of their own, four shares at 10 dollars each."""
    confidences = confidences or ("0.7", "0.6")
    desk = Desk(max_open_positions=len(confidences), gradual_entry_tranches=1, **changes)
    for place, confidence in enumerate(confidences):
        desk.hold(f"S{place}", sector=f"sector {place}", confidence=confidence)
    return desk


def candidate(desk: Desk, confidence: str = "0.75", symbol: str = "NEW", **fields: Any) -> None:
    desk.recommend(symbol, confidence=confidence, sector=f"sector of {symbol}", **fields)


def sells(desk: Desk) -> list[tuple[str, str, Decimal]]:
    return [(order.purpose, order.symbol, order.quantity) for order in desk.orders("sell")]


def decided(desk: Desk, symbol: str = "NEW") -> list[tuple[str, str | None]]:
    return [(each.decision, each.skip_reason) for each in desk.decisions if each.symbol == symbol]


@pytest.mark.covers("R8.4")
@pytest.mark.covers("R8.5")
def test_a_much_better_candidate_takes_the_place_of_the_weakest_position() -> None:
    desk = full()
    weakest = desk.row.position("S1")
    assert weakest is not None
    candidate(desk)
    assert sells(desk) == [("rebalance", "S1", weakest.quantity)]
    assert decided(desk) == []
    sale = desk.decisions[-1]
    assert (sale.source_type, sale.source_id) == ("rebalance", f"{weakest.position_id}:rebalance:1")
    assert sale.quantity == weakest.quantity
    queued = desk.records("queued")[-1]
    assert (queued.symbol, queued.source_id) == ("NEW", desk.row.queue[0].recommendation.recommendation_id)
    reason = desk.records("rebalance_rationale")[-1]
    assert reason.decision_id == sale.decision_id
    assert reason.rationale == {
        "rule": "position_limit_reached",
        "symbol": "S1",
        "exposure": "2",
        "limit": "2",
        "shares": format(weakest.quantity, "f"),
        "confidence": "0.6",
        "candidate": "NEW",
        "candidate_confidence": "0.75",
        "recommendation_id": queued.source_id,
    }
    order = desk.orders("sell")[-1]
    desk.restart()
    desk.fill(order, "10", cumulative=1)
    assert decided(desk) == []
    desk.fill(order, "10")
    assert decided(desk) == [("act", None)]
    desk.fill(desk.orders("buy")[-1], "10")
    assert {position.symbol for position in desk.row.positions} == {"S0", "NEW"}
    assert desk.row.queue == ()


@pytest.mark.covers("R8.4")
@pytest.mark.parametrize(("confidence", "swaps"), [("0.74", False), ("0.75", True)])
def test_the_margin_is_fifteen_hundredths_and_equality_passes(confidence: str, swaps: bool) -> None:
    desk = full()
    candidate(desk, confidence)
    assert bool(sells(desk)) == swaps
    assert decided(desk) == ([] if swaps else [("skip", "position_limit_reached")])


@pytest.mark.covers("R6.1")
@pytest.mark.parametrize(
    ("price", "expected"),
    [("9.00", ("act", None)), ("8.99", ("skip", "circuit_breaker_active"))],  # 0.6 % of 500 are 3.00 dollars
)
def test_a_sell_that_trips_a_breaker_by_its_price_makes_no_place(price: str, expected: tuple[str, str | None]) -> None:
    desk = full(daily_loss_pct="0.006")
    candidate(desk)
    [sell] = desk.orders("sell")
    assert sell.quantity == 3
    effects = desk.fill(sell, price)
    assert decided(desk) == [expected]
    assert [order.side for order in desk.of(Order, effects)] == (["buy"] if expected[0] == "act" else [])
    assert len([each for each in desk.records("breaker_event") if each.trigger == "daily_loss"]) == (price == "8.99")


def test_a_swap_may_be_disabled() -> None:
    desk = full(swap_enabled=False)
    candidate(desk, "1")
    assert (sells(desk), desk.reason) == ([], "position_limit_reached")


def preventing() -> dict[str, Any]:
    """What else fails for the candidate, and the reason that its decision gives."""
    return {
        "stressed": lambda desk: (desk.stress("80"), candidate(desk))[0],
        "too few bars": lambda desk: candidate(desk, atr=None),
        "earnings": lambda desk: candidate(desk, facts={"earnings_on": desk.now.date(), "earnings_session": "amc"}),
        "too dear": lambda desk: candidate(desk, price="90"),
        "over the limit": lambda desk: (desk.configure(max_open_positions=1), candidate(desk))[0],
        "paused": lambda desk: (desk.command("pause"), candidate(desk))[0],
    }


@pytest.mark.parametrize("name", preventing())
def test_nothing_is_sold_for_a_candidate_that_could_not_be_bought_then(name: str) -> None:
    desk = full()
    preventing()[name](desk)
    assert [purpose for purpose, _, _ in sells(desk)] == []
    assert len(decided(desk)) == 1


@pytest.mark.covers("R8.4")
@pytest.mark.parametrize("how", ["reject", "cancelled"])
def test_a_candidate_whose_sell_comes_to_nothing_is_decided_then_and_sells_nothing_more(how: str) -> None:
    desk = full()
    candidate(desk)
    getattr(desk, how)(desk.orders("sell")[-1])
    assert decided(desk) == [("skip", "position_limit_reached")]
    assert len(sells(desk)) == 1
    assert all(position.exit is None for position in desk.row.positions)
    desk.mark("S1", "10", at=desk.now + minutes(1))
    desk.clock(desk.now + minutes(5))
    assert len(sells(desk)) == 1


def test_each_candidate_counts_on_a_place_of_its_own() -> None:
    desk = full("0.7", "0.6", "0.62")
    candidate(desk, "0.9", "ONE")
    candidate(desk, "0.9", "TWO")
    candidate(desk, "0.8", "THREE")
    assert [symbol for _, symbol, _ in sells(desk)] == ["S1", "S2"]
    assert decided(desk, "THREE") == [("skip", "position_limit_reached")]  # 0.8 < 0.7 + 0.15
    first, second = desk.orders("sell")
    desk.fill(second, "10")
    assert (decided(desk, "ONE"), decided(desk, "TWO")) == ([], [("act", None)])
    candidate(desk, "0.84", "FOUR")
    assert decided(desk, "FOUR") == [("skip", "position_limit_reached")]
    desk.fill(first, "10")
    assert decided(desk, "ONE") == [("act", None)]
    assert len(desk.row.held_symbols) == 3


def test_a_newer_recommendation_of_the_candidate_takes_over_its_place() -> None:
    desk = full("0.7", "0.6")
    candidate(desk, "0.9")
    candidate(desk, "0.95", at=desk.now + minutes(1))
    assert [symbol for _, symbol, _ in sells(desk)] == ["S1"]
    assert decided(desk) == [("skip", "superseded")]
    desk.fill(desk.orders("sell")[-1], "10")
    assert decided(desk) == [("skip", "superseded"), ("act", None)]


def test_a_candidate_waits_no_longer_than_it_lives() -> None:
    desk = full()
    candidate(desk, expires_at=desk.now + minutes(3))
    desk.clock(desk.now + minutes(2))
    desk.mark("NEW", "10")
    assert decided(desk) == []  # neither the tick nor a price lets it out
    desk.clock(desk.now + minutes(2))
    assert decided(desk) == [("skip", "expired")]
    desk.fill(desk.orders("sell")[-1], "10")
    assert len(decided(desk)) == 1


def test_a_candidate_is_decided_from_scratch_on_its_newest_price() -> None:
    desk = full()
    candidate(desk, price="10")
    desk.mark("NEW", "12")
    desk.fill(desk.orders("sell")[-1], "10")
    assert desk.decisions[-1].sizing is not None
    assert desk.decisions[-1].sizing.price == 12


def test_a_pause_that_comes_while_a_candidate_waits_refuses_it() -> None:
    desk = full()
    candidate(desk)
    desk.command("pause")
    desk.fill(desk.orders("sell")[-1], "10")
    assert decided(desk) == [("skip", "engine_paused")]


def test_a_queued_candidate_swaps_when_the_window_opens() -> None:
    desk = full()
    candidate(desk, at=at("21:30"), expires_at=at("15:00") + days(3))
    tuesday = at("14:45") + days(1)
    desk.mark("NEW", "10", at=tuesday - minutes(1))
    assert sells(desk) == []
    desk.live_to(tuesday)
    assert [symbol for _, symbol, _ in sells(desk)] == ["S1"]
    desk.fill(desk.orders("sell")[-1], "10")
    assert decided(desk) == [("act", None)]


def test_micro_positions_are_not_swapped_out() -> None:
    desk = full()
    positions = tuple(
        position.model_copy(update={"is_micro": position.symbol == "S1"}) for position in desk.row.positions
    )
    desk.portfolio = desk.row.model_copy(update={"positions": positions})
    candidate(desk, "0.8")
    assert sells(desk) == []
    candidate(desk, "0.85", "OTHER")
    assert [symbol for _, symbol, _ in sells(desk)] == ["S0"]


def test_a_stop_that_is_hit_while_the_whole_position_is_being_sold_changes_nothing() -> None:
    desk = full()
    candidate(desk)
    desk.mark("S1", "8.90")
    assert (len(sells(desk)), desk.cancels) == (1, [])
    desk.fill(desk.orders("sell")[-1], "8.90")
    assert desk.row.position("S1") is None
    assert decided(desk) == [("act", None)]


def test_a_stop_that_was_hit_sells_at_once_when_the_swap_is_rejected() -> None:
    desk = full()
    candidate(desk)
    desk.mark("S1", "8.90")
    desk.reject(desk.orders("sell")[-1])
    assert [(purpose, symbol) for purpose, symbol, _ in sells(desk)] == [("rebalance", "S1"), ("stop_loss", "S1")]
    assert decided(desk) == [("skip", "position_limit_reached")]


def test_a_breaker_price_during_a_swap_cools_the_ticker_down() -> None:
    desk = full()
    candidate(desk)
    desk.mark("S1", "8.40")
    desk.fill(desk.orders("sell")[-1], "8.40")
    assert [symbol for symbol, _ in desk.row.cooldowns] == ["S1"]


@pytest.mark.covers("R8.4")
@pytest.mark.covers("R12.2")
def test_no_swap_buys_back_what_was_sold_at_a_loss_within_thirty_days() -> None:
    for later, swaps in ((30, False), (31, True)):
        desk = full("0.7", "0.6", moderate={"reward_risk_ratio": "20"})
        desk.recommend("S0", "sell")
        desk.fill(desk.orders("sell")[-1], "9.80")
        desk.hold("S2", sector="sector 2", confidence="0.7")
        desk.live_to(at("15:30") + days(later))
        before = len(sells(desk))
        candidate(desk, "0.9", "S0")
        assert (len(sells(desk)) > before) == swaps


def test_no_swap_sells_at_a_loss_what_a_pending_recommendation_buys_again() -> None:
    for price, swaps in (("9.90", False), ("10", True)):
        desk = full()
        desk.clock(at("20:50"))
        desk.recommend("S1", confidence="0.6", sector="sector 1", expires_at=at("15:00") + days(3))
        desk.clock(at("15:00") + days(1))  # no price of the session yet: it goes on waiting
        desk.mark("S0", "10")
        desk.mark("S1", price, at=at("20:59"))
        assert len(desk.row.queue) == 1
        candidate(desk)
        assert bool(sells(desk)) == swaps


def test_a_full_queue_leaves_no_room_for_a_candidate_to_wait() -> None:
    desk = full()
    desk.clock(at("20:50"))
    for place in range(MOST_WAITING):
        desk.recommend(f"Q{place}", confidence="0.9", sector="x", expires_at=at("15:00") + days(3))
    desk.live_to(at("15:00") + days(1))
    assert len(desk.row.queue) == MOST_WAITING
    candidate(desk)
    assert (sells(desk), decided(desk)) == ([], [("skip", "position_limit_reached")])
