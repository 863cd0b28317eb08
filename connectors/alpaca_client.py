"""alpaca-py's REST clients as we use them: in threads, with our timeouts, without retries of their own.

What an answer or an error means is its caller's own: `alpaca_rest` trades, `alpaca_market` asks for prices.
"""

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from alpaca.common.rest import RESTClient

C = TypeVar("C", bound="RESTClient")


class Timeouts(NamedTuple):
    """Seconds for a connection, for silence in an answer, and for a call in all."""

    connect: float = 3.0
    read: float = 8.0
    whole: float = 12.0


class ThreadedClient(Generic[C]):
    """Ask by a client in each of some threads: a session of `requests` is not made for several.

    `build` is called in the thread, because alpaca-py is slow to import.
    """

    def __init__(self, build: Callable[[], C], *, timeouts: Timeouts, threads: int) -> None:
        self._build = build
        self._timeouts = timeouts
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="alpaca")
        self._local = threading.local()

    def close(self) -> None:
        """Take no further call; those under way end by their timeouts."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ask(self, question: Callable[[C], Any]) -> Any:
        """Return the answer; raises TimeoutError where none is whole in time, and else what alpaca-py raises."""
        answered = asyncio.get_running_loop().run_in_executor(self._threads, self._in_a_thread, question)
        try:
            async with asyncio.timeout(self._timeouts.whole):
                return await answered
        except TimeoutError:
            raise TimeoutError(f"no whole answer within {self._timeouts.whole:g} s") from None

    def _in_a_thread(self, question: Callable[[C], Any]) -> Any:
        client: C | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = _impatient(self._build(), self._timeouts)
        return question(client)


def _impatient(client: C, timeouts: Timeouts) -> C:
    """Let a client wait no longer than we do, and ask once: by itself it would POST again on 429 and 504."""
    client._retry, client._retry_codes = 0, []
    session = client._session
    wait = (timeouts.connect, timeouts.read)
    session.request = functools.partial(session.request, timeout=wait)  # type: ignore[method-assign]
    return client
