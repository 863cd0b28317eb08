"""The window against the exchange's own calendar: holidays, half days and daylight saving included."""

import datetime as dt

import exchange_calendars
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import instants
from tests.trading.desk import at, days, minutes
from trading import trading_window
from trading.trading_window import is_window_open, new_york_date, next_phase, phases_at, session_at, session_time

CALENDAR = exchange_calendars.get_calendar("XNYS", start="2010-01-04", end="2040-12-31")


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


@given(instants())
def test_a_session_is_open_when_the_exchange_says_so(now: dt.datetime) -> None:
    minute = now.replace(second=0, microsecond=0)
    assert (session_at(minute) is not None) == CALENDAR.is_open_at_time(pandas.Timestamp(minute), side="left")


@given(instants())
def test_the_next_session_is_the_one_of_the_calendar(now: dt.datetime) -> None:
    session = trading_window.next_session(now)
    assert session is not None
    label = CALENDAR.minute_to_session(pandas.Timestamp(session.open_at), direction="none")
    assert session.on == label.date()
    assert session.open_at == CALENDAR.session_open(label)
    assert session.close_at == CALENDAR.session_close(label)
    assert session.close_at > now
    previous = trading_window.previous_session(now)
    assert previous is not None
    assert previous.close_at <= now
    assert CALENDAR.next_session(pandas.Timestamp(previous.on)).date() == session.on


@pytest.mark.covers("R11.1")
@pytest.mark.parametrize(
    ("on", "opens", "closes"),
    [
        ("2026-03-06", "14:45", "20:45"),  # Friday, New York at UTC-5: 9:45 and 15:45
        ("2026-03-09", "13:45", "19:45"),  # Monday after the clocks went forward: UTC-4
        ("2026-10-30", "13:45", "19:45"),  # Friday before they go back
        ("2026-11-02", "14:45", "20:45"),  # Monday after
        ("2026-11-27", "14:45", "17:45"),  # the day after Thanksgiving closes at 13:00 in New York
        ("2025-12-24", "14:45", "17:45"),  # Christmas Eve, a half day
        ("2026-07-02", "13:45", "19:45"),
    ],
)
def test_entries_go_out_from_9_45_to_15_45_in_new_york(on: str, opens: str, closes: str) -> None:
    first, last = at(opens, on=day(on)), at(closes, on=day(on))
    tick = dt.timedelta(microseconds=1)
    assert not is_window_open(first - tick, margin_minutes=15)
    assert is_window_open(first, margin_minutes=15)
    assert is_window_open(last - tick, margin_minutes=15)
    assert not is_window_open(last, margin_minutes=15)


@pytest.mark.covers("R11.1")
@pytest.mark.parametrize("on", ["2026-03-07", "2026-03-08", "2026-04-03", "2026-07-03", "2026-11-26", "2025-12-25"])
def test_nothing_opens_on_weekends_and_holidays(on: str) -> None:
    hours = [at("00:00", on=day(on)) + minutes(15 * quarter) for quarter in range(96)]
    assert not any(session_at(hour) or is_window_open(hour, margin_minutes=0) for hour in hours)


@pytest.mark.covers("R11.1")
@given(instants(), st.integers(0, 90))
def test_the_window_is_the_session_less_its_margins(now: dt.datetime, margin: int) -> None:
    session = session_at(now)
    inside = session is not None and session.open_at + minutes(margin) <= now < session.close_at - minutes(margin)
    assert is_window_open(now, margin_minutes=margin) == inside


@given(instants(), st.integers(0, 90))
def test_phases_follow_one_another_and_each_is_found_at_its_instant(now: dt.datetime, margin: int) -> None:
    names, instant = [], now
    while len(names) < 8:
        phase = next_phase(instant, margin_minutes=margin)
        assert phase is not None
        assert phase.at > instant
        instant = phase.at
        names += [each.name for each in phases_at(instant, margin_minutes=margin)]
    order = ["session_open", "window_open", "window_close", "session_close"]
    begin = order.index(names[0])
    assert names[:8] == [order[(begin + place) % 4] for place in range(8)]


def test_without_a_margin_the_session_and_its_window_open_in_one_instant() -> None:
    assert [phase.name for phase in phases_at(at("14:30"), margin_minutes=0)] == ["session_open", "window_open"]
    assert [phase.name for phase in phases_at(at("21:00"), margin_minutes=0)] == ["window_close", "session_close"]


@given(instants(), instants(), instants())
def test_session_time_adds_up_and_is_never_negative(one: dt.datetime, two: dt.datetime, last: dt.datetime) -> None:
    one, two, last = sorted((one, two, last))
    whole = session_time(one, until=last)
    assert session_time(one, until=two) + session_time(two, until=last) == whole
    assert dt.timedelta() <= whole <= last - one
    assert session_time(last, until=one) == dt.timedelta()


def test_a_weekend_has_no_session_time() -> None:
    friday, monday = at("20:50", on=day("2026-03-06")), at("13:40", on=day("2026-03-09"))
    assert session_time(friday, until=monday) == minutes(10 + 10)  # to the close at 21:00, from the open at 13:30


@given(st.dates(day("2015-01-01"), day("2030-12-31")), st.integers(0, 20))
def test_sessions_between_two_days_are_counted_by_the_calendar(first: dt.date, ahead: int) -> None:
    last = first + days(ahead)
    counted = len(
        CALENDAR.sessions_in_range(pandas.Timestamp(first) + pandas.Timedelta(days=1), pandas.Timestamp(last))
    )
    assert trading_window.sessions_from(first, until=last) == (counted if ahead else 0)


def test_the_date_on_new_yorks_wall_is_the_day_before_until_five_in_the_morning() -> None:
    assert new_york_date(at("04:59")) == day("2026-03-01")
    assert new_york_date(at("05:00")) == day("2026-03-02")


def test_after_the_last_session_of_the_calendar_nothing_opens() -> None:
    last = dt.datetime(2099, 12, 31, 23, 59, tzinfo=dt.UTC)
    assert trading_window.next_session(last) is None
    assert session_at(last) is None
    assert next_phase(last, margin_minutes=15) is None
    assert phases_at(last, margin_minutes=15) == ()
