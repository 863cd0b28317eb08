"""Earnings of what is held (R10.3, decision 29): the alert before a report, and the sale in time."""

import datetime as dt
from decimal import Decimal

import exchange_calendars
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.desk import MONDAY, Desk, at, days
from trading import earnings

D = Decimal
CALENDAR = exchange_calendars.get_calendar("XNYS", start="2010-01-04", end="2040-12-31")
TUESDAY, WEDNESDAY = MONDAY + days(1), MONDAY + days(2)


def held(**changes: object) -> Desk:
    """Return a desk with 4 AAPL at 10 dollars, at 15:00."""
    desk = Desk(gradual_entry_tranches=1, stale_price_minutes=24 * 60, **changes)
    desk.hold(atr="0.5")
    return desk


def alerts(desk: Desk) -> list[tuple[str | None, dt.datetime]]:
    return [(alert.symbol, alert.at) for alert in desk.records("alert") if "earnings" in alert.subject]


def sales(desk: Desk) -> list[tuple[str, dt.datetime]]:
    return [(order.purpose, order.created_at) for order in desk.orders("sell")]


@pytest.mark.covers("R10.3")
def test_a_report_within_one_trading_day_is_alerted_once_a_position_and_date() -> None:
    desk = held()
    desk.earnings("AAPL", WEDNESDAY, session="amc")
    desk.clock(at("20:59"))
    assert alerts(desk) == []
    desk.clock(at("15:30", on=TUESDAY))
    assert alerts(desk) == [("AAPL", at("14:45", on=TUESDAY))]
    assert desk.records("alert")[-1].severity == "warning"
    assert [each.event_type for each in desk.notifications][-1] == "alert"
    desk.restart()
    desk.clock(at("15:30", on=WEDNESDAY))
    assert len(alerts(desk)) == 1
    desk.earnings("AAPL", WEDNESDAY + days(1), session="bmo")  # moved
    assert len(alerts(desk)) == 2
    assert sales(desk) == []


@pytest.mark.covers("R10.3")
def test_a_date_that_is_learnt_late_is_alerted_at_once() -> None:
    desk = held()
    desk.earnings("AAPL", TUESDAY)
    assert alerts(desk) == [("AAPL", at("15:00"))]


def test_a_report_that_is_out_or_far_or_unknown_is_not_alerted() -> None:
    desk = held()
    for on in (MONDAY - days(3), WEDNESDAY, None):
        desk.earnings("AAPL", on)
    desk.earnings("AAPL", MONDAY, session="bmo")  # out at the open, 14:30
    desk.earnings("KO", TUESDAY)  # not held
    desk.clock(at("15:10"))
    assert alerts(desk) == []


@pytest.mark.covers("R10.3")
@pytest.mark.parametrize(
    ("session", "sold_at"),
    [
        ("bmo", at("14:35", on=TUESDAY)),
        ("unknown", at("14:35", on=TUESDAY)),
        ("amc", at("14:35", on=WEDNESDAY)),
    ],
)
def test_close_sells_in_the_session_before_the_report(session: str, sold_at: dt.datetime) -> None:
    desk = held(earnings_action="close")
    desk.earnings("AAPL", WEDNESDAY, session=session)
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        for clock in ("14:35", "14:45", "15:00", "20:59"):
            if at(clock, on=day) >= desk.now:
                desk.clock(at(clock, on=day))
    assert sales(desk) == [("event", sold_at)]


@pytest.mark.covers("R10.3")
def test_close_sells_also_when_time_jumps_over_that_session() -> None:
    desk = held(earnings_action="close")
    desk.earnings("AAPL", WEDNESDAY, session="bmo")
    desk.clock(at("12:00", on=WEDNESDAY))
    assert sales(desk) == [("event", at("14:45", on=TUESDAY))]


@pytest.mark.covers("R10.3")
def test_close_on_a_date_that_is_learnt_in_its_last_session_sells_at_once_and_at_night_waits() -> None:
    desk = held(earnings_action="close")
    desk.earnings("AAPL", TUESDAY, session="bmo")
    assert sales(desk) == [("event", at("15:00"))]
    desk = held(earnings_action="close")
    desk.clock(at("22:00"))
    desk.earnings("AAPL", TUESDAY, session="amc")
    assert sales(desk) == []
    desk.clock(at("14:35", on=TUESDAY))
    assert sales(desk) == [("event", at("14:35", on=TUESDAY))]


@given(st.dates(dt.date(2015, 1, 1), dt.date(2035, 1, 1)), st.sampled_from(["bmo", "amc", "unknown", None]))
def test_the_session_before_a_report_is_the_calendars(on: dt.date, session: earnings.EarningsSession | None) -> None:
    found = earnings.last_session_before(on, session=session)
    latest = pandas.Timestamp(on) if session == "amc" else pandas.Timestamp(on) - pandas.Timedelta(days=1)
    assert found is not None
    assert found.on == CALENDAR.date_to_session(latest, direction="previous").date()
