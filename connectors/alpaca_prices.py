"""Prices from Alpaca, real or fake: trades to `price-ticks`, bars to `price-bars`, answers to `quote-requests`.

The stream is fast and may fall silent; REST is slow and does not. What a cut stream missed, REST fills; while a stream
is away, or open and mute in session hours, the latest trades are asked for every few seconds, and the operator is told.
Only prices of regular sessions go to the log. Decision 15: a silent symbol is asked for before anything is sold.
"""

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer

from connectors import alpaca_keys
from connectors import alpaca_prices_read as read
from connectors.alpaca_feed import MarketFeed
from connectors.alpaca_market import Away, MarketRest
from connectors.alpaca_prices_read import Unreadable
from connectors.alpaca_socket import TIMES, StreamTimes
from connectors.checks import Check
from connectors.clients import producing
from connectors.price_gaps import GAP, PriceGaps
from connectors.price_history import History
from connectors.price_log import PriceLog
from connectors.price_sender import PriceSender, latest
from connectors.supervision import together
from connectors.tracked_symbols import TrackedSymbols
from streams.codec import encode
from streams.settings import Settings
from trading import ids, trading_window
from trading.effects import Notification, QuoteRequest

FILE = "alpaca-prices.json"
ALPACA_STREAM = "wss://stream.data.alpaca.markets"
LATE = dt.timedelta(seconds=2)  # so much later may REST tell of a trade
_log = structlog.get_logger(__name__)


class Rhythm(NamedTuple):
    """Seconds: an open stream that says nothing in session hours is mute; between two looks, and two polls by REST.

    The operator is told of a stream that is away for `patience`, of a mute one at once. Quotes that are asked for
    within `together` are answered by one request. Joining a mute stream anew is tried less and less often, up to
    `longest`. In event time the exchange's clock is asked for every `clock`.
    """

    mute: float = 30.0
    patience: float = 10.0
    look: float = 1.0
    poll: float = 5.0
    together: float = 0.2
    longest: float = 300.0
    clock: float = 30.0


RHYTHM = Rhythm()


