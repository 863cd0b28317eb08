"""Circuit breakers and the REDUCING state (R6, R7.5, decisions 10, 18, 19, 21, 47, 48)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.desk import MONDAY, Desk, at, days, minutes
from trading import circuit_breaker

D = Decimal
TUESDAY = MONDAY + days(1)
SECTORS = ("technology", "energy", "financials", "staples", "health care", "industrials", "utilities", "materials")


def holding(count: int, *, atr: str = "4", **changes: object) -> Desk:
    """Return a desk with 3 or 4 shares at 10 dollars in each of `count` symbols S0, S1, ..."""
    desk = Desk(gradual_entry_tranches=1, moderate={"max_portfolio_heat": "1"}, **changes)
    for place in range(count):
        desk.hold(f"S{place}", sector=SECTORS[place], atr=atr)
    return desk


def trips(desk: Desk, event: str = "triggered") -> list[str]:
    return [record.trigger for record in desk.records("breaker_event") if record.event == event]


def entry_is_refused(desk: Desk) -> str | None:
    desk.recommend("NEW", sector="real estate", price=1, atr="0.1")
    return desk.reason


@pytest.mark.covers("R6.1")
@pytest.mark.covers("R6.4")
def test_a_loss_over_five_percent_of_the_day_stops_entries_until_the_next_open() -> None:
    desk = holding(7)  # 4, 4, 4 and four times 3 shares: 24 in all
    assert sum(position.quantity for position in desk.row.positions) == 24
    for place in range(7):
        desk.mark(f"S{place}", "8.96")  # 24 x 1.04 = 24.96 dollars
    assert trips(desk) == []
    desk.mark("S0", "8.94")  # 25.04 dollars, 5.008 %
    event = desk.records("breaker_event")[0]
    assert (event.trigger, event.event, event.threshold) == ("daily_loss", "triggered", D("0.05"))
    assert event.actual_value == D("25.04") / 500
    assert event.until == at("14:30", on=TUESDAY)
    notice = next(each for each in desk.notifications if each.event_type == "breaker_triggered")
    assert notice.severity == "critical"
    assert "25.04 dollars" in notice.body
    assert entry_is_refused(desk) == "circuit_breaker_active"
    assert desk.decisions[-1].circuit_breaker_status == "active"


def test_a_loss_of_exactly_five_percent_trips_nothing() -> None:
    desk = holding(5, daily_loss_pct="0.05")  # 18 shares
    assert sum(position.quantity for position in desk.row.positions) == 18
    for place in range(4):
        desk.mark(f"S{place}", "8.50")  # 15 shares x 1.50 = 22.50
    desk.mark("S4", D(10) - D("2.50") / 3)  # 2.50 more are 25, a hair less for the third
    assert circuit_breaker.daily_loss(desk.row) <= D("0.05")
    assert trips(desk) == []


@pytest.mark.covers("R6.5")
def test_a_breaker_ends_by_itself_and_says_so() -> None:
    desk = Desk()
    desk.stress("36")
    assert desk.records("breaker_event")[0].until == at("17:00")
    desk.clock(at("16:59"))
    assert entry_is_refused(desk) == "circuit_breaker_active"
    desk.clock(at("17:05"))
    resumed = desk.records("breaker_event")[-1]
    assert (resumed.event, resumed.trigger, resumed.at) == ("resumed", "market_stress", at("17:00"))
    assert desk.notifications[-1].event_type == "breaker_resumed"
    assert entry_is_refused(desk) is None


def test_the_day_begins_with_the_equity_of_the_last_close() -> None:
    desk = holding(7)
    for place in range(7):
        desk.mark(f"S{place}", "9.20")  # 19.20 dollars down
    desk.clock(at("21:01"))
    assert desk.row.day_base == D("480.80")
    for place in range(7):
        desk.mark(f"S{place}", "8.60", at=at("14:31", on=TUESDAY))  # 14.40 down since the close, under 5 %
    assert trips(desk) == []


def test_on_the_first_day_the_loss_is_counted_from_the_first_snapshot() -> None:
    desk = Desk(now=at("20:00"))
    assert desk.row.day_base == 500


def test_a_loss_that_still_holds_at_the_open_trips_again() -> None:
    desk = holding(7)
    for place in range(7):
        desk.mark(f"S{place}", "8.80", at=at("13:00", on=TUESDAY))
    assert trips(desk) == ["daily_loss"]
    assert desk.records("breaker_event")[0].until == at("14:30", on=TUESDAY)
    desk.clock(at("14:31", on=TUESDAY))
    assert trips(desk) == ["daily_loss", "daily_loss"]
    again = desk.records("breaker_event")[-1]
    assert (again.at, again.until) == (at("14:30", on=TUESDAY), at("14:30", on=TUESDAY + days(1)))
    assert len({record.event_id for record in desk.records("breaker_event")}) == 3


def test_a_lower_capital_limit_is_no_loss_of_the_day() -> None:
    desk = Desk(cash="10000")
    desk.configure(capital_limit="400")
    assert desk.row.total_value == 400
    assert trips(desk) == []
    assert desk.configure(capital_limit="900").accepted
    assert desk.row.day_base == 900


def test_a_withdrawal_at_the_broker_is_no_loss_of_the_day() -> None:
    desk = Desk()
    for _ in range(3):
        desk.snapshot(cash="450")
    assert desk.row.total_value == 450
    assert trips(desk) == []
    assert desk.row.day_base == 450


@pytest.mark.covers("R6.3")
@pytest.mark.parametrize(("value", "trips_it"), [("35", False), ("35.01", True)])
def test_stress_over_the_threshold_pauses_for_two_hours(value: str, trips_it: bool) -> None:
    desk = Desk()
    desk.stress(value)
    assert trips(desk) == (["market_stress"] if trips_it else [])


def test_a_vix_takes_precedence_while_it_is_under_half_an_hour_old() -> None:
    desk = Desk(market_stress_threshold="35")
    desk.stress("20", name="vix")
    desk.stress("50", name="realised_volatility")
    assert trips(desk) == []
    desk.clock(at("15:20"))
    desk.stress("51", name="realised_volatility")
    assert trips(desk) == []
    desk.clock(at("15:30"))
    assert trips(desk) == ["market_stress"]


def test_an_older_reading_does_not_replace_a_newer_one() -> None:
    desk = Desk()
    desk.stress("20", at=at("15:00"))
    desk.stress("90", at=at("14:59"))
    assert trips(desk) == []


def test_stress_trips_again_only_when_its_breaker_has_ended() -> None:
    desk = Desk()
    desk.stress("40")
    desk.clock(at("16:45"))
    desk.stress("41")
    assert trips(desk) == ["market_stress"]
    desk.clock(at("17:10"))
    assert trips(desk) == ["market_stress", "market_stress"]
    assert desk.records("breaker_event")[-1].at == at("17:00")
    assert desk.row.breakers[0].until == at("19:00")


def test_without_a_reading_nothing_trips_and_one_alert_says_so() -> None:
    desk = Desk(now=at("14:00"))
    for day in range(3):
        desk.clock(at("15:00", on=MONDAY + days(day)))
    silent = [alert for alert in desk.records("alert") if alert.subject == "No reading of market volatility"]
    assert [alert.at for alert in silent] == [at("14:45")]
    assert entry_is_refused(desk) is None


@pytest.mark.covers("R6.3")
def test_four_stops_within_half_an_hour_pause_for_two_hours() -> None:
    desk = holding(5, atr="0.5", stale_price_minutes=60)
    start = desk.now
    for place in range(4):
        desk.mark(f"S{place}", "9.00", at=start + minutes(10 * place))
        assert trips(desk) == ([] if place < 3 else ["stop_cluster"])
    event = desk.records("breaker_event")[0]
    assert (event.threshold, event.actual_value) == (3, 4)
    assert event.until == start + minutes(30 + 120)


def test_the_half_hour_of_a_stop_cluster_slides() -> None:
    desk = holding(5, atr="0.5", stale_price_minutes=60)
    start = desk.now
    for place, minute in enumerate((0, 10, 20, 30.1, 31)):
        desk.mark(f"S{place}", "9.00", at=start + minutes(minute))
        assert trips(desk) == ([] if place < 4 else ["stop_cluster"])  # 10, 20, 30.1 and 31


def test_a_breaker_over_the_stop_counts_towards_no_cluster() -> None:
    desk = holding(5, atr="4")  # stops at 2.00
    for place in range(5):
        desk.mark(f"S{place}", "8.40")
    assert [order.purpose for order in desk.orders("sell")] == ["breaker"] * 5
    assert "stop_cluster" not in trips(desk)


def test_profits_count_towards_no_cluster_and_breakevens_do() -> None:
    desk = holding(5, atr="0.5")
    for place in range(5):
        desk.mark(f"S{place}", "11.50")
    assert trips(desk) == []
    desk = holding(5, atr="0.5")
    for place in range(4):
        desk.mark(f"S{place}", "10.80")
        desk.mark(f"S{place}", "10.00")
    assert trips(desk) == ["stop_cluster"]


@pytest.mark.covers("R6.3")
def test_a_stop_whose_sell_waited_for_a_cancel_counts_towards_the_cluster_at_any_price() -> None:
    desk = holding(3, atr="0.5")
    desk.recommend("S3", sector=SECTORS[3], atr="0.5")
    buy = desk.orders("buy")[-1]
    desk.fill(buy, "10", cumulative=1)
    for symbol in ("S0", "S1", "S2", "S3"):
        desk.mark(symbol, "9.00")  # 10 - 2 x 0.50
    assert trips(desk) == []
    desk.mark("S3", "9.50")
    desk.cancelled(buy, 1)
    assert [order.purpose for order in desk.orders("sell")] == ["stop_loss"] * 4
    assert trips(desk) == ["stop_cluster"]


@pytest.mark.covers("R6.2", "R6.5", "R19.2")
def test_a_tickers_cooldown_ends_by_itself_and_says_so() -> None:
    desk = holding(1)
    desk.mark("S0", "8.49")  # more than 15 % under 10
    wednesday = MONDAY + days(2)
    desk.clock(at("14:59:59", on=wednesday))
    desk.restart()
    effects = desk.clock(at("15:10", on=wednesday))
    [resumed] = [each for each in desk.records("breaker_event") if each.event == "resumed"]
    assert (resumed.trigger, resumed.symbol, resumed.at) == ("position_loss", "S0", at("15:00", on=wednesday))
    assert resumed in effects
    [told] = [each for each in desk.notifications if each.event_type == "breaker_resumed"]
    assert (told.severity, told.created_at) == ("info", at("15:00", on=wednesday))
    assert "S0" in told.subject
    assert desk.row.cooldowns == ()


@pytest.mark.covers("R6.5")
def test_the_end_of_one_breaker_leaves_another_that_overlaps_it_alone() -> None:
    desk = holding(5, atr="0.5", stale_price_minutes=60)
    start = desk.now
    desk.stress("40")  # until two hours after the start
    for place in range(4):
        desk.mark(f"S{place}", "9.00", at=start + minutes(60))  # until three hours after it
    desk.clock(start + minutes(120))
    assert trips(desk, "resumed") == ["market_stress"]
    assert [(each.trigger, each.until) for each in desk.row.breakers] == [("stop_cluster", start + minutes(180))]
    desk.clock(start + minutes(180))
    assert trips(desk, "resumed") == ["market_stress", "stop_cluster"]
    assert desk.row.breakers == ()


@pytest.mark.covers("R6.6")
def test_the_breaker_that_lasts_longest_is_the_one_that_is_named() -> None:
    from trading.status import status_of  # noqa: PLC0415 - this test alone

    desk = holding(7)
    desk.stress("40")
    for place in range(7):
        desk.mark(f"S{place}", "8.80")
    shown = status_of(desk.row, as_of=desk.now)["circuit_breaker"]
    assert (shown["status"], shown["trigger"]) == ("active", "daily_loss")
    assert shown["remaining_seconds"] == (at("14:30", on=TUESDAY) - desk.now).total_seconds()
    assert [each["trigger"] for each in shown["active"]] == ["daily_loss", "market_stress"]


@pytest.mark.covers("R6.5", "R18.5")
def test_a_breakers_end_survives_a_restart() -> None:
    desk = Desk()
    desk.stress("40")
    desk.restart()
    assert desk.row.breakers[0].until == at("17:00")


@pytest.mark.covers("R7.5")
def test_more_than_half_of_the_positions_down_by_two_percent_stop_entries() -> None:
    desk = holding(4)
    for symbol in ("S0", "S1"):
        desk.mark(symbol, "9.79")
    assert entry_is_refused(desk) is None  # two of four are not more than half
    desk = holding(3)
    for symbol, price in (("S0", "9.79"), ("S1", "9.80")):
        desk.mark(symbol, price)
    assert not circuit_breaker.is_declining(desk.row)  # 9.80 is not more than two percent
    desk.mark("S1", "9.79")
    assert entry_is_refused(desk) == "broad_decline"


def test_a_single_position_is_no_broad_decline() -> None:
    desk = holding(1)
    desk.mark("S0", "9")
    assert entry_is_refused(desk) is None


def test_a_broad_decline_clears_half_an_hour_after_it_is_over() -> None:
    desk = holding(2)
    for clock in ("15:00", "15:10", "15:20"):
        for symbol in ("S0", "S1"):
            desk.mark(symbol, "9.79", at=at(clock))
    for clock in ("15:25", "15:35", "15:45", "15:54"):  # one of two is not more than half
        desk.mark("S0", "9.90", at=at(clock))
        desk.mark("S1", "9.79", at=at(clock))
    assert circuit_breaker.is_declining(desk.row)
    assert entry_is_refused(desk) == "broad_decline"
    desk.clock(at("15:55"))
    assert not circuit_breaker.is_declining(desk.row)
    assert entry_is_refused(desk) is None


@pytest.mark.covers("R7.5")
def test_a_broad_decline_is_told_once_until_it_has_cleared() -> None:
    desk = holding(2)
    told = []
    for clock, price in (("15:01", "9.79"), ("15:05", "9.79"), ("15:10", "9.90"), ("15:15", "9.79"), ("15:20", "9.90")):
        for symbol in ("S0", "S1"):
            desk.mark(symbol, price, at=at(clock))
        told.append(len([alert for alert in desk.records("alert") if alert.subject == "A broad decline"]))
    assert told == [1, 1, 1, 1, 1]
    for clock, price in (("15:34", "9.90"), ("15:49", "9.90"), ("15:51", "9.79")):  # cleared at 15:50
        for symbol in ("S0", "S1"):
            desk.mark(symbol, price, at=at(clock))
    alerts = [alert for alert in desk.records("alert") if alert.subject == "A broad decline"]
    assert [(alert.at, alert.severity) for alert in alerts] == [(at("15:01"), "warning"), (at("15:51"), "warning")]
    assert "100% of the positions lose more than 0.02" in alerts[0].body


@pytest.mark.covers("R3.5")
def test_an_active_pool_under_its_minimum_stops_entries_and_alerts_once() -> None:
    desk = holding(1)
    desk.command("adjust_reserve", amount="400.01", reason="test")
    assert desk.row.active_pool == D("99.99")
    assert entry_is_refused(desk) == "active_pool_minimum"
    desk.clock(desk.now + minutes(5))
    alerts = [alert for alert in desk.records("alert") if "active pool" in alert.subject]
    assert len(alerts) == 1
    desk.command("adjust_reserve", amount="-0.01", reason="test")
    assert desk.row.active_pool == 100
    assert entry_is_refused(desk) is None


@pytest.mark.parametrize("state", ["pause", "disable", "stress", "unreconciled", "under minimum", "none"])
def test_reducing_is_one_state_with_many_reasons(state: str) -> None:
    desk = Desk()
    match state:
        case "pause":
            desk.command("pause")
        case "disable":
            desk.configure(enabled=False)
        case "stress":
            desk.stress("36")
        case "unreconciled":
            desk.snapshot(cash="1")
        case "under minimum":
            desk.configure(active_pool_minimum="501")
    assert circuit_breaker.trading_state(desk.row) == ("active" if state == "none" else "reducing")
    assert (entry_is_refused(desk) is None) == (state == "none")


@pytest.mark.covers("R6.3")
@given(st.lists(st.sampled_from([0, 5, 10, 14, 16, 25, 31]), min_size=1, max_size=8))
def test_a_cluster_trips_exactly_when_more_than_three_stops_lie_within_half_an_hour(gaps: list[int]) -> None:
    desk = holding(len(gaps), atr="0.5", stale_price_minutes=24 * 60)
    instants = []
    now = desk.now
    for place, gap in enumerate(gaps):
        now += minutes(gap)
        desk.mark(f"S{place}", "9.00", at=now)
        instants.append(now)
    full = any(
        sum(last - minutes(30) <= each <= last for each in instants[: place + 1]) > 3
        for place, last in enumerate(instants)
    )
    assert ("stop_cluster" in trips(desk)) == full
