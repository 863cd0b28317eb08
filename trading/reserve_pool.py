"""The reserve pool (R3): what is set aside from profits, and the ledger that proves it."""

from decimal import Decimal

from trading.money import ZERO, cents_down, settled
from trading.policy import TradingPolicy


def siphon(profit: Decimal, *, realized_before: Decimal, realized_peak: Decimal, policy: TradingPolicy) -> Decimal:
    """Return the dollars a closing fill moves into the reserve: its profit x `reserve_siphon_pct`, rounded down.

    `per_trade` takes each fill's raw net profit (R3.1); `high_water_mark` only what lifts the running realized profit
    above its peak. Never negative; what rounds down to 0.00 moves nothing.
    """
    basis = profit
    if policy.siphon_basis == "high_water_mark":
        basis = realized_before + profit - max(realized_peak, realized_before)
    return cents_down(max(ZERO, basis) * policy.reserve_siphon_pct)


def emergency_drawdown(value: Decimal, *, peak: Decimal, initial_capital: Decimal) -> Decimal:
    """Return how far total value lies below its peak, as a fraction of the initial capital (R3.6); never negative."""
    return settled(max(ZERO, peak - value) / initial_capital) if initial_capital > 0 else ZERO
