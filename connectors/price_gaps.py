"""What a stream of prices has missed: asked for by REST, and sent before what the stream tells from then on.

A gap begins when the stream is joined, or a symbol is new; from then on the symbol's prices wait. It is asked for when
the stream has confirmed the symbol, so that a trade is in the stream or in the answer; after `SECONDS_HELD` anyway.
Ticks wait no longer than that, for a stop must not wait for a REST that is away; minute bars, on which nothing hangs,
wait as long as it takes.
"""

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Callable, Collection

import structlog

from connectors.alpaca_market import Away, MarketRest
from connectors.alpaca_prices_read import Raw
from connectors.price_history import History
from connectors.price_sender import PriceSender

SECONDS_HELD = 10.0
GAP = dt.timedelta(seconds=60)  # older prices are compared with no level any more

_log = structlog.get_logger(__name__)


class PriceGaps:
    """Know each symbol's gap; `fill` must run meanwhile. `take` gets each trade that was missed, and may be old."""

    def __init__(
        self,
        rest: MarketRest,
        sender: PriceSender,
        history: History,
        *,
        take: Callable[[str, Raw], None],
        now: Callable[[], dt.datetime],
        rest_seconds: float,
    ) -> None:
        self._rest, self._sender, self._history = rest, sender, history
        self._take, self._now = take, now
        self._rest_seconds = rest_seconds
        self._gaps: dict[str, float] = {}
        self._confirmed: set[str] = set()
        self._is_confirmed = asyncio.Event()

    def begin(self, symbols: Collection[str]) -> None:
        """Let the prices of these symbols wait: what they had before is not known."""
        self._gaps |= dict.fromkeys(symbols, time.monotonic())
        self._confirmed.difference_update(symbols)
        self._sender.hold(symbols, seconds=SECONDS_HELD)
        if self._gaps:
            self._history.hold()

    def confirm(self, symbols: Collection[str]) -> None:
        """Ask for what was missed of these symbols: the stream tells of them from now on."""
        self._confirmed.update(symbols)
        self._is_confirmed.set()

    def drop(self, symbols: Collection[str]) -> None:
        """Forget symbols that need no prices any more."""
        self._confirmed.difference_update(symbols)
        self._end({symbol: self._gaps[symbol] for symbol in symbols if symbol in self._gaps})

    async def fill(self) -> None:
        """Ask for the trades of the last minute and the minute bars of every gap that is due, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SECONDS_HELD):
                    await self._is_confirmed.wait()
            self._is_confirmed.clear()
            symbols, self._confirmed = self._confirmed, set()
            overdue = time.monotonic() - SECONDS_HELD
            asked = {name: begun for name, begun in self._gaps.items() if name in symbols or begun <= overdue}
            if not asked:
                continue
            try:
                await self.ask(asked, since=self._now() - GAP)
                await self._history.fill_minutes(asked)
            except Away as error:
                _log.warning("a gap in the prices is not filled yet", error=str(error))
                await asyncio.sleep(self._rest_seconds)
                self.confirm([symbol for symbol, begun in asked.items() if self._gaps.get(symbol) == begun])
            else:
                self._end(asked)

    async def ask(self, symbols: Collection[str], *, since: dt.datetime) -> None:
        """Take every trade since an instant, and the last one before: a stop that one crossed is crossed.

        The last one is asked for first, so that a trade between the two questions is in the second answer. Raises
        `Away`.
        """
        last = await self._rest.latest_trades(symbols)
        for symbol, trades in (await self._rest.trades(symbols, start=since)).items():
            for trade in trades:
                self._take(symbol, trade)
        for symbol, trade in last.items():
            self._take(symbol, trade)

    def _end(self, gaps: dict[str, float]) -> None:
        """Let the prices go whose gap is still the one that was filled, and none that has begun since."""
        over = [symbol for symbol, begun in gaps.items() if self._gaps.get(symbol) == begun]
        for symbol in over:
            del self._gaps[symbol]
        self._sender.let_go(over)
        if not self._gaps:
            self._history.let_go()
