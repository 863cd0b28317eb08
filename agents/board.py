"""The board: who watches which symbol at which levels, and what each price means to them.

An account is told of its stop and its target when a price reaches them, and again only after an interval mark on the
right side of them; of a watch level each time the price passes to its other side, at most once a side between two
interval marks; of the price itself once an interval. Nothing here is remembered over a restart: an account judges what
it is told by its own row, so a repeat does no harm.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from agents.ticks import Ticks
from trading.effects import StopLevels
from trading.events import Mark

STALE = dt.timedelta(seconds=60)

Reason = Literal[
    "interval", "stop", "target", "breakeven", "broad_decline", "position_loss", "tranche", "fast_move", "level"
]
_Level = tuple[Reason, Decimal]


@dataclass
class Watched:
    """One account's interest in one symbol, and what it has been told."""

    levels: StopLevels
    low: Decimal | None = None
    high: Decimal | None = None
    marked_at: dt.datetime | None = None
    told: set[_Level] = field(default_factory=set)
    above: dict[_Level, bool] = field(default_factory=dict)
    told_side: set[tuple[_Level, bool]] = field(default_factory=set)
    is_fast: bool = False

    def revise(self, levels: StopLevels, newest: Ticks | None) -> Iterator[Mark]:
        """Take new levels over and compare them at once with the newest price, where that is not older than they."""
        self.levels = levels
        exits, sides = set(self._exits()), self._sides()
        self.told &= exits
        self.above = {level: self.above[level] for level in sides if level in self.above}
        unseen = [level for level in sides if level not in self.above]
        if newest is None:
            return
        price, at = newest.prices[-1], newest.instants[-1]
        self.above.update((level, price > level[1]) for level in unseen)
        if at < levels.set_at:
            return
        yield from self.crossings(newest)
        if unseen and (self.marked_at is None or self.marked_at < at):
            yield self._mark("level", price, at)

    def look(self, ticks: Ticks) -> Iterator[Mark]:
        """Compare prices with the levels, each in its turn, and mark the last one when an interval is over."""
        low, high = ticks.lowest(), ticks.highest()
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)
        yield from self.crossings(ticks)
        last_at = ticks.instants[-1]
        if self.marked_at is None or (last_at - self.marked_at).total_seconds() >= self.levels.interval_seconds:
            self.told_side.clear()
            self.told = {level for level in self.told if _is_reached(level, ticks.prices[-1])}
            yield self._mark("interval", ticks.prices[-1], last_at)

    def crossings(self, ticks: Ticks) -> Iterator[Mark]:
        """Mark each price that reaches a level; those before the levels were set are not compared."""
        ticks = ticks.since(self.levels.set_at)
        if ticks.prices and self._could_cross(ticks.lowest(), ticks.highest()):
            for price, at in zip(ticks.prices, ticks.instants, strict=True):
                reasons = [*self._exits_reached(price), *self._sides_passed(price)]
                if reasons:
                    yield self._mark(reasons[0], price, at)

    def begins_to_move_fast(self, moved: Callable[[dt.timedelta], Decimal]) -> bool:
        """Tell whether the price began to move by more than the account allows within its minutes (R7.3)."""
        was_fast = self.is_fast
        self.is_fast = moved(dt.timedelta(minutes=self.levels.fast_move_minutes)) > self.levels.fast_move_pct
        return self.is_fast and not was_fast

    def tell(self, reason: Reason, ticks: Ticks) -> Mark:
        """Mark the last price for a reason that concerns everybody in the symbol, or because it was asked for."""
        return self._mark(reason, ticks.prices[-1], ticks.instants[-1], quoted=ticks.is_quote)

    def _could_cross(self, low: Decimal, high: Decimal) -> bool:
        stop, target = self.levels.stop, self.levels.target
        return (
            (stop is not None and low <= stop)
            or (target is not None and high >= target)
            or any(self.above.get(level) is not (low > level[1]) or low <= level[1] < high for level in self._sides())
        )

    def _exits(self) -> Iterator[_Level]:
        if self.levels.stop is not None:
            yield "stop", self.levels.stop
        if self.levels.target is not None:
            yield "target", self.levels.target

    def _exits_reached(self, price: Decimal) -> Iterator[Reason]:
        for level in self._exits():
            if level not in self.told and _is_reached(level, price):
                self.told.add(level)
                yield level[0]

    def _sides(self) -> list[_Level]:
        return [(level.reason, level.price) for level in self.levels.watch]

    def _sides_passed(self, price: Decimal) -> Iterator[Reason]:
        for level in self._sides():
            is_above, was_above = price > level[1], self.above.get(level)
            self.above[level] = is_above
            if was_above is not None and is_above is not was_above and (level, is_above) not in self.told_side:
                self.told_side.add((level, is_above))
                yield level[0]

    def _mark(self, reason: Reason, price: Decimal, at: dt.datetime, *, quoted: bool = False) -> Mark:
        low = price if self.low is None else min(self.low, price)
        high = price if self.high is None else max(self.high, price)
        self.low, self.high, self.marked_at = None, None, at
        return Mark(
            account_id=self.levels.account_id,
            symbol=self.levels.symbol,
            last=price,
            low=low,
            high=high,
            price_at=at,
            reason=reason,
            quoted=quoted,
        )


