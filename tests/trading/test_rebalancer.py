"""The rebalancer (R8.1 to R8.3, R8.5, R8.6, decisions 28 and 45), and what happens to a position while it is cut."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import cents
from tests.trading.desk import MONDAY, Desk, at, days, policy
from trading.effects import Order
from trading.holdings import Exit, Position
from trading.portfolio import Portfolio
from trading.rebalancer import cuts, shares_over

D = Decimal
NEXT_MONDAY = MONDAY + days(7)  # summer time has begun: 13:30 to 20:00 UTC, the window from 13:45
WINDOW_OPEN = at("13:45", on=NEXT_MONDAY)
FAR = {"reward_risk_ratio": "20"}  # a target far away, so that prices may rise


def grown(price: str = "15", *, moderate: dict[str, Any] | None = None, **changes: Any) -> Desk:
    """Return a desk with 4 AAPL bought at 10 dollars, on the Monday after at a price, just before the window opens."""
    desk = Desk(moderate=FAR | (moderate or {}), **changes)
    desk.hold()
    desk.mark("AAPL", price, at=at("13:44", on=NEXT_MONDAY))
    return desk


def sells(desk: Desk) -> list[tuple[str, str, int]]:
    return [(order.purpose, order.symbol, int(order.quantity)) for order in desk.orders("sell")]


@pytest.mark.covers("R8.2")
@pytest.mark.covers("R8.5")
def test_a_position_over_its_limit_is_cut_by_the_least_whole_number_of_shares() -> None:
    desk = grown("15")  # 60 of 520 dollars; a tenth is 52: one share less is 45
    desk.live_to(WINDOW_OPEN)
    assert sells(desk) == [("rebalance", "AAPL", 1)]
    order, decision, record = desk.last(Order), desk.decisions[-1], desk.records("rebalance_rationale")[-1]
    position = desk.row.positions[0]
    assert (decision.source_type, decision.source_id) == ("rebalance", f"{position.position_id}:rebalance:1")
    assert (decision.decision, decision.quantity, decision.computed_position_size) == ("act", 1, 15)
    assert order.decision_id == record.decision_id == decision.decision_id
    assert order.valid_until == at("19:45", on=NEXT_MONDAY)
    assert record.rationale == {
        "rule": "max_position_pct",
        "symbol": "AAPL",
        "exposure": "60",
        "limit": "52.00",
        "shares": "1",
        "risk_tier": "moderate",
    }


@pytest.mark.covers("R8.2")
@pytest.mark.parametrize(
    ("pct", "price", "sold"),
    [
        ("0.08", "10", 0),  # 40 of 500: equality passes
        ("0.08", "10.01", 1),  # 40.04 of 500.04, the limit is 40.0032
        ("0.08", "29", 3),  # 116 of 576, the limit is 46.08
        ("0.02", "29", 3),  # the limit is 11.52: the last share stays
    ],
)
def test_equality_passes_and_the_last_share_stays(pct: str, price: str, sold: int) -> None:
    desk = grown(price, moderate={"max_position_pct": "0.08"})
    desk.configure(tiers={"moderate": {"max_position_pct": pct}})
    desk.live_to(WINDOW_OPEN)
    assert sum(quantity for _, _, quantity in sells(desk)) == sold


@pytest.mark.covers("R8.6", "R6.1")
def test_a_loss_that_still_holds_at_the_open_cuts_nothing_where_the_window_opens_with_the_session() -> None:
    desk = Desk(moderate=FAR, window_margin_minutes=0, daily_loss_pct="0.001")
    desk.hold()
    desk.configure(tiers={"moderate": {"max_position_pct": "0.05"}})  # 40 of 500 dollars are held
    desk.mark("AAPL", "10", at=at("20:59", on=NEXT_MONDAY - days(3)))
    desk.mark("AAPL", "9.80", at=at("13:00", on=NEXT_MONDAY))  # 0.80 dollars, more than 0.50
    desk.clock(at("13:30", on=NEXT_MONDAY))
    events = [(each.event, each.trigger) for each in desk.records("breaker_event")]
    assert events == [("triggered", "daily_loss"), ("resumed", "daily_loss"), ("triggered", "daily_loss")]
    assert sells(desk) == []


def test_a_single_share_is_left_alone() -> None:
    desk = Desk(moderate=FAR)
    desk.hold(price="40", atr="2")
    desk.mark("AAPL", "60", at=at("13:44", on=NEXT_MONDAY))  # 60 of 520 dollars
    desk.live_to(WINDOW_OPEN)
    assert (desk.row.positions[0].quantity, sells(desk)) == (1, [])


@pytest.mark.covers("R8.1")
def test_the_rebalancer_looks_once_a_week_at_the_first_window_open() -> None:
    desk = grown("10")
    desk.live_to(WINDOW_OPEN)
    desk.mark("AAPL", "15", at=at("14:00", on=NEXT_MONDAY))
    for day in range(1, 5):
        desk.live_to(WINDOW_OPEN + days(day))
    assert sells(desk) == []
    desk.live_to(WINDOW_OPEN + days(7))
    assert sells(desk) == [("rebalance", "AAPL", 1)]
    assert desk.orders("sell")[0].created_at == WINDOW_OPEN + days(7)


def test_a_week_that_begins_with_a_holiday_is_looked_at_on_its_first_session() -> None:
    memorial_day = dt.date(2026, 5, 25)
    desk = Desk(now=at("15:00", on=memorial_day - days(4)), moderate=FAR)
    desk.hold()
    desk.mark("AAPL", "15")
    desk.clock(at("20:00", on=memorial_day))
    assert sells(desk) == []
    desk.live_to(at("13:45", on=memorial_day + days(1)))
    assert sells(desk) == [("rebalance", "AAPL", 1)]


def test_an_account_that_begins_in_the_middle_of_a_week_waits_for_the_next() -> None:
    desk = Desk(now=at("15:00", on=MONDAY + days(1)), moderate=FAR)
    desk.hold()
    desk.mark("AAPL", "15")
    desk.clock(at("15:00", on=MONDAY + days(4)))
    assert sells(desk) == []


@pytest.mark.covers("R8.6")
def test_while_trading_is_not_active_it_waits_for_the_next_window_open_of_the_week() -> None:
    desk = grown("15")
    desk.command("pause")
    desk.live_to(WINDOW_OPEN + days(1))
    assert sells(desk) == []
    desk.command("resume")
    assert sells(desk) == []
    desk.restart()
    desk.live_to(WINDOW_OPEN + days(2))
    assert sells(desk) == [("rebalance", "AAPL", 1)]


@pytest.mark.covers("R8.6")
def test_nothing_is_cut_at_the_prices_of_another_session_while_the_feed_is_mute() -> None:
    """Without a loop tick in between: the window opens 15 minutes after the session, a longer silence is the feed's."""
    desk = Desk(now=at("15:00"), moderate=FAR, polling_interval_seconds=3600, stale_price_minutes=10)
    desk.hold()
    desk.mark("AAPL", "15", at=at("13:29", on=NEXT_MONDAY))
    desk.clock(WINDOW_OPEN)
    assert sells(desk) == []
    assert desk.row.feed_silent_since == WINDOW_OPEN


