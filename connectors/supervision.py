"""Keep the parts of this process running: one that fails is begun anew, and takes none of the others with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from connectors.checks import Check

FIRST_REST, LONGEST_REST = 0.25, 5.0
SECONDS_OF_GOOD_WORK = 30.0

_log = structlog.get_logger(__name__)


async def keep_running(run: Callable[[], Awaitable[None]], check: Check) -> None:
    """Run a part until cancelled; after a failure rest, longer each time until it works for a while, and begin anew."""
    rest = FIRST_REST
    while True:
        began = time.monotonic()
        try:
            await run()
        except Exception as error:  # whatever it is: the part says what is wrong, the others go on
            _log.exception("a part failed and is begun anew", part=check.name)
            check.fails(_cause(error)[:500])
        rest = FIRST_REST if time.monotonic() - began > SECONDS_OF_GOOD_WORK else min(rest * 2, LONGEST_REST)
        await asyncio.sleep(rest)


def _cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):  # tasks that end together say so in a group
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
