"""Notification rules (R19.2 to R19.4): what is told at once, the daily summary, the weekly digest."""

import datetime as dt
from decimal import Decimal
from typing import Any

import exchange_calendars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import cents, instants
from tests.trading.desk import MONDAY, Desk, at, days, minutes
from trading.effects import Notification
from trading.outcomes import is_large

D = Decimal
CALENDAR = exchange_calendars.get_calendar("XNYS", start="2010-01-04", end="2040-12-31")
FRIDAY = MONDAY + days(4)
TUESDAY = MONDAY + days(1)


def trading(**changes: Any) -> Desk:
    """Return a desk whose entries buy three shares at 10 dollars in one tranche."""
    return Desk(gradual_entry_tranches=1, base_allocation_pct="0.04", **changes)


def trade(desk: Desk, price: str, symbol: str = "AAPL", *, sector: str = "technology") -> None:
    """Buy three shares at 10 dollars and sell them at a price."""
    assert desk.hold(symbol, sector=sector).quantity == 3
    desk.recommend(symbol, "sell", sector=sector)
    desk.fill(desk.orders("sell", symbol)[-1], price)


def told(desk: Desk, event_type: str) -> list[Notification]:
    return [notice for notice in desk.notifications if notice.event_type == event_type]


def lines(notice: Notification) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in notice.body.split("\n"))


@pytest.mark.covers("R19.2")
@pytest.mark.parametrize(
    ("price", "severity"),
    [
        ("18.60", None),  # + 25.80; a fifth is set aside, 5 % of 520.64 are 26.03
        ("18.70", "info"),  # + 26.10; 5 % of 520.88 are 26.04
        ("2.10", None),  # - 23.70; 5 % of 476.30 are 23.82
        ("2.05", "warning"),  # - 23.85; 5 % of 476.15 are 23.81
    ],
)
def test_a_trade_over_five_percent_of_the_active_pool_is_told(price: str, severity: str | None) -> None:
    desk = trading()
    trade(desk, price)
    assert [notice.severity for notice in told(desk, "large_trade")] == ([severity] if severity else [])


@pytest.mark.covers("R19.2")
def test_a_large_trade_is_told_once_at_the_end_of_its_closing_order() -> None:
    desk = trading()
    desk.hold()
    desk.recommend(action="sell")
    sell = desk.orders("sell")[0]
    for cumulative in (1, 2):
        desk.fill(sell, "40", cumulative=cumulative)
        assert told(desk, "large_trade") == []
    desk.fill(sell, "40", cumulative=3)
    desk.fill(sell, "40", cumulative=3)
    notice = told(desk, "large_trade")[0]
    assert notice.subject == "Large trade: AAPL +90.00 dollars"
    assert notice.body == "3 AAPL sold (signal): +90.00 dollars, more than 5.00% of the active pool of 572.00 dollars."
    assert len(told(desk, "large_trade")) == 1


@given(cents("-100", "100"), cents("0", "1000"))
def test_equality_is_not_large_and_a_loss_is_as_large_as_a_profit(profit: Decimal, pool: Decimal) -> None:
    limit = D("0.05")
    assert not is_large(limit * pool, active_pool=pool, limit=limit)
    assert is_large(limit * pool + D("0.01"), active_pool=pool, limit=limit)
    assert is_large(profit, active_pool=pool, limit=limit) is is_large(-profit, active_pool=pool, limit=limit)


@pytest.mark.covers("R19.3")
def test_half_an_hour_after_the_close_the_day_is_summarized() -> None:
    desk = trading()
    trade(desk, "11")
    desk.hold("KO", sector="staples")
    desk.mark("KO", "9.90")
    desk.clock(at("21:29"))
    assert told(desk, "daily_summary") == []
    desk.clock(at("21:31"))
    notice = told(desk, "daily_summary")[0]
    assert (notice.created_at, notice.severity) == (at("21:30"), "info")
    assert notice.subject == "Daily summary 2026-03-02: +2.70 dollars"
    assert lines(notice) == {
        "Daily P&L": "+2.70 dollars",  # 3.00 - 3 x 0.10
        "Total value": "502.70 dollars",
        "Active pool": "502.10 dollars",
        "Reserve pool": "0.60 dollars",
        "Trades executed": "3 (2 bought, 1 sold)",
        "Risk tier": "moderate",
        "Circuit breakers": "none active",
    }
    desk.clock(at("21:31", on=TUESDAY))
    assert lines(told(desk, "daily_summary")[1])["Trades executed"] == "0 (0 bought, 0 sold)"
    assert lines(told(desk, "daily_summary")[1])["Daily P&L"] == "+0.00 dollars"