@pytest.mark.covers("R8.6")
def test_a_week_without_any_active_window_open_is_left_out() -> None:
    desk = grown("15")
    desk.command("pause")
    desk.clock(at("18:00", on=NEXT_MONDAY + days(4)))
    desk.command("resume")
    desk.clock(at("12:00", on=NEXT_MONDAY + days(7)))
    assert sells(desk) == []
    desk.live_to(WINDOW_OPEN + days(7))
    assert sells(desk) == [("rebalance", "AAPL", 1)]


@pytest.mark.covers("R8.1")
@pytest.mark.parametrize(("weeks", "expected"), [(0, []), (1, [7, 14, 21]), (2, [7, 21])])
def test_the_interval_is_a_number_of_weeks_and_zero_is_never(weeks: int, expected: list[int]) -> None:
    desk = grown("40", rebalance_interval_weeks=weeks)  # three of four shares go, each time one more is kept
    looked = []
    for week in (7, 14, 21):
        before = desk.row.rebalanced_on
        desk.live_to(at("13:45", on=MONDAY + days(week)))
        looked += [week] if desk.row.rebalanced_on != before else []
    assert looked == expected


def test_a_longer_interval_and_never_loosen_and_a_shorter_one_does_not() -> None:
    desk = Desk(rebalance_interval_weeks=2)
    for weeks, loosens in ((3, True), (0, True), (1, False)):
        result = desk.command(
            "update_config", version=desk.row.policy.version, changes={"rebalance_interval_weeks": weeks}
        )
        assert (result.confirmation_token is not None) == loosens


