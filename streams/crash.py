"""How a process ends on purpose: loudly, or at a named crash point.

`STONKS_CRASH_AT=name:n` ends the process at that point, as kill -9 would, the n-th time it comes by. The points stand
where a crash hurts most: `intake.sent`, `decide.read`, `decide.sent`, `decide.written`, and around a broker's answer
`broker.before_post`, `broker.posted`, `broker.before_send`, `broker.sent`.
"""

import os
import sys
from collections import Counter
from typing import NoReturn

import structlog

from streams.settings import settings

KILLED = 137  # what a shell says of a process ended by SIGKILL

_passed: Counter[str] = Counter()


def crash_point(name: str) -> None:
    """End the process here when the settings say so."""
    wanted, _, number = settings().crash_at.partition(":")
    if wanted == name:
        _passed[name] += 1
        if _passed[name] == int(number):
            os._exit(KILLED)


def end_loudly(reason: str, **details: object) -> NoReturn:
    """End the process at once, saying why; the supervisor starts it again, and the log says where it was."""
    structlog.get_logger("stonks").critical(reason, **details)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
