"""Sample producers of signals for the demo: momentum over days, and the trend of a session so far. Not advice.

Momentum goes by the t-statistic of the last 20 daily returns against the last 60 (time-series momentum: T. Moskowitz,
Y. H. Ooi and L. H. Pedersen, "Time series momentum", Journal of Financial Economics 104, 2012).
"""

import datetime as dt
import itertools
import math
import statistics
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from trading import ids
from trading.inputs import Action, Recommendation, TrendSummary
from trading.money import ratio

SHORT, LONG = 20, 60
"""Daily returns in the window that is judged, and in the one it is judged by."""
ACTS_BEYOND = 0.5
"""Standard errors from which a signal is to buy or to sell; nearer to zero it is to hold."""


def momentum(symbol: str, closes: Sequence[Decimal], *, generated_at: dt.datetime) -> Recommendation | None:
    """Recommend by the momentum of daily closes in dollars, oldest first; None with fewer than 61, or all alike.

    z = (mean of the last 20 returns - mean of the last 60) / (standard deviation of the last 60 / sqrt(20)).
    Buy from z = 0.5, sell from -0.5, hold between; confidence is the normal distribution's P(Z <= |z|), 0.5 to 1.
    """
    if len(closes) <= LONG:
        return None
    returns = _returns(closes)
    spread = statistics.stdev(returns)
    if spread == 0:
        return None
    z = (statistics.fmean(returns[-SHORT:]) - statistics.fmean(returns)) / (spread / math.sqrt(SHORT))
    action: Action = "buy" if z >= ACTS_BEYOND else "sell" if z <= -ACTS_BEYOND else "hold"
    return Recommendation(
        recommendation_id=ids.of("momentum", symbol, generated_at.isoformat()),
        symbol=symbol,
        action=action,
        mode="paper_eligible",
        confidence=_confidence(z),
        generated_at=generated_at,
        thesis=f"{SHORT} against {LONG} days of returns: z = {z:.2f}",
        reference_price=closes[-1],
    )


def intraday(symbol: str, *, closes: Sequence[Decimal], price: Decimal, at: dt.datetime) -> TrendSummary | None:
    """Tell the trend of a session so far from the last 61 daily closes (dollars, oldest first) and the price now.

    z = (price / last close - 1) / standard deviation of the last 60 daily returns. Bullish from z = 0.5, bearish from
    -0.5, neutral between; confidence is P(Z <= |z|), 0.5 to 1. None with fewer closes, or all alike.
    """
    if len(closes) <= LONG:
        return None
    spread = statistics.stdev(_returns(closes))
    if spread == 0:
        return None
    z = (float(price) / float(closes[-1]) - 1) / spread
    direction: Literal["bullish", "bearish", "neutral"] = (
        "bullish" if z >= ACTS_BEYOND else "bearish" if z <= -ACTS_BEYOND else "neutral"
    )
    return TrendSummary(
        trend_id=ids.of("intraday", symbol, at.isoformat()),
        symbol=symbol,
        window="intraday",
        interval="15m",
        direction=direction,
        confidence=_confidence(z),
        at=at,
    )


def _returns(closes: Sequence[Decimal]) -> list[float]:
    prices = [float(close) for close in closes[-LONG - 1 :]]
    return [after / before - 1 for before, after in itertools.pairwise(prices)]


def _confidence(z: float) -> Decimal:
    return ratio((1 + math.erf(abs(z) / math.sqrt(2))) / 2)