@pytest.mark.covers("R8.3")
@pytest.mark.parametrize(
    ("pct", "sold"),
    [
        ("0.17", []),  # 83 dollars of technology against 87.21
        ("0.13", [("rebalance", "AMD", 2)]),  # 66.69: 16.31 too much
        ("0.09", [("rebalance", "AMD", 2), ("rebalance", "AAPL", 2)]),  # 46.17: 22 of AMD, then 14.83 of AAPL
    ],
)
def test_a_sector_over_its_limit_is_cut_at_its_positions_of_the_lowest_confidence(
    pct: str, sold: list[tuple[str, str, int]]
) -> None:
    desk = Desk(moderate=FAR)
    for symbol, confidence in (("AAPL", "0.9"), ("AMD", "0.8")):
        desk.hold(symbol, confidence=confidence)
    desk.hold("KO", sector="staples", confidence="0.6")
    assert {each.symbol: int(each.quantity) for each in desk.row.positions} == {"AAPL": 4, "AMD": 3, "KO": 3}
    for symbol, price in (("AAPL", "12.50"), ("AMD", "11")):
        desk.mark(symbol, price, at=at("13:44", on=NEXT_MONDAY))
    desk.configure(tiers={"moderate": {"max_sector_pct": pct}})
    desk.live_to(WINDOW_OPEN)  # 500 + 10 + 3 dollars in all
    assert sells(desk) == sold
    reasons = [each.rationale for each in desk.records("rebalance_rationale")]
    assert [(each["rule"], each["sector"]) for each in reasons] == [("max_sector_pct", "technology")] * len(sold)


def test_both_rules_cut_one_position_with_one_order_and_a_reason_each() -> None:
    desk = grown("15", moderate={"max_sector_pct": "0.08"}, swap_enabled=False)
    assert sells(desk) == []
    desk.configure(tiers={"moderate": {"max_sector_pct": "0.06"}})
    desk.live_to(WINDOW_OPEN)  # 60 of 520: one share to 52, a second to come under 31.20
    assert sells(desk) == [("rebalance", "AAPL", 2)]
    reasons = [each.rationale for each in desk.records("rebalance_rationale")]
    assert [(each["rule"], each["shares"]) for each in reasons] == [("max_position_pct", "1"), ("max_sector_pct", "1")]


@pytest.mark.parametrize("name", ["micro", "leaving", "ordered"])
def test_micro_positions_and_what_is_traded_already_are_left_alone(name: str) -> None:
    desk = grown("15")
    if name == "micro":
        position = desk.row.positions[0].model_copy(update={"is_micro": True})
        desk.portfolio = desk.row.model_copy(update={"positions": (position,)})
    elif name == "leaving":
        leaving = Exit(purpose="signal", wanted_at=desk.now, is_firm=False)
        position = desk.row.positions[0].model_copy(update={"exit": leaving})
        desk.portfolio = desk.row.model_copy(update={"positions": (position,)})
    else:
        done = desk.row.done[-1].model_copy(update={"status": "unknown"})
        desk.portfolio = desk.row.model_copy(update={"orders": (done,), "done": desk.row.done[:-1]})
    desk.clock(WINDOW_OPEN)
    assert [purpose for purpose, _, _ in sells(desk) if purpose == "rebalance"] == []


def cut() -> Desk:
    """Return a desk whose 4 AAPL are being cut by two shares, at 20 dollars; the stop is at 9, the target at 30."""
    desk = grown("20")  # 80 of 540 dollars: 26 too much
    desk.live_to(WINDOW_OPEN)
    assert sells(desk) == [("rebalance", "AAPL", 2)]
    return desk


