"""Canaries: symbols whose prices say how nervous the market is (R6.3, decision 19).

At each five-minute boundary that its ticks pass inside the regular session there is one reading, once 13 boundaries in
a row have a price. A boundary's price is that of the first tick on it, else of the last one in the five minutes before;
the session's open takes its first tick in the five minutes after. An interval without a tick begins the row anew, and
so does every session: no return spans a night. Nothing is remembered over a restart, an hour of new ticks is enough.
The default one is always read, others while the policy of an account names them.
"""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

from agents.ticks import Ticks
from trading import trading_window
from trading.inputs import MarketStress
from trading.market_stress import INTERVAL_MINUTES, PRICES, realised_volatility
from trading.policy import CANARY

INTERVAL = dt.timedelta(minutes=INTERVAL_MINUTES)


class Canaries:
    """Follow the prices of the default canary and of those that are `wanted`; those of other symbols say nothing."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self._wanted = wanted
        self._each: dict[str, Canary] = {}

    def look(self, ticks: Ticks) -> list[MarketStress]:
        """Return the readings of the boundaries that fresh ticks have passed, in time order."""
        if ticks.symbol != CANARY and not self._wanted(ticks.symbol):
            self._each.pop(ticks.symbol, None)
            return []
        return self._each.setdefault(ticks.symbol, Canary(ticks.symbol)).look(ticks)

    def forget(self) -> None:
        """Forget the prices: the partitions have been revoked."""
        self._each.clear()


class Canary:
    """The prices of one symbol's present hour."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._session: trading_window.Session | None = None
        self._boundary: dt.datetime | None = None
        self._last: Decimal | None = None
        self._prices: list[Decimal] = []

    def look(self, ticks: Ticks) -> list[MarketStress]:
        """Return the readings of the boundaries that the symbol's fresh ticks have passed, in time order."""
        each = zip(ticks.instants, ticks.prices, strict=True)
        return [reading for at, price in each for reading in self._see(at, price)]

    def _see(self, at: dt.datetime, price: Decimal) -> list[MarketStress]:
        session = self._session
        if session is None or not session.open_at <= at < session.close_at:
            session = trading_window.session_at(at)
            if session is None:
                return []
            self._begin(session, at, price)
        readings: list[MarketStress] = []
        if self._boundary is not None and at >= self._boundary:
            readings = self._pass(self._boundary, price if at == self._boundary else self._last)
            if at >= self._boundary:  # the intervals between have no tick
                self._prices = [price] if at == _boundary_before(session, at) else []
                self._boundary = _boundary_before(session, at) + INTERVAL
        self._last = price
        return readings

    def _begin(self, session: trading_window.Session, at: dt.datetime, price: Decimal) -> None:
        before = _boundary_before(session, at)
        self._session, self._boundary = session, before + INTERVAL
        self._prices = [price] if before in (at, session.open_at) else []

    def _pass(self, boundary: dt.datetime, price: Decimal | None) -> list[MarketStress]:
        self._boundary = boundary + INTERVAL
        if price is not None:
            self._prices = [*self._prices, price][-PRICES:]
        if len(self._prices) < PRICES:
            return []
        volatility = realised_volatility(self._prices)
        return [MarketStress(name="realised_volatility", value=volatility, at=boundary, symbol=self._symbol)]


def _boundary_before(session: trading_window.Session, at: dt.datetime) -> dt.datetime:
    """Return the last boundary at or before an instant of a session."""
    return session.open_at + (at - session.open_at) // INTERVAL * INTERVAL
