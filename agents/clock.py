"""Now: what instant an inbox record is given, and the clock records that let time pass for an account.

With the system clock now is the wall's. With the events' clock it is the greatest instant seen by this worker; nothing
is now before the first. From the inbox on nobody asks.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping

from streams.outbox import Outgoing, to_inbox
from trading.events import Clock
from trading.portfolio import Portfolio

LONGEST = dt.timedelta(seconds=60)


def wall_now() -> dt.datetime:
    """Return the wall clock's instant."""
    return dt.datetime.now(dt.UTC)


class Now:
    """The instant at which things happen to accounts, for one worker."""

    def __init__(self, *, by_events: bool, wall: Callable[[], dt.datetime] = wall_now) -> None:
        self._by_events = by_events
        self._wall = wall
        self._latest: dt.datetime | None = None

    @property
    def wall(self) -> dt.datetime | None:
        """Return the wall clock's instant where it counts: with the system clock."""
        return None if self._by_events else self._wall()

    @property
    def event_time(self) -> dt.datetime | None:
        """Return now: the wall clock's, or the greatest instant seen."""
        return self._latest if self._by_events else self._wall()

    def stamp(self, own: dt.datetime | None) -> dt.datetime | None:
        """Return the `at` of an inbox record made of a record that carries its `own` instant, or none."""
        if not self._by_events:
            return self._wall()
        instants = [instant for instant in (self._latest, own) if instant is not None]
        return max(instants, default=None)

    def see(self, instant: dt.datetime | None) -> dt.datetime | None:
        """Take an instant over; return the minute that has begun with it, if event time has passed one."""
        if not self._by_events or instant is None or (self._latest is not None and instant <= self._latest):
            return None
        before, self._latest = self._latest, instant
        minute = instant.replace(second=0, microsecond=0)
        return minute if before is None or before < minute else None


def minute_passed(minute: dt.datetime | None, accounts: Iterable[str]) -> list[Outgoing]:
    """Return a clock record for every account when event time has passed a minute."""
    if minute is None:
        return []
    return [to_inbox(Clock(account_id=account, at=minute)) for account in accounts]


class Ticker:
    """The system clock's beat: a clock record an account each polling interval, 60 seconds at most."""

    def __init__(self) -> None:
        self._last: dict[str, dt.datetime] = {}

    def due(self, rows: Mapping[str, Portfolio], accounts: Iterable[str], *, now: dt.datetime) -> list[Outgoing]:
        """Return the clock records that are due for those of `accounts` that have a row."""
        outgoing = []
        for account in accounts:
            row = rows.get(account)
            if row is not None and self._is_due(row, now):
                self._last[account] = now
                outgoing.append(to_inbox(Clock(account_id=account, at=now)))
        return outgoing

    def _is_due(self, row: Portfolio, now: dt.datetime) -> bool:
        interval = min(LONGEST, dt.timedelta(seconds=row.policy.polling_interval_seconds))
        last = self._last.get(row.account_id)
        return last is None or not last <= now < last + interval  # a wall clock may be set back
