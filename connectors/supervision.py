"""Keep the parts of this process running: one that fails is begun anew, and takes none of the others with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from connectors.checks import Check

FIRST_REST, LONGEST_REST = 0.25, 2.0
SECONDS_OF_GOOD_WORK = 30.0

_log = structlog.get_logger(__name__)


async def keep_running(run: Callable[[], Awaitable[None]], check: Check) -> None:
    """Run a part until cancelled; after a failure rest, longer each time until it works for a while, and begin anew."""
    rest = FIRST_REST
    while True:
        began = time.monotonic()
        try:
            await endless(run())
        except Exception as error:  # whatever it is: the part says what is wrong, the others go on
            _log.exception("a part failed and is begun anew", part=check.name)
            check.fails(f"{type(error).__name__}: {error}"[:500])
        rest = FIRST_REST if time.monotonic() - began > SECONDS_OF_GOOD_WORK else min(rest * 2, LONGEST_REST)
        await asyncio.sleep(rest)


async def together(*works: Awaitable[None]) -> None:
    """Run what must never end side by side; when one fails, cancel the others, await them, and raise its error.

    Not a task group: in Python 3.11 one that fails leaves its own task marked as cancelled.
    """
    tasks = [asyncio.ensure_future(endless(work)) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    ended.pop().result()


async def endless(work: Awaitable[None]) -> None:
    """Await what must never end; raise RuntimeError when it does, also as if it were cancelled though nobody did that.

    A library that lets the cancellation of its own task out would otherwise end this one without a word.
    """
    try:
        await work
    except asyncio.CancelledError as error:
        if is_being_cancelled():
            raise
        raise RuntimeError("it was cancelled by nobody") from error
    raise RuntimeError("it ended by itself")


def is_being_cancelled() -> bool:
    """Return whether somebody has asked the current task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
