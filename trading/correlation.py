"""Correlation (R2.5, R9.1 to R9.3): how much a candidate moves with what is held.

Pearson's coefficient of simple daily returns over the last 90 closes common to both symbols, summed with `math.fsum`
so that every machine computes the same digits. A pair without 30 common returns, or without variance, counts as 0.5.
"""

import itertools
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from trading.market import KEPT_BARS, Closes
from trading.money import ONE, ZERO, ratio, total
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio

MINIMUM_RETURNS = 30
UNKNOWN_PAIR = Decimal("0.5")


class CorrelationRule(NamedTuple):
    """The value-weighted average, the greatest pair, and the factor on the allocation; no average with no holdings."""

    average: Decimal | None
    greatest: Decimal | None
    factor: Decimal
    rejected: bool


class Pair(NamedTuple):
    """One pair of the matrix, `symbol_a` < `symbol_b`; no correlation where it is undefined."""

    symbol_a: str
    symbol_b: str
    correlation: Decimal | None
    observations: int


def matrix(closes: Mapping[str, Closes]) -> tuple[Pair, ...]:
    """Return every pair of the tracked symbols once, in the order of their names (R9.1).

    The other half is its mirror and the diagonal is 1, so that neither is computed or kept.
    """
    pairs = itertools.combinations(sorted(closes), 2)
    return tuple(Pair(first, second, *pair(closes[first], closes[second])) for first, second in pairs)


def pair(first: Closes, second: Closes) -> tuple[Decimal | None, int]:
    """Return the correlation of two symbols in [-1, 1], and how many returns it rests on; None where undefined."""
    one, other = dict(first), dict(second)
    days = sorted(one.keys() & other.keys())[-KEPT_BARS:]
    left = _returns([float(one[day]) for day in days])
    right = _returns([float(other[day]) for day in days])
    count = len(left)
    if count < MINIMUM_RETURNS:
        return None, count
    mean_left, mean_right = math.fsum(left) / count, math.fsum(right) / count
    covariance = math.fsum((a - mean_left) * (b - mean_right) for a, b in zip(left, right, strict=True))
    spread = math.fsum((a - mean_left) ** 2 for a in left) * math.fsum((b - mean_right) ** 2 for b in right)
    if spread <= 0:
        return None, count
    return ratio(max(-1.0, min(1.0, covariance / math.sqrt(spread)))), count


def rule(portfolio: Portfolio, *, closes: Closes, policy: TradingPolicy) -> CorrelationRule:
    """Weigh the candidate's pairs with every holding and pending entry by value (decision 4)."""
    held = {position.symbol: (position.market_value, position.closes) for position in portfolio.positions}
    for entry in portfolio.entries:
        if entry.symbol not in held:
            held[entry.symbol] = (total(entry.tranches) * entry.price, entry.closes)
    weight = total(value for value, _ in held.values())
    if weight <= 0:
        return CorrelationRule(None, None, ONE, rejected=False)
    pairs = []
    for value, theirs in held.values():
        known, _ = pair(closes, theirs)
        pairs.append((value, UNKNOWN_PAIR if known is None else known))
    average = ratio(float(total(value * each for value, each in pairs) / weight))
    greatest = max(each for _, each in pairs)
    if average > policy.correlation_limit:
        return CorrelationRule(average, greatest, ZERO, rejected=True)
    by_average = _factor(average, above=policy.correlation_reduce_above, zero_at=policy.correlation_limit)
    by_pair = _factor(greatest, above=policy.correlation_pair_reduce_above, zero_at=ONE)
    return CorrelationRule(average, greatest, min(by_average, by_pair), rejected=False)


def _factor(value: Decimal, *, above: Decimal, zero_at: Decimal) -> Decimal:
    """Fall from 1 to 0; the slope is that of decision 4: (0.8 - avg) / 0.3 above 0.5, (1 - pair) / 0.3 above 0.7."""
    if value <= above or zero_at <= above:
        return ONE
    return max(ZERO, min(ONE, (zero_at - value) / (zero_at - above)))


def _returns(prices: list[float]) -> list[float]:
    return [later / earlier - 1 for earlier, later in itertools.pairwise(prices)]
