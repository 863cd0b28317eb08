"""Market stress (R6.3, decision 19): the default "VIX equivalent", realised from the canary's own prices.

The sample standard deviation of the 12 log returns between 13 prices five minutes apart, scaled to a year of 252
sessions of 78 such intervals and to percent, so that it compares with VIX points.
"""

import itertools
import math
from collections.abc import Sequence
from decimal import Decimal

from trading.money import ratio

INTERVAL_MINUTES = 5
RETURNS = 12
PRICES = RETURNS + 1
INTERVALS_A_YEAR = 252 * 78


def realised_volatility(prices: Sequence[Decimal]) -> Decimal:
    """Return the annualised volatility in percent of 13 prices (> 0) five minutes apart, oldest first."""
    if len(prices) != PRICES:
        raise ValueError(f"{len(prices)} prices, not {PRICES}")
    returns = [math.log(later / earlier) for earlier, later in itertools.pairwise(prices)]
    mean = math.fsum(returns) / RETURNS
    variance = math.fsum((each - mean) ** 2 for each in returns) / (RETURNS - 1)
    return ratio(math.sqrt(variance * INTERVALS_A_YEAR) * 100)
