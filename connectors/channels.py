"""What delivery needs of a channel, and how a blocking client is kept off the event loop."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from trading.effects import Notification

Answer = TypeVar("Answer")


class NotDelivered(Exception):
    """A message did not go out, or nobody knows (`may_have_arrived`); the text names no secret and no target."""

    def __init__(self, reason: str, *, may_have_arrived: bool = False) -> None:
        super().__init__(reason)
        self.may_have_arrived = may_have_arrived


class Outlet(Protocol):
    """A channel to the operator; its calls block, for some seconds at most. `lacks` names settings that are missing."""

    lacks: str

    def send(self, message: Notification, *, target: str) -> None:
        """Send once, without a retry; raises `NotDelivered`."""

    def probe(self) -> str:
        """Return in words how the channel stands; raises `NotDelivered` when it could not send."""


async def in_a_thread(work: Callable[[], Answer]) -> Answer:
    """Await what blocks in a thread of its own, which nobody waits for at the end: a dead server delays no stop."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Answer] = loop.create_future()

    def settle(set_it: Callable[[Any], None], value: Any) -> None:
        if not outcome.done():
            set_it(value)

    def run() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            try:
                answer = work()
            except Exception as error:
                loop.call_soon_threadsafe(settle, outcome.set_exception, error)
            else:
                loop.call_soon_threadsafe(settle, outcome.set_result, answer)

    threading.Thread(target=run, daemon=True, name="channel").start()
    return await outcome
