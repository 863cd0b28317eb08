"""The stop check (R4.3, R7.2, R10): every position's levels looked at again, and the position left where they say so.

It runs every `stop_check_seconds` of the regular session, every `fast_stop_check_seconds` while a macro event is active
(R7.4); for one position also when its price moves fast (R7.3) or its earnings date changes. Of the checks that fell
due in a gap only the last one runs.
"""

import datetime as dt
from collections.abc import Iterator

from trading import earnings_watch, exits, levels, overlays, trading_window
from trading.candidates import LIFETIME, is_eligible
from trading.due import Due
from trading.inputs import Recommendation
from trading.portfolio import Portfolio
from trading.step import Step

RANK = 2  # before tranches: what is to be left is not added to


def due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    """Yield the last check that falls due up to an instant, if any is left to do."""
    if portfolio.schedule is None:
        return
    policy, checked_at = portfolio.policy, portfolio.schedule.stops_checked_at or portfolio.now
    beats = [trading_window.last_beat(until, every=dt.timedelta(seconds=policy.stop_check_seconds))]
    for event in portfolio.macro_events:
        last = min(until, event.ends_at - dt.timedelta(microseconds=1))
        beat = trading_window.last_beat(last, every=dt.timedelta(seconds=policy.fast_stop_check_seconds))
        beats.append(beat if beat is not None and beat >= event.started_at else None)
    latest = max((beat for beat in beats if beat is not None), default=checked_at)
    if latest > checked_at:
        yield Due(latest, RANK, run)


def run(step: Step) -> None:
    """Look at every position again, and forget the macro events that are over."""
    lasting = tuple(event for event in step.portfolio.macro_events if event.ends_at > step.now)
    step.reschedule(stops_checked_at=step.now)
    step.change(macro_events=lasting)
    review_all(step)


def review_all(step: Step) -> None:
    """Look at every position again at once (R7.1)."""
    for position in step.portfolio.positions:
        review(step, position.symbol)


def review(step: Step, symbol: str) -> None:
    """Make the base anew where it must be, tighten for an event and earnings, and judge whether to leave (R7.2)."""
    position = step.portfolio.position(symbol)
    if position is None:
        return
    if position.exit is None:
        levels.re_evaluate(step, symbol)
        for raised in overlays.tightened(step.portfolio, step.portfolio.position(symbol) or position):
            levels.tighten(step, symbol, raised)
        earnings_watch.look(step, symbol)
    exits.judge(step, symbol)


def cool(step: Step) -> None:
    """Tighten stops in the session while heat is over its threshold (R13.3)."""
    if trading_window.session_at(step.now) is None:
        return
    for position, raised in overlays.for_heat(step.portfolio):
        levels.tighten(step, position.symbol, raised)


def on_signal(step: Step, recommendation: Recommendation) -> None:
    """Let a newer buy recommendation of a held symbol change the position's confidence (decision 52).

    The levels follow at the next check. One that is not eligible in this mode, or has expired, says nothing.
    """
    position = step.portfolio.position(recommendation.symbol)
    if position is None or recommendation.action != "buy" or not is_eligible(recommendation.mode, step.portfolio):
        return
    expires_at = recommendation.expires_at or recommendation.generated_at + LIFETIME
    if expires_at <= step.now or recommendation.generated_at <= (position.signal_at or position.opened_at):
        return
    made_with = position.confidence if position.levels_confidence is None else position.levels_confidence
    changed = {
        "confidence": recommendation.confidence,
        "signal_at": min(recommendation.generated_at, step.now),
        "levels_confidence": None if recommendation.confidence == made_with else made_with,
    }
    step.swap_position(position.model_copy(update=changed))
    step.keep_state()
