"""An honest broker for the state machine: its own books are the oracle, its messages may come late or reordered."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trading.effects import Order

ZERO = Decimal(0)


@dataclass
class Ticket:
    """An order as the broker knows it."""

    order: Order
    filled: Decimal = ZERO
    is_open: bool = True

    @property
    def left(self) -> Decimal:
        return self.order.quantity - self.filled


@dataclass
class PaperBroker:
    """Cash, shares and orders; what it has said and not delivered yet lies in `mail`."""

    cash: Decimal
    shares: dict[str, Decimal] = field(default_factory=dict)
    tickets: dict[str, Ticket] = field(default_factory=dict)
    mail: list[dict[str, Any]] = field(default_factory=list)
    names: int = 0

    def take(self, order: Order, *, again: bool) -> None:
        """Take an order; the same id twice is a fault of the engine, unless it says `again` what it has said."""
        if again:
            assert self.tickets[order.client_order_id].order == order, "an order has changed"
            return
        assert order.client_order_id not in self.tickets, "the same order was sent twice"
        self.tickets[order.client_order_id] = Ticket(order)

    @property
    def open(self) -> list[Ticket]:
        return [ticket for ticket in self.tickets.values() if ticket.is_open]

    def fill(self, ticket: Ticket, quantity: Decimal, *, price: Decimal, fee: Decimal) -> None:
        """Fill a part of an order: move cash and shares at once, tell of it by mail."""
        sign = 1 if ticket.order.side == "buy" else -1
        symbol = ticket.order.symbol
        self.cash -= sign * quantity * price + fee
        self.shares[symbol] = self.shares.get(symbol, ZERO) + sign * quantity
        assert self.shares[symbol] >= 0, "more was sold than is held"
        ticket.filled += quantity
        ticket.is_open = ticket.left > 0
        body = {
            "fill_id": f"{ticket.order.client_order_id}:{ticket.filled:f}",
            "quantity": quantity,
            "price": price,
            "cumulative_quantity": ticket.filled,
            "leaves_quantity": ticket.left,
            "fee": fee,
        }
        self._say("order_fill", ticket, **body)

    def accept(self, ticket: Ticket) -> None:
        self._say("order_accepted", ticket)

    def lose_sight(self, ticket: Ticket) -> None:
        self._say("order_unknown", ticket, reason="timeout")

    def end(self, ticket: Ticket) -> None:
        """Reject an order of which nothing is filled, cancel any other."""
        ticket.is_open = False
        if ticket.filled == 0 and len(self.tickets) % 2:
            self._say("order_rejected", ticket, reason="not today")
        else:
            self._say("order_cancelled", ticket, cumulative_quantity=ticket.filled)

    def account(self) -> dict[str, Any]:
        """Return the broker's account as a snapshot tells it."""
        positions = [
            {"symbol": symbol, "quantity": quantity, "avg_entry_price": "1"}
            for symbol, quantity in self.shares.items()
            if quantity
        ]
        cash = self.cash
        body = {"kind": "account_snapshot", "cash": cash, "buying_power": max(ZERO, cash), "equity": cash}
        body["newest_order_id"] = next(reversed(self.tickets), "")
        return self._named(body | {"positions": positions, "open_orders": [_listed(ticket) for ticket in self.open]})

    def _say(self, kind: str, ticket: Ticket, **fields: Any) -> None:
        order = ticket.order
        body = {"kind": kind, "client_order_id": order.client_order_id, "symbol": order.symbol}
        self.mail.append(self._named(body | fields))

    def _named(self, body: dict[str, Any]) -> dict[str, Any]:
        self.names += 1
        return body | {"event_id": f"event-{self.names}", "account_id": "paper"}


def _listed(ticket: Ticket) -> dict[str, Any]:
    """Return an open order as a snapshot lists it."""
    order = ticket.order
    known = {"client_order_id": order.client_order_id, "broker_order_id": f"b-{order.client_order_id}"}
    terms = {"symbol": order.symbol, "side": order.side, "quantity": order.quantity}
    return known | terms | {"filled_quantity": ticket.filled}
