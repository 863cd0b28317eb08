"""An order as the broker holds it, from a checked request to its end, and why a request is refused."""

import dataclasses
import datetime as dt
import uuid
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from tests.fakes.alpaca.wire import Json, instant, number

Side = Literal["buy", "sell"]
Kind = Literal["market", "limit", "stop", "stop_limit"]
Status = Literal[
    "pending_new", "accepted", "new", "partially_filled", "filled", "pending_cancel", "canceled", "expired", "rejected"
]
OPEN: frozenset[Status] = frozenset({"pending_new", "accepted", "new", "partially_filled", "pending_cancel"})
ZERO = Decimal(0)
MOST_DECIMALS = 9
ASSETS = uuid.UUID("6f1c7f3c-5d07-4b52-8f0d-0f6b1c5f0a11")


class Refusal(Exception):
    """Say no as Alpaca does: the HTTP status, its code, its words, and fields beside them."""

    def __init__(self, status: int, code: int, message: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields or {}

    def body(self) -> Json:
        """Return the body of the answer."""
        return {"code": self.code, "message": self.message, **self.fields}


@dataclasses.dataclass(frozen=True)
class Terms:
    """How an order fills: in `parts` equal parts `seconds` apart, of which the first `filled_parts` come at all.

    `first` fills before the broker has said that it has the order; `cancel_seconds` pass before a cancel is done.
    """

    parts: int = 1
    filled_parts: int | None = None
    seconds: float = 0.0
    first: bool = False
    cancel_seconds: float = 0.0


WHOLE = Terms()


@dataclasses.dataclass(frozen=True)
class Request:
    """What somebody asks for, well-formed."""

    client_order_id: str
    symbol: str
    side: Side
    qty: Decimal
    type: Kind
    time_in_force: Literal["day", "gtc"]
    limit_price: Decimal | None
    stop_price: Decimal | None
    extended_hours: bool


@dataclasses.dataclass(frozen=True)
class Order:
    """One order; `hold_price` is what an open buy holds of the buying power a share."""

    id: str
    request: Request
    status: Status
    created_at: dt.datetime
    updated_at: dt.datetime
    expires_at: dt.datetime | None
    hold_price: Decimal
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    fills: int = 0
    triggered: bool = False
    filled_at: dt.datetime | None = None
    canceled_at: dt.datetime | None = None
    expired_at: dt.datetime | None = None
    failed_at: dt.datetime | None = None
    terms: Terms = WHOLE

    @property
    def is_open(self) -> bool:
        """Return whether it may still fill."""
        return self.status in OPEN

    @property
    def leaves_qty(self) -> Decimal:
        """Return how many shares have not been filled."""
        return self.request.qty - self.filled_qty

    def shown(self) -> Json:
        """Return the order as the API shows it."""
        asked = self.request
        average = self.filled_value / self.filled_qty if self.filled_qty else None
        return {
            "id": self.id,
            "client_order_id": asked.client_order_id,
            "created_at": instant(self.created_at),
            "updated_at": instant(self.updated_at),
            "submitted_at": instant(self.created_at),
            "filled_at": instant(self.filled_at),
            "expired_at": instant(self.expired_at),
            "expires_at": instant(self.expires_at),
            "canceled_at": instant(self.canceled_at),
            "failed_at": instant(self.failed_at),
            "replaced_at": None,
            "replaced_by": None,
            "replaces": None,
            "asset_id": asset_id(asked.symbol),
            "symbol": asked.symbol,
            "asset_class": "us_equity",
            "notional": None,
            "qty": number(asked.qty),
            "filled_qty": number(self.filled_qty),
            "filled_avg_price": number(round(average, MOST_DECIMALS)) if average is not None else None,
            "order_class": "",
            "order_type": asked.type,
            "type": asked.type,
            "side": asked.side,
            "position_intent": "buy_to_open" if asked.side == "buy" else "sell_to_close",
            "time_in_force": asked.time_in_force,
            "limit_price": number(asked.limit_price),
            "stop_price": number(asked.stop_price),
            "status": self.status,
            "extended_hours": asked.extended_hours,
            "legs": None,
            "trail_percent": None,
            "trail_price": None,
            "hwm": None,
            "subtag": None,
            "source": "access_key",
        }


def asset_id(symbol: str) -> str:
    """Return the id of a symbol's asset: the same in every run."""
    return str(uuid.uuid5(ASSETS, symbol))


def unprocessable(message: str, code: int = 42210000) -> Refusal:
    """Refuse a request that makes no sense."""
    return Refusal(422, code, message)


def forbidden(message: str, **fields: Any) -> Refusal:
    """Refuse a request that the account may not make."""
    return Refusal(403, 40310000, message, fields)


def not_found(message: str) -> Refusal:
    """Refuse a request about something that is not there."""
    return Refusal(404, 40410000, message)


def read_request(body: Any, *, default_id: str) -> Request:
    """Check an order's JSON; raise `Refusal` where Alpaca, or this fake of it, takes no such order."""
    if not isinstance(body, dict):
        raise unprocessable("request body format is invalid", 40010000)
    symbol, side, kind = body.get("symbol"), body.get("side"), body.get("type")
    if not isinstance(symbol, str) or not symbol:
        raise unprocessable("symbol is required", 40010001)
    if side not in ("buy", "sell"):
        raise unprocessable(f"invalid side {side}", 40010001)
    if kind not in ("market", "limit", "stop", "stop_limit"):
        raise unprocessable(f"invalid order type {kind}", 40010001)
    if body.get("time_in_force") not in ("day", "gtc"):
        raise unprocessable(f"invalid order time_in_force {body.get('time_in_force')}", 40010001)
    if body.get("order_class") not in (None, "", "simple") or body.get("notional") is not None:
        raise unprocessable("only simple orders with a qty are taken here", 40010001)
    client_order_id = body.get("client_order_id") or default_id
    if not isinstance(client_order_id, str) or len(client_order_id) > 128:
        raise unprocessable("client_order_id must be no more than 128 characters", 40010001)
    qty = _positive(body, "qty")
    if qty is None:
        raise unprocessable("qty is required", 40010001)
    limit_price, stop_price = _positive(body, "limit_price"), _positive(body, "stop_price")
    if kind in ("limit", "stop_limit") and limit_price is None:
        raise unprocessable(f"{kind} orders require a limit price", 40010001)
    if kind in ("stop", "stop_limit") and stop_price is None:
        raise unprocessable(f"{kind} orders require a stop price", 40010001)
    if (limit_price is not None and "limit" not in kind) or (stop_price is not None and "stop" not in kind):
        raise unprocessable(f"{kind} orders require no such price", 40010001)
    for price in (limit_price, stop_price):
        if price is not None and _decimals(price) > (2 if price >= 1 else 4):
            raise unprocessable(
                f"invalid price {number(price)}. sub-penny increment does not fulfill minimum pricing criteria"
            )
    return Request(
        client_order_id=client_order_id,
        symbol=symbol,
        side=side,
        qty=qty,
        type=kind,
        time_in_force=body["time_in_force"],
        limit_price=limit_price,
        stop_price=stop_price,
        extended_hours=bool(body.get("extended_hours")),
    )


def _positive(body: Mapping[str, Any], name: str) -> Decimal | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise unprocessable(f"{name} is not a number", 40010001) from None
    if not amount.is_finite() or amount <= 0:
        raise unprocessable(f"{name} must be > 0", 40010001)
    return amount


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def is_whole(qty: Decimal) -> bool:
    """Return whether a quantity is one of whole shares."""
    return qty == qty.to_integral_value()


def has_too_many_decimals(qty: Decimal) -> bool:
    """Return whether a quantity is finer than a share can be cut."""
    return _decimals(qty) > MOST_DECIMALS
