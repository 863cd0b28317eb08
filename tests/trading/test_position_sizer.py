"""The size of an entry (R2, R9.5, R10.2), step by step; the dollars are worked out beside each test."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import cents, prices
from tests.trading.desk import Desk, at, days
from trading.effects import Sizing
from trading.position_sizer import shares

D = Decimal
TIERS = {"conservative": D("0.75"), "moderate": D("0.55"), "aggressive": D("0.40")}  # R5.1: the least confidence


def sizing(desk: Desk, **fields: Any) -> Sizing:
    """Recommend and return the dollars after each step."""
    desk.recommend(**fields)
    found = desk.decisions[-1].sizing
    assert found is not None
    return found


def near(value: Decimal, expected: float) -> bool:
    return abs(float(value) - expected) < 1e-9


@pytest.mark.covers("R2.1")
def test_the_formula_scales_the_base_allocation_with_confidence() -> None:
    found = sizing(Desk(), confidence="0.66")
    assert near(found.formula, 500 * 0.05 * (0.66 / 0.55) * 1.0)  # 30 dollars


@pytest.mark.covers("R5.1")
@pytest.mark.parametrize(
    ("tier", "threshold", "multiplier", "most"),
    [("conservative", 0.75, 0.5, 0.05), ("moderate", 0.55, 1.0, 0.10), ("aggressive", 0.40, 1.5, 0.15)],
)
def test_each_tier_sizes_with_its_own_numbers(tier: str, threshold: float, multiplier: float, most: float) -> None:
    desk = Desk(diversification_bonus="1", absolute_cap_pct="1")
    desk.command("set_risk_tier", risk_tier=tier)
    found = sizing(desk, confidence="0.9")
    assert near(found.formula, 500 * 0.05 * (0.9 / threshold) * multiplier)
    assert near(found.caps, min(500 * 0.05 * (0.9 / threshold) * multiplier, 500 * most))


@pytest.mark.covers("R2.2")
def test_confidence_below_the_minimum_allocates_nothing() -> None:
    desk = Desk()
    desk.recommend(confidence="0.5499")
    assert desk.reason == "insufficient_confidence"
    assert desk.decisions[-1].computed_position_size == 0
    assert desk.orders() == []


def test_confidence_exactly_at_the_minimum_passes() -> None:
    desk = Desk()
    desk.recommend(confidence="0.55")
    assert desk.decisions[-1].decision == "act"  # 500 x 0.05 x 1 x 1.2 = 30 dollars, 3 shares
    assert desk.decisions[-1].quantity == 3


@pytest.mark.covers("R2.3")
def test_no_position_exceeds_the_percentage_of_the_active_pool() -> None:
    found = sizing(Desk(absolute_cap_pct="1", base_allocation_pct="0.2"))
    assert found.caps == D(50)  # 10 % of 500, of a formula of 145


@pytest.mark.covers("R2.4")
def test_no_position_exceeds_the_absolute_cap_of_50_dollars_at_500() -> None:
    found = sizing(Desk(moderate={"max_position_pct": "1"}, base_allocation_pct="0.2"))
    assert found.caps == D(50)


@pytest.mark.covers("R2.4")
def test_the_absolute_cap_grows_in_proportion_to_the_portfolio() -> None:
    desk = Desk(cash="1000", capital_limit="1000", moderate={"max_position_pct": "1"}, base_allocation_pct="0.2")
    assert sizing(desk).caps == D(100)


def test_the_engine_trades_at_most_the_capital_limit_of_a_large_account() -> None:
    desk = Desk(cash="100000")
    assert desk.row.total_value == 500
    assert near(sizing(desk, confidence="0.66").formula, 30)


@pytest.mark.covers("R3.3")
def test_sizes_come_from_the_active_pool_and_not_from_the_reserve() -> None:
    desk = Desk()
    desk.command("adjust_reserve", amount="100", reason="set aside")
    found = sizing(desk, confidence="0.66")
    assert near(found.formula, 400 * 0.05 * 1.2)  # 24 dollars of 400
    assert desk.row.active_pool == 400


@pytest.mark.covers("R2.7")
def test_shares_are_rounded_down_to_whole_ones() -> None:
    desk = Desk()
    desk.recommend(price="10.91")  # 43.64 dollars buy 3.9997 shares
    assert desk.decisions[-1].quantity == 3


@pytest.mark.covers("R2.1", "R2.7")
@pytest.mark.parametrize(
    ("cash", "tier", "confidence", "price", "expected"),
    [
        ("500", "conservative", "0.85", "17.00", ("17", 1)),  # 500 x 0.05 x 0.85 / 0.75 x 0.5 x 1.2
        ("500", "conservative", "0.85", "4.25", ("17", 4)),
        ("500", "conservative", "0.8", "16.00", ("16", 1)),  # 500 x 0.05 x 0.8 / 0.75 x 0.5 x 1.2
        ("495", "moderate", "0.9", "16.20", ("48.6", 3)),  # 495 x 0.05 x 0.9 / 0.55 x 1.2
    ],
)
def test_a_quotient_that_goes_on_for_ever_costs_no_share(
    cash: str, tier: str, confidence: str, price: str, expected: tuple[str, int]
) -> None:
    desk = Desk(cash=cash)
    desk.command("set_risk_tier", risk_tier=tier)
    desk.recommend(price=price, confidence=confidence, atr="0.1")
    decision = desk.decisions[-1]
    assert (decision.computed_position_size, decision.quantity) == (D(expected[0]), expected[1])


@pytest.mark.covers("R2.7")
def test_an_allocation_that_buys_no_share_is_refused_with_its_price_and_dollars() -> None:
    desk = Desk()
    desk.recommend(price="43.64", atr="1")  # 43.636... dollars
    assert desk.reason == "below_one_share"
    gate = desk.gate("below_one_share")
    assert gate.detail is not None
    assert gate.detail.startswith("price 43.64, allocation 43.636363")
    assert desk.orders() == []


def test_fractional_shares_are_thousandths_where_they_are_enabled() -> None:
    desk = Desk(fractional_enabled=True)
    desk.recommend(price="100", atr="1")
    assert desk.decisions[-1].quantity == D("0.436")


@pytest.mark.covers("R9.5")
def test_the_first_three_sectors_get_a_bonus_of_a_fifth() -> None:
    desk = Desk()
    for place, sector in enumerate(("technology", "energy", "financials")):
        found = sizing(desk, symbol=f"S{place}", sector=sector)
        assert near(found.bonus, float(found.earnings) * 1.2)
    found = sizing(desk, symbol="S3", sector="staples")  # three sectors are held or being bought
    assert found.bonus == found.earnings


@pytest.mark.covers("R9.5")
def test_a_sector_that_is_held_gets_no_bonus() -> None:
    desk = Desk()
    desk.recommend("S0", sector="technology")
    found = sizing(desk, symbol="S1", sector="technology")
    assert found.bonus == found.earnings


def test_the_bonus_never_pierces_a_cap() -> None:
    found = sizing(Desk(), confidence="1")
    assert near(found.bonus, 500 * 0.05 / 0.55 * 1.2)  # 54.55
    assert found.caps == D(50)


@pytest.mark.covers("R2.6")
@pytest.mark.covers("R9.4")
def test_a_sector_has_room_up_to_its_limit() -> None:
    desk = Desk()
    for place in range(3):
        desk.hold(f"S{place}", price="10")  # 4, 3 and 3 shares: without a bonus 36.36 dollars
    assert desk.row.sector_exposure("technology") == 100
    desk.recommend("S3")
    assert desk.decisions[-1].sector_exposure_check_result.result == "passed"
    desk.fill(desk.orders("buy", "S3")[-1], cumulative=2, price="10")
    found = sizing(desk, symbol="S4")
    # 100 held, 20 filled, nothing more pending of the first tranche of two: 150 - 120 = 30
    assert found.sector == D(30)
    check = desk.decisions[-1].sector_exposure_check_result
    assert (check.result, check.value, check.limit) == ("reduced", D(120), D(150))
    assert check.factor is not None
    assert near(check.factor, 30 / float(found.correlation))


@pytest.mark.covers("R10.2")
def test_earnings_within_three_days_halve_the_allocation_and_both_caps() -> None:
    wednesday = {"earnings_on": (at("15:00") + days(2)).date(), "earnings_session": "amc"}
    found = sizing(Desk(), facts=wednesday)
    assert near(found.earnings, 500 * 0.05 * (0.8 / 0.55) / 2)
    assert sizing(Desk(), facts=wednesday, confidence="1").caps == D(25)  # half of 50


def test_cash_less_holds_less_reserve_is_the_last_step() -> None:
    desk = Desk(cash="150", capital_limit="500", active_pool_minimum="0", base_allocation_pct="1")
    desk.command("adjust_reserve", amount="140", reason="test")
    # total 150, active 10: the cap is 10 % of 10 dollars
    assert sizing(desk, price="1", atr="0.1").caps == D(1)
    desk = Desk()
    desk.snapshot(buying_power="30")
    found = sizing(desk)
    assert near(found.caps, 43.6363636363636)
    assert found.cash == D(30)  # buying power less reserve
    assert desk.decisions[-1].computed_position_size == D(30)


@pytest.mark.covers("R1.4")
def test_a_size_that_cash_takes_away_is_insufficient_active_pool() -> None:
    desk = Desk()
    desk.snapshot(buying_power="9.99")
    desk.recommend(price="10")
    assert desk.reason == "insufficient_active_pool"


@pytest.mark.covers("R2.1")
@given(st.lists(st.fractions(0, 1), min_size=2, max_size=2), prices(), st.sampled_from(sorted(TIERS)))
def test_an_allocation_never_falls_when_confidence_rises(places: list[Fraction], price: Decimal, tier: str) -> None:
    least = TIERS[tier]  # every example is a confidence that the tier trades on
    found = []
    for place in sorted(places):
        desk = Desk()
        desk.command("set_risk_tier", risk_tier=tier)
        confidence = least + (1 - least) * round(place * 1000) / 1000
        found.append(sizing(desk, price=price, confidence=confidence).cash)
    assert 0 <= found[0] <= found[1]


@pytest.mark.covers("R2.3", "R2.4", "R2.7")
@given(cents("0.55", "1"), prices(), st.integers(1, 2000), st.booleans())
@example(D("0.67"), D("0.02"), 121, True)
def test_no_size_is_above_a_cap_or_the_cash(confidence: Decimal, price: Decimal, cash: int, fractional: bool) -> None:
    desk = Desk(cash=str(cash), fractional_enabled=fractional, active_pool_minimum="0")
    desk.recommend(confidence=confidence, price=price, atr=price / 20)
    decision = desk.decisions[-1]
    assert decision.sizing is not None
    most = min(desk.row.total_value * D("0.1"), D(500) * D("0.1"))
    assert 0 <= decision.sizing.cash <= most
    assert decision.quantity * price <= decision.sizing.cash
    if not fractional:
        assert decision.quantity == int(decision.quantity)
    if decision.decision == "act":
        assert decision.quantity > 0


@given(st.decimals(D(0), D(10_000), places=3), prices())
def test_fractional_shares_are_worth_at_most_their_dollars(dollars: Decimal, price: Decimal) -> None:
    from tests.trading.desk import policy  # noqa: PLC0415 - this test alone

    found = shares(dollars, price=price, policy=policy(fractional_enabled=True))
    assert found * price <= dollars
    assert found == found.quantize(D("0.001"))
