"""What the row remembers of the past, bounded: daily returns, results of trades, the week for its digest (R14).

Running sums instead of lists of past trades; PostgreSQL keeps the trades themselves. A trade is one closing order that
has ended with fills, and counts once, as it stood then; a profit of exactly 0 is neither a win nor a loss.
"""

import datetime as dt
from decimal import Decimal
from typing import Any

from trading.money import ONE, ZERO, Exact, Frozen, Symbol, settled

KEPT_RETURNS = 30  # sessions, for the Sharpe ratio (decision 32)
WINDOW_DAYS = 30  # New York dates, the last one included, for the trailing win rate (R5.2)
TOP_TRADES = 3
KEPT_TIER_CHANGES = 10

Ranked = tuple[tuple[Symbol, Exact], ...]
"""Trades with their profit in dollars, the one that counts most first."""
Days = tuple[tuple[dt.date, int, int, int], ...]
"""New York dates with a trade, oldest first, each with its wins, its losses and its trades in all."""


class Result(Frozen):
    """What one closing order brought: its net profit in dollars, and the New York date on which it counts."""

    symbol: Symbol
    profit: Exact
    on: dt.date
    is_micro: bool


class MicroStats(Frozen):
    """Results of micro trades alone (R20.7); `days` counts the dates on which one closed, `day` is the last of them."""

    trades: int = 0
    wins: int = 0
    losses: int = 0
    pnl: Exact = ZERO
    days: int = 0
    day: dt.date | None = None
    day_trades: int = 0
    day_pnl: Exact = ZERO


class Week(Frozen):
    """The figures of the weekly digest (R19.4) since the last one; the best and worst trades are at most three each."""

    pnl: Exact = ZERO
    wins: int = 0
    losses: int = 0
    best: Ranked = ()
    worst: Ranked = ()
    tier_changes: tuple[str, ...] = ()
    tier_change_count: int = 0


class History(Frozen):
    """An account's past in sums; dollars, returns as fractions.

    `growth` is the product of 1 + daily return over all sessions, `days` the trailing window. `won` and `lost` are sums
    of profits and of losses, both positive; `deferred` are the losses that wash sales have put off and that have not
    come back yet; `bought` and `sold` count the running session's orders with fills.
    """

    sessions: int = 0
    returns: tuple[Exact, ...] = ()
    growth: Exact = ONE
    trades: int = 0
    wins: int = 0
    losses: int = 0
    won: Exact = ZERO
    lost: Exact = ZERO
    deferred: Exact = ZERO
    days: Days = ()
    bought: int = 0
    sold: int = 0
    micro: MicroStats = MicroStats()
    week: Week = Week()


def with_result(history: History, result: Result) -> History:
    """Count the result of a trade, wherever results are counted."""
    won, lost = max(ZERO, result.profit), max(ZERO, -result.profit)
    return history.model_copy(
        update={
            "trades": history.trades + 1,
            "wins": history.wins + (won > 0),
            "losses": history.losses + (lost > 0),
            "won": settled(history.won + won),
            "lost": settled(history.lost + lost),
            "days": _with_day(history.days, result),
            "sold": history.sold + 1,
            "micro": _with_micro(history.micro, result) if result.is_micro else history.micro,
            "week": _with_week(history.week, result),
        }
    )


def with_bought(history: History) -> History:
    """Count an opening order with its first fill, for the daily summary."""
    return history.model_copy(update={"bought": history.bought + 1})


def with_deferred(history: History, dollars: Decimal) -> History:
    """Add a loss that a wash sale put off, or (negative) one that came back with its replacement's sale (R12.4)."""
    return history.model_copy(update={"deferred": settled(history.deferred + dollars)})


def with_close(history: History, *, on: dt.date, pnl: Decimal, daily_return: Decimal | None) -> History:
    """Close a session: keep its return, add its profit to the week, forget what left the trailing window."""
    updates: dict[str, Any] = {
        "sessions": history.sessions + 1,
        "days": tuple(day for day in history.days if is_in_window(day[0], on=on)),
        "week": history.week.model_copy(update={"pnl": settled(history.week.pnl + pnl)}),
        "bought": 0,
        "sold": 0,
    }
    if daily_return is not None:
        updates["returns"] = (*history.returns, daily_return)[-KEPT_RETURNS:]
        updates["growth"] = settled(history.growth * (ONE + daily_return))
    return history.model_copy(update=updates)


def with_tier_change(history: History, text: str) -> History:
    """Remember a change of the risk tier for the digest; of many only the last are named."""
    week = history.week
    changes = (*week.tier_changes, text)[-KEPT_TIER_CHANGES:]
    week = week.model_copy(update={"tier_changes": changes, "tier_change_count": week.tier_change_count + 1})
    return history.model_copy(update={"week": week})


def with_new_week(history: History) -> History:
    """Begin the figures of the digest anew."""
    return history.model_copy(update={"week": Week()})


def trailing(history: History, *, on: dt.date) -> tuple[int, int, int]:
    """Return the wins, the losses and all trades of the 30 New York dates that end with `on`."""
    window = [day for day in history.days if is_in_window(day[0], on=on)]
    return sum(day[1] for day in window), sum(day[2] for day in window), sum(day[3] for day in window)


def is_in_window(day: dt.date, *, on: dt.date) -> bool:
    """Tell whether a date is one of the 30 that end with `on`."""
    return day > on - dt.timedelta(days=WINDOW_DAYS)


def _with_day(days: Days, result: Result) -> Days:
    _, wins, losses, trades = next((day for day in days if day[0] == result.on), (result.on, 0, 0, 0))
    counted = (result.on, wins + (result.profit > 0), losses + (result.profit < 0), trades + 1)
    return (*(day for day in days if day[0] != result.on and is_in_window(day[0], on=result.on)), counted)


def _with_micro(micro: MicroStats, result: Result) -> MicroStats:
    if micro.day != result.on:
        micro = micro.model_copy(update={"days": micro.days + 1, "day": result.on, "day_trades": 0, "day_pnl": ZERO})
    return micro.model_copy(
        update={
            "trades": micro.trades + 1,
            "wins": micro.wins + (result.profit > 0),
            "losses": micro.losses + (result.profit < 0),
            "pnl": settled(micro.pnl + result.profit),
            "day_trades": micro.day_trades + 1,
            "day_pnl": settled(micro.day_pnl + result.profit),
        }
    )


def _with_week(week: Week, result: Result) -> Week:
    trade = ((result.symbol, result.profit),)
    best = week.best + trade * (result.profit > 0)
    worst = week.worst + trade * (result.profit < 0)
    return week.model_copy(
        update={
            "wins": week.wins + (result.profit > 0),
            "losses": week.losses + (result.profit < 0),
            "best": tuple(sorted(best, key=lambda each: -each[1])[:TOP_TRADES]),
            "worst": tuple(sorted(worst, key=lambda each: each[1])[:TOP_TRADES]),
        }
    )
