"""Gradual entry (R11.3): a large entry goes out in tranches, so that it can be broken off."""

from decimal import ROUND_DOWN, Decimal

from trading.money import ONE
from trading.policy import TradingPolicy


def tranches(quantity: Decimal, *, size: Decimal, active_pool: Decimal, policy: TradingPolicy) -> tuple[Decimal, ...]:
    """Split a quantity of shares (> 0) into the tranches to send, larger ones first; 4 is 2 + 1 + 1.

    `size` is the computed size in dollars; up to the lesser of both thresholds there is one tranche. A quantity under
    one share is never split.
    """
    threshold = min(policy.gradual_entry_threshold_usd, policy.gradual_entry_threshold_pct * active_pool)
    shares = int(quantity.quantize(ONE, rounding=ROUND_DOWN))
    if size <= threshold or shares <= 1:
        return (quantity,)
    count = min(policy.gradual_entry_tranches, shares)
    each, larger = divmod(shares, count)
    parts = [Decimal(each + 1 if place < larger else each) for place in range(count)]
    parts[0] += quantity - shares  # the fraction of a share, where fractional shares are enabled
    return tuple(parts)
