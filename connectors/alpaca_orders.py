"""What Alpaca's word on an order means: pure functions from what was told so far and what is seen now to events.

It does not matter where an order is seen, in an update of the stream or in an answer, nor how often or in which order:
only more shares than were told are a fill, and an end is told once, after all its fills.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple

from connectors.ports import OrderEvent
from trading import ids
from trading.effects import Order
from trading.inputs import OrderAccepted, OrderCancelled, OrderFill, OrderRejected, OrderUnknown
from trading.money import ONE, PLACES, ZERO, Exact, Frozen, Mode, divided, settled

End = Literal["filled", "cancelled", "rejected"]
ENDS: Mapping[str, End] = {
    "filled": "filled",
    "canceled": "cancelled",
    "expired": "cancelled",
    "replaced": "cancelled",
    "rejected": "rejected",
}
"""Alpaca's statuses after which nothing happens any more; with every other one, known or not, the order is live."""

BACKSTOP = "backstop-"
"""How the ids of backstops begin; no other order's id does."""
_SUB_PENNY = Decimal("0.0001")  # what US exchanges trade in: whole shares cost a whole number of these
_LAST_PLACE = ONE.scaleb(-PLACES)
_TOO_MUCH = ONE.scaleb(PLACES)


class Execution(NamedTuple):
    """The shares and the price of one trade, as the stream tells it."""

    quantity: Decimal
    price: Decimal


class Seen(NamedTuple):
    """An order as Alpaca shows it; `average` is the price of all `filled` shares, None while nobody says it."""

    client_order_id: str
    broker_order_id: str
    status: str
    filled: Decimal
    average: Decimal | None
    at: dt.datetime | None
    fields: tuple[str, str, Decimal | None, str, Decimal | None]
    reason: str = ""
    execution: Execution | None = None


class Work(Frozen):
    """An order that was taken over, and what has been told of it.

    `filled` shares were told, `spent` dollars were their price. `cancel_reason` says that its cancel was asked for.
    `ended` is the end that was told; `is_over`: nothing happens to it any more. `mode` is that of the account which it
    is for, None where nobody knows.
    """

    order: Order
    mode: Mode | None = None
    broker_order_id: str | None = None
    is_accepted: bool = False
    is_unknown: bool = False
    filled: Exact = ZERO
    spent: Exact = ZERO
    cancel_reason: str | None = None
    ended: End | None = None
    is_over: bool = False

    @property
    def is_backstop(self) -> bool:
        """Tell whether it is an order of the connector's own, which protects while we are dead."""
        return self.order.client_order_id.startswith(BACKSTOP)

    @property
    def is_known(self) -> bool:
        """Tell whether Alpaca has ever shown the order."""
        return self.broker_order_id is not None


class Told(NamedTuple):
    """The work afterwards, and what is to be told."""

    work: Work
    events: tuple[OrderEvent, ...] = ()


def seen(raw: Any, *, execution: Execution | None = None) -> Seen | None:
    """Read an order of Alpaca's; None where it is none, or lacks what makes one."""
    if not isinstance(raw, Mapping):
        return None
    broker_order_id, status = raw.get("id"), raw.get("status")
    filled = number(raw.get("filled_qty", "0"))
    if not isinstance(broker_order_id, str) or not isinstance(status, str) or filled is None or filled < 0:
        return None
    at = next((raw[name] for name in _INSTANTS.get(status, ()) if raw.get(name)), None) or raw.get("updated_at")
    return Seen(
        client_order_id=str(raw.get("client_order_id") or ""),
        broker_order_id=broker_order_id,
        status=status,
        filled=filled,
        average=number(raw.get("filled_avg_price")),
        at=instant(at),
        fields=(
            str(raw.get("symbol")),
            str(raw.get("side")),
            number(raw.get("qty")),
            str(raw.get("type") or raw.get("order_type")),
            number(raw.get("limit_price")),
        ),
        reason=str(raw.get("reject_reason") or raw.get("reason") or ""),
        execution=execution,
    )


def is_same(order: Order, shown: Seen) -> bool:
    """Tell whether an order that has our id is what we meant."""
    return shown.fields == (order.symbol, order.side, order.quantity, order.order_type, order.limit_price)


def observe(work: Work, shown: Seen, *, at: dt.datetime | None) -> Told:
    """Tell what is new about an order: that the broker has it, its fills, its end.

    An end is held back until all the shares that it counts can be told with their price. One that was given up and is
    there after all is to be cancelled.
    """
    events: list[OrderEvent] = []
    if work.is_over and not work.is_known and shown.status not in ENDS:
        work = work.model_copy(update={"is_over": False, "cancel_reason": "it was given up before it came"})
    work = work.model_copy(update={"broker_order_id": shown.broker_order_id})
    if not work.is_accepted and shown.status != "rejected":
        work = work.model_copy(update={"is_accepted": True})
        events.append(OrderAccepted(**_of(work, "order_accepted", ZERO, at)))
    for quantity, price in fills(work, shown):
        work = work.model_copy(
            update={"filled": work.filled + quantity, "spent": work.spent + quantity * price, "ended": None}
        )
        events.append(_fill(work, quantity=quantity, price=price, at=at))
    if work.filled >= work.order.quantity:
        work = work.model_copy(update={"ended": "filled", "is_over": True})
    elif work.filled >= shown.filled and shown.status in ENDS and shown.status != "filled":
        told = end(work, status=ENDS[shown.status], reason=_reason(work, shown), at=at)
        work, events = told.work, [*events, *told.events]
    return Told(work, tuple(events))


