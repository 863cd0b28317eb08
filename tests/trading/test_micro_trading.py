"""Micro trades (R20, decisions 27 and 56): short, small and tight, on trends, besides the standard ones."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import cents, prices
from tests.trading.desk import MONDAY, Desk, at, days, minutes
from trading import dedupe
from trading.effects import Decision, Order
from trading.micro_entries import MOST_TRENDS

D = Decimal
FOUR = D(4)  # dollars: 3 % of 500 buy three shares, with 0.50 of ATR a stop at 3.50 and a target at 4.75
HALF_DAY = dt.date(2026, 11, 27)  # 14:30 to 18:00


def micro(*, now: dt.datetime | None = None, **changes: Any) -> Desk:
    return Desk(now=now, **({"micro_trading_enabled": True} | changes))


def holding(desk: Desk, symbol: str = "AAPL", **fields: Any) -> Desk:
    """Enter a micro trade of three shares at 4 dollars and have it filled."""
    desk.trend(symbol, price=FOUR, **fields)
    desk.fill(desk.orders("buy", symbol)[-1], FOUR)
    return desk


@pytest.mark.covers("R20.8")
def test_while_micro_trading_is_off_a_trend_leaves_no_trace() -> None:
    desk = Desk()
    before = desk.row
    assert desk.trend(trend_id="t-1") == []
    assert desk.row == before.model_copy(update={"seq": desk.row.seq})
    desk.configure(micro_trading_enabled=True)
    desk.trend(trend_id="t-1")  # it was not remembered
    assert [decision.source_id for decision in desk.decisions] == ["t-1"]


@pytest.mark.covers("R20.8")
def test_micro_trading_is_switched_on_by_a_confirmed_change_and_off_at_once() -> None:
    desk = Desk()
    asked = desk.command("update_config", version=1, changes={"micro_trading_enabled": True})
    assert (asked.accepted, asked.loosens) == (False, ("micro_trading_enabled",))
    assert desk.configure(micro_trading_enabled=True).accepted
    assert desk.command("update_config", version=2, changes={"micro_trading_enabled": False}).accepted
    desk.trend()
    assert desk.decisions == []
    desk.recommend()  # the engine itself stays enabled
    assert desk.reason is None


@pytest.mark.covers("R20.1")
@pytest.mark.covers("R20.2")
@pytest.mark.parametrize("window", ["intraday", "1d"])
@pytest.mark.parametrize("interval", ["5m", "15m"])
def test_a_bullish_trend_of_either_window_is_bought_when_it_arrives(window: str, interval: str) -> None:
    desk = micro()
    desk.trend(trend_id="t-1", confidence="0.55", price=FOUR, window=window, interval=interval)
    decision, order = desk.decisions[0], desk.orders()[0]
    assert (decision.source_type, decision.source_id, decision.recommendation_id) == ("trend", "t-1", None)
    assert (decision.decision, decision.purpose, decision.decided_at) == ("act", "entry", at("15:00"))
    assert decision.source is not None
    assert (decision.source["trend_id"], decision.source["direction"]) == ("t-1", "bullish")
    assert (order.side, order.quantity, order.decision_id) == ("buy", 3, decision.decision_id)
    assert (order.tranche, order.of_tranches, order.created_at) == (1, 1, at("15:00"))


@pytest.mark.covers("R20.2")
def test_a_trend_needs_the_confidence_of_the_active_tier() -> None:
    desk = micro()
    desk.trend(confidence="0.54")
    assert desk.reason == "insufficient_confidence"
    desk.command("set_risk_tier", risk_tier="conservative")
    desk.trend(confidence="0.74")
    assert desk.reason == "insufficient_confidence"
    desk.trend(confidence="0.75", price=FOUR)
    assert desk.reason is None


def test_a_neutral_trend_is_not_actionable() -> None:
    desk = micro()
    desk.trend(action="hold")
    assert desk.reason == "not_actionable"


def test_a_bearish_trend_sells_the_whole_micro_position() -> None:
    desk = holding(micro())
    desk.trend(action="sell", price=FOUR)
    decision, order = desk.decisions[-1], desk.orders("sell")[-1]
    assert (decision.source_type, decision.decision, decision.purpose) == ("trend", "act", "signal")
    assert (order.quantity, order.purpose, order.decision_id) == (3, "signal", decision.decision_id)
    assert {gate.name for gate in decision.gates if gate.passed is None} >= {"micro_daily_limit", "micro_too_late"}


@pytest.mark.parametrize("held", [True, False])
def test_a_bearish_trend_sells_no_standard_position_and_nothing_that_is_not_held(held: bool) -> None:
    desk = micro()
    if held:
        desk.hold()
    desk.trend(action="sell")
    assert desk.reason == "no_position_to_sell"
    assert desk.gate("no_position_to_sell").value == ("4" if held else "0")
    assert desk.orders("sell") == []


def test_a_sell_recommendation_sells_a_micro_position_too() -> None:
    desk = holding(micro())
    desk.recommend(action="sell", price=FOUR)
    assert [order.purpose for order in desk.orders("sell")] == ["signal"]


def test_a_repeated_trend_yields_a_duplicate_and_nothing_else_also_after_a_restart() -> None:
    desk = micro()
    desk.trend(trend_id="t-1", confidence="0.1")
    desk.restart()
    before = desk.row
    effects = desk.trend("KO", "sell", trend_id="t-1", sector="staples")
    assert [(record.source_type, record.source_id) for record in desk.records("duplicate")] == [("trend", "t-1")]
    assert len(effects) == 1
    assert desk.row == before.model_copy(update={"seq": desk.row.seq})


def test_a_trend_and_a_recommendation_of_one_id_are_two_signals() -> None:
    desk = micro()
    desk.recommend(recommendation_id="x", confidence="0.1")
    desk.trend(trend_id="x", confidence="0.1")
    assert [decision.source_type for decision in desk.decisions] == ["recommendation", "trend"]
    assert desk.decisions[0].decision_id != desk.decisions[1].decision_id


def test_a_trend_that_comes_again_after_its_id_has_lapsed_is_still_a_duplicate() -> None:
    desk = micro()
    desk.trend(trend_id="t-1", confidence="0.1")
    desk.clock(at("17:00") + days(1))
    assert desk.row.trends_seen == ()
    desk.trend(trend_id="t-1", generated_at=at("15:00"), expires_at=desk.now + days(1))
    assert len(desk.decisions) == len(desk.records("duplicate")) == 1


def test_trends_that_have_lapsed_outdate_no_recommendation() -> None:
    desk = micro()
    desk.trend(confidence="0.1")
    desk.clock(at("17:00") + days(1))
    desk.recommend(generated_at=at("14:00"), expires_at=desk.now + days(1))
    assert desk.records("duplicate") == []
    assert len(desk.decisions) == 2


def test_a_flood_of_trends_keeps_the_row_small() -> None:
    desk = micro()
    for place in range(MOST_TRENDS + 50):
        desk.trend(trend_id=f"t-{place}", confidence="0.1")
    assert dedupe.count(desk.row.trends_seen) == MOST_TRENDS
    desk.trend(trend_id="t-50", confidence="0.1")
    assert len(desk.records("duplicate")) == 1


@pytest.mark.parametrize(
    ("fields", "age", "reason"),
    [
        ({"interval": "5m"}, "00:09:59", None),
        ({"interval": "5m"}, "00:10:00", "expired"),
        ({"interval": "15m"}, "00:29:59", None),
        ({"interval": "15m"}, "00:30:00", "expired"),
        ({"interval": "5m", "expires_at": at("15:00:01")}, "05:00:00", None),
        ({"interval": "15m", "expires_at": at("15:00")}, "00:00:01", "expired"),
    ],
)
def test_a_trend_lives_two_of_its_intervals_or_as_long_as_it_says(
    fields: dict[str, Any], age: str, reason: str | None
) -> None:
    desk = micro()
    lived = dt.datetime.combine(MONDAY, dt.time.fromisoformat(age)) - dt.datetime.combine(MONDAY, dt.time())
    desk.trend(price=FOUR, generated_at=at("15:00") - lived, **fields)
    assert desk.reason == reason


@pytest.mark.covers("R20.10")
@pytest.mark.parametrize("action", ["buy", "sell"])
@pytest.mark.parametrize("now", [at("20:45"), at("22:00"), at("14:44:59") + days(1)])
def test_outside_the_window_a_trend_is_decided_at_once_and_never_waits(action: str, now: dt.datetime) -> None:
    desk = holding(micro())
    desk.live_to(now)
    desk.trend("KO" if action == "buy" else "AAPL", action, price=FOUR, sector="staples")
    assert desk.reason == "outside_trading_window"
    assert desk.row.queue == ()
    assert desk.records("queued") == []


@pytest.mark.covers("R20.3")
def test_a_micro_trade_gets_at_most_three_percent_of_the_active_pool() -> None:
    desk = micro()
    desk.trend(price=FOUR)
    sizing = desk.decisions[0].sizing
    assert sizing is not None
    # 500 x 0.05 x 0.8 / 0.55 x 1.2 = 43.64 dollars before the caps; 3 % of 500 are 15
    assert abs(float(sizing.bonus) - 500 * 0.05 * 0.8 / 0.55 * 1.2) < 1e-9
    assert (sizing.caps, sizing.cash, sizing.quantity) == (15, 15, 3)
    assert desk.decisions[0].computed_position_size == 15


@pytest.mark.covers("R20.3")
@pytest.mark.parametrize(
    ("changes", "fields", "most"),
    [
        ({"micro_max_position_pct": "0.01"}, {}, "5"),
        ({"moderate": {"max_position_pct": "0.02"}}, {}, "10"),  # the tier's own cap is the lower one
        ({"absolute_cap_pct": "0.024"}, {}, "12"),
        ({}, {"facts": {"earnings_on": MONDAY + days(2), "earnings_session": "amc"}}, "7.5"),  # halved as every cap
    ],
)
def test_the_lowest_of_the_three_caps_binds(changes: dict[str, Any], fields: dict[str, Any], most: str) -> None:
    desk = micro(**changes)
    desk.trend(price=FOUR, **fields)
    assert desk.decisions[0].computed_position_size == D(most)


def test_the_reserve_does_not_count_towards_the_three_percent() -> None:
    desk = micro()
    desk.command("adjust_reserve", amount="100", reason="set aside")
    desk.trend(price=FOUR)
    assert desk.decisions[0].computed_position_size == 12  # 3 % of 400


@given(cents("0.55", "1"), prices(), st.integers(1, 2000), st.integers(0, 400), st.booleans())
@pytest.mark.covers("R20.3")
def test_no_micro_trade_is_over_three_percent_of_the_active_pool(
    confidence: Decimal, price: Decimal, cash: int, reserve: int, fractional: bool
) -> None:
    desk = micro(cash=str(cash), fractional_enabled=fractional, active_pool_minimum="0")
    desk.command("adjust_reserve", amount=str(reserve), reason="set aside")
    desk.trend(confidence=confidence, price=price, atr=price / 20)
    decision = desk.decisions[0]
    assert 0 <= decision.quantity * price <= decision.computed_position_size <= desk.row.active_pool * D("0.03")


@pytest.mark.covers("R20.5")
def test_a_micro_position_is_stopped_one_atr_away_and_taken_at_one_and_a_half_of_that() -> None:
    desk = holding(micro())
    level = desk.records("stop_level")[-1]
    assert (level.stop_price, level.target_price) == (D("3.50"), D("4.75"))
    assert (level.multiplier, level.reward_risk_ratio) == (1, D("1.5"))
    desk.hold("KO", price="4", sector="staples")  # a standard one: 2 x ATR
    assert desk.records("stop_level")[-1].stop_price == D("3.00")


@pytest.mark.covers("R20.5")
@pytest.mark.covers("R20.10")
def test_the_heat_of_a_micro_trade_is_that_of_its_own_stop() -> None:
    for limit, reason in (("0.003", None), ("0.00299", "portfolio_heat")):  # 3 shares x 0.50 = 1.50 dollars of 500
        desk = micro(moderate={"max_portfolio_heat": limit})
        desk.trend(price=FOUR)
        assert desk.reason == reason
        assert desk.gate("portfolio_heat").value == "1.50"
    desk = holding(micro())
    assert desk.row.portfolio_heat == D("1.50")


@pytest.mark.covers("R20.4")
def test_ten_entries_a_day_and_no_eleventh_also_across_a_restart() -> None:
    desk = micro(max_open_positions=50)
    for place in range(10):
        desk.trend(f"S{place}", price=FOUR, sector=f"sector {place}")
        assert (desk.gate("micro_daily_limit").value, desk.gate("micro_daily_limit").limit) == (str(place), "10")
        desk.restart()
    assert all(decision.decision == "act" for decision in desk.decisions)
    desk.trend("S10", price=FOUR, sector="sector 10")
    assert desk.reason == "micro_daily_limit"
    assert desk.gate("micro_daily_limit").value == "10"
    desk.recommend("KO", sector="staples")  # a standard trade is none of them
    assert desk.reason is None
    assert desk.gate("micro_daily_limit").passed is None
    desk.clock(at("15:00") + days(1))
    desk.trend("S10", price=FOUR, sector="sector 10")
    assert (desk.gate("micro_daily_limit").value, desk.reason) == ("0", None)


def test_what_is_skipped_and_what_is_sold_does_not_count_towards_the_day() -> None:
    desk = holding(micro(micro_max_trades_per_day=2))
    desk.trend("KO", confidence="0.1")
    desk.trend("AAPL", "sell", price=FOUR)
    desk.trend("KO", price=FOUR, sector="staples")
    assert desk.reason is None
    assert desk.gate("micro_daily_limit").value == "1"


def test_the_day_is_that_of_new_york() -> None:
    desk = micro(now=at("20:00"), micro_max_hold_minutes=1)
    desk.trend(price=FOUR)
    assert desk.row.micro_on == MONDAY
    desk.clock(at("02:00") + days(1))  # nine in the evening of Monday
    desk.trend("KO", price=FOUR)
    assert desk.gate("micro_daily_limit").value == "1"
    desk.clock(at("05:00") + days(1))
    desk.trend("CVX", price=FOUR)
    assert desk.gate("micro_daily_limit").value == "0"


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=40), st.integers(0, 6))
@pytest.mark.covers("R20.4")
def test_never_more_entries_a_day_than_allowed(events: list[tuple[int, bool, bool]], most: int) -> None:
    desk = micro(max_open_positions=50, micro_max_trades_per_day=most, moderate={"max_portfolio_heat": "1"})
    for place, (hours, acts, restarts) in enumerate(events):
        desk.clock(desk.now + minutes(20 * hours))
        if restarts:
            desk.restart()
        desk.trend(f"S{place}", price="1", atr="0.01", sector=f"s{place}", confidence="0.9" if acts else "0.1")
    entered: dict[dt.date, int] = {}
    for decision in desk.decisions:
        if decision.decision == "act" and decision.purpose == "entry":
            on = (decision.decided_at - dt.timedelta(hours=5)).date()  # New York, before the clocks go forward
            on = on if decision.decided_at < at("07:00", on=dt.date(2026, 3, 8)) else decision.decided_at.date()
            entered[on] = entered.get(on, 0) + 1
    assert all(count <= most for count in entered.values())


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (at("18:45"), None),  # 21:00 - 15 min - 2 h
        (at("18:45:00.000001"), "micro_too_late"),
        (at("15:45", on=HALF_DAY), None),  # 18:00 - 15 min - 2 h
        (at("15:45:01", on=HALF_DAY), "micro_too_late"),
    ],
)
def test_the_last_micro_trade_begins_early_enough_to_end_inside_the_window(
    now: dt.datetime, reason: str | None
) -> None:
    desk = micro(now=now)
    desk.trend(price=FOUR)
    assert desk.reason == reason
    gate = desk.gate("micro_too_late")
    limit = "2026-03-02T18:45:00Z" if now.date() == MONDAY else "2026-11-27T15:45:00Z"
    assert (gate.passed, gate.limit) == (reason is None, limit)


def test_the_micro_gates_do_not_apply_to_a_recommendation() -> None:
    desk = micro(now=at("20:00"))
    desk.recommend()
    for name in ("micro_daily_limit", "micro_too_late"):
        assert desk.gate(name).passed is None
        assert desk.gate(name).value is None


@pytest.mark.covers("R20.6")
@pytest.mark.parametrize("price", ["3.90", "4.30"])  # whatever it has earned
def test_a_micro_position_is_sold_at_market_when_its_time_is_up(price: str) -> None:
    desk = holding(micro(stale_price_minutes=600))
    desk.mark("AAPL", price, at=at("16:59:59"))
    assert desk.orders("sell") == []
    desk.clock(at("17:30"))  # in one jump: at its own instant all the same
    order, decision = desk.orders("sell")[0], desk.decisions[-1]
    assert (order.purpose, order.order_type, order.quantity) == ("micro_timeout", "market", 3)
    assert order.created_at == decision.decided_at == at("17:00")
    position_id = desk.records("stop_level")[0].position_id
    assert (decision.source_type, decision.source_id) == ("exit", f"{position_id}:micro_timeout:1")
    assert decision.recommendation_id is None
    desk.fill(order, price)
    trade = desk.records("trade")[-1]
    assert (trade.exit_purpose, trade.is_micro, trade.recommendation_id) == ("micro_timeout", True, None)
    assert (trade.opened_at, desk.row.positions) == (at("15:00"), ())


@pytest.mark.covers("R20.6")
def test_the_time_exit_does_not_wait_for_the_window_nor_for_a_pause_or_a_breaker() -> None:
    desk = micro(now=at("18:45"))
    desk.trend(price=FOUR)
    desk.clock(at("18:46"))
    desk.fill(desk.orders("buy")[0], FOUR)
    desk.mark("AAPL", "4", at=at("20:40"))
    desk.command("pause")
    desk.stress("99")
    desk.clock(at("20:50"))  # the window closed at 20:45
    assert [(order.purpose, order.created_at) for order in desk.orders("sell")] == [("micro_timeout", at("20:46"))]


def test_a_time_exit_outside_the_session_waits_for_the_first_price_of_the_next() -> None:
    desk = micro(now=at("18:45"))
    desk.trend(price=FOUR)
    desk.clock(at("20:59"))
    desk.fill(desk.orders("buy")[0], FOUR)  # the broker was slow
    desk.clock(at("14:30") + days(1))
    assert desk.orders("sell") == []
    desk.mark("AAPL", "4.10", at=at("14:30:05") + days(1))
    assert [order.purpose for order in desk.orders("sell")] == ["micro_timeout"]
    assert desk.decisions[-1].decided_at == at("14:30:05") + days(1)


def test_a_stop_of_the_night_that_the_morning_does_not_confirm_leaves_the_time_exit() -> None:
    desk = micro(now=at("18:45"))
    desk.trend(price=FOUR)
    desk.clock(at("20:59"))
    desk.fill(desk.orders("buy")[0], FOUR)
    desk.mark("AAPL", "3.40", at=at("21:30"))  # under the stop, before the time is up
    desk.clock(at("14:30") + days(1))
    desk.mark("AAPL", "4.10", at=at("14:30:05") + days(1))
    assert [order.purpose for order in desk.orders("sell")] == ["micro_timeout"]


def test_a_standard_position_is_held_as_long_as_it_likes() -> None:
    desk = micro(stale_price_minutes=600)
    desk.hold()
    desk.clock(at("20:59"))
    assert desk.orders("sell") == []


def test_a_longest_hold_that_is_shortened_acts_at_once() -> None:
    desk = holding(micro())
    desk.mark("AAPL", "4", at=at("15:31"))
    desk.configure(micro_max_hold_minutes=30)
    assert [(order.purpose, order.created_at) for order in desk.orders("sell")] == [("micro_timeout", at("15:31"))]


def test_a_time_exit_cancels_the_rest_of_its_entry_first() -> None:
    desk = micro(micro_max_hold_minutes=5)
    desk.trend(price=FOUR)
    desk.fill(desk.orders("buy")[0], FOUR, cumulative=2)
    desk.clock(at("15:05"))
    assert [cancel.client_order_id for cancel in desk.cancels] == [desk.orders("buy")[0].client_order_id]
    assert desk.orders("sell") == []
    desk.cancelled(desk.orders("buy")[0], cumulative=2)
    assert [(order.purpose, order.quantity) for order in desk.orders("sell")] == [("micro_timeout", 2)]


def test_a_rejected_time_exit_goes_out_again_under_the_same_decision() -> None:
    desk = holding(micro())
    desk.clock(at("17:00"))
    desk.reject(desk.orders("sell")[0])
    desk.clock(at("17:01"))
    first, second = desk.orders("sell")
    assert first.decision_id == second.decision_id
    assert first.client_order_id != second.client_order_id


def test_an_exit_that_is_under_way_is_not_joined_by_a_time_exit() -> None:
    desk = holding(micro())
    desk.mark("AAPL", "3.50", at=at("16:59"))
    desk.clock(at("17:05"))
    assert [order.purpose for order in desk.orders("sell")] == ["stop_loss"]


@given(st.integers(1, 200), st.lists(st.integers(1, 240), min_size=1, max_size=8))
@pytest.mark.covers("R20.6")
def test_no_micro_position_outlives_its_hold(hold: int, gaps: list[int]) -> None:
    desk = holding(micro(micro_max_hold_minutes=hold, stale_price_minutes=1440))
    for gap in gaps:
        desk.clock(desk.now + minutes(gap))
        is_over = desk.now >= at("15:00") + minutes(hold)
        assert (desk.row.positions[0].exit is not None) == is_over
        assert [order.created_at for order in desk.orders("sell")] == [at("15:00") + minutes(hold)] * is_over


@pytest.mark.covers("R20.8")
def test_switched_off_micro_trading_buys_nothing_and_still_leaves_what_it_holds() -> None:
    desk = holding(micro())
    desk.configure(micro_trading_enabled=False)
    desk.trend("KO", price=FOUR, sector="staples")
    assert len(desk.decisions) == 1
    desk.clock(at("17:00"))
    assert [order.purpose for order in desk.orders("sell")] == ["micro_timeout"]


def building(**changes: Any) -> Desk:
    """Return a desk with the first of three tranches of a micro trade: 2 + 1 + 1 shares at 10 dollars."""
    desk = micro(micro_max_position_pct="0.09", **changes)
    desk.trend(price="10")  # 9 % of 500: 43.64 dollars, over 25
    desk.fill(desk.orders()[0], "10")
    assert [order.quantity for order in desk.orders()] == [2]
    return desk


@pytest.mark.covers("R11.4")
@pytest.mark.parametrize(
    ("do", "sent"),
    [
        (lambda desk: None, 2),
        (lambda desk: desk.configure(micro_trading_enabled=False), 1),
        (lambda desk: desk.configure(micro_max_trades_per_day=1), 2),  # it counts as that one
        (lambda desk: desk.configure(micro_max_trades_per_day=0), 1),
        (lambda desk: desk.trend(action="hold"), 1),
        (lambda desk: desk.trend(confidence="0.54"), 1),
        (lambda desk: desk.trend(confidence="0.55"), 2),
        (lambda desk: desk.recommend(action="hold"), 1),
        (lambda desk: desk.trend("KO", action="hold"), 2),
    ],
)
def test_a_later_tranche_of_a_micro_trade_is_judged_again(do: Any, sent: int) -> None:
    desk = building()
    desk.clock(at("15:05"))
    do(desk)
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    assert len(desk.orders("buy")) == sent


def test_no_later_tranche_goes_out_when_it_is_too_late_for_micro_trades() -> None:
    desk = building(now=at("18:40"))
    desk.mark("AAPL", "10", at=at("18:54"))
    desk.clock(at("18:55"))
    assert len(desk.orders("buy")) == 1
    assert "micro_too_late" in desk.records("alert")[-1].body


def test_a_trend_says_nothing_of_a_standard_entry_that_is_being_built() -> None:
    desk = micro()
    desk.recommend()
    desk.fill(desk.orders()[0], "10")
    desk.clock(at("15:05"))
    desk.trend(action="sell", confidence="0.1")
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    assert len(desk.orders("buy")) == 2


def test_a_trend_of_what_is_held_adds_nothing_to_it() -> None:
    desk = holding(micro())
    desk.trend(price=FOUR)
    assert desk.reason == "already_held"


def test_a_trend_takes_no_place_from_a_position_however_sure_it_is() -> None:
    desk = micro(max_open_positions=1)
    desk.hold(confidence="0.6")
    desk.trend("KO", confidence="1", price=FOUR, sector="staples")  # a recommendation would swap, and wait for the sell
    assert desk.reason == "position_limit_reached"
    assert desk.orders("sell") == []
    assert desk.row.queue == ()


@pytest.mark.covers("R20.7")
def test_position_lots_and_trade_lead_back_to_the_trend() -> None:
    desk = holding(micro())
    position = desk.row.positions[0]
    assert (position.is_micro, position.source_type, position.recommendation_id) == (True, "trend", None)
    lot = desk.records("lot")[-1]
    decision = next(each for each in desk.of(Decision) if each.decision_id == lot.decision_id)
    assert (decision.source_type, decision.source_id) == ("trend", "trend-2")
    desk.mark("AAPL", "4.75", at=at("15:10"))
    desk.fill(desk.last(Order), "4.75")
    trade = desk.records("trade")[-1]
    assert (trade.is_micro, trade.recommendation_id, trade.exit_purpose) == (True, None, "take_profit")
    assert trade.realized_pnl == D("2.25")  # 3 x 0.75
    assert desk.decisions[-1].recommendation_id is None
