"""What a closing order brought, once it has ended (R14.1, R19.2): counted one time, and told when it is large.

Partial fills count nothing by themselves; an order that ends without a fill is no trade.
"""

from decimal import Decimal
from typing import Literal

from trading import history, trading_window
from trading.history import Result
from trading.money import ZERO
from trading.portfolio import LiveOrder
from trading.step import Step

ENDED = ("filled", "cancelled", "rejected")


def count(step: Step, order: LiveOrder) -> LiveOrder:
    """Count a closing order that has ended with fills, and return it marked; any other comes back as it is."""
    if order.side == "buy" or order.status not in ENDED or order.filled <= 0 or order.is_counted:
        return order
    result = Result(
        symbol=order.symbol,
        profit=order.profit,
        on=trading_window.new_york_date(step.now),
        is_micro=order.is_micro,
    )
    step.change(history=history.with_result(step.portfolio.history, result))
    _tell_if_large(step, order)
    return order.model_copy(update={"is_counted": True})


def is_large(profit: Decimal, *, active_pool: Decimal, limit: Decimal) -> bool:
    """Tell whether a trade's profit or loss exceeds a fraction of the active pool."""
    return abs(profit) > limit * max(ZERO, active_pool)


def _tell_if_large(step: Step, order: LiveOrder) -> None:
    limit, pool = step.portfolio.policy.large_trade_pct, step.portfolio.active_pool
    if not is_large(order.profit, active_pool=pool, limit=limit):
        return
    severity: Literal["info", "warning"] = "info" if order.profit > 0 else "warning"
    subject = f"Large trade: {order.symbol} {order.profit:+.2f} dollars"
    body = f"{order.filled - order.excess:f} {order.symbol} sold ({order.purpose}): {order.profit:+.2f} dollars, "
    body += f"more than {limit:.2%} of the active pool of {pool:.2f} dollars."
    step.notify("large_trade", severity=severity, subject=subject, body=body)
