"""Macro events (R7.1, R7.2): one of high or critical severity tightens every stop at once, and as long as it lasts.

It is active from `started_at` for its estimated duration; one that is over, or of lower severity, changes nothing.
"""

import datetime as dt
from collections.abc import Iterator

from trading import dedupe, stop_check
from trading.due import Due
from trading.events import MacroEventReceived
from trading.portfolio import MacroWatch, Portfolio
from trading.step import Step

SEVERE = ("high", "critical")
MOST_EVENTS = 20  # in the row; of more, those that end first are let go
MOST_SEEN = 200
RANK = 1  # before the checks of the same instant
KEPT_HEADLINE = 200


def on_event(step: Step, received: MacroEventReceived) -> None:
    """Keep a severe event once; look at all positions at once when it is active already, else when it begins."""
    event = received.event
    key = "macro " + event.event_id
    ends_at = event.started_at + dt.timedelta(seconds=event.estimated_duration_seconds)
    if event.severity not in SEVERE or ends_at <= max(step.now, event.started_at):
        return
    if dedupe.is_known(step.portfolio.macro_seen, key=key):
        return
    until = max(ends_at, step.now + dedupe.LONGEST)
    seen = dedupe.remember(step.portfolio.macro_seen, key=key, until=until, now=step.now, newest=step.now)
    watch = MacroWatch(event_id=event.event_id, started_at=event.started_at, ends_at=ends_at, begun=False)
    kept = sorted((*step.portfolio.macro_events, watch), key=lambda known: (known.ends_at, known.event_id))
    step.change(macro_events=tuple(kept[-MOST_EVENTS:]), macro_seen=dedupe.newest(seen, most=MOST_SEEN))
    body = f"{event.severity}, from {event.started_at.isoformat()} to {ends_at.isoformat()}: stops are tightened."
    step.alert(f"Macro event: {event.headline[:KEPT_HEADLINE]}", body=body, severity="info")
    step.keep_state()
    if watch.started_at <= step.now:
        _begin(step)


def due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    """Yield the beginnings of the events that are known beforehand."""
    for event in portfolio.macro_events:
        if not event.begun:
            yield Due(event.started_at, RANK, _begin)


def _begin(step: Step) -> None:
    """Note the events that have begun, and look at every position."""
    begun = tuple(
        event.model_copy(update={"begun": True}) if event.started_at <= step.now else event
        for event in step.portfolio.macro_events
    )
    step.change(macro_events=begun)
    step.keep_state()
    stop_check.review_all(step)
