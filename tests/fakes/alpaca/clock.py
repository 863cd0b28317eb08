"""The exchange's time: the wall clock, or an instant of one's own that runs on from there at any rate."""

import datetime as dt
import time

from trading import trading_window
from trading.trading_window import Session


class MarketClock:
    """Tell the exchange's time; `at` None is the wall clock, `rate` 0 stands still, 60 runs a minute a second."""

    def __init__(self, at: dt.datetime | None = None, *, rate: float = 1.0) -> None:
        self.set(at, rate=rate)

    def set(self, at: dt.datetime | None, *, rate: float = 1.0) -> None:
        """Go on from another instant."""
        self._at = at
        self._rate = rate
        self._set_at = time.monotonic()

    def now(self) -> dt.datetime:
        """Return the exchange's now, in UTC."""
        if self._at is None:
            return dt.datetime.now(dt.UTC)
        return self._at + dt.timedelta(seconds=self._rate * (time.monotonic() - self._set_at))

    def session(self) -> Session | None:
        """Return the session that is open now, if any."""
        return trading_window.session_at(self.now())


def coming_session(now: dt.datetime) -> Session:
    """Return the session that is open, else the next one."""
    session = trading_window.next_session(now)
    if session is None:
        raise ValueError(f"the calendar ends before {now}")
    return session


def next_open(now: dt.datetime) -> dt.datetime:
    """Return when a session opens next, strictly after now."""
    session = coming_session(now)
    return session.open_at if session.open_at > now else coming_session(session.close_at).open_at
