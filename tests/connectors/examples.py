"""Orders, ticks and times that the connectors' tests share: a session of 2024 in New York."""

import datetime as dt
from decimal import Decimal
from typing import Any

from trading.effects import Order, OrderCancel
from trading.inputs import PriceTicks, Tick

NOON = dt.datetime(2024, 3, 14, 16, 0, tzinfo=dt.UTC)
"""Noon in New York on a Thursday."""


def order(side: str = "buy", quantity: str = "1", *, number: int = 1, **changes: Any) -> Order:
    """Return a market order of one account."""
    fields: dict[str, Any] = {
        "client_order_id": f"order-{number}",
        "decision_id": f"decision-{number}",
        "account_id": "paper",
        "symbol": "AAPL",
        "side": side,
        "quantity": Decimal(quantity),
        "purpose": "entry" if side == "buy" else "signal",
        "created_at": NOON,
    }
    return Order(**{**fields, **changes})


def tick(price: str, *, at: dt.datetime = NOON) -> Tick:
    """Return one price."""
    return Tick(at=at, price=Decimal(price))


def minutes(count: float) -> dt.timedelta:
    """Return a span."""
    return dt.timedelta(minutes=count)


def prices(*texts: str) -> list[PriceTicks]:
    """Return ticks of one symbol, a minute apart, the last one at noon."""
    first = NOON - minutes(len(texts) - 1)
    return [
        PriceTicks(symbol="AAPL", price=Decimal(text), at=first + minutes(number)) for number, text in enumerate(texts)
    ]


def cancel_of(number: int) -> OrderCancel:
    """Return a request to take an order off the book."""
    return OrderCancel(
        cancel_id=f"cancel-{number}",
        client_order_id=f"order-{number}",
        account_id="paper",
        symbol="AAPL",
        reason="no longer wanted",
        created_at=NOON,
    )