@pytest.mark.covers("R19.3")
def test_a_summary_names_the_breakers_that_are_active() -> None:
    desk = Desk(breaker_pause_minutes=600)
    desk.stress("40")
    desk.clock(at("21:30"))
    body = lines(told(desk, "daily_summary")[0])
    assert body["Circuit breakers"] == "market stress until 2026-03-03T01:00:00+00:00"


@pytest.mark.covers("R19.3")
def test_the_summary_comes_when_the_preferences_say() -> None:
    desk = Desk()
    desk.command("update_notifications", version=1, changes={"summary_minutes_after_close": 90})
    desk.clock(at("22:29"))
    assert told(desk, "daily_summary") == []
    desk.command("update_notifications", version=2, changes={"summary_minutes_after_close": 0})
    desk.clock(at("22:29:30"))
    assert [notice.created_at for notice in told(desk, "daily_summary")] == [at("22:29")]  # already past its instant
    desk.clock(at("21:00", on=TUESDAY))
    assert told(desk, "daily_summary")[1].created_at == at("21:00", on=TUESDAY)


@pytest.mark.covers("R19.3")
@pytest.mark.covers("R19.4")
@given(instants(dt.date(2024, 1, 1), dt.date(2027, 1, 1)), st.lists(st.integers(1, 20), min_size=1, max_size=3))
def test_every_session_has_one_summary_and_every_week_one_digest(start: dt.datetime, gaps: list[int]) -> None:
    desk = Desk(now=start)
    end = start
    for gap in gaps:
        end += days(gap)
        desk.clock(end)
    late = dt.timedelta(minutes=30)
    closes = CALENDAR.closes[(CALENDAR.closes > start) & (CALENDAR.closes <= end - late)]
    due = [close.to_pydatetime() + late for close in closes]
    assert [notice.created_at for notice in told(desk, "daily_summary")] == due
    every = [session.date().isocalendar()[:2] for session in CALENDAR.sessions]
    last = {week: place for place, week in enumerate(every)}
    ends = [
        close.to_pydatetime() + late
        for session, close in closes.items()
        if last[session.date().isocalendar()[:2]] == CALENDAR.sessions.get_loc(session)
    ]
    assert [notice.created_at for notice in told(desk, "weekly_digest")] == ends


@pytest.mark.covers("R19.4")
def test_the_digest_has_the_weeks_profit_trades_tiers_and_drawdown() -> None:
    desk = trading()
    for price, symbol in (("11", "AAPL"), ("10.50", "KO"), ("9.70", "JPM"), ("10.20", "CVX"), ("10.10", "BAC")):
        trade(desk, price, symbol, sector=symbol)
    desk.command("set_risk_tier", risk_tier="conservative")
    desk.clock(at("15:00", on=MONDAY + days(2)))
    desk.command("set_risk_tier", risk_tier="moderate")
    trade(desk, "9", "PFE", sector="health care")
    desk.clock(at("21:29", on=FRIDAY))
    assert told(desk, "weekly_digest") == []
    desk.clock(at("21:30", on=FRIDAY))
    notice = told(desk, "weekly_digest")[0]
    assert notice.subject == "Weekly digest to 2026-03-06: +1.50 dollars"
    assert lines(notice) == {
        "Weekly P&L": "+1.50 dollars",  # 3.00 + 1.50 - 0.90 + 0.60 + 0.30 - 3.00
        "Trades": "4 won, 2 lost",
        "Sharpe ratio": "undefined, fewer than 10 daily returns",
        "Max drawdown": "0.59%",  # 3.00 / 504.50
        "Top winning trades": "AAPL +3.00 dollars, KO +1.50 dollars, CVX +0.60 dollars",
        "Top losing trades": "PFE -3.00 dollars, JPM -0.90 dollars",
        "Risk tier changes": "moderate to conservative (operator, 2026-03-02); "
        "conservative to moderate (operator, 2026-03-04)",
    }
    order = [each.event_type for each in desk.notifications][-2:]
    assert order == ["daily_summary", "weekly_digest"]
    desk.clock(at("21:30", on=FRIDAY + days(7)))
    following = lines(told(desk, "weekly_digest")[1])
    assert (following["Trades"], following["Risk tier changes"]) == ("0 won, 0 lost", "none")
    assert following["Weekly P&L"] == "+0.00 dollars"