def fills(work: Work, shown: Seen) -> Sequence[Execution]:
    """Return the trades that bring what was told up to what is seen; their prices add up to the broker's cash.

    The stream's own price is taken where it follows what was told. Otherwise the trades since are the difference of
    quantity x average, to a hundredth of a cent, which is exact for whole shares; where no one price gives it, two do.
    """
    quantity = shown.filled - work.filled
    if quantity <= 0:
        return ()
    execution = shown.execution
    if execution is not None and execution.quantity == quantity and execution.price > 0:
        return (execution,)
    if shown.average is None or shown.average <= 0:
        return ()
    cost = (shown.filled * shown.average).quantize(_SUB_PENNY, rounding=ROUND_HALF_EVEN) - work.spent
    if cost <= 0:
        cost = quantity * shown.average
    lower = (cost / quantity).quantize(_SUB_PENNY, rounding=ROUND_FLOOR)
    dearer = (cost - lower * quantity) / _SUB_PENNY
    if lower <= 0 or dearer != round(dearer) or quantity != round(quantity):
        return (Execution(quantity, plain((cost / quantity).quantize(_LAST_PLACE))),)
    parts = (Execution(plain(quantity - dearer), lower), Execution(plain(dearer), lower + _SUB_PENNY))
    return tuple(part for part in parts if part.quantity > 0)


def end(work: Work, *, status: End, reason: str, at: dt.datetime | None) -> Told:
    """End an order that is not filled to its last share; what was told before is not told again."""
    ended = work.model_copy(update={"ended": work.ended or status, "is_over": True})
    if work.ended is not None:
        return Told(ended)
    if status == "rejected" and work.filled == 0:
        return Told(ended, (OrderRejected(**_of(work, "order_rejected", ZERO, at), reason=reason),))
    of = _of(work, "order_cancelled", work.filled, at)
    return Told(ended, (OrderCancelled(**of, cumulative_quantity=work.filled, reason=reason),))


def doubt(work: Work, *, reason: str, at: dt.datetime | None) -> Told:
    """Say, once, that nobody knows whether the broker has the order."""
    if work.is_unknown or work.is_known:
        return Told(work)
    event = OrderUnknown(**_of(work, "order_unknown", ZERO, at), reason=reason)
    return Told(work.model_copy(update={"is_unknown": True}), (event,))


def number(value: Any) -> Decimal | None:
    """Read a number of Alpaca's, which is text, to the places that an event has; None where there is none."""
    if value is None or isinstance(value, bool):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return plain(settled(found)) if found.is_finite() and abs(found) < _TOO_MUCH else None


def plain(value: Decimal) -> Decimal:
    """Write a number in the one form that makes equal ones the same text: 5.000 and 5E+0 as 5."""
    return divided(value.normalize(), ONE)


def instant(value: Any) -> dt.datetime | None:
    """Read an instant of Alpaca's; None where it is none, or has no offset."""
    if not isinstance(value, str):
        return None
    try:
        found = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    return found.astimezone(dt.UTC) if found.tzinfo is not None else None


_INSTANTS: Mapping[str, Sequence[str]] = {
    "filled": ("filled_at",),
    "partially_filled": ("filled_at",),
    "canceled": ("canceled_at",),
    "expired": ("expired_at",),
    "replaced": ("replaced_at",),
    "rejected": ("failed_at",),
    "new": ("submitted_at",),
    "accepted": ("submitted_at",),
    "pending_new": ("submitted_at",),
}


def _reason(work: Work, shown: Seen) -> str:
    if shown.status == "canceled":
        return work.cancel_reason or "cancelled at the broker"
    return f"{shown.status} by the broker" + (f": {shown.reason}" if shown.reason else "")


def _fill(work: Work, *, quantity: Decimal, price: Decimal, at: dt.datetime | None) -> OrderFill:
    return OrderFill(
        **_of(work, "order_fill", work.filled, at),
        fill_id=f"{work.order.client_order_id}:{work.filled:f}",
        quantity=quantity,
        price=price,
        cumulative_quantity=work.filled,
        leaves_quantity=max(ZERO, work.order.quantity - work.filled),
        fee=ZERO,
    )


def _of(work: Work, kind: str, cumulative: Decimal, at: dt.datetime | None) -> dict[str, Any]:
    order = work.order
    return {
        "event_id": ids.of("broker_event", order.client_order_id, kind, f"{cumulative:f}"),
        "account_id": order.account_id,
        "at": at,
        "client_order_id": order.client_order_id,
        "broker_order_id": work.broker_order_id,
        "symbol": order.symbol,
    }
