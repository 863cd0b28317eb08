"""The past of prices: daily bars for ATR and correlation, each once its session is over, and minute bars of a gap."""

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from connectors import alpaca_prices_read as read
from connectors.alpaca_market import Away, MarketRest
from connectors.alpaca_prices_read import Raw, Unreadable
from connectors.price_log import PriceLog
from connectors.price_sender import PriceSender
from trading import trading_window
from trading.inputs import PriceBar
from trading.trading_window import Session

SESSIONS = 100  # R9.1 looks 90 daily closes back; some days of a symbol may be missing
AFTER_THE_CLOSE = dt.timedelta(seconds=90)  # the last trades of a session are told late
SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_BETWEEN_TRIES = 15.0
SECONDS_WITHOUT_A_DAY = 300.0
SECONDS_TO_GATHER = 0.5

_log = structlog.get_logger(__name__)


class History:
    """Keep the log's bars complete for the symbols that need prices; `keep` must run meanwhile."""

    def __init__(
        self, rest: MarketRest, sender: PriceSender, prices: PriceLog, *, now: Callable[[], dt.datetime]
    ) -> None:
        self._rest = rest
        self._sender = sender
        self._prices = prices
        self._now = now
        self._news = asyncio.Event()
        self._heard: list[PriceBar] = []
        self._is_held = False
        self._filled: dict[str, dt.date] = {}
        self._not_before: dict[str, float] = {}

    def hold(self) -> None:
        """Keep the minute bars that the stream tells: older ones are still to come, and must go first."""
        self._is_held = True

    def let_go(self) -> None:
        """Have what was held sent."""
        self._is_held = False
        self._news.set()

    def look(self) -> None:
        """Look for missing days now: other symbols need prices."""
        self._news.set()

    def add(self, bar: PriceBar) -> None:
        """Have a minute bar sent that the stream has told."""
        self._heard.append(bar)
        self._news.set()

    async def keep(self, symbols: Callable[[], Collection[str]]) -> None:
        """Send what is missing, at the start, for new symbols, and after each close; raises aiokafka's `KafkaError`."""
        while True:
            if not self._is_held:
                heard, self._heard = self._heard, []
                await self._sender.bars(heard)
            rest = SECONDS_BETWEEN_LOOKS
            try:
                await self._fill_days(symbols())
            except Away as error:
                _log.warning("the history of prices is not filled yet", error=str(error))
                rest = SECONDS_BETWEEN_TRIES
            try:
                async with asyncio.timeout(rest):
                    await self._news.wait()
                    await asyncio.sleep(SECONDS_TO_GATHER)
            except TimeoutError:
                pass
            self._news.clear()

    async def fill_minutes(self, symbols: Collection[str]) -> None:
        """Send the minute bars of the present session that are missing since the last one; raises `Away`."""
        now = self._now()
        session = trading_window.session_at(now)
        minute = now.replace(second=0, microsecond=0)  # the one that runs is told when it is over
        if session is not None:
            start = min((max(self._prices.minute_at(one), session.open_at) for one in symbols), default=minute)
            if start < minute:
                found = await self._rest.minute_bars(symbols, start=start, end=minute - dt.timedelta(microseconds=1))
                await self._sender.bars(_read(found, read.minute_bar))

    async def _fill_days(self, symbols: Collection[str]) -> None:
        """Send the days that the log does not have, oldest first, of symbols whose last session was not filled yet."""
        now = self._now()
        last = trading_window.previous_session(now - AFTER_THE_CLOSE)
        if last is None:
            return
        tick = time.monotonic()
        wanted = [
            one for one in symbols if self._filled.get(one) != last.on and self._not_before.get(one, tick) <= tick
        ]
        if not wanted:
            return
        sessions = _sessions_until(last)
        missing = {symbol: first for symbol in wanted if (first := self._first_missing(symbol, sessions)) is not None}
        if missing:
            start = min(missing.values()).open_at - dt.timedelta(hours=12)  # a day is named by its midnight
            found = await self._rest.daily_bars(missing, start=start, end=last.close_at)
            sent = await self._sender.bars(
                _read(found, lambda symbol, bar: read.daily_bar(symbol, bar, now=now - AFTER_THE_CLOSE))
            )
            _log.info("daily bars", symbols=len(missing), sent=sent, until=last.on.isoformat())
            self._prices.save()
        self._filled |= dict.fromkeys(wanted, last.on)
        for symbol in missing:
            if last.close_at.date().isoformat() not in self._prices.days(symbol):  # not told yet, or it has none
                del self._filled[symbol]
                self._not_before[symbol] = tick + SECONDS_WITHOUT_A_DAY

    def _first_missing(self, symbol: str, sessions: Sequence[Session]) -> Session | None:
        days = self._prices.days(symbol)
        return next((one for one in sessions if one.close_at.date().isoformat() not in days), None)


def _sessions_until(last: Session) -> list[Session]:
    """Return the last sessions, oldest first."""
    found = [last]
    while len(found) < SESSIONS and (before := trading_window.previous_session(found[-1].open_at)) is not None:
        found.append(before)
    return found[::-1]


def _read(found: Mapping[str, Sequence[Raw]], as_bar: Callable[[str, Raw], PriceBar | None]) -> list[PriceBar]:
    """Return the bars that can be read, symbol after symbol, each in time order."""
    bars: list[PriceBar] = []
    for symbol, each in found.items():
        of_symbol = []
        for raw in each:
            try:
                bar = as_bar(symbol, raw)
            except Unreadable as error:
                _log.error("a bar cannot be read and is dropped", symbol=symbol, error=str(error))
            else:
                if bar is not None:
                    of_symbol.append(bar)
        bars += sorted(of_symbol, key=lambda one: one.at)
    return bars
