"""The demo's market: a year of real prices (2015) of twelve symbols, as the records that a price feed would have sent.

The closes are real (`data/README.md`). Where a source has no open, high or low, the day's path leads from the
previous close to the close, and its bar says no more than that. MSFT and IBM have real daily ranges, but for
other years: their newest sessions are told one by one as the sessions of the demo. VIX is the previous session's close,
which was known in the morning.
"""

import csv
import datetime as dt
import itertools
import pathlib
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from connectors.samples import intraday
from trading import trading_window
from trading.inputs import Company, MarketStress, PriceBar, PriceTicks, TrendSummary
from trading.money import CENT
from trading.trading_window import Session

DATA = pathlib.Path(__file__).parent.parent / "data"
YEAR = 2015
HISTORY = 90
SECTORS = {
    "AAPL": ("Apple", "technology"),
    "AMD": ("Advanced Micro Devices", "technology"),
    "BAC": ("Bank of America", "financials"),
    "CVX": ("Chevron", "energy"),
    "GE": ("General Electric", "industrials"),
    "IBM": ("International Business Machines", "technology"),
    "JPM": ("JPMorgan Chase", "financials"),
    "KO": ("Coca-Cola", "staples"),
    "MSFT": ("Microsoft", "technology"),
    "PFE": ("Pfizer", "health care"),
    "RRC": ("Range Resources", "energy"),
    "WMT": ("Walmart", "staples"),
}
TICK_MINUTES = (1, 16, 31, 46, 61, 180, 300, 374, 389)
"""Minutes after the open at which each symbol has a tick; the first ones are as far apart as tranches are."""
TREND_MINUTE = 180
"""When the trend of the session so far is told: early enough for a micro trade to be over before the close."""
FULL_SESSION = 390


class Day(NamedTuple):
    """One session of a symbol in dollars a share."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class Market:
    """Know every session of the demo and the 90 before it, for each symbol."""

    def __init__(self) -> None:
        closes = _closes()
        self.sessions = tuple(_session(day) for day in closes if day.year == YEAR)
        history = [_session(day) for day in closes if day < self.sessions[0].on][-HISTORY:]
        self._all = (*history, *self.sessions)
        self._days = {symbol: _days_from_closes(closes, symbol, self._all) for symbol in next(iter(closes.values()))}
        for symbol, days in _ohlcv().items():
            newest = days[-len(self._all) :]
            self._days[symbol] = dict(zip((session.on for session in self._all), newest, strict=True))
        self._vix = _vix()

    def companies(self) -> Iterator[Company]:
        """Yield the tracked companies."""
        for symbol, (name, sector) in SECTORS.items():
            yield Company(symbol=symbol, name=name, sector=sector)

    def history(self) -> Iterator[PriceBar]:
        """Yield the daily bars before the year, oldest first."""
        for session in self._all[: -len(self.sessions)]:
            yield from self.bars(session)

    def bars(self, session: Session) -> Iterator[PriceBar]:
        """Yield the daily bar of each symbol, as known at the session's close."""
        for symbol in SECTORS:
            day = self._days[symbol][session.on]
            yield PriceBar(
                symbol=symbol,
                interval="1d",
                open=day.open,
                high=day.high,
                low=day.low,
                close=day.close,
                volume=day.volume,
                at=session.close_at,
            )

    def ticks(self, session: Session, minute: int) -> Iterator[PriceTicks]:
        """Yield the tick of each symbol some minutes after the open of a full session; half days are told faster."""
        for symbol in SECTORS:
            price = _price(self._days[symbol][session.on], Decimal(minute) / FULL_SESSION)
            yield PriceTicks(symbol=symbol, price=price, at=_instant(session, minute), source="demo")

    def trends(self, session: Session, minute: int) -> Iterator[TrendSummary]:
        """Yield what the sample producer says of each symbol some minutes after the open of a full session."""
        for symbol in SECTORS:
            closes = self.closes(symbol, until=session.on)[:-1]
            price = _price(self._days[symbol][session.on], Decimal(minute) / FULL_SESSION)
            trend = intraday(symbol, closes=closes, price=price, at=_instant(session, minute))
            if trend is not None:
                yield trend

    def closes(self, symbol: str, *, until: dt.date) -> tuple[Decimal, ...]:
        """Return the closes of a symbol up to and including a session, oldest first."""
        return tuple(self._days[symbol][session.on].close for session in self._all if session.on <= until)

    def stress(self, session: Session) -> MarketStress | None:
        """Return what VIX closed at in the session before, read a minute after the open; None where it is not known."""
        before = max((day for day in self._vix if day < session.on), default=None)
        if before is None:
            return None
        return MarketStress(name="vix", value=self._vix[before], at=session.open_at + dt.timedelta(minutes=1))


def _instant(session: Session, minute: int) -> dt.datetime:
    return session.open_at + (session.close_at - session.open_at) * minute / FULL_SESSION


def _price(day: Day, part: Decimal) -> Decimal:
    """Return the price after a part (0..1) of the session: open, the nearer extreme, the other one, close."""
    corners = (day.open, day.low, day.high, day.close)
    if day.close < day.open:
        corners = (day.open, day.high, day.low, day.close)
    leg = min(int(part * 3), 2)
    begin, end = corners[leg], corners[leg + 1]
    return max(CENT, (begin + (end - begin) * (part * 3 - leg)).quantize(CENT))


def _session(day: dt.date) -> Session:
    session = trading_window.next_session(dt.datetime.combine(day, dt.time(12), tzinfo=dt.UTC))
    if session is None or session.on != day:
        raise ValueError(f"{day} in {DATA / 'daily_closes.csv'} is no session of the exchange")
    return session


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        yield from csv.DictReader(file)


def _closes() -> dict[dt.date, dict[str, Decimal]]:
    return {
        dt.date.fromisoformat(row["date"]): {symbol: Decimal(row[symbol]) for symbol in row if symbol != "date"}
        for row in _rows("daily_closes.csv")
    }


def _days_from_closes(
    closes: dict[dt.date, dict[str, Decimal]], symbol: str, sessions: tuple[Session, ...]
) -> dict[dt.date, Day]:
    days = {}
    for (_, before), (on, after) in itertools.pairwise(closes.items()):
        first, last = before[symbol], after[symbol]
        days[on] = Day(open=first, high=max(first, last), low=min(first, last), close=last, volume=Decimal(0))
    return {session.on: days[session.on] for session in sessions}


def _ohlcv() -> dict[str, list[Day]]:
    found: dict[str, list[Day]] = {}
    for row in _rows("ohlcv_daily.csv"):
        day = Day(*(Decimal(row[column]) for column in ("open", "high", "low", "close", "volume")))
        found.setdefault(row["symbol"], []).append(day)
    return found


def _vix() -> dict[dt.date, Decimal]:
    return {
        dt.date.fromisoformat(row["date"]): Decimal(row["close"]) for row in _rows("vix.csv") if row["close"] != "."
    }
