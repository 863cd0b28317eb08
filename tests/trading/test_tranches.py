"""Gradual entry (R11.3 to R11.5, decisions 26 and 40)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.desk import MONDAY, Desk, at, days, minutes, policy
from trading import gradual_entry

D = Decimal


def entering(**changes: object) -> Desk:
    """Return a desk with the first of three tranches filled: 2 + 1 + 1 shares at 10 dollars, ATR 0.50."""
    desk = Desk(**changes)
    desk.recommend(price="10")
    desk.fill(desk.orders()[0])
    return desk


def bought(desk: Desk) -> list[int]:
    return [int(order.quantity) for order in desk.orders("buy")]


@pytest.mark.covers("R11.3")
@pytest.mark.parametrize(
    ("shares", "size", "parts"),
    [
        (4, "43.64", [2, 1, 1]),
        (3, "30", [1, 1, 1]),  # 30 is over 5 % of 500
        (2, "40", [1, 1]),
        (1, "45", [1]),
        (5, "25.01", [2, 2, 1]),
        (5, "25", [5]),  # exactly 5 % of 500: not exceeding
        (7, "49", [3, 2, 2]),
    ],
)
def test_a_large_entry_is_split_with_the_larger_parts_first(shares: int, size: str, parts: list[int]) -> None:
    found = gradual_entry.tranches(D(shares), size=D(size), active_pool=D(500), policy=policy())
    assert found == tuple(map(D, parts))


def test_the_smaller_of_both_thresholds_counts() -> None:
    for pool, split in (("2000", True), ("500", True)):
        found = gradual_entry.tranches(D(6), size=D("30.01"), active_pool=D(pool), policy=policy())
        assert (len(found) > 1) == split  # 30 dollars at 2000, 25 at 500
    assert gradual_entry.tranches(D(6), size=D(30), active_pool=D(2000), policy=policy()) == (D(6),)


@given(
    st.decimals(D("0.001"), D(1000), places=3),
    st.decimals(D(0), D(5000), places=2),
    st.decimals(D(0), D(100_000), places=2),
    st.integers(1, 10),
)
def test_the_parts_add_up_and_never_grow(quantity: Decimal, size: Decimal, pool: Decimal, most: int) -> None:
    parts = gradual_entry.tranches(
        quantity, size=size, active_pool=pool, policy=policy(gradual_entry_tranches=most, fractional_enabled=True)
    )
    assert sum(parts) == quantity
    assert len(parts) <= most
    assert list(parts) == sorted(parts, reverse=True)
    assert all(part >= 1 for part in parts) or parts == (quantity,)


@pytest.mark.covers("R11.3")
@pytest.mark.covers("R11.5")
def test_tranches_go_out_a_quarter_of_an_hour_apart_and_hang_on_one_decision() -> None:
    desk = entering()
    for clock, sent in (
        ("15:14:59", [2]),
        ("15:15", [2, 1]),
        ("15:29:59", [2, 1]),
        ("15:30", [2, 1, 1]),
        ("17:00", [2, 1, 1]),
    ):
        desk.mark("AAPL", "10", at=at(clock))
        desk.clock(at(clock))
        assert bought(desk) == sent
        if desk.row.live("AAPL", side="buy"):
            desk.fill(desk.orders()[-1])
    orders = desk.orders()
    assert [(order.tranche, order.of_tranches) for order in orders] == [(1, 3), (2, 3), (3, 3)]
    assert {order.decision_id for order in orders} == {desk.decisions[0].decision_id}
    assert len({order.client_order_id for order in orders}) == 3
    assert sum(order.quantity for order in orders) == desk.decisions[0].quantity
    assert len(desk.decisions) == 1


def test_a_tranche_goes_out_at_its_instant_also_when_the_first_is_not_filled_yet() -> None:
    desk = Desk()
    desk.recommend()
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    assert bought(desk) == [2, 1]


@pytest.mark.covers("R11.4")
@pytest.mark.parametrize(("price", "sent"), [("10.50", [2, 1]), ("10.51", [2]), ("9.50", [2, 1]), ("9.49", [2])])
def test_a_price_beyond_one_atr_from_the_first_fill_cancels_the_rest(price: str, sent: list[int]) -> None:
    desk = entering(moderate={"stop_loss_atr_multiplier": "5", "reward_risk_ratio": "5"})
    desk.mark("AAPL", price, at=at("15:14"))
    desk.clock(at("15:15"))
    desk.clock(at("15:30"))
    assert bought(desk)[:2] == sent
    if sent == [2]:
        assert desk.row.entries == ()
        assert len([alert for alert in desk.records("alert") if "one ATR" in alert.body]) == 1


@pytest.mark.covers("R11.4")
@pytest.mark.parametrize(
    ("newer", "sent"),
    [
        ({"action": "hold"}, 1),
        ({"action": "buy", "confidence": "0.54"}, 1),
        ({"action": "buy", "confidence": "0.55"}, 2),
        ({"action": "watch", "mode": "informational"}, 1),
        ({"action": "hold", "generated_at": at("14:59")}, 2),  # older than the one that is acted on
    ],
)
def test_a_newer_recommendation_that_speaks_against_it_cancels_the_rest(newer: dict[str, object], sent: int) -> None:
    desk = entering()
    desk.recommend(at=at("15:05"), **newer)  # type: ignore[arg-type]
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    assert len(desk.orders("buy")) == sent


@pytest.mark.covers("R11.4")
@pytest.mark.parametrize(
    "command",
    [{"kind": "pause"}, {"kind": "set_risk_tier", "risk_tier": "conservative"}],
)
def test_a_pause_or_a_tier_that_asks_for_more_cancels_the_rest(command: dict[str, str]) -> None:
    desk = entering(conservative={"min_confidence": "0.9"})
    desk.command(**command)
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    assert bought(desk) == [2]
    assert desk.row.entries == ()
    assert desk.row.position("AAPL").entry_complete  # type: ignore[union-attr]


def test_a_cap_that_was_halved_meanwhile_cancels_the_rest() -> None:
    desk = entering()
    desk.command("set_risk_tier", risk_tier="conservative")  # 5 % of 500: 25 dollars, of 40
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    assert bought(desk) == [2]


def test_a_drift_within_one_atr_does_not_count_against_the_cap() -> None:
    desk = Desk()
    desk.recommend(price="12.50", confidence="1")  # 50 dollars, the cap: 4 shares
    desk.fill(desk.orders()[0])
    desk.mark("AAPL", "12.60", at=at("15:14"))
    desk.clock(at("15:15"))
    assert bought(desk) == [2, 1]


def test_a_stop_cluster_and_any_other_reducing_state_cancel_the_rest_at_once() -> None:
    desk = entering()
    desk.stress("36")
    assert desk.row.entries == ()
    desk.clock(at("18:00"))
    assert bought(desk) == [2]


def test_the_rest_is_cancelled_when_the_window_is_over() -> None:
    desk = Desk(now=at("20:40"))
    desk.recommend()
    desk.fill(desk.orders()[0])
    desk.clock(at("15:00") + days(1))
    assert bought(desk) == [2]
    cancelled = next(alert for alert in desk.records("alert") if alert.subject.startswith("Tranches"))
    assert cancelled.at == at("20:55")
    assert desk.row.entries == ()


def test_an_old_price_cancels_the_rest() -> None:
    desk = entering()
    desk.clock(at("15:15"))
    assert bought(desk) == [2, 1]  # the price is 15 minutes old
    desk.fill(desk.orders()[-1])
    desk.clock(at("15:30"))
    assert bought(desk) == [2, 1]
    assert desk.row.entries == ()


def test_an_entry_that_is_rejected_frees_its_symbol() -> None:
    desk = Desk()
    desk.recommend()
    desk.reject(desk.orders()[0])
    assert desk.row.entries == ()
    assert desk.row.open_buy_holds == 0
    desk.clock(at("15:15"))
    assert bought(desk) == [2]
    desk.recommend()
    assert desk.reason is None


def test_a_later_tranche_that_is_rejected_leaves_the_rest_to_its_own_time() -> None:
    desk = entering()
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    desk.reject(desk.orders()[-1])
    desk.mark("AAPL", "10", at=at("15:29"))
    desk.clock(at("15:30"))
    assert bought(desk) == [2, 1, 1]


def test_cash_that_went_elsewhere_cancels_the_rest() -> None:
    desk = entering()
    desk.command("adjust_reserve", amount=str(desk.row.spendable - 15), reason="test")
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    assert bought(desk) == [2]  # two shares at 10 are left, 15 dollars are free


def test_buying_power_that_went_elsewhere_cancels_the_rest() -> None:
    desk = entering()
    desk.snapshot(buying_power="19.99")  # two shares at 10 are left
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    assert bought(desk) == [2]
    assert "insufficient_active_pool" in desk.records("alert")[-1].body


@pytest.mark.covers("R11.4")
@pytest.mark.parametrize(("price", "sent"), [("0.96", [15, 14]), ("0.99", [15])])
def test_heat_is_judged_with_the_remaining_shares(price: str, sent: list[int]) -> None:
    # 43 shares at 1 dollar, each 0.10 from its stop: 4.30 dollars of 4.40, in tranches of 15, 14 and 14. At 0.96 a new
    # entry would be of 45 shares, 4.50; the 28 that remain risk 2.80, those held 15 x 0.96 x 0.10 = 1.44. At 0.99 and
    # with 4.27 allowed the sum of 1.485 and 2.80 is over.
    desk = Desk(moderate={"max_portfolio_heat": "0.0088"})
    desk.recommend(price="1", atr="0.05")
    desk.fill(desk.orders()[0])
    if price == "0.99":
        desk.configure(tiers={"moderate": {"max_portfolio_heat": "0.00854"}})
    desk.mark("AAPL", price, at=at("15:14"))
    desk.clock(at("15:15"))
    assert bought(desk) == sent


def test_tranches_wait_for_no_fill_but_an_exit_ends_them() -> None:
    desk = entering()
    desk.mark("AAPL", "9.00", at=at("15:10"))
    assert [order.purpose for order in desk.orders("sell")] == ["stop_loss"]
    desk.clock(at("15:15"))
    assert bought(desk) == [2]


def test_earnings_that_come_within_a_day_cancel_the_rest() -> None:
    desk = entering()
    desk.earnings("AAPL", MONDAY + days(1), session="bmo")
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    assert bought(desk) == [2]


def test_a_change_of_the_sector_limit_counts_the_shares_that_are_there() -> None:
    desk = entering()
    desk.configure(tiers={"moderate": {"max_sector_pct": "0.07"}})  # 35 dollars; 20 are held, 20 to come
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    assert bought(desk) == [2]
    assert "sector_limit" in desk.records("alert")[-1].body


def test_the_first_due_tranche_of_a_long_gap_goes_out_at_its_own_instant() -> None:
    desk = entering(stale_price_minutes=600)
    desk.clock(at("15:00") + minutes(50))
    assert [order.created_at for order in desk.orders()] == [at("15:00"), at("15:15"), at("15:30")]
