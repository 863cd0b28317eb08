"""Stops and targets (R4): where a position is left, from ATR and the risk tier.

Levels are rounded to the cent towards the earlier exit: a stop up, a target down (decision 44).
"""

from decimal import Decimal
from typing import NamedTuple

from trading.effects import Purpose
from trading.money import CENT, ONE, ZERO, cents_down, cents_up
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio, Position

HALF = Decimal("0.5")


class Levels(NamedTuple):
    """A stop and a target in dollars a share; stop < entry < target."""

    stop: Decimal
    target: Decimal


def initial_levels(entry: Decimal, *, atr: Decimal, multiplier: Decimal, reward_risk_ratio: Decimal) -> Levels:
    """Return entry - ATR x multiplier and entry + distance x reward-to-risk (R4.1, R4.2).

    A distance under a cent, or one that reaches zero, is kept inside 0 < stop < entry < target.
    """
    distance = atr * multiplier
    highest_stop = cents_up(entry) - CENT
    stop = max(CENT, min(cents_up(entry - distance), highest_stop))
    target = max(cents_down(entry + distance * reward_risk_ratio), cents_down(entry) + CENT)
    return Levels(min(stop, highest_stop) if highest_stop > ZERO else entry / 2, target)


def multiplier_of(portfolio: Portfolio, position: Position) -> Decimal:
    """Return how many ATRs a stop lies away now: the tier's, for a micro trade the policy's own (R20.5)."""
    if position.is_micro:
        return portfolio.policy.micro_stop_loss_atr_multiplier
    return portfolio.tier.stop_loss_atr_multiplier


def re_evaluated(portfolio: Portfolio, position: Position) -> Position | None:
    """Return a position with its base stop made from what holds now, None while that is materially the same (R4.3).

    Material is an ATR that moved by more than `material_atr_pct`, another multiplier, or another confidence. The base
    is the higher of the one it has and entry - multiplier x ATR; the target stays (decision 52).
    """
    multiplier, atr = multiplier_of(portfolio, position), position.atr_now
    has_moved = abs(atr - position.atr) > portfolio.policy.material_atr_pct * position.atr
    if not has_moved and multiplier == position.multiplier and position.levels_confidence is None:
        return None
    entry, ratio = position.avg_entry_price, position.reward_risk_ratio
    stop = initial_levels(entry, atr=atr, multiplier=multiplier, reward_risk_ratio=ratio).stop
    fresh = {"atr": atr, "multiplier": multiplier, "levels_confidence": None}
    return position.model_copy(update=fresh | {"base_stop": max(stop, position.base_stop)})


def breakeven_above(position: Position) -> Decimal:
    """Return the price strictly beyond which the stop moves to the entry: half of the target distance (R4.6)."""
    return position.avg_entry_price + (position.target_price - position.avg_entry_price) * HALF


def breakeven_stop(position: Position) -> Decimal | None:
    """Return the raised base stop when the price is beyond half of the target distance, else None."""
    at_entry = cents_up(position.avg_entry_price)
    if position.last_price > breakeven_above(position) and position.base_stop < at_entry:
        return at_entry
    return None


def position_loss_price(position: Position, *, policy: TradingPolicy) -> Decimal:
    """Return the price strictly under which the single-position breaker closes it (R6.2)."""
    return position.avg_entry_price * (ONE - policy.position_loss_pct)


def exit_purpose(position: Position, *, policy: TradingPolicy) -> Purpose | None:
    """Return why the position should be left at its last price: the first that applies, or None.

    Crossed is price <= stop and price >= target; a stop that only an overlay had put above the base is an `event`.
    """
    price = position.last_price
    if price < position_loss_price(position, policy=policy):
        return "breaker"
    if price <= position.base_stop:
        return "stop_loss"
    if price <= position.stop_price:
        return "event"
    if price >= position.target_price:
        return "take_profit"
    return None
