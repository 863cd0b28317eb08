"""The performance tracker inside a step (R14.1, R14.3, R18.4): metrics while the session runs, a snapshot at its close.

Metrics are measured every `metrics_interval_seconds` after the open, up to and including the close; of the beats in a
gap only the last one fires. Every session has its snapshot, and its tier evaluation after it.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from trading import history, notifications, performance, tier_control, trading_window
from trading.due import Due
from trading.money import ONE
from trading.performance import text
from trading.portfolio import Portfolio
from trading.records import Metrics, Snapshot
from trading.step import Step
from trading.trading_window import Session


def close_session(step: Step, session: Session) -> None:
    """Keep the day's return, record the snapshot, judge the tier, and let the next day be measured from here."""
    portfolio = step.portfolio
    day = performance.today(portfolio)
    notifications.plan_summary(step, session, pnl=day.pnl)
    closed = history.with_close(portfolio.history, on=session.on, pnl=day.pnl, daily_return=day.daily_return)
    step.change(history=closed)
    step.record(
        Snapshot,
        session_on=session.on,
        portfolio_value=portfolio.total_value,
        active_pool=portfolio.active_pool,
        reserve_pool=portfolio.reserve,
        daily_return=day.daily_return,
        cumulative_return=closed.growth - ONE,
        positions=_positions(portfolio),
        metrics=performance.metrics(step.portfolio, day=day),
    )
    tier_control.evaluate(step, session)
    step.change(day_base=portfolio.total_value)
    step.keep_state()


def plan_metrics(step: Step) -> None:
    """Plan the next metrics of the regular session."""
    step.reschedule(metrics_at=_next_beat(step.now, every=_interval(step.portfolio)))


def metrics_due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    """Offer the metrics; on the close they come before it, so that they show the day that ends."""
    planned = portfolio.schedule.metrics_at if portfolio.schedule is not None else None
    if planned is not None and planned <= until:
        last = _last_beat(until, every=_interval(portfolio))
        yield Due(planned if last is None else max(planned, last), -1, _measure)


def _measure(step: Step) -> None:
    step.record(Metrics, metrics=performance.metrics(step.portfolio, day=performance.today(step.portfolio)))
    plan_metrics(step)
    step.keep_state()


def _interval(portfolio: Portfolio) -> dt.timedelta:
    return dt.timedelta(seconds=portfolio.policy.metrics_interval_seconds)


def _last_beat(instant: dt.datetime, *, every: dt.timedelta) -> dt.datetime | None:
    """Return the last beat of a session at or before an instant."""
    session = trading_window.session_at(instant)
    if session is None or session.open_at + every > instant:
        session = trading_window.previous_session(instant)
    if session is None:
        return None
    beats = (min(instant, session.close_at) - session.open_at) // every
    return session.open_at + beats * every


def _next_beat(instant: dt.datetime, *, every: dt.timedelta) -> dt.datetime | None:
    """Return the first beat of a session strictly after an instant."""
    session = trading_window.next_session(instant)
    while session is not None:
        beats = max(dt.timedelta(), instant - session.open_at) // every + 1
        beat = session.open_at + beats * every
        if beat <= session.close_at:
            return beat
        session = trading_window.next_session(session.close_at)
    return None


def _positions(portfolio: Portfolio) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "symbol": position.symbol,
            "quantity": text(position.quantity),
            "avg_entry_price": text(position.avg_entry_price),
            "last_price": text(position.last_price),
            "market_value": text(position.market_value),
            "unrealized_pnl": text(position.unrealized_pnl),
            "stop_price": text(position.stop_price),
            "target_price": text(position.target_price),
        }
        for position in sorted(portfolio.positions, key=lambda held: held.symbol)
    )
