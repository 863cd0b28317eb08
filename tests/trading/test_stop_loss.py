"""Stops and targets (R4): where they lie, how they are rounded, when they move."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import cents, prices
from tests.trading.desk import Desk, at, days
from trading.money import just_under
from trading.stop_loss import initial_levels

D = Decimal


def levels(entry: str, atr: str, multiplier: str = "2", ratio: str = "1.5") -> tuple[Decimal, Decimal]:
    return initial_levels(D(entry), atr=D(atr), multiplier=D(multiplier), reward_risk_ratio=D(ratio))


@pytest.mark.covers("R4.1")
@pytest.mark.covers("R4.2")
def test_the_stop_lies_multiplier_atrs_below_and_the_target_the_ratio_above() -> None:
    assert levels("187.10", "3.20") == (D("180.70"), D("196.70"))  # 187.10 - 6.40, 187.10 + 6.40 x 1.5


def test_levels_are_rounded_towards_the_earlier_exit() -> None:
    assert levels("10", "0.3333") == (D("9.34"), D("10.99"))  # 9.3334 up, 10.99995 down


@pytest.mark.covers("R4.1", "R4.2")
@given(
    prices() | st.decimals(D("0.000001"), D(1), places=6),
    st.decimals(D(0), D(1000), places=4),
    cents("0.1", "20"),
    cents("0.1", "20"),
)
@example(entry=D("0.01"), atr=D(0), multiplier=D(1), ratio=D(1))
@example(entry=D("0.005"), atr=D(1), multiplier=D(1), ratio=D(1))
def test_a_stop_lies_below_its_entry_and_a_target_above_and_both_are_positive(
    entry: Decimal, atr: Decimal, multiplier: Decimal, ratio: Decimal
) -> None:
    found = initial_levels(entry, atr=atr, multiplier=multiplier, reward_risk_ratio=ratio)
    assert 0 < found.stop < entry < found.target


@pytest.mark.covers("R4.7")
@pytest.mark.covers("R18.3")
def test_each_level_is_recorded_with_what_it_was_computed_from() -> None:
    desk = Desk()
    desk.recommend(atr="0.40", confidence="0.8")
    desk.fill(desk.orders()[0], "10.01")
    record = desk.records("stop_level")[0]
    assert (record.stop_price, record.target_price) == (D("9.21"), D("11.21"))  # 10.01 -+ 0.80 x (1, 1.5)
    assert (record.entry_price, record.atr, record.multiplier) == (D("10.01"), D("0.40"), D("2.0"))
    assert (record.reward_risk_ratio, record.signal_confidence) == (D("1.5"), D("0.8"))
    assert (record.reason, record.revision, record.symbol) == ("opened", 1, "AAPL")
    assert record.position_id == desk.row.positions[0].position_id
    told = desk.levels("AAPL")
    assert (told.stop, told.target, told.set_at) == (D("9.21"), D("11.21"), at("15:00"))  # type: ignore[union-attr]


def test_while_tranches_fill_the_levels_follow_the_average_fill() -> None:
    desk = Desk()
    desk.recommend(atr="0.5")
    desk.fill(desk.orders()[0], "10.10")
    assert desk.row.positions[0].base_stop == D("9.10")
    desk.mark("AAPL", "9.80", at=at("15:14"))
    desk.clock(at("15:15"))
    desk.fill(desk.orders()[-1], "9.80")
    position = desk.row.positions[0]
    assert position.avg_entry_price == D(10)  # (2 x 10.10 + 9.80) / 3
    assert (position.base_stop, position.target_price) == (D("9.00"), D("11.50"))
    assert desk.records("stop_level")[-1].reason == "tranche"


def test_a_late_fill_of_a_complete_entry_never_lowers_the_stop() -> None:
    desk = Desk()
    desk.recommend(atr="0.5")
    first = desk.orders()[0]
    desk.fill(first, "10", cumulative=1)
    desk.command("pause")  # cancels what is left
    desk.cancelled(first, cumulative=1)
    assert desk.row.positions[0].entry_complete
    stop = desk.row.positions[0].base_stop
    desk.fill(first, "9.50", cumulative=2, fill_id="late")
    assert desk.row.positions[0].quantity == 2
    assert desk.row.positions[0].avg_entry_price == D("9.75")
    assert desk.row.positions[0].base_stop == stop == D("9.00")  # and not 8.75


@pytest.mark.covers("R4.6")
def test_beyond_half_of_the_target_distance_the_stop_moves_to_the_entry() -> None:
    desk = Desk()
    desk.hold(atr="0.5")  # stop 9.00, target 11.50, half way 10.75
    desk.mark("AAPL", "10.75")
    assert desk.row.positions[0].base_stop == D("9.00")
    desk.mark("AAPL", "10.76")
    assert desk.row.positions[0].base_stop == D("10.00")
    assert desk.records("stop_level")[-1].reason == "breakeven"
    assert desk.levels("AAPL").stop == D("10.00")  # type: ignore[union-attr]
    desk.mark("AAPL", "10.01")
    assert desk.row.positions[0].base_stop == D("10.00")
    assert desk.orders("sell") == []
    desk.mark("AAPL", "10.00")
    assert [order.purpose for order in desk.orders("sell")] == ["stop_loss"]


def test_a_fill_under_a_price_that_is_already_half_way_is_risk_free_at_once() -> None:
    desk = Desk()
    desk.recommend(atr="0.5")
    desk.mark("AAPL", "10.80")
    desk.fill(desk.orders()[0], "10")
    assert desk.row.positions[0].base_stop == D("10.00")


@pytest.mark.covers("R4.4")
@pytest.mark.parametrize(("price", "purpose"), [("9.01", None), ("9.00", "stop_loss"), ("8.50", "stop_loss")])
def test_a_price_at_or_under_the_stop_sells_the_whole_position(price: str, purpose: str | None) -> None:
    desk = Desk()
    desk.hold(atr="0.5")
    desk.mark("AAPL", price)
    sells = desk.orders("sell")
    assert [order.purpose for order in sells] == ([purpose] if purpose else [])
    if purpose:
        assert (sells[0].quantity, sells[0].order_type, sells[0].tranche, sells[0].of_tranches) == (4, "market", 1, 1)


@pytest.mark.covers("R4.5")
@pytest.mark.parametrize(("price", "purpose"), [("11.49", None), ("11.50", "take_profit"), ("20", "take_profit")])
def test_a_price_at_or_over_the_target_takes_the_profit(price: str, purpose: str | None) -> None:
    desk = Desk()
    desk.hold(atr="0.5")
    desk.mark("AAPL", price)
    assert [order.purpose for order in desk.orders("sell")] == ([purpose] if purpose else [])


@pytest.mark.covers("R6.2")
@pytest.mark.parametrize(("price", "purpose"), [("8.50", None), ("8.49", "breaker"), ("5.99", "breaker")])
def test_more_than_15_percent_under_the_entry_is_the_breakers(price: str, purpose: str | None) -> None:
    desk = Desk()
    desk.hold(atr="2")  # the stop lies at 6.00
    desk.mark("AAPL", price)
    assert [order.purpose for order in desk.orders("sell")] == ([purpose] if purpose else [])


@pytest.mark.covers("R4.6")
@given(st.lists(cents("8.60", "11.40"), max_size=25))
def test_a_stop_never_falls_once_its_entry_is_complete(path: list[Decimal]) -> None:
    desk = Desk()
    desk.hold(atr="0.5")
    stop = desk.row.positions[0].stop_price
    for price in path:
        desk.mark("AAPL", price)
        position = desk.row.position("AAPL")
        assert position is not None
        assert position.stop_price >= stop
        stop = position.stop_price
        if price > D("10.75"):
            assert stop >= position.avg_entry_price


@pytest.mark.covers("R4.4", "R4.5")
@given(st.lists(cents("8", "12"), min_size=1, max_size=12))
def test_a_crossing_sells_in_the_same_step_and_only_once(path: list[Decimal]) -> None:
    desk = Desk()
    desk.hold(atr="0.5")
    for price in path:
        before = desk.row.position("AAPL")
        assert before is not None
        effects = desk.mark("AAPL", price)
        crossed = price <= before.stop_price or price >= before.target_price or price < D("8.5")
        expected = 1 if crossed and before.exit is None else 0
        assert (
            len([each for each in effects if getattr(each, "side", None) == "sell" and hasattr(each, "purpose")])
            == expected
        )
    assert len(desk.orders("sell")) <= 1


def test_a_price_older_than_the_newest_changes_nothing() -> None:
    desk = Desk()
    desk.hold(atr="0.5")
    desk.mark("AAPL", "10.50", at=at("16:00"))
    assert desk.mark("AAPL", "1", at=at("16:00:30"), price_at=at("15:59:59")) == []
    assert desk.row.positions[0].last_price == D("10.50")


def test_watch_is_told_where_else_the_account_wants_to_hear_of_a_price() -> None:
    desk = Desk()
    desk.recommend(atr="0.5")
    desk.fill(desk.orders()[0], "10")
    told = desk.levels("AAPL")
    assert [(each.reason, each.price) for each in told.watch] == [  # type: ignore[union-attr]
        ("breakeven", D("10.75")),
        ("broad_decline", just_under(D("9.80"))),
        ("position_loss", just_under(D("8.50"))),
        ("tranche", just_under(D("9.5"))),
        ("tranche", D("10.5")),
    ]


def test_a_changed_policy_sends_the_levels_again_and_judges_at_once() -> None:
    desk = Desk()
    desk.hold(atr="2")
    desk.mark("AAPL", "8.90")
    desk.configure(polling_interval_seconds=30)
    assert desk.levels("AAPL").interval_seconds == 30  # type: ignore[union-attr]
    assert desk.orders("sell") == []
    desk.configure(position_loss_pct="0.1")
    assert [order.purpose for order in desk.orders("sell")] == ["breaker"]


def test_a_closed_bar_moves_atr_but_no_level() -> None:
    desk = Desk()
    position = desk.hold(atr="0.5")
    desk.bar("AAPL", "10.2", on=at("15:00").date() + days(1), atr="0.9")
    after = desk.row.positions[0]
    assert (after.atr_now, after.closes[-1][1]) == (D("0.9"), D("10.2"))
    assert after.atr == D("0.5")  # the one that the levels are made from
    assert (after.base_stop, after.target_price) == (position.base_stop, position.target_price)
