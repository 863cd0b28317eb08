"""The market: the last trade and the quote of each symbol, its tape, its minute bars and its days.

A price comes from a control call, from a script, or from a walk that its seed fixes; each is a trade on the tape, which
the streams and the book hear of.
"""

import dataclasses
import datetime as dt
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from tests.fakes.alpaca.clock import MarketClock
from tests.fakes.alpaca.history import CENT, Day, seeded_days
from trading import trading_window
from trading.trading_window import NEW_YORK

MINUTE = dt.timedelta(minutes=1)
KEPT_TRADES, KEPT_MINUTES = 50_000, 1_000
SECONDS_A_SESSION = 23_400


@dataclasses.dataclass(frozen=True)
class Trade:
    """One trade on the tape."""

    id: int
    symbol: str
    price: Decimal
    size: int
    at: dt.datetime


@dataclasses.dataclass(frozen=True)
class Bar:
    """A bar from `start` on, in dollars a share; `value` is what all its trades cost together."""

    start: dt.datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    count: int
    value: Decimal

    def with_trade(self, trade: Trade) -> "Bar":
        """Return the bar with one more trade."""
        return Bar(
            self.start,
            self.open,
            max(self.high, trade.price),
            min(self.low, trade.price),
            trade.price,
            self.volume + trade.size,
            self.count + 1,
            self.value + trade.price * trade.size,
        )

    def joined(self, later: "Bar") -> "Bar":
        """Return this bar and the one after it as one."""
        return Bar(
            self.start,
            self.open,
            max(self.high, later.high),
            min(self.low, later.low),
            later.close,
            self.volume + later.volume,
            self.count + later.count,
            self.value + later.value,
        )


@dataclasses.dataclass(frozen=True)
class Quote:
    """The best bid and ask, in dollars a share."""

    bid: Decimal
    ask: Decimal
    at: dt.datetime


@dataclasses.dataclass
class Listing:
    """One symbol: whether it trades, and everything that has been seen of it."""

    symbol: str
    tradable: bool = True
    fractionable: bool = True
    exchange: str = "NASDAQ"
    last: Trade | None = None
    tape: deque[Trade] = dataclasses.field(default_factory=lambda: deque(maxlen=KEPT_TRADES))
    minutes: deque[Bar] = dataclasses.field(default_factory=lambda: deque(maxlen=KEPT_MINUTES))
    minute: Bar | None = None
    today: Bar | None = None
    days: list[Bar] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Script:
    """Prices that are still to come, one each `seconds`."""

    prices: list[Decimal]
    seconds: float
    due_at: dt.datetime