def _is_reached(exit_level: _Level, price: Decimal) -> bool:
    name, level = exit_level
    return price <= level if name == "stop" else price >= level


class Board:
    """All that is watched on this worker, by symbol; what the table of levels says, read when it is first asked for."""

    def __init__(self, levels: Mapping[str, tuple[StopLevels, ...]]) -> None:
        self._levels = levels
        self._watched: dict[str, dict[str, Watched]] = {}
        self._postponed: dict[str, Ticks] = {}

    def accounts(self, symbol: str) -> dict[str, Watched]:
        """Return who watches a symbol."""
        if symbol not in self._watched:
            self._watched[symbol] = {one.account_id: Watched(one) for one in self._levels.get(symbol, ())}
        return self._watched[symbol]

    def is_canary(self, symbol: str) -> bool:
        """Tell whether an account wants to know how volatile a symbol is."""
        return any(watched.levels.canary for watched in self.accounts(symbol).values())

    def look(self, ticks: Ticks, *, moved: Callable[[dt.timedelta], Decimal], wall: dt.datetime | None) -> list[Mark]:
        """Return the marks that new prices of a symbol give rise to.

        `moved` says how far the price has moved within a span, as a fraction. With a wall clock, prices more than 60 s
        old give none; the newest of them is kept for `catch_up`.
        """
        watching = self.accounts(ticks.symbol)
        if not watching:
            return []
        if wall is not None:
            recent = ticks.since(wall - STALE)
            if not recent.prices:
                self._postponed[ticks.symbol] = ticks.newest()
                return []
            ticks = recent
        self._postponed.pop(ticks.symbol, None)
        marks = [mark for watched in watching.values() for mark in watched.look(ticks)]
        if ticks.is_quote:
            marks += [watched.tell("interval", ticks) for watched in watching.values()]
        marks += [
            watched.tell("fast_move", ticks) for watched in watching.values() if watched.begins_to_move_fast(moved)
        ]
        return marks

    def catch_up(self) -> list[Mark]:
        """Return the marks of the newest prices that were old when they came; call it when the backlog is read."""
        postponed, self._postponed = self._postponed, {}
        return [
            mark
            for symbol, newest in postponed.items()
            for watched in self.accounts(symbol).values()
            for mark in watched.look(newest)
        ]

    def revise(self, levels: StopLevels, newest: Ticks | None) -> list[Mark]:
        """Take an account's levels over and return what the newest price means to them."""
        watching = self.accounts(levels.symbol)
        watched = watching.setdefault(levels.account_id, Watched(levels))
        return list(watched.revise(levels, newest))

    def remove(self, symbol: str, account_id: str) -> None:
        """Forget an account's interest in a symbol."""
        self.accounts(symbol).pop(account_id, None)

    def forget(self) -> None:
        """Forget everything: the partitions have been revoked."""
        self._watched.clear()
        self._postponed.clear()
