"""The trading window (R11): when the exchange is open, and when entries, tranches and rebalances may go out.

Sessions come from the exchange calendar XNYS, holidays and half days included, flattened once into sorted lists. All
instants are UTC; New York's wall time appears here alone.
"""

import bisect
import datetime as dt
import functools
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
FIRST_DAY, LAST_DAY = "1990-01-01", "2099-12-31"


class Session(NamedTuple):
    """One regular session: its date in New York, its open and its close."""

    on: dt.date
    open_at: dt.datetime
    close_at: dt.datetime


class Phase(NamedTuple):
    """A change of phase: the session opens, the window opens, the window closes, the session closes."""

    at: dt.datetime
    name: Literal["session_open", "window_open", "window_close", "session_close"]
    session: Session


@functools.cache
def _sessions() -> tuple[tuple[Session, ...], tuple[dt.datetime, ...], tuple[dt.date, ...]]:
    import exchange_calendars  # noqa: PLC0415 - pandas comes with it: half a second that few processes need

    calendar = exchange_calendars.get_calendar("XNYS", start=FIRST_DAY, end=LAST_DAY)
    days = tuple(
        Session(
            day.date(), opened.to_pydatetime().replace(tzinfo=dt.UTC), closed.to_pydatetime().replace(tzinfo=dt.UTC)
        )
        for day, opened, closed in zip(calendar.sessions, calendar.opens, calendar.closes, strict=True)
    )
    return days, tuple(session.close_at for session in days), tuple(session.on for session in days)


def session_at(now: dt.datetime) -> Session | None:
    """Return the regular session that is open at `now` (open <= now < close), if any."""
    session = next_session(now)
    return session if session is not None and session.open_at <= now else None


def next_session(now: dt.datetime) -> Session | None:
    """Return the first session whose close lies after `now`: the one that is open, else the next."""
    days, closes, _ = _sessions()
    place = bisect.bisect_right(closes, now)
    return days[place] if place < len(days) else None


def previous_session(now: dt.datetime) -> Session | None:
    """Return the last session that closed at or before `now`."""
    days, closes, _ = _sessions()
    place = bisect.bisect_right(closes, now)
    return days[place - 1] if place else None


def is_window_open(now: dt.datetime, *, margin_minutes: int) -> bool:
    """Tell whether entries may go out: from open + margin, inclusive, to close - margin, exclusive."""
    session = session_at(now)
    if session is None:
        return False
    margin = dt.timedelta(minutes=margin_minutes)
    return session.open_at + margin <= now < session.close_at - margin


def next_phase(after: dt.datetime, *, margin_minutes: int) -> Phase | None:
    """Return the first change of phase strictly after an instant."""
    session = next_session(after)  # its close lies after `after`, so that at least one of its phases does
    if session is None:
        return None
    return next(phase for phase in _phases(session, margin_minutes=margin_minutes) if phase.at > after)


def phases_at(instant: dt.datetime, *, margin_minutes: int) -> tuple[Phase, ...]:
    """Return the changes of phase at an instant, in their order; without a margin two fall on one."""
    session = next_session(instant - dt.timedelta(microseconds=1))
    if session is None:
        return ()
    return tuple(phase for phase in _phases(session, margin_minutes=margin_minutes) if phase.at == instant)


def _phases(session: Session, *, margin_minutes: int) -> tuple[Phase, ...]:
    margin = dt.timedelta(minutes=margin_minutes)
    return (
        Phase(session.open_at, "session_open", session),
        Phase(session.open_at + margin, "window_open", session),
        Phase(session.close_at - margin, "window_close", session),
        Phase(session.close_at, "session_close", session),
    )


def sessions_from(day: dt.date, *, until: dt.date) -> int:
    """Count the sessions after `day` up to and including `until`; negative when `until` lies before `day`."""
    _, _, dates = _sessions()
    return bisect.bisect_right(dates, until) - bisect.bisect_right(dates, day)


def last_beat(until: dt.datetime, *, every: dt.timedelta) -> dt.datetime | None:
    """Return the last beat at or before an instant of a timer that starts anew with each session.

    The first beat is a whole interval after the open, the last one before the close.
    """
    session = session_at(until) or previous_session(until)
    while session is not None:
        beats = (min(until, session.close_at - dt.timedelta(microseconds=1)) - session.open_at) // every
        if beats > 0:
            return session.open_at + beats * every
        session = previous_session(session.open_at)
    return None


def session_time(since: dt.datetime, *, until: dt.datetime) -> dt.timedelta:
    """Return how much regular session time lies between two instants; zero when `until` is not after `since`."""
    days, closes, _ = _sessions()
    elapsed = dt.timedelta()
    place = bisect.bisect_right(closes, since)
    while place < len(days) and days[place].open_at < until and since < until:
        elapsed += min(days[place].close_at, until) - max(days[place].open_at, since)
        place += 1
    return elapsed


def new_york_date(instant: dt.datetime) -> dt.date:
    """Return the date on New York's wall at an instant."""
    return instant.astimezone(NEW_YORK).date()
