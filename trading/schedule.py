"""What depends on time alone: fired from the row, in the order of the due instants, each with its own instant.

The loop tick fires at most once in a gap, at its last due instant; everything else at its own. Nothing is due before
the first account snapshot.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import NamedTuple

from trading import breakers, dedupe, entries, exits, trading_window, tranches
from trading.portfolio import NEVER, Schedule
from trading.records import HeatMeasured
from trading.step import Step


class Due(NamedTuple):
    """Something to fire at an instant; `rank` orders what falls on the same one."""

    at: dt.datetime
    rank: int
    fire: Callable[[Step], None]


def begin(step: Step) -> None:
    """Start the schedules once the account has a snapshot and a now; plan the phases again when the margin changed."""
    portfolio = step.portfolio
    if portfolio.snapshot_at is None or portfolio.now == NEVER:
        return
    if portfolio.schedule is None:
        interval = dt.timedelta(seconds=portfolio.policy.polling_interval_seconds)
        step.change(schedule=Schedule(tick_at=portfolio.now + interval, phase_at=None, margin_minutes=-1))
    _plan_phase(step, after=portfolio.now)


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
    portfolio = step.portfolio
    schedule = portfolio.schedule
    if schedule is None:
        return
    if schedule.phase_at is not None:
        yield Due(schedule.phase_at, 0, _phase)
    for breaker in portfolio.breakers:
        yield Due(breaker.until, 1, breakers.resume)
    for waiting in portfolio.queue:
        yield Due(entries.due_at(waiting), 2, _expire)
    for entry in portfolio.entries:
        tranche_at = tranches.next_tranche_at(step, entry)
        if tranche_at is not None:
            yield Due(max(tranche_at, portfolio.now), 3, _continue)
    if schedule.tick_at <= until:
        interval = dt.timedelta(seconds=portfolio.policy.polling_interval_seconds)
        yield Due(schedule.tick_at + (until - schedule.tick_at) // interval * interval, 4, _tick)


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
        if phase.name == "session_open":
            for position in step.portfolio.positions:
                exits.pursue(step, position.symbol)
        elif phase.name == "window_open":
            breakers.note_silence(step)
            entries.release(step)
        elif phase.name == "session_close":
            step.change(day_base=step.portfolio.total_value)
            step.keep_state()


def _expire(step: Step) -> None:
    """Decide what has waited too long."""
    for waiting in step.portfolio.queue:
        if entries.due_at(waiting) <= step.now:
            entries.leave_queue(step, waiting)
            return


def _continue(step: Step) -> None:
    for entry in step.portfolio.entries:
        tranche_at = tranches.next_tranche_at(step, entry)
        if tranche_at is not None and tranche_at <= step.now:
            tranches.continue_entry(step, entry)
            return


def _tick(step: Step) -> None:
    """Run the loop: drop what has lapsed, pursue exits, release the queue, measure heat (R13.4)."""
    portfolio = step.portfolio
    if portfolio.schedule is None:
        return
    interval = dt.timedelta(seconds=portfolio.policy.polling_interval_seconds)
    seen, floor = dedupe.lapse(portfolio.seen, now=step.now, floor=portfolio.seen_floor)
    step.change(
        schedule=portfolio.schedule.model_copy(update={"tick_at": step.now + interval}),
        seen=seen,
        seen_floor=floor,
        cooldowns=tuple((symbol, until) for symbol, until in portfolio.cooldowns if until > step.now),
    )
    for position in step.portfolio.positions:
        exits.pursue(step, position.symbol)
    entries.release(step)
    portfolio = step.portfolio
    step.record(
        HeatMeasured,
        heat=portfolio.portfolio_heat,
        max_heat=portfolio.max_portfolio_heat,
        active_pool=portfolio.active_pool,
    )
    step.keep_state()
