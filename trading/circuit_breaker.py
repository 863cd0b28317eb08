"""Circuit breakers (R6) and the trading states: what stops entries, and until when.

REDUCING lets nothing through that adds risk; every exit and cancel passes. HALTED is the operator's kill alone.
"""

import datetime as dt
from decimal import Decimal
from typing import Literal

from trading import arming
from trading.money import ZERO
from trading.portfolio import Breaker, Portfolio, Reading

TradingState = Literal["active", "reducing", "halted"]
STRESS_COUNTS_FOR = dt.timedelta(minutes=30)


def daily_loss(portfolio: Portfolio) -> Decimal:
    """Return the day's loss as a fraction of the previous close's equity; zero or less without a loss (R6.1)."""
    if portfolio.day_base is None or portfolio.day_base <= 0:
        return ZERO
    return (portfolio.day_base - portfolio.total_value) / portfolio.day_base


def active(portfolio: Portfolio) -> tuple[Breaker, ...]:
    """Return the account breakers that are active at the account's now, the one that lasts longest first."""
    running = [breaker for breaker in portfolio.breakers if breaker.until > portfolio.now]
    return tuple(sorted(running, key=lambda breaker: (breaker.until, breaker.trigger), reverse=True))


def stress(portfolio: Portfolio) -> Reading | None:
    """Return the valid reading of market volatility: a VIX before a realised one, all under 30 minutes old."""
    fresh = {reading.name: reading for reading in portfolio.stress if portfolio.now - reading.at < STRESS_COUNTS_FOR}
    return fresh.get("vix") or fresh.get("realised_volatility")


def is_stressed(portfolio: Portfolio) -> bool:
    """Tell whether the valid reading lies over the threshold (R6.3)."""
    reading = stress(portfolio)
    return reading is not None and reading.value > portfolio.policy.market_stress_threshold


def declining_share(portfolio: Portfolio) -> Decimal:
    """Return the fraction of open positions that lose more than `broad_decline_pct`; zero under two (R7.5)."""
    if len(portfolio.positions) < 2:
        return ZERO
    limit = portfolio.policy.broad_decline_pct
    losing = sum(position.last_price < position.avg_entry_price * (1 - limit) for position in portfolio.positions)
    return Decimal(losing) / len(portfolio.positions)


def is_declining(portfolio: Portfolio) -> bool:
    """Tell whether a broad decline holds, or held less than `broad_decline_minutes` ago (decision 21)."""
    if portfolio.declining or declining_share(portfolio) > portfolio.policy.broad_decline_share:
        return True
    return declined_lately(portfolio)


def declined_lately(portfolio: Portfolio) -> bool:
    """Tell whether a broad decline that is over has not cleared yet."""
    over = portfolio.declined_at
    return over is not None and portfolio.now - over < dt.timedelta(minutes=portfolio.policy.broad_decline_minutes)


def cooldown_until(portfolio: Portfolio, *, symbol: str) -> dt.datetime | None:
    """Return until when a symbol may not be entered again, if it may not (R6.2)."""
    return next((until for name, until in portfolio.cooldowns if name == symbol and until > portfolio.now), None)


def is_under_minimum(portfolio: Portfolio) -> bool:
    """Tell whether the active pool lies under its minimum (R3.5)."""
    return portfolio.active_pool < portfolio.policy.active_pool_minimum


def trading_state(portfolio: Portfolio) -> TradingState:
    """Return what the account may do at its now."""
    if portfolio.halted:
        return "halted"
    reducing = (
        portfolio.paused
        or arming.is_lacking(portfolio)
        or not portfolio.policy.enabled
        or not portfolio.reconciled
        or portfolio.feed_silent_since is not None
        or bool(active(portfolio))
        or is_stressed(portfolio)
        or is_declining(portfolio)
        or is_under_minimum(portfolio)
    )
    return "reducing" if reducing else "active"
