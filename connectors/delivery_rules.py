"""How the messages of a channel share its hours (R19.7): what to send now, what to merge, what never to send.

Pure: whoever sends asks `plan`, and notes what left or may have left. Two slots of every hour are kept for breaker and
kill alerts (decision 33), so nothing else can starve them. What finds no slot waits; what still waits when one is free
goes out as one message. What is older than a day is never sent.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple

from trading import ids
from trading.effects import Notification

URGENT: Final = frozenset({"breaker_triggered", "kill"})
KEPT: Final = 2
"""Slots of an hour that only urgent messages may take."""
HOUR: Final = dt.timedelta(hours=1)
STALE: Final = dt.timedelta(minutes=15)
"""Older messages for information are merged, also when every one of them would find a slot."""
TOO_OLD: Final = dt.timedelta(hours=24)
TRIES: Final = 3

_WEIGHT: Final = {"critical": 0, "warning": 1, "info": 2}
_MOST_LINES = 40


class Waiting(NamedTuple):
    """A message that is to go out; one that was tried before is never merged."""

    message: Notification
    attempts: int = 0


class Sent(NamedTuple):
    """A message that left, or may have."""

    at: dt.datetime
    urgent: bool


class Plan(NamedTuple):
    """What to do now: messages to give up with the reason, and one to send (several: merged)."""

    dropped: tuple[tuple[Waiting, str], ...] = ()
    parcel: tuple[Waiting, ...] = ()


def is_urgent(event_type: str) -> bool:
    """Return whether a message may take the kept slots."""
    return event_type in URGENT


def plan(waiting: Sequence[Waiting], sent: Sequence[Sent], *, limit: int, now: dt.datetime) -> Plan:
    """Return what a channel is to do now; `limit` is messages an hour, at least 1.

    With a limit of two or less everything but breaker and kill alerts is dropped: no slot is left for it.
    """
    dropped = tuple((each, reason) for each in waiting if (reason := _why_never(each, limit=limit, now=now)))
    given_up = {each.message.notification_id for each, _ in dropped}
    left = [each for each in waiting if each.message.notification_id not in given_up]
    urgent = [each for each in left if is_urgent(each.message.event_type)]
    ordinary = [each for each in left if not is_urgent(each.message.event_type)]
    lately = [each for each in sent if each.at > now - HOUR]
    room = limit - len(lately)
    parcel = _parcel(urgent, room=room)
    if not parcel:
        room = min(room, limit - KEPT - sum(not each.urgent for each in lately))
        stale = [each for each in ordinary if room > 0 and _is_stale(each, now)]
        parcel = tuple(stale) if len(stale) > 1 else _parcel(ordinary, room=room)
    return Plan(dropped, parcel)


def merged(messages: Sequence[Notification]) -> Notification:
    """Return the one message that stands for several; its id is a function of theirs."""
    ordered = sorted(messages, key=lambda each: (each.created_at, each.notification_id))
    kinds = {each.event_type for each in ordered}
    lines = [f"{each.created_at:%Y-%m-%d %H:%M} UTC {each.severity}: {each.subject}" for each in ordered]
    more = len(lines) - _MOST_LINES
    return Notification(
        notification_id=ids.of("merged", *(each.notification_id for each in ordered)),
        account_id=ordered[0].account_id,
        event_type=kinds.pop() if len(kinds) == 1 else "breaker_triggered" if kinds <= URGENT else "alert",
        severity=min((each.severity for each in ordered), key=_WEIGHT.__getitem__),
        subject=f"{len(ordered)} messages, the last: {ordered[-1].subject}",
        body="\n".join(lines[:_MOST_LINES] + ([f"and {more} more"] if more > 0 else [])),
        created_at=ordered[-1].created_at,
    )


def _parcel(waiting: Sequence[Waiting], *, room: int) -> tuple[Waiting, ...]:
    """Return the next to go out: the most important, or everything at once into a last slot that is too few."""
    if not waiting or room <= 0:
        return ()
    untried = [each for each in waiting if each.attempts == 0]
    if room == 1 and len(untried) > 1 and len(untried) == len(waiting):
        return tuple(untried)
    return (min(waiting, key=_order),)


def _order(waiting: Waiting) -> tuple[bool, bool, int, dt.datetime, str]:
    """Order what was begun first, then what was asked for, then by importance and age."""
    message = waiting.message
    weight = _WEIGHT[message.severity]
    return waiting.attempts == 0, message.event_type != "test", weight, message.created_at, message.notification_id


def _is_stale(waiting: Waiting, now: dt.datetime) -> bool:
    message = waiting.message
    return message.severity == "info" and message.created_at < now - STALE and waiting.attempts == 0


def _why_never(waiting: Waiting, *, limit: int, now: dt.datetime) -> str:
    if waiting.message.created_at < now - TOO_OLD:
        return "older than a day"
    if limit <= KEPT and not is_urgent(waiting.message.event_type):
        return f"a limit of {limit} an hour leaves room for breaker and kill alerts alone"
    return ""
