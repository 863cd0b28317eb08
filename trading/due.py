"""What falls due: an instant, its rank among what falls on the same one, and what is to be done then.

A rule that depends on time offers what it has in a function of the portfolio; `schedule` fires all of them in the order
of their instants.
"""

import datetime as dt
from collections.abc import Callable
from typing import NamedTuple

from trading.step import Step


class Due(NamedTuple):
    """Something to fire at an instant; `rank` orders what falls on the same one."""

    at: dt.datetime
    rank: int
    fire: Callable[[Step], None]


def last_beat(first: dt.datetime, *, every: dt.timedelta, until: dt.datetime) -> dt.datetime:
    """Return the last beat of a timer at or before `until` (>= `first`): of a gap's many beats only that one fires."""
    return first + (until - first) // every * every
