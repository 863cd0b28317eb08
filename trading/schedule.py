"""What depends on time alone: fired from the row, in the order of the due instants, each with its own instant.

The loop tick and the metrics fire at most once in a gap, at their last due instant; everything else at its own. Nothing
is due before the first account snapshot.
"""

import datetime as dt
from collections.abc import Callable, Iterator

from trading import (
    breakers,
    closing,
    dedupe,
    earnings_watch,
    entries,
    exits,
    live_mode,
    macro,
    micro_entries,
    notifications,
    order_watch,
    rebalancer,
    stale_prices,
    stop_check,
    trading_window,
    tranches,
)
from trading.due import Due, last_beat
from trading.portfolio import NEVER, Portfolio, Schedule
from trading.records import HeatMeasured
from trading.step import Step
from trading.trading_window import Session


def begin(step: Step) -> None:
    """Start the schedules once the account has a snapshot and a now; plan the phases again when the margin changed."""
    portfolio = step.portfolio
    if portfolio.snapshot_at is None or portfolio.now == NEVER:
        return
    if portfolio.schedule is None:
        interval = dt.timedelta(seconds=portfolio.policy.polling_interval_seconds)
        step.change(
            schedule=Schedule(
                tick_at=portfolio.now + interval, phase_at=None, margin_minutes=-1, stops_checked_at=portfolio.now
            )
        )
    _plan_phase(step, after=portfolio.now)
    if step.portfolio.schedule is not None and step.portfolio.schedule.metrics_at is None:
        closing.plan_metrics(step)


def advance(step: Step, *, until: dt.datetime) -> None:
    """Fire all that fell due up to and including an instant, then make it the account's now."""
    while step.portfolio.schedule is not None:
        due = min(_due(step, until), key=lambda item: (item.at, item.rank), default=None)
        if due is None or due.at > until:
            break
        step.change(now=max(step.portfolio.now, due.at))
        due.fire(step)
    step.change(now=max(step.portfolio.now, until))


def _due(step: Step, until: dt.datetime) -> Iterator[Due]:
    for source in _SOURCES:
        yield from source(step.portfolio, until)


def _phases_due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    if portfolio.schedule is not None and portfolio.schedule.phase_at is not None:
        yield Due(portfolio.schedule.phase_at, 0, _phase)


def _breakers_due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    """Offer their ends before the phases of the same instant: what still holds trips anew before anything is sent."""
    for breaker in portfolio.breakers:
        yield Due(breaker.until, 0, breakers.resume)
    for _, over_at in portfolio.cooldowns:
        yield Due(over_at, 0, breakers.end_cooldowns)


def _queue_due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    for waiting in portfolio.queue:
        yield Due(entries.due_at(waiting), 2, _expire)


def _tranches_due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    for entry in portfolio.entries:
        tranche_at = tranches.next_tranche_at(portfolio, entry)
        if tranche_at is not None:
            yield Due(max(tranche_at, portfolio.now), 3, _continue)


def _tick_due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    if portfolio.schedule is not None and portfolio.schedule.tick_at <= until:
        interval = dt.timedelta(seconds=portfolio.policy.polling_interval_seconds)
        yield Due(last_beat(portfolio.schedule.tick_at, every=interval, until=until), 4, _tick)


def _plan_phase(step: Step, *, after: dt.datetime) -> None:
    schedule, margin = step.portfolio.schedule, step.portfolio.policy.window_margin_minutes
    if schedule is None or (schedule.margin_minutes == margin and schedule.phase_at is not None):
        return
    phase = trading_window.next_phase(after, margin_minutes=margin)
    at = phase.at if phase is not None else None
    step.change(schedule=schedule.model_copy(update={"phase_at": at, "margin_minutes": margin}))


def _phase(step: Step) -> None:
    """Go into the next phase: what waits for the session or its window, and at the close the next day's base."""
    now, schedule = step.now, step.portfolio.schedule
    if schedule is None:
        return
    step.change(schedule=schedule.model_copy(update={"phase_at": None}))
    _plan_phase(step, after=now)
    for phase in trading_window.phases_at(now, margin_minutes=schedule.margin_minutes):
        for rule in _ON_PHASE.get(phase.name, ()):
            rule(step, phase.session)


def _pursue_exits(step: Step, session: Session) -> None:
    for position in step.portfolio.positions:
        exits.pursue(step, position.symbol)


def _hear_the_feed(step: Step, session: Session) -> None:
    """Look for silence before anything is bought or cut at prices of another session (decision 15)."""
    stale_prices.check(step)


def _open_window(step: Step, session: Session) -> None:
    breakers.note_silence(step)
    earnings_watch.look_at_all(step)
    entries.release(step)


def _expire(step: Step) -> None:
    """Decide what has waited too long."""
    for waiting in step.portfolio.queue:
        if entries.due_at(waiting) <= step.now:
            entries.leave_queue(step, waiting)
            return


def _continue(step: Step) -> None:
    for entry in step.portfolio.entries:
        tranche_at = tranches.next_tranche_at(step.portfolio, entry)
        if tranche_at is not None and tranche_at <= step.now:
            tranches.continue_entry(step, entry)
            return


def _tick(step: Step) -> None:
    """Run the loop: drop what has lapsed, pursue exits, see to stale prices and to heat, release the queue (R13.4)."""
    portfolio = step.portfolio
    if portfolio.schedule is None:
        return
    interval = dt.timedelta(seconds=portfolio.policy.polling_interval_seconds)
    seen, floor = dedupe.lapse(portfolio.seen, now=step.now, floor=portfolio.seen_floor)
    step.change(
        schedule=portfolio.schedule.model_copy(update={"tick_at": step.now + interval}),
        seen=seen,
        seen_floor=floor,
    )
    micro_entries.forget_trends(step)
    for position in step.portfolio.positions:
        exits.pursue(step, position.symbol)
    stale_prices.check(step)
    stop_check.cool(step)
    entries.release(step)
    portfolio = step.portfolio
    step.record(
        HeatMeasured,
        heat=portfolio.portfolio_heat,
        max_heat=portfolio.max_portfolio_heat,
        active_pool=portfolio.active_pool,
    )
    step.keep_state()


_SOURCES: tuple[Callable[[Portfolio, dt.datetime], Iterator[Due]], ...] = (
    live_mode.expiry_due,
    _breakers_due,
    _phases_due,
    macro.due,
    micro_entries.timeouts_due,
    _queue_due,
    stop_check.due,
    _tranches_due,
    _tick_due,
    closing.metrics_due,
    notifications.summary_due,
    order_watch.due,
)
"""What may fall due, rule by rule: a function of the account and of the instant up to which things are fired."""

_ON_PHASE: dict[str, tuple[Callable[[Step, Session], None], ...]] = {
    "session_open": (_pursue_exits,),
    "window_open": (_hear_the_feed, rebalancer.on_window_open, _open_window),
    "session_close": (closing.close_session,),
}
"""What is done when the exchange's day goes into its next phase, in this order."""