@pytest.mark.covers("R8.2")
@pytest.mark.covers("R3.1")
def test_a_partial_sell_closes_a_trade_and_leaves_position_and_levels() -> None:
    desk = cut()
    before = desk.row.positions[0]
    desk.fill(desk.orders("sell")[-1], "20")
    position, trade = desk.row.positions[0], desk.records("trade")[-1]
    assert (position.quantity, position.exit, position.position_id) == (2, None, before.position_id)
    assert (position.stop_price, position.target_price) == (before.stop_price, before.target_price)
    assert (trade.quantity, trade.realized_pnl, trade.exit_purpose) == (2, 20, "rebalance")
    assert desk.row.reserve == 4
    desk.mark("AAPL", "8.95")
    assert sells(desk)[-1] == ("stop_loss", "AAPL", 2)
    assert desk.decisions[-1].source_id == f"{position.position_id}:stop_loss:2"


@pytest.mark.covers("R8.6")
@pytest.mark.parametrize("how", ["reject", "cancelled"])
def test_a_rebalance_that_the_broker_ends_is_dropped_until_the_next_week(how: str) -> None:
    desk = cut()
    getattr(desk, how)(desk.orders("sell")[-1])
    assert desk.row.positions[0].exit is None
    desk.mark("AAPL", "20")
    desk.live_to(WINDOW_OPEN + days(1))
    assert len(sells(desk)) == 1
    desk.live_to(WINDOW_OPEN + days(7))
    assert sells(desk)[1:] == [("rebalance", "AAPL", 2)]
    assert len({order.client_order_id for order in desk.orders("sell")}) == 2
    if how == "reject":
        assert "Order rejected: sell AAPL" in [each.subject for each in desk.records("alert")]


def protecting() -> dict[str, tuple[Any, str]]:
    """What must not wait for a partial sell, and the purpose of the exit that follows."""
    return {
        "stop": (lambda desk: desk.mark("AAPL", "8.95"), "stop_loss"),
        "breaker": (lambda desk: desk.mark("AAPL", "8"), "breaker"),
        "target": (lambda desk: desk.mark("AAPL", "31"), "take_profit"),
        "kill": (lambda desk: desk.command("kill", reason="enough"), "kill"),
        "signal": (lambda desk: desk.recommend(action="sell"), "signal"),
    }


@pytest.mark.covers("R4.4")
@pytest.mark.parametrize("name", protecting())
@pytest.mark.parametrize("filled", [0, 1, 2])
def test_what_leaves_the_position_asks_a_partial_sell_back_at_once(name: str, filled: int) -> None:
    desk = cut()
    order = desk.orders("sell")[-1]
    crosses, purpose = protecting()[name]
    crosses(desk)
    assert [cancel.client_order_id for cancel in desk.cancels] == [order.client_order_id]
    assert len(sells(desk)) == 1  # never more than is held
    crosses(desk)
    assert len(desk.cancels) == 1
    if filled:
        desk.fill(order, "20", cumulative=filled)
    if filled < 2:
        assert len(sells(desk)) == 1
        desk.cancelled(order, cumulative=filled)
    assert sells(desk)[1:] == [(purpose, "AAPL", 4 - filled)]
    desk.fill(desk.orders("sell")[-1], "9")
    assert desk.row.positions == ()


def test_a_price_of_the_breaker_cools_the_ticker_down_while_the_partial_sell_is_asked_back() -> None:
    desk = cut()
    desk.mark("AAPL", "8")
    assert [symbol for symbol, _ in desk.row.cooldowns] == ["AAPL"]
    desk.cancelled(desk.orders("sell")[0])
    assert len([each for each in desk.records("breaker_event") if each.trigger == "position_loss"]) == 1


def test_a_fill_of_the_partial_sell_brings_no_second_exit() -> None:
    desk = cut()
    desk.fill(desk.orders("sell")[-1], "20", cumulative=1)
    desk.live_to(WINDOW_OPEN + dt.timedelta(minutes=3))
    desk.mark("AAPL", "20")
    assert len(sells(desk)) == 1


def test_what_was_to_be_cut_in_a_gap_is_cut_at_its_instant() -> None:
    desk = grown("15")
    desk.clock(at("22:00", on=NEXT_MONDAY + days(2)))
    assert [order.created_at for order in desk.orders("sell")] == [WINDOW_OPEN]