@pytest.mark.covers("R19.4")
@pytest.mark.parametrize(
    ("start", "instant"),
    [
        (dt.date(2026, 3, 30), at("20:30", on=dt.date(2026, 4, 2))),  # Good Friday is a holiday
        (dt.date(2026, 11, 23), at("18:30", on=dt.date(2026, 11, 27))),  # a half day after Thanksgiving
    ],
)
def test_the_digest_follows_the_weeks_last_session(start: dt.date, instant: dt.datetime) -> None:
    desk = Desk(now=at("15:00", on=start))
    desk.clock(at("15:00", on=start) + days(6))
    assert [notice.created_at for notice in told(desk, "weekly_digest")] == [instant]


def test_the_digest_shows_a_sharpe_ratio_once_there_is_one() -> None:
    desk = Desk(gradual_entry_tranches=1)
    desk.hold(atr="4")
    for day in range(11):
        desk.mark("AAPL", 11 if day % 2 else 10, at=at("15:00", on=MONDAY + days(day)) + minutes(day))
        desk.clock(at("15:10", on=MONDAY + days(day)))
    desk.clock(at("22:00", on=FRIDAY + days(7)))
    assert "undefined" in lines(told(desk, "weekly_digest")[0])["Sharpe ratio"]
    assert float(lines(told(desk, "weekly_digest")[1])["Sharpe ratio"]) != 0


def test_a_flood_of_tier_changes_keeps_the_digest_short() -> None:
    desk = Desk()
    for place in range(30):
        desk.command("set_risk_tier", risk_tier=("aggressive", "moderate")[place % 2])
    assert len(desk.row.history.week.tier_changes) == 10
    desk.clock(at("22:00", on=FRIDAY))
    assert lines(told(desk, "weekly_digest")[0])["Risk tier changes"].endswith("; 20 before")


@pytest.mark.covers("R19.2")
def test_a_breaker_is_told_when_it_trips_and_when_trading_resumes() -> None:
    desk = Desk()
    desk.stress("40")
    desk.stress("20")
    tripped = told(desk, "breaker_triggered")[0]
    assert (tripped.severity, tripped.created_at) == ("critical", at("15:00"))
    assert "40.0000 against a limit of 35" in tripped.body
    desk.clock(at("17:00"))
    resumed = told(desk, "breaker_resumed")[0]
    assert (resumed.severity, resumed.created_at) == ("info", at("17:00"))
    assert resumed.subject == "Trading resumes: the market stress breaker has ended"


def test_the_end_of_a_breaker_promises_no_trading_that_something_else_stops() -> None:
    desk = Desk()
    desk.stress("40")
    desk.command("pause")
    desk.clock(at("17:00"))
    resumed = told(desk, "breaker_resumed")[0]
    assert resumed.subject == "The market stress breaker has ended"
    assert resumed.body == "Trading is reducing all the same; other active breakers: none."


def test_a_kill_is_told_as_critical_with_its_reason() -> None:
    desk = Desk()
    desk.command("kill", reason="enough")
    notice = told(desk, "kill")[0]
    assert notice.severity == "critical"
    assert "enough" in notice.body
