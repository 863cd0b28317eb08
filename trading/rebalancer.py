"""The rebalancer (R8.1 to R8.3, R8.5, R8.6): once a week, sells of what has grown too large, by stock and by sector.

Single stocks come first: the least number of shares that brings a position to or under the tier's `max_position_pct` of
the active pool. Then, for each sector over `max_sector_pct`, its positions of the lowest confidence. The last share of
a position is never sold (decision 45).
"""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from trading import circuit_breaker, exits, trading_window
from trading.money import ONE, ZERO, total
from trading.portfolio import Portfolio, Position
from trading.position_sizer import MILLI_SHARE
from trading.records import RebalanceRationale
from trading.step import Step
from trading.trading_window import Session

WEEK = dt.timedelta(weeks=1)


class Cut(NamedTuple):
    """Shares to sell of one position: the rule that asks for it, what it measured and its limit, in dollars."""

    symbol: str
    shares: Decimal
    rule: str
    subject: str
    exposure: Decimal
    limit: Decimal


def on_window_open(step: Step, session: Session) -> None:
    """Rebalance at the week's first window open, or at the first later one of that week at which trading is ACTIVE."""
    portfolio, monday = step.portfolio, _monday(session.on)
    weeks = portfolio.policy.rebalance_interval_weeks
    is_first = trading_window.sessions_from(monday - dt.timedelta(days=1), until=session.on) == 1
    last = portfolio.rebalanced_on
    if is_first and weeks > 0 and (last is None or monday - last >= weeks * WEEK):
        step.change(rebalance_on=monday)
        step.keep_state()
    if step.portfolio.rebalance_on != monday or weeks == 0:
        return
    if circuit_breaker.trading_state(step.portfolio) == "active":
        step.change(rebalanced_on=monday, rebalance_on=None)
        step.keep_state()
        _rebalance(step)


def cuts(portfolio: Portfolio) -> tuple[Cut, ...]:
    """Return what is to be sold at the last prices, single stocks first; a position may be cut by both rules.

    What is on its way out counts for nothing; micro positions, and those with a live order, count and are left alone.
    """
    held = tuple(position for position in portfolio.positions if position.exit is None)
    by_stock = tuple(_of_stocks(portfolio, held))
    sold = {cut.symbol: cut.shares for cut in by_stock}
    sectors = sorted({position.sector for position in held})
    return (*by_stock, *(cut for sector in sectors for cut in _of_sector(portfolio, held, sector=sector, sold=sold)))


def is_idle(portfolio: Portfolio, position: Position) -> bool:
    """Tell whether a position may be cut or swapped: nothing else trades it at the moment, and it is not micro."""
    is_traded = portfolio.entry(position.symbol) is not None or any(
        order.symbol == position.symbol for order in portfolio.orders
    )
    return position.exit is None and not position.is_micro and not is_traded


def shares_over(excess: Decimal, position: Position, *, held: Decimal, fractional: bool) -> Decimal:
    """Return the least shares whose value at the last price is at least `excess` dollars, of the `held` ones.

    Whole shares, one of which always stays; thousandths, and all of them, where fractional shares are enabled.
    """
    if excess <= 0:
        return ZERO
    unit = MILLI_SHARE if fractional else ONE
    most = held if fractional else max(ZERO, (held - ONE) // ONE)
    units = excess // (unit * position.last_price)
    if units * unit * position.last_price < excess:
        units += ONE
    return min(most, units * unit)


def _rebalance(step: Step) -> None:
    found = cuts(step.portfolio)
    for symbol in dict.fromkeys(cut.symbol for cut in found):
        position = step.portfolio.position(symbol)
        if position is not None:
            asked = [cut for cut in found if cut.symbol == symbol]
            order = exits.rebalance(step, position, quantity=total(cut.shares for cut in asked))
            for cut in asked:
                step.record(
                    RebalanceRationale, decision_id=order.decision_id, symbol=symbol, rationale=_rationale(step, cut)
                )


def _rationale(step: Step, cut: Cut) -> dict[str, str]:
    return {
        "rule": cut.rule,
        "symbol" if cut.rule == "max_position_pct" else "sector": cut.subject,
        "exposure": format(cut.exposure, "f"),
        "limit": format(cut.limit, "f"),
        "shares": format(cut.shares, "f"),
        "risk_tier": step.portfolio.risk_tier,
    }


def _of_stocks(portfolio: Portfolio, held: tuple[Position, ...]) -> Iterator[Cut]:
    limit = portfolio.tier.max_position_pct * portfolio.active_pool
    for position in sorted(held, key=lambda each: each.symbol):
        value = position.market_value
        fractional = portfolio.policy.fractional_enabled
        shares = shares_over(value - limit, position, held=position.quantity, fractional=fractional)
        if shares > 0 and is_idle(portfolio, position):
            yield Cut(position.symbol, shares, "max_position_pct", position.symbol, value, limit)


def _of_sector(
    portfolio: Portfolio, held: tuple[Position, ...], *, sector: str, sold: dict[str, Decimal]
) -> Iterator[Cut]:
    limit = portfolio.tier.max_sector_pct * portfolio.active_pool
    members = [position for position in held if position.sector == sector]
    exposure = total((each.quantity - sold.get(each.symbol, ZERO)) * each.last_price for each in members)
    left = exposure
    for position in sorted(members, key=lambda each: (each.confidence, each.symbol)):
        kept = position.quantity - sold.get(position.symbol, ZERO)
        fractional = portfolio.policy.fractional_enabled
        shares = shares_over(left - limit, position, held=kept, fractional=fractional)
        if shares > 0 and is_idle(portfolio, position):
            left -= shares * position.last_price
            yield Cut(position.symbol, shares, "max_sector_pct", sector, exposure, limit)


def _monday(day: dt.date) -> dt.date:
    return day - dt.timedelta(days=day.weekday())
