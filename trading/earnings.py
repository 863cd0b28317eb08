"""The earnings calendar's effect (R10): how near a report is, counted in sessions of the exchange."""

import datetime as dt

from trading import trading_window
from trading.effects import EarningsFlag
from trading.holdings import Position
from trading.inputs import EarningsSession
from trading.policy import TradingPolicy
from trading.trading_window import Session

FORGOTTEN_AFTER = 45  # sessions after a report; companies report each quarter, so that the next date is then unknown


def report_is_out_at(
    earnings_on: dt.date, *, session: EarningsSession | None, reported_at: dt.datetime | None
) -> dt.datetime:
    """Return when the result is public: as reported, else at the open after it (`bmo`: that day's)."""
    if reported_at is not None:
        return reported_at
    midnight = dt.datetime.combine(earnings_on, dt.time(), tzinfo=trading_window.NEW_YORK).astimezone(dt.UTC)
    first = trading_window.next_session(midnight)
    if first is None:
        return midnight
    if session == "bmo" or first.on > earnings_on:
        return first.open_at
    after = trading_window.next_session(first.close_at)
    return after.open_at if after else first.close_at


def flag(
    now: dt.datetime,
    *,
    earnings_on: dt.date | None,
    session: EarningsSession | None,
    reported_at: dt.datetime | None,
    generated_at: dt.datetime,
    policy: TradingPolicy,
) -> EarningsFlag:
    """Return how near the next report is; an unknown date is flagged, never safe (decisions 29 and 54)."""
    if earnings_on is None:
        return "unknown"
    today = trading_window.new_york_date(now)
    out_at = report_is_out_at(earnings_on, session=session, reported_at=reported_at)
    if now < out_at:
        sessions = trading_window.sessions_from(today, until=earnings_on)
        if sessions <= 1:
            return "within_1_day"
        return "within_3_days" if sessions <= policy.earnings_window_days else "none"
    if trading_window.sessions_from(earnings_on, until=today) > FORGOTTEN_AFTER:
        return "unknown"
    is_fresh = generated_at >= out_at and now >= _normal_again_at(out_at, sessions=policy.post_earnings_days)
    return "none" if is_fresh else "post_earnings"


def _normal_again_at(out_at: dt.datetime, *, sessions: int) -> dt.datetime:
    """Return when that many sessions have passed since a report: the open of the next one (R10.4)."""
    if sessions == 0:
        return out_at
    session = trading_window.next_session(out_at)
    for _ in range(sessions):
        session = trading_window.next_session(session.close_at) if session is not None else None
    return session.open_at if session is not None else dt.datetime.max.replace(tzinfo=dt.UTC)


def flag_of(position: Position, *, now: dt.datetime, policy: TradingPolicy) -> EarningsFlag:
    """Return how near the next report of a position is."""
    return flag(
        now,
        earnings_on=position.earnings_on,
        session=position.earnings_session,
        reported_at=position.earnings_reported_at,
        generated_at=position.opened_at,
        policy=policy,
    )


def last_session_before(earnings_on: dt.date, *, session: EarningsSession | None) -> Session | None:
    """Return the session before a report: that of the day itself for `amc`, else the one before that day."""
    day = earnings_on + dt.timedelta(days=1) if session == "amc" else earnings_on
    midnight = dt.datetime.combine(day, dt.time(), tzinfo=trading_window.NEW_YORK).astimezone(dt.UTC)
    return trading_window.previous_session(midnight)
