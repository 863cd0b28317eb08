"""The performance tracker (R14.1, R20.7): metrics of an account, worked out from its row alone.

An undefined metric is null and its reason stands in `undefined`; none is ever infinite or NaN (decision 32). Money and
ratios are decimal strings, counts are numbers, `*_rate` and drawdowns fractions (0.05 is 5 %).
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from trading.history import MicroStats
from trading.money import ONE, ZERO, ratio, settled, total
from trading.portfolio import Portfolio

FEWEST_RETURNS = 10
SESSIONS_A_YEAR = 252


class Day(NamedTuple):
    """The running session so far: its profit in dollars, its return, and the growth of all sessions with it."""

    pnl: Decimal
    daily_return: Decimal | None
    growth: Decimal


def today(portfolio: Portfolio) -> Day:
    """Return the session's profit since the previous close, deposits and withdrawals apart (decision 18)."""
    base, value, growth = portfolio.day_base, portfolio.total_value, portfolio.history.growth
    if base is None or base <= 0:
        return Day(ZERO if base is None else value - base, None, growth)
    daily_return = settled(value / base - ONE)
    return Day(value - base, daily_return, settled(growth * (ONE + daily_return)))


def sharpe_ratio(returns: Sequence[Decimal]) -> Decimal | None:
    """Return mean / sample standard deviation x sqrt(252) of daily returns, risk-free rate 0 (R14.1, decision 32).

    None for fewer than 10 returns and for returns that never differ.
    """
    if len(returns) < FEWEST_RETURNS or len(set(returns)) == 1:
        return None
    values = [float(each) for each in returns]
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    if variance == 0:
        return None
    return ratio(mean / math.sqrt(variance) * math.sqrt(SESSIONS_A_YEAR))


def drawdown(value: Decimal, *, peak: Decimal) -> Decimal:
    """Return how far a value lies below its peak, as a fraction of the peak, 0..1; 0 without a peak above zero."""
    if peak <= 0 or value >= peak:
        return ZERO
    return settled(min(ONE, (peak - value) / peak))


def max_drawdown(values: Iterable[Decimal]) -> Decimal:
    """Return the greatest drawdown of a curve of values, each measured from the highest value before it."""
    curve = tuple(values)
    peaks = itertools.accumulate(curve, max)
    return max((drawdown(value, peak=peak) for value, peak in zip(curve, peaks, strict=True)), default=ZERO)


def current_drawdown(portfolio: Portfolio) -> Decimal:
    """Return the account's drawdown from the peak of its total value (R5.2)."""
    peak = portfolio.peak_value
    return ZERO if peak is None else drawdown(portfolio.total_value, peak=peak)


def reserve_share(portfolio: Portfolio) -> Decimal:
    """Return the reserve as a fraction of total value (R3.4); 0 while there is no value."""
    value = portfolio.total_value
    return settled(portfolio.reserve / value) if value > 0 else ZERO


def win_rate(wins: int, losses: int) -> Decimal | None:
    """Return wins / (wins + losses), None without either."""
    return settled(Decimal(wins) / (wins + losses)) if wins + losses > 0 else None


def metrics(portfolio: Portfolio, *, day: Day) -> dict[str, Any]:
    """Return the metrics of R14.1 with their names there; `average_loss` is a positive amount."""
    history = portfolio.history
    undefined: dict[str, str] = {}

    def known(name: str, value: Decimal | None, *, reason: str) -> str | None:
        if value is None:
            undefined[name] = reason
        return None if value is None else text(value)

    return {
        "total_value": text(portfolio.total_value),
        "active_pool": text(portfolio.active_pool),
        "reserve_pool": text(portfolio.reserve),
        "unrealized_pnl": text(total(position.unrealized_pnl for position in portfolio.positions)),
        "realized_pnl": text(portfolio.realized_pnl),
        "daily_pnl": text(day.pnl),
        "trade_count": history.trades,
        "win_count": history.wins,
        "loss_count": history.losses,
        "win_rate": known("win_rate", win_rate(history.wins, history.losses), reason="no_closed_trades"),
        "average_win": known("average_win", _quotient(history.won, history.wins), reason="no_wins"),
        "average_loss": known("average_loss", _quotient(history.lost, history.losses), reason="no_losses"),
        "profit_factor": known("profit_factor", _quotient(history.won, history.lost), reason="no_losses"),
        "sharpe_ratio": known("sharpe_ratio", sharpe_ratio(history.returns), reason=why_no_sharpe(history.returns)),
        "max_drawdown": text(portfolio.max_drawdown),
        "current_drawdown": text(current_drawdown(portfolio)),
        "cumulative_return": text(day.growth - ONE),
        "tax_adjusted_pnl": text(portfolio.realized_pnl + history.deferred),
        "micro": _micro(history.micro, portfolio),
        "undefined": undefined,
    }


def why_no_sharpe(returns: Sequence[Decimal]) -> str:
    """Return the reason why returns have no Sharpe ratio."""
    return "fewer_than_10_daily_returns" if len(returns) < FEWEST_RETURNS else "zero_variance"


def text(amount: Decimal) -> str:
    """Write a decimal as a record carries it; a zero has no sign."""
    return format(amount if amount else abs(amount), "f")


def _micro(micro: MicroStats, portfolio: Portfolio) -> dict[str, Any]:
    """Return the metrics of micro trades; `day` is the last New York date on which one closed."""
    rate = win_rate(micro.wins, micro.losses)
    undefined = {} if rate is not None else {"win_rate": "no_closed_trades"}
    average, each_day = _quotient(micro.pnl, micro.trades), _quotient(Decimal(micro.trades), micro.days)
    contribution = _quotient(micro.pnl, portfolio.realized_pnl)
    for name, value in (("average_pnl", average), ("trades_per_day", each_day)):
        if value is None:
            undefined[name] = "no_closed_trades"
    if contribution is None:
        undefined["contribution"] = "no_realized_pnl"
    return {
        "trade_count": micro.trades,
        "win_count": micro.wins,
        "loss_count": micro.losses,
        "win_rate": _optional(rate),
        "total_pnl": text(micro.pnl),
        "average_pnl": _optional(average),
        "trades_per_day": _optional(each_day),
        "contribution": _optional(contribution),
        "day": None if micro.day is None else micro.day.isoformat(),
        "day_trade_count": micro.day_trades,
        "day_pnl": text(micro.day_pnl),
        "undefined": undefined,
    }


def _quotient(amount: Decimal, by: Decimal | int) -> Decimal | None:
    return settled(amount / by) if by else None


def _optional(amount: Decimal | None) -> str | None:
    return None if amount is None else text(amount)