class AlpacaPrices:
    """Bring prices until cancelled or until something fails; begun anew, it goes on where the log ends."""

    def __init__(
        self, settings: Settings, *, check: Check, rhythm: Rhythm = RHYTHM, times: StreamTimes = TIMES
    ) -> None:
        self._settings = settings
        self._check = check
        self._rhythm = rhythm
        self._times = times
        self._unreadable = 0

    async def run(self) -> None:
        """Follow, fill, poll and answer; raises aiokafka's `KafkaError` when the broker is away."""
        settings = self._settings
        self._prices = PriceLog(settings, settings.data_dir / FILE)
        self._rest = _rest_of(settings)
        self._asked: set[str] = set()
        self._followed: frozenset[str] = frozenset()
        self._is_asked = asyncio.Event()
        self._ahead, self._clock_at = dt.timedelta(), 0.0
        self._bad_since: float | None = None
        self._told_at: dt.datetime | None = None
        self._is_mute, self._mute_limit = False, self._rhythm.mute
        try:
            await self._prices.catch_up()
            if settings.clock == "events":
                await self._read_the_clock()
            async with producing(settings) as producer:
                self._sender = PriceSender(producer, self._prices, settings, source=f"alpaca-{settings.alpaca_feed}")
                self._history = History(self._rest, self._sender, self._prices, now=self._now)
                self._gaps = PriceGaps(
                    self._rest,
                    self._sender,
                    self._history,
                    take=self._add_trade,
                    now=self._now,
                    rest_seconds=self._rhythm.poll,
                )
                self._tracked = TrackedSymbols(settings, changed=self._changed, asked=self._ask)
                self._feed = MarketFeed(
                    _stream_url(settings),
                    self._login,
                    hear=self._hear,
                    joined=self._joined,
                    confirmed=self._gaps.confirm,
                    check=self._check,
                    times=self._times,
                )
                await together(
                    self._sender.send(),
                    self._tracked.follow(),
                    self._feed.follow(),
                    self._gaps.fill(),
                    self._watch(producer),
                    self._answer(),
                    self._history.keep(lambda: self._followed),
                )
        finally:
            self._rest.close()

    def _login(self) -> Mapping[str, str]:
        chosen = self._settings
        return {
            "key": chosen.alpaca_key_id.get_secret_value(),
            "secret": chosen.alpaca_secret_key.get_secret_value(),
        }

    def _now(self) -> dt.datetime:
        """Return the wall clock's now; in event time, the exchange's."""
        return dt.datetime.now(dt.UTC) + self._ahead

    def _joined(self) -> None:
        self._gaps.begin(self._followed)

    async def _changed(self) -> None:
        before, self._followed = self._followed, self._tracked.symbols
        self._gaps.drop(before - self._followed)
        if self._feed.is_up:  # else its joining begins the gap of every symbol
            self._gaps.begin(self._followed - before)
        self._history.look()
        await self._feed.want(self._followed)

    def _ask(self, request: QuoteRequest) -> None:
        self._asked.add(request.symbol)
        self._is_asked.set()

    def _hear(self, message: Mapping[str, Any]) -> None:
        """Take a message of the stream to what it is; one that cannot be read is dropped, and said so."""
        symbol = message.get("S")
        try:
            if not isinstance(symbol, str):
                raise Unreadable("S: is missing")
            if message.get("T") == "t" and (tick := read.tick_of(message)) is not None:
                self._sender.add_tick(symbol, tick)
            elif message.get("T") == "b" and (bar := read.minute_bar(symbol, message)) is not None:
                self._history.add(bar)
        except Unreadable as error:
            self._drop(symbol, error)

    def _drop(self, symbol: Any, error: Unreadable) -> None:
        self._unreadable += 1
        _log.error("a price cannot be read and is dropped", symbol=repr(symbol)[:40], error=str(error))
        self._check.holds(f"market data comes; {self._unreadable} messages could not be read, the last: {error}"[:300])

    def _add_trade(self, symbol: str, trade: Mapping[str, Any]) -> None:
        try:
            tick = read.tick_of(trade)
        except Unreadable as error:
            self._drop(symbol, error)
        else:
            if tick is not None:
                self._sender.add_tick(symbol, tick)

    async def _watch(self, producer: AIOKafkaProducer) -> None:
        """Look whether the stream is alive in session hours; while it is not, REST takes over."""
        polled_at, known_until = 0.0, None
        while True:
            await self._follow_the_clock()
            reason = self._silence()
            await self._tell(producer, reason)
            if not reason:
                known_until = None
            elif time.monotonic() - polled_at >= self._rhythm.poll:
                polled_at, now = time.monotonic(), self._now()
                try:
                    await self._gaps.ask(self._followed, since=max(known_until or now - GAP, now - GAP))
                    known_until = now - LATE
                    self._check.fails(f"{reason}; the latest trades come by REST")
                except Away as error:
                    self._check.fails(f"{reason}, and REST does not answer: {error}"[:300])
            await asyncio.sleep(self._rhythm.look)

    def _silence(self) -> str:
        """Return what is wrong with the stream, empty while nothing is; one that is mute is joined anew."""
        session = trading_window.session_at(self._now())
        if session is None:
            return ""
        if not self._feed.is_up:
            return "the stream is away"
        silent = min(time.monotonic() - self._feed.heard_at, (self._now() - session.open_at).total_seconds())
        if silent > self._mute_limit:
            self._mute_limit = min(self._mute_limit * 2, self._rhythm.longest)
            self._feed.restart(f"the stream is open and mute for {silent:.0f} s")
            self._is_mute = True
        elif self._feed.has_heard:
            self._is_mute, self._mute_limit = False, self._rhythm.mute
        return "the stream is mute" if self._is_mute else ""

    async def _tell(self, producer: AIOKafkaProducer, reason: str) -> None:
        """Tell the operator once when prices begin to come by REST for longer, and once when the stream is back."""
        now, at = time.monotonic(), self._now()
        if not reason and self._told_at is not None and self._feed.has_heard:
            self._check.holds("market data comes")
            await self._notify(producer, "The price stream is heard again", "Prices come by it.", at, severity="info")
        if not reason:
            self._bad_since, self._told_at = None, None
            return
        self._bad_since = now if self._bad_since is None else self._bad_since
        if self._told_at is None and (self._is_mute or now - self._bad_since > self._rhythm.patience):
            self._told_at = at
            body = f"{reason}: the latest trades are asked for every {self._rhythm.poll:g} s instead."
            await self._notify(producer, "The price stream is silent", body, at, severity="warning")

    async def _notify(
        self,
        producer: AIOKafkaProducer,
        subject: str,
        body: str,
        at: dt.datetime,
        *,
        severity: Literal["info", "warning"],
    ) -> None:
        account_id = self._settings.accounts[0]
        told = Notification(
            notification_id=ids.of("price_stream", account_id, at.isoformat(), subject),
            account_id=account_id,
            event_type="alert",
            severity=severity,
            subject=subject,
            body=body,
            created_at=at,
        )
        _log.warning(subject, detail=body)
        await producer.send_and_wait(self._settings.topic("notifications"), encode(told), key=account_id.encode())

    async def _answer(self) -> None:
        """Answer requests for direct quotes: the later one of the last trade and the middle of a narrow quote."""
        while True:
            await self._is_asked.wait()
            await asyncio.sleep(self._rhythm.together)
            self._is_asked.clear()
            symbols = {symbol for symbol in self._asked if not self._sender.holds(symbol)}
            self._asked -= symbols
            if self._asked:
                self._is_asked.set()  # a quote must not go before the older prices that are to come
            try:
                trades = await self._rest.latest_trades(symbols)
                quotes = await self._rest.latest_quotes(symbols)
            except Away as error:
                _log.warning("no direct quotes", symbols=sorted(symbols), error=str(error))
                continue  # the engine asks again with its next loop tick
            for symbol in sorted(symbols):
                try:
                    trade = read.tick_of(trades[symbol]) if symbol in trades else None
                    middle = read.middle_of(quotes[symbol]) if symbol in quotes else None
                except Unreadable as error:
                    self._drop(symbol, error)
                    continue
                if (tick := latest(trade, middle)) is not None:
                    await self._sender.quote(symbol, tick)

    async def _follow_the_clock(self) -> None:
        if self._settings.clock == "events" and time.monotonic() - self._clock_at > self._rhythm.clock:
            with contextlib.suppress(Away):  # it goes on from what was known
                await self._read_the_clock()

    async def _read_the_clock(self) -> None:
        """Know the exchange's time: in event time it is what the fake says, not the wall clock. Raises `Away`."""
        self._ahead = await self._rest.clock() - dt.datetime.now(dt.UTC)
        self._clock_at = time.monotonic()


def _rest_of(settings: Settings) -> MarketRest:
    return MarketRest(
        key_id=settings.alpaca_key_id,
        secret_key=settings.alpaca_secret_key,
        data_url=settings.alpaca_data_url,
        trading_url=alpaca_keys.trading_url(settings),
        feed=settings.alpaca_feed,
        paper=settings.mode == "paper",
    )


def _stream_url(settings: Settings) -> str:
    return f"{(settings.alpaca_stream_url or ALPACA_STREAM).rstrip('/')}/v2/{settings.alpaca_feed}"
