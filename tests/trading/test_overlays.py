"""Overlays: the arithmetic of a raised stop, and the heat that is taken out by raising (R10.2, R13.3, decision 53)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import cents, confidences, prices
from tests.trading.desk import MONDAY, Desk, at, days
from trading import overlays
from trading.holdings import Position

D = Decimal


def books(count: int, *, confidences: tuple[str, ...] = (), **changes: object) -> Desk:
    """Return a desk with 4 shares at 10 dollars, ATR 0.50, stop 9.00, in each of `count` symbols: heat 4 each."""
    calm: dict[str, object] = {"gradual_entry_tranches": 1, "stale_price_minutes": 24 * 60}
    desk = Desk(**calm, **changes)
    for place in range(count):
        desk.hold(f"S{place}", sector=("technology", "energy", "financials", "staples")[place], atr="0.5")
    for place, confidence in enumerate(confidences):
        desk.recommend(f"S{place}", confidence=confidence, at=at("15:00:01"))
    return desk


def stops(desk: Desk) -> dict[str, Decimal]:
    return {position.symbol: position.stop_price for position in sorted(desk.row.positions, key=lambda p: p.symbol)}


def limit(desk: Desk, dollars: str) -> None:
    """Set the most heat, in dollars of an active pool of 500."""
    desk.configure(tiers={"moderate": {"max_portfolio_heat": str(D(dollars) / 500)}})


@given(price=prices(), atr=cents("0", "40"), factor=cents("0.01", "1"), multiplier=cents("0.1", "20"))
@pytest.mark.covers("R7.2")
def test_a_candidate_lies_below_its_price_at_most_a_cent_over_the_formula(
    price: Decimal, atr: Decimal, factor: Decimal, multiplier: Decimal
) -> None:
    position = a_position(last_price=price, atr=atr)
    stop = overlays.candidate(position, factor=factor, multiplier=multiplier)
    exact = price - factor * multiplier * atr
    assert stop < price
    assert stop == stop.quantize(D("0.01"))
    assert stop < exact + D("0.01")
    assert stop >= exact or price - stop <= D("0.01")


def a_position(**fields: Decimal) -> Position:
    desk = Desk()
    position = desk.hold()
    return position.model_copy(update=fields)


@pytest.mark.covers("R13.3")
def test_heat_over_four_fifths_of_its_maximum_is_taken_out_of_the_least_confident_position_first() -> None:
    desk = books(3, confidences=("0.9", "0.7", "0.8"))
    assert desk.row.portfolio_heat == 12  # 3 x 4 shares x (10 - 9)
    limit(desk, "14")
    desk.clock(at("15:01"))
    # Above 11.20 by 0.80: S1's heat goes from 4 to 3.20, its stop to 10 x (1 - 3.20 / 40).
    assert stops(desk) == {"S0": D("9.00"), "S1": D("9.20"), "S2": D("9.00")}
    assert desk.row.portfolio_heat == D("11.20")
    record = desk.records("stop_level")[-1]
    assert (record.reason, record.symbol, record.signal_confidence) == ("heat", "S1", D("0.7"))
    assert (record.atr, record.multiplier, record.factor) == (D("0.5"), D("2.0"), D("0.5"))
    assert desk.records("portfolio_heat")[-1].heat == D("11.20")


@pytest.mark.covers("R13.3")
def test_no_stop_comes_nearer_than_half_the_ordinary_distance_and_the_next_position_follows() -> None:
    desk = books(3, confidences=("0.9", "0.7", "0.8"))
    limit(desk, "10")
    desk.clock(at("15:01"))
    # Above 8 by 4: S1 gives 2 at most, to 10 - 0.5 x 2.0 x 0.5; so does S2; S0 keeps its stop.
    assert stops(desk) == {"S0": D("9.00"), "S1": D("9.50"), "S2": D("9.50")}
    assert desk.row.portfolio_heat == 8
    limit(desk, "5")
    desk.clock(at("15:02"))
    assert stops(desk) == {"S0": D("9.50"), "S1": D("9.50"), "S2": D("9.50")}
    assert desk.row.portfolio_heat == 6  # the goal of 4 cannot be reached


@pytest.mark.covers("R13.3")
def test_heat_at_four_fifths_of_its_maximum_tightens_nothing() -> None:
    desk = books(3)
    limit(desk, "15")  # 80 % are 12
    desk.clock(at("15:30"))
    assert set(stops(desk).values()) == {D("9.00")}


@pytest.mark.covers("R13.3")
def test_the_threshold_and_the_nearest_distance_are_configurable() -> None:
    desk = books(1, heat_tighten_at="0.5", heat_stop_factor="0.8")
    limit(desk, "7")
    desk.clock(at("15:01"))
    assert stops(desk) == {"S0": D("9.13")}  # heat 3.50 asks for 9.125, rounded up; 10 - 0.8 x 2 x 0.5 = 9.20 allows it
    limit(desk, "5")
    desk.clock(at("15:02"))
    assert stops(desk) == {"S0": D("9.20")}  # 2.50 would ask for 9.375


@pytest.mark.covers("R13.3")
def test_what_is_tightened_for_heat_is_left_as_an_event_and_not_tightened_outside_the_session() -> None:
    desk = books(1)
    desk.clock(at("21:00"))
    limit(desk, "4")
    desk.clock(at("14:29") + days(1))
    assert stops(desk) == {"S0": D("9.00")}
    desk.mark("S0", "10", at=at("14:31") + days(1))
    assert stops(desk) == {"S0": D("9.20")}  # 40 x (10 - 9.20) / 10 = 3.20
    desk.mark("S0", "9.20", at=at("14:32") + days(1))
    assert [order.purpose for order in desk.orders("sell")] == ["event"]


@given(
    st.lists(st.tuples(confidences(), cents("9.01", "11.49"), cents("0.05", "2")), min_size=1, max_size=4),
    cents("0.01", "0.05"),
)
@pytest.mark.covers("R13.3")
def test_tightening_never_raises_heat_and_stops_at_the_goal(
    drawn: list[tuple[Decimal, Decimal, Decimal]], most: Decimal
) -> None:
    desk = books(len(drawn))
    positions = tuple(
        position.model_copy(update={"confidence": confidence, "last_price": price, "newest_atr": atr})
        for position, (confidence, price, atr) in zip(desk.row.positions, drawn, strict=True)
    )
    moderate = desk.row.policy.tiers.moderate.model_copy(update={"max_portfolio_heat": most})
    tiers = desk.row.policy.tiers.model_copy(update={"moderate": moderate})
    policy = desk.row.policy.model_copy(update={"tiers": tiers})
    row = desk.row.model_copy(update={"positions": positions, "policy": policy})
    goal, heat = D("0.8") * row.max_portfolio_heat, row.portfolio_heat
    raised = {position.symbol: made.stop for position, made in overlays.for_heat(row)}
    assert not raised or heat > goal
    cooler = heat
    for position in sorted(positions, key=lambda held: (held.confidence, held.symbol)):
        nearest = position.last_price - D("0.5") * 2 * position.atr_now
        if position.symbol in raised:
            assert cooler > goal  # those before did not suffice
            stop = raised[position.symbol]
            assert position.stop_price < stop < position.last_price
            assert stop <= nearest
            after = overlays.with_overlay(position, name="heat", stop=stop)
            assert after.heat <= position.heat
            cooler -= position.heat - after.heat
            overshot = position.quantity * D("0.01") * position.last_price / position.avg_entry_price
            assert cooler > goal - overshot  # a cent's rounding at most
        elif cooler > goal and position.heat > 0:
            assert nearest - D("0.01") < position.stop_price  # it had nothing to give


@pytest.mark.covers("R10.2")
@pytest.mark.parametrize(("sessions", "stop"), [(4, "9.00"), (3, "9.30"), (2, "9.30"), (1, "9.30")])
def test_earnings_within_three_sessions_tighten_the_stop_to_seven_tenths(sessions: int, stop: str) -> None:
    desk = books(1)
    desk.earnings("S0", MONDAY + days(sessions), session="amc")
    desk.clock(at("15:05"))
    assert stops(desk) == {"S0": D(stop)}  # 10 - 0.7 x 2.0 x 0.5
    if stop != "9.00":
        record = desk.records("stop_level")[-1]
        assert (record.reason, record.factor, record.multiplier) == ("earnings", D("0.7"), D("2.0"))


@pytest.mark.covers("R10.2")
def test_the_days_that_pass_bring_a_report_near() -> None:
    desk = books(1)
    desk.earnings("S0", MONDAY + days(4))  # Friday
    desk.clock(at("20:59"))
    assert stops(desk) == {"S0": D("9.00")}
    desk.mark("S0", "10.20", at=at("14:31") + days(1))
    assert stops(desk) == {"S0": D("9.00")}
    desk.clock(at("14:35") + days(1))  # the first check of a day from which it is three sessions
    assert stops(desk) == {"S0": D("9.50")}  # 10.20 - 0.7


@pytest.mark.covers("R10.2")
def test_the_window_and_the_factor_are_configurable() -> None:
    desk = books(1, earnings_window_days=5, earnings_stop_factor="0.4")
    desk.earnings("S0", MONDAY + days(7))  # five sessions on
    assert stops(desk) == {"S0": D("9.60")}  # 10 - 0.4 x 2.0 x 0.5


def test_an_event_and_a_report_together_leave_the_higher_stop() -> None:
    desk = books(1)
    desk.earnings("S0", MONDAY + days(2))
    desk.macro()
    assert stops(desk) == {"S0": D("9.50")}
    assert {overlay.name: overlay.stop for overlay in desk.row.positions[0].overlays} == {
        "earnings": D("9.30"),
        "event": D("9.50"),
    }
