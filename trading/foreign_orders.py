"""Orders at the broker that are not ours (R1.6): adopted as such, so that nothing of ours meets them.

Their symbols are not entered, and what they hold back is missing from the broker's buying power, which bounds a buy.
They are never cancelled, and their shares are never sold.
"""

from typing import Any

from trading.inputs import AccountSnapshot, BrokerOrder, OrderFill
from trading.outcomes import ENDED
from trading.portfolio import LiveOrder, Portfolio
from trading.step import Step

MOST = 50  # remembered at once, so that the row stays small


def adopt(step: Step, event: AccountSnapshot) -> tuple[dict[str, Any], ...]:
    """Remember the open orders of a snapshot that are not ours, and return those that are new as differences."""
    portfolio = step.portfolio
    shown = (listed(event, order) for order in (*portfolio.orders, *portfolio.done))
    ours = {each.broker_order_id for each in shown if each is not None}
    strangers = (each for each in event.open_orders if each.broker_order_id not in ours)
    foreign = sorted(strangers, key=lambda each: each.broker_order_id)
    known = {each.broker_order_id for each in portfolio.foreign_orders}
    step.change(foreign_orders=tuple(foreign[:MOST]))
    return tuple(_difference(each) for each in foreign[:MOST] if each.broker_order_id not in known)


def listed(event: AccountSnapshot, order: LiveOrder) -> BrokerOrder | None:
    """Return what a snapshot lists of an order; one that it lists without our id is known by its terms."""
    for each in event.open_orders:
        if each.client_order_id == order.client_order_id:
            return each
    if order.status in ENDED:
        return None
    terms = order.symbol, order.side, order.quantity
    for each in event.open_orders:
        if each.client_order_id is None and (each.symbol, each.side, each.quantity) == terms:
            return each
    return None


def is_known(portfolio: Portfolio, fill: OrderFill) -> bool:
    """Tell whether a fill belongs to an order that was adopted as somebody else's."""
    names = {fill.client_order_id, fill.broker_order_id} - {None}
    return any(names & {each.client_order_id, each.broker_order_id} for each in portfolio.foreign_orders)


def _difference(order: BrokerOrder) -> dict[str, Any]:
    terms = f"{order.side} {order.quantity:f}, {order.filled_quantity:f} filled"
    return {"what": order.symbol, "order": order.broker_order_id, "broker": terms, "engine": "not ours"}