@pytest.mark.parametrize(
    ("excess", "price", "held", "fractional", "shares"),
    [
        ("8", "15", "4", False, "1"),
        ("15", "15", "4", False, "1"),
        ("15.01", "15", "4", False, "2"),
        ("60", "15", "4", False, "3"),
        ("1", "15", "1", False, "0"),
        ("20", "15", "2.5", False, "1"),
        ("8", "15", "4", True, "0.534"),  # 0.5334 shares
        ("15", "15", "4", True, "1.000"),
        ("0", "15", "4", True, "0"),
        ("-3", "15", "4", False, "0"),
    ],
)
def test_the_least_shares_over_an_excess(excess: str, price: str, held: str, fractional: bool, shares: str) -> None:
    position = sample().model_copy(update={"last_price": D(price)})
    assert shares_over(D(excess), position, held=D(held), fractional=fractional) == D(shares)


def sample() -> Position:
    desk = Desk()
    return desk.hold()


BASE = sample()
ROW = Desk().row


@st.composite
def books(draw: st.DrawFn) -> Portfolio:
    """Portfolios of up to eight positions in three sectors."""
    positions = []
    for place in range(draw(st.integers(0, 8))):
        fields = {
            "symbol": f"S{place}",
            "sector": draw(st.sampled_from(["a", "b", "c"])),
            "quantity": D(draw(st.integers(1, 9))),
            "last_price": draw(cents("0.50", "60")),
            "confidence": draw(st.decimals(D("0.4"), D(1), places=2)),
            "is_micro": draw(st.sampled_from([False, False, False, True])),
        }
        positions.append(BASE.model_copy(update=fields))
    limits = {
        "max_position_pct": str(draw(st.sampled_from([D("0.03"), D("0.1"), D("0.2")]))),
        "max_sector_pct": str(draw(st.sampled_from([D("0.05"), D("0.2"), D("0.4")]))),
    }
    return ROW.model_copy(
        update={
            "positions": tuple(positions),
            "policy": policy(moderate=limits, fractional_enabled=draw(st.booleans()), capital_limit=5000),
        }
    )


@pytest.mark.covers("R8.2")
@pytest.mark.covers("R8.3")
@given(books())
def test_after_the_cuts_positions_and_sectors_are_within_their_limits_or_single_shares(portfolio: Portfolio) -> None:
    found = cuts(portfolio)
    sold: dict[str, Decimal] = {}
    for each in found:
        sold[each.symbol] = sold.get(each.symbol, D(0)) + each.shares
    left = {each.symbol: each.quantity - sold.get(each.symbol, D(0)) for each in portfolio.positions}
    fractional = portfolio.policy.fractional_enabled
    unit = D("0.001") if fractional else D(1)
    stock, sector = (
        share * portfolio.active_pool for share in (portfolio.tier.max_position_pct, portfolio.tier.max_sector_pct)
    )
    assert all(0 < shares <= each.quantity for each in portfolio.positions if (shares := sold.get(each.symbol)))
    for position in portfolio.positions:
        value = left[position.symbol] * position.last_price
        if position.is_micro:
            assert left[position.symbol] == position.quantity
            continue
        assert value <= stock or (left[position.symbol] == 1 and not fractional)
        rules = [each.rule for each in found if each.symbol == position.symbol]
        if rules == ["max_position_pct"]:
            assert value + unit * position.last_price > stock  # not one share more than needed
        assert fractional or left[position.symbol] >= 1
    for name in {position.sector for position in portfolio.positions}:
        members = [position for position in portfolio.positions if position.sector == name]
        total = sum(left[each.symbol] * each.last_price for each in members)
        idle = [each for each in members if not each.is_micro and left[each.symbol] > (0 if fractional else 1)]
        assert total <= sector or not idle
        cut_by_sector = {each.symbol for each in found if each.rule == "max_sector_pct" and each.subject == name}
        for each in members:
            if each.symbol in cut_by_sector:  # whoever is less confident gave all it could before
                assert all(other.confidence >= each.confidence for other in idle if other.symbol not in cut_by_sector)
