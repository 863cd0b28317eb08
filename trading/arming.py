"""Live arming: on live money nothing is entered unless somebody has armed the account, until the session's close.

Paper needs no arming. An account that trades live and is not armed is REDUCING: exits pass, entries wait for a word.
"""

import datetime as dt

from trading import trading_window
from trading.portfolio import Portfolio

FOR_EVER = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
MEND = "live trading enters nothing until it is armed (arm_live), for one session at a time"


def armed_until(portfolio: Portfolio) -> dt.datetime | None:
    """Return until when live trading is armed at the account's now; None when it is not, and on paper."""
    until = portfolio.armed_until
    return until if portfolio.mode == "live" and until is not None and portfolio.now < until else None


def is_lacking(portfolio: Portfolio) -> bool:
    """Tell whether the account trades live and is not armed."""
    return portfolio.mode == "live" and armed_until(portfolio) is None


def last_instant(issued_at: dt.datetime) -> dt.datetime | None:
    """Return until when arming may last at most: the close of the session in force at an instant, or of the next."""
    session = trading_window.next_session(issued_at)
    return session.close_at if session is not None else None
