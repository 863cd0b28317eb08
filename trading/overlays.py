"""Overlays (R7.2, R10.2, R13.3): a stop that is raised over its base for an event, an earnings report, or heat.

The candidate lies a factor of the ordinary distance under the last price. The effective stop is the highest of the base
and of all overlays so far, so that it never falls, also when the cause is over (decision 13).
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from trading import earnings
from trading.holdings import Overlay, OverlayName, Position
from trading.money import CENT, ZERO, cents_down, cents_up
from trading.portfolio import Portfolio
from trading.stop_loss import multiplier_of


class Raise(NamedTuple):
    """A stop to be raised: for what, to where in dollars a share, and the factor on the ordinary distance."""

    name: OverlayName
    stop: Decimal
    factor: Decimal


def is_event_active(portfolio: Portfolio) -> bool:
    """Tell whether a macro event of high or critical severity is active at the account's now (R7.4)."""
    return any(event.started_at <= portfolio.now < event.ends_at for event in portfolio.macro_events)


def is_report_near(portfolio: Portfolio, position: Position) -> bool:
    """Tell whether a position's next earnings report is within `earnings_window_days` sessions (R10.2)."""
    flag = earnings.flag_of(position, now=portfolio.now, policy=portfolio.policy)
    return flag in ("within_3_days", "within_1_day")


def tightened(portfolio: Portfolio, position: Position) -> Iterator[Raise]:
    """Yield the stops that an active event and a near earnings report ask for, each from the last price."""
    multiplier, policy = multiplier_of(portfolio, position), portfolio.policy
    if is_event_active(portfolio):
        factor = policy.event_stop_factor
        yield Raise("event", candidate(position, factor=factor, multiplier=multiplier), factor)
    if is_report_near(portfolio, position):
        factor = policy.earnings_stop_factor
        yield Raise("earnings", candidate(position, factor=factor, multiplier=multiplier), factor)


def candidate(position: Position, *, factor: Decimal, multiplier: Decimal) -> Decimal:
    """Return last price - factor x multiplier x ATR, rounded up to the cent and below the price, in dollars a share."""
    distance = factor * multiplier * position.atr_now
    return min(cents_up(position.last_price - distance), cents_up(position.last_price) - CENT)


def with_overlay(position: Position, *, name: OverlayName, stop: Decimal) -> Position:
    """Return a position whose stop is at least `stop`; an overlay of a name keeps its highest."""
    others = tuple(known for known in position.overlays if known.name != name)
    highest = max([stop, *(known.stop for known in position.overlays if known.name == name)])
    return position.model_copy(update={"overlays": (*others, Overlay(name=name, stop=highest))})


def for_heat(portfolio: Portfolio) -> tuple[tuple[Position, Raise], ...]:
    """Return the stops to raise so that heat is `heat_tighten_at` of the maximum, lowest confidence first (R13.3).

    None comes nearer to its price than `heat_stop_factor` x multiplier x ATR, so that the goal may be missed; what is
    being left already is left alone (decision 53).
    """
    goal = portfolio.policy.heat_tighten_at * portfolio.max_portfolio_heat
    excess, raises = portfolio.portfolio_heat - goal, []
    for position in sorted(portfolio.positions, key=_least_confident_first):
        if excess <= 0:
            break
        if position.exit is not None or position.heat == 0:
            continue
        raised = _cooled(portfolio, position, excess=excess)
        if raised.stop > position.stop_price:
            cooler = with_overlay(position, name=raised.name, stop=raised.stop)
            excess -= position.heat - cooler.heat
            raises.append((position, raised))
    return tuple(raises)


def _cooled(portfolio: Portfolio, position: Position, *, excess: Decimal) -> Raise:
    """Return the stop at which a position's heat is less by `excess`, or the nearest to its price that is allowed.

    From heat = value x (entry - stop) / entry follows stop = entry x (1 - heat / value).
    """
    factor = portfolio.policy.heat_stop_factor
    nearest = cents_down(position.last_price - factor * multiplier_of(portfolio, position) * position.atr_now)
    left = max(ZERO, position.heat - excess)
    cool = cents_up(position.avg_entry_price * (1 - left / position.market_value))
    return Raise("heat", min(cool, nearest, cents_up(position.last_price) - CENT), factor)


def _least_confident_first(position: Position) -> tuple[Decimal, str]:
    return position.confidence, position.symbol
