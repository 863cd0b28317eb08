"""The emergency liquidation (R3.6, decision 9): the whole reserve back, the conservative tier, once an episode."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import cents
from tests.trading.desk import Desk, at, days
from trading.policy import TradingPolicy
from trading.reserve_pool import emergency_drawdown

D = Decimal


def in_trouble(price: str = "3.70", *, reserve: str = "100", **changes: Any) -> Desk:
    """Return a desk with four shares bought at 10 dollars and now at a price; the limit is 5 % of 500 dollars, 25."""
    limits = {"emergency_drawdown_pct": "0.05", "emergency_rearm_pct": "0.03"} | changes
    desk = Desk(gradual_entry_tranches=1, **limits)
    assert desk.hold(atr="4").quantity == 4
    if D(reserve):
        desk.command("adjust_reserve", amount=reserve, reason="test")
    desk.mark("AAPL", price)
    return desk


def emergencies(desk: Desk) -> list[Any]:
    return [notice for notice in desk.notifications if notice.event_type == "emergency_liquidation"]


@pytest.mark.covers("R3.6")
@pytest.mark.covers("R19.2")
def test_a_deep_drawdown_returns_the_reserve_lowers_the_tier_and_alarms() -> None:
    desk = in_trouble()  # 25.20 dollars down
    entry = desk.records("ledger_entry")[-1]
    assert (entry.trigger, entry.amount, entry.balance_after) == ("emergency_liquidation", -100, 0)
    assert (desk.row.reserve, desk.row.active_pool, desk.row.risk_tier) == (0, D("474.80"), "conservative")
    change = desk.records("tier_change")[-1]
    assert (change.previous_tier, change.new_tier, change.source) == ("moderate", "conservative", "emergency")
    assert change.metrics["drawdown_of_initial_capital"] == "0.0504"
    assert [notice.severity for notice in emergencies(desk)] == ["critical"]
    assert "100.00 dollars of reserve" in emergencies(desk)[0].body
    alert = next(alert for alert in desk.records("alert") if alert.subject == "Emergency: the reserve is liquidated")
    assert alert.severity == "critical"
    assert "tier_changed" in [notice.event_type for notice in desk.notifications]


@pytest.mark.covers("R3.6")
def test_a_drawdown_of_exactly_the_limit_is_no_emergency() -> None:
    desk = in_trouble("3.75")  # 25.00 dollars
    assert emergencies(desk) == []
    assert (desk.row.reserve, desk.row.risk_tier) == (100, "moderate")


@pytest.mark.covers("R3.6")
def test_the_limit_is_forty_percent_of_the_initial_capital_by_default() -> None:
    limit = TradingPolicy().emergency_drawdown_pct
    assert limit == D("0.40")
    assert emergency_drawdown(D(300), peak=D(500), initial_capital=D(500)) == limit
    assert emergency_drawdown(D("399.99"), peak=D(600), initial_capital=D(500)) > limit  # from the peak, 600
    assert emergency_drawdown(D(700), peak=D(600), initial_capital=D(500)) == 0
    assert emergency_drawdown(D(0), peak=D(0), initial_capital=D(0)) == 0


def test_without_a_reserve_there_is_no_ledger_entry_and_still_an_emergency() -> None:
    desk = in_trouble(reserve="0")
    assert desk.records("ledger_entry") == []
    assert len(emergencies(desk)) == 1
    assert desk.row.risk_tier == "conservative"


def test_an_emergency_overrules_a_tier_held_by_hand_and_leaves_it_held() -> None:
    desk = in_trouble("10")
    desk.command("set_risk_tier", risk_tier="aggressive")
    desk.mark("AAPL", "3.70")
    change = desk.records("tier_change")[-1]
    assert (change.previous_tier, change.new_tier, change.source) == ("aggressive", "conservative", "emergency")
    assert desk.row.tier_held


def test_an_account_that_is_conservative_already_has_no_change_of_tier() -> None:
    desk = in_trouble("10")
    desk.command("set_risk_tier", risk_tier="conservative")
    desk.mark("AAPL", "3.70")
    assert [change.source for change in desk.records("tier_change")] == ["operator"]
    assert len(emergencies(desk)) == 1


@pytest.mark.covers("R3.6")
def test_an_episode_fires_once_and_the_next_one_only_after_a_recovery() -> None:
    desk = in_trouble()
    for price in ("3.60", "5", "3.50", "6.25", "3.40"):  # 6.25: 15 dollars, exactly 3 %, is not under it
        desk.mark("AAPL", price)
        desk.restart()
    assert len(emergencies(desk)) == 1
    desk.mark("AAPL", "6.30")  # 14.80 dollars
    assert not desk.row.in_emergency
    desk.command("adjust_reserve", amount="50", reason="test")
    desk.mark("AAPL", "3.70")
    assert len(emergencies(desk)) == 2
    assert [entry.amount for entry in desk.records("ledger_entry")] == [100, -100, 50, -50]


def test_a_rearming_limit_above_the_firing_one_makes_no_second_emergency() -> None:
    desk = in_trouble(emergency_rearm_pct="0.40")
    for price in ("3.69", "3.68", "3.67"):
        desk.mark("AAPL", price)
    assert len(emergencies(desk)) == 1


def test_money_paid_out_is_no_emergency() -> None:
    desk = Desk()
    desk.command("adjust_reserve", amount="50", reason="test")
    for _ in range(3):
        desk.snapshot(cash="200")
    assert emergencies(desk) == []
    assert desk.row.reserve == 50


def test_while_an_emergency_lasts_nothing_is_upgraded() -> None:
    desk = in_trouble(tier_minimum_trades=1, tier_up_drawdown_pct="1", tier_down_drawdown_pct="1")
    desk.mark("AAPL", "3.70")
    desk.fill(desk.orders("sell")[-1], "10.50")  # a win; four shares at 10.50 end the drawdown
    assert not desk.row.in_emergency
    desk = in_trouble(tier_minimum_trades=1, tier_up_drawdown_pct="1", tier_down_drawdown_pct="1")
    won = desk.row.history.model_copy(update={"days": ((at("15:00").date(), 9, 0, 9),)})
    desk.portfolio = desk.row.model_copy(update={"history": won})
    desk.command("adjust_reserve", amount="200", reason="test")
    desk.clock(at("21:00") + days(3))
    assert desk.row.in_emergency
    assert desk.row.risk_tier == "conservative"


@given(cents("0", "2000"), cents("0", "2000"), cents("1", "2000"))
def test_the_emergency_drawdown_is_never_negative_and_deepens_as_value_falls(
    value: Decimal, peak: Decimal, capital: Decimal
) -> None:
    found = emergency_drawdown(value, peak=peak, initial_capital=capital)
    assert found >= 0
    assert emergency_drawdown(value - 1, peak=peak, initial_capital=capital) >= found
    assert abs(found * capital - max(D(0), peak - value)) < D("0.00001")


@given(st.lists(cents("1", "12"), min_size=1, max_size=12))
def test_whatever_the_prices_an_emergency_leaves_no_reserve_and_comes_once_an_episode(prices: list[Decimal]) -> None:
    desk = in_trouble("10")
    episodes = 0
    is_armed = True
    peak = D(500)
    for price in prices:
        desk.mark("AAPL", price)
        value = 460 + 4 * price
        peak = max(peak, value)
        fallen = (peak - value) / 500
        if is_armed and fallen > D("0.05"):
            episodes, is_armed = episodes + 1, False
            assert (desk.row.reserve, desk.row.risk_tier) == (0, "conservative")
        elif not is_armed and fallen < D("0.03"):
            is_armed = True
        assert len(emergencies(desk)) == episodes
    assert len([entry for entry in desk.records("ledger_entry") if entry.amount < 0]) <= 1