class Market:
    """Hold every symbol that trades; `half_spread` dollars lie between the last price and either side."""

    def __init__(self, clock: MarketClock, *, seed: int = 1, half_spread: Decimal = Decimal(0)) -> None:
        self.clock = clock
        self.seed = seed
        self.half_spread = half_spread
        self.listings: dict[str, Listing] = {}
        self.on_trade: list[Callable[[Trade], None]] = []
        self.on_bar: list[Callable[[str, Bar], None]] = []
        self._trades = 0
        self._walks: dict[str, random.Random] = {}
        self._walk_seconds = 0.0
        self._volatility = 0.0
        self._walked_at = clock.now()
        self._scripts: dict[str, Script] = {}

    def list_symbol(self, symbol: str, *, price: Decimal, days: Sequence[Day] | None = None) -> Listing:
        """Have a symbol trade, with its days before today; a walk makes those that are not given."""
        listing = self.listings.setdefault(symbol, Listing(symbol))
        before = days if days is not None else seeded_days(symbol, seed=self.seed, close=price)
        listing.days = _dated(before, self.clock.now())
        self.set_price(symbol, price)
        return listing

    def set_price(self, symbol: str, price: Decimal, *, size: int = 100) -> Trade:
        """Have a trade happen now; a symbol that never traded is listed by it, without a past."""
        now = self.clock.now()
        listing = self.listings.setdefault(symbol, Listing(symbol))
        self._trades += 1
        trade = Trade(self._trades, symbol, price, size, now)
        listing.last = trade
        listing.tape.append(trade)
        start = now.replace(second=0, microsecond=0)
        if listing.minute is not None and listing.minute.start < start:
            self._end_minute(listing)
        listing.minute = listing.minute.with_trade(trade) if listing.minute else _first(trade, start)
        self._note_day(listing, trade)
        for hear in self.on_trade:
            hear(trade)
        return trade

    def walk(self, *, seconds: float, volatility: float = 0.02) -> None:
        """Have every symbol trade each `seconds` of the session; `volatility` is a session's standard deviation."""
        self._walk_seconds, self._volatility, self._walked_at = seconds, volatility, self.clock.now()

    def play(self, symbol: str, prices: Iterable[Decimal], *, seconds: float) -> None:
        """Have a symbol trade at these prices, one each `seconds`; it does not walk meanwhile."""
        self._scripts[symbol] = Script(list(prices), seconds, self.clock.now())

    def step(self) -> None:
        """Bring the market to now: end minutes and days, take the steps of scripts and walks that are due."""
        now = self.clock.now()
        for listing in list(self.listings.values()):
            if listing.minute is not None and listing.minute.start + MINUTE <= now:
                self._end_minute(listing)
        self._play(now)
        if self._walk_seconds and now - self._walked_at >= dt.timedelta(seconds=self._walk_seconds):
            self._walked_at = now
            if trading_window.session_at(now) is not None:
                for symbol in [name for name in self.listings if name not in self._scripts]:
                    self._step_of(symbol)

    def prices(self) -> Mapping[str, Decimal]:
        """Return the last price of each symbol."""
        return {name: one.last.price for name, one in self.listings.items() if one.last is not None}

    def quote(self, symbol: str) -> Quote | None:
        """Return the best bid and ask, None for a symbol that never traded."""
        listing = self.listings.get(symbol)
        if listing is None or listing.last is None:
            return None
        price = listing.last.price
        return Quote(max(CENT, price - self.half_spread), price + self.half_spread, listing.last.at)

    def _play(self, now: dt.datetime) -> None:
        for symbol, script in list(self._scripts.items()):
            while script.prices and script.due_at <= now:
                self.set_price(symbol, script.prices.pop(0))
                script.due_at += dt.timedelta(seconds=script.seconds)
            if not script.prices:
                del self._scripts[symbol]

    def _step_of(self, symbol: str) -> None:
        last = self.listings[symbol].last
        if last is None:
            return
        chance = self._walks.setdefault(symbol, random.Random(f"{self.seed}:{symbol}:walk"))
        deviation = self._volatility * (self._walk_seconds / SECONDS_A_SESSION) ** 0.5
        factor = Decimal(str(round(1 + chance.gauss(0, deviation), 6)))
        self.set_price(symbol, max(CENT, (last.price * factor).quantize(CENT)), size=1 + chance.randrange(300))

    def _end_minute(self, listing: Listing) -> None:
        if listing.minute is not None:
            listing.minutes.append(listing.minute)
            for hear in self.on_bar:
                hear(listing.symbol, listing.minute)
            listing.minute = None

    @staticmethod
    def _note_day(listing: Listing, trade: Trade) -> None:
        """Count a trade into its session's day; trades outside the session belong to no day."""
        session = trading_window.session_at(trade.at)
        if session is None:
            return
        start = day_start(session.on)
        if listing.today is not None and listing.today.start < start:
            listing.days.append(listing.today)
            listing.today = None
        listing.today = listing.today.with_trade(trade) if listing.today else _first(trade, start)


def day_start(on: dt.date) -> dt.datetime:
    """Return the instant by which Alpaca names a daily bar: New York's midnight."""
    return dt.datetime.combine(on, dt.time(), tzinfo=NEW_YORK).astimezone(dt.UTC)


def _first(trade: Trade, start: dt.datetime) -> Bar:
    return Bar(start, trade.price, trade.price, trade.price, trade.price, trade.size, 1, trade.price * trade.size)


def _dated(days: Sequence[Day], now: dt.datetime) -> list[Bar]:
    """Put days on the sessions before the present one, or before now where none is open."""
    session = trading_window.session_at(now)
    before = session.open_at if session else now
    dated: list[Bar] = []
    for day in reversed(days):
        previous = trading_window.previous_session(before)
        if previous is None:
            break
        before = previous.open_at
        value = (day.open + day.close) / 2 * day.volume
        dated.append(
            Bar(
                day_start(previous.on),
                day.open,
                day.high,
                day.low,
                day.close,
                day.volume,
                max(1, day.volume // 100),
                value,
            )
        )
    return dated[::-1]
