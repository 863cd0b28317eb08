"""What the simulated broker says of an order.

Each event's id is a function of the order, the kind and the shares so far, so that what is said again is the same.
"""

import datetime as dt
from decimal import Decimal
from typing import Any

from trading import ids
from trading.effects import Order, OrderCancel
from trading.inputs import OrderAccepted, OrderCancelled, OrderFill, OrderRejected
from trading.money import ZERO


def broker_order_id(client_order_id: str) -> str:
    """Return the broker's own id of an order."""
    return ids.of("broker_order", client_order_id)


def accepted(order: Order, *, at: dt.datetime | None) -> OrderAccepted:
    """Say that the broker has the order."""
    return OrderAccepted(**_of(order, "order_accepted", ZERO, at))


def rejected(order: Order, *, reason: str, at: dt.datetime | None) -> OrderRejected:
    """Say that the broker refuses the order for good."""
    return OrderRejected(**_of(order, "order_rejected", ZERO, at), reason=reason)


def filled(
    order: Order, *, quantity: Decimal, price: Decimal, cumulative: Decimal, at: dt.datetime | None
) -> OrderFill:
    """Say that shares were bought or sold, without a fee; `cumulative` counts them and all before them."""
    return OrderFill(
        **_of(order, "order_fill", cumulative, at),
        fill_id=f"{order.client_order_id}:{cumulative:f}",
        quantity=quantity,
        price=price,
        cumulative_quantity=cumulative,
        leaves_quantity=order.quantity - cumulative,
        fee=ZERO,
    )


def cancelled(
    order: Order | OrderCancel, cumulative: Decimal, *, reason: str, at: dt.datetime | None
) -> OrderCancelled:
    """Say that the rest of the order is off the book, after `cumulative` shares."""
    return OrderCancelled(
        **_of(order, "order_cancelled", cumulative, at), cumulative_quantity=cumulative, reason=reason
    )


def _of(order: Order | OrderCancel, kind: str, cumulative: Decimal, at: dt.datetime | None) -> dict[str, Any]:
    return {
        "event_id": ids.of("broker_event", order.client_order_id, kind, f"{cumulative:f}"),
        "account_id": order.account_id,
        "at": at,
        "client_order_id": order.client_order_id,
        "broker_order_id": broker_order_id(order.client_order_id),
        "symbol": order.symbol,
    }
