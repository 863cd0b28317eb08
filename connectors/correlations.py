"""The correlation matrix of all tracked companies (R9.1), for the table and the page: refreshed at each close.

The projection says when daily bars or companies have come; once they are quiet for a moment, each session since the
last matrix is computed from the tables, the last one again. What a decision needs it computes itself, so that nothing
here is in its way: a connection, a thread and short transactions of its own, and it gives way after every pair.
"""

import asyncio
import datetime as dt
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal

import asyncpg
import structlog

from connectors import tables
from connectors.checks import Check
from streams.codec import AHEAD
from streams.settings import Settings
from trading.correlation import MINIMUM_RETURNS, Pair, matrix
from trading.market import KEPT_BARS, Closes

SECONDS_OF_QUIET = 2.0
LONGEST_WAIT = 20.0
ROWS_A_TRANSACTION = 1000

_SECONDS_TO_ANSWER = 60.0
_log = structlog.get_logger(__name__)


class Correlations:
    """Keep `correlation_matrix_cache` fresh until cancelled or until something fails; begun anew, it catches up."""

    def __init__(self, settings: Settings, *, check: Check) -> None:
        self._settings = settings
        self._check = check
        self._news = asyncio.Event()

    def note(self) -> None:
        """Hear that daily bars or companies have been written."""
        self._news.set()

    async def run(self) -> None:
        """Refresh at the start and after every change; raises asyncpg's errors and OSError."""
        url = self._settings.database_url.get_secret_value()
        connection = await asyncpg.connect(url, timeout=10, command_timeout=_SECONDS_TO_ANSWER)
        try:
            while True:
                self._news.clear()
                await self._refresh(connection)
                self._check.holds("waiting for a close")
                await self._news.wait()
                await self._quiet()
        finally:
            connection.terminate()  # also when nobody answers any more

    async def _quiet(self) -> None:
        """Return when nothing has come for a moment, or when it never stops coming."""
        until = time.monotonic() + LONGEST_WAIT
        while self._news.is_set() and time.monotonic() < until:
            self._news.clear()
            await asyncio.sleep(SECONDS_OF_QUIET)

    async def _refresh(self, connection: asyncpg.Connection) -> None:
        last = await connection.fetchval(tables.COMPUTED_LAST)
        closes = [(row["day"], row["at"]) for row in await connection.fetch(tables.DAYS_OF_BARS, last)]
        if self._settings.clock == "system":
            now = dt.datetime.now(dt.UTC)
            closes = [(day, at) for day, at in closes if at <= now + AHEAD]  # no bar from the future stops the rest
        for day, at in closes if last is not None else closes[-1:]:
            await self._compute(connection, day, at)

    async def _compute(self, connection: asyncpg.Connection, day: dt.date, at: dt.datetime) -> None:
        rows = await connection.fetch(tables.CLOSES, at, KEPT_BARS)
        by_symbol = {
            symbol: tuple((row["day"], row["close"]) for row in bars)
            for symbol, bars in itertools.groupby(rows, key=lambda row: str(row["symbol"]))
        }
        found = [
            (day, pair.symbol_a, pair.symbol_b, at, pair.correlation, pair.observations)
            for pair in await _in_a_thread(by_symbol)
        ]
        for begin in range(0, len(found), ROWS_A_TRANSACTION):
            await connection.executemany(tables.CORRELATIONS_UPSERT, found[begin : begin + ROWS_A_TRANSACTION])
        _log.info("correlations", day=day.isoformat(), symbols=len(by_symbol), pairs=len(found))


async def _in_a_thread(closes: Mapping[str, Closes]) -> Sequence[Pair]:
    given_up = threading.Event()
    try:
        return await asyncio.to_thread(known_pairs, closes, given_up=given_up)
    finally:
        given_up.set()  # or the process could not end before the thread


def known_pairs(closes: Mapping[str, Closes], *, given_up: threading.Event) -> Sequence[Pair]:
    """Return the pairs whose correlation is known, in the order of their names; no more once it is given up."""
    enough = sorted(symbol for symbol, days in closes.items() if len(days) > MINIMUM_RETURNS)
    found: list[Pair] = []
    for first, second in itertools.combinations(enough, 2):
        if given_up.is_set():
            break
        pairs = matrix({first: closes[first], second: closes[second]})
        found += [pair for pair in pairs if isinstance(pair.correlation, Decimal)]
        time.sleep(0)  # the threads that trade go first
    return found
