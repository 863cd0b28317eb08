"""The broker's book, pure: cash, positions and orders, and what each order, fill and end does to them.

A state is never changed, a new one takes its place: so a lagging read is an older state. Cash and shares are conserved
by construction, ids are used once for ever, also those of orders that were cancelled.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType

from tests.fakes.alpaca.orders import (
    ZERO,
    Order,
    Request,
    Status,
    Terms,
    forbidden,
    has_too_many_decimals,
    is_whole,
    not_found,
    unprocessable,
)
from tests.fakes.alpaca.wire import number

CASH_ACCOUNT_BELOW = Decimal(2000)


@dataclasses.dataclass(frozen=True)
class Position:
    """Shares of one symbol and what they cost together; `qty` is positive."""

    qty: Decimal
    cost: Decimal

    @property
    def avg_entry_price(self) -> Decimal:
        """Return the average cost of a share in dollars."""
        return self.cost / self.qty


@dataclasses.dataclass(frozen=True)
class Fill:
    """One execution; `cum_qty` counts it and all before it."""

    id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    cum_qty: Decimal
    leaves_qty: Decimal
    at: dt.datetime


@dataclasses.dataclass(frozen=True)
class State:
    """The account at one instant."""

    cash: Decimal
    positions: Mapping[str, Position] = dataclasses.field(default_factory=dict)
    orders: Mapping[str, Order] = dataclasses.field(default_factory=dict)
    ids: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fills: tuple[Fill, ...] = ()

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Return what may still fill, oldest first."""
        return [one for one in self.orders.values() if one.is_open and symbol in (None, one.request.symbol)]

    def by_client_order_id(self, client_order_id: str) -> Order:
        """Return the order with an id of its client's; raise `Refusal` (404)."""
        if client_order_id not in self.ids:
            raise not_found(f"order not found for {client_order_id}")
        return self.orders[self.ids[client_order_id]]

    def order(self, order_id: str) -> Order:
        """Return the order with an id of the broker's; raise `Refusal` (404)."""
        if order_id not in self.orders:
            raise not_found(f"order not found for {order_id}")
        return self.orders[order_id]

    def held(self, symbol: str) -> Decimal:
        """Return how many shares open sells hold."""
        return sum((one.leaves_qty for one in self.open_orders(symbol) if one.request.side == "sell"), ZERO)

    def available(self, symbol: str) -> Decimal:
        """Return how many shares could be sold now."""
        position = self.positions.get(symbol)
        return (position.qty if position else ZERO) - self.held(symbol)

    def market_value(self, prices: Mapping[str, Decimal]) -> Decimal:
        """Return what the positions are worth; a symbol without a price counts at its cost."""
        return sum(
            (one.qty * prices[symbol] if symbol in prices else one.cost for symbol, one in self.positions.items()), ZERO
        )

    def buying_power(self, prices: Mapping[str, Decimal]) -> Decimal:
        """Return what new buys may cost: once the cash, twice with 2,000 dollars of equity, less open buys."""
        value = self.market_value(prices)
        equity = self.cash + value
        power = self.cash if equity < CASH_ACCOUNT_BELOW else 2 * self.cash + value
        buys = (one for one in self.open_orders() if one.request.side == "buy")
        return max(ZERO, power - sum((one.leaves_qty * one.hold_price for one in buys), ZERO))


def assert_allowed(
    state: State, asked: Request, *, prices: Mapping[str, Decimal], hold_price: Decimal, fractionable: bool
) -> None:
    """Raise `Refusal` where the account may not have the order."""
    if asked.client_order_id in state.ids:
        raise unprocessable("client_order_id must be unique", 40010001)
    if not is_whole(asked.qty):
        _assert_fraction(asked, fractionable=fractionable)
    if asked.side == "sell":
        _assert_shares(state, asked)
    _assert_no_wash_trade(state, asked)
    cost, power = asked.qty * hold_price, state.buying_power(prices)
    if asked.side == "buy" and cost > power:
        raise forbidden("insufficient buying power", buying_power=number(power), cost_basis=number(cost))


def _assert_fraction(asked: Request, *, fractionable: bool) -> None:
    if not fractionable:
        raise forbidden(f'asset "{asked.symbol}" is not fractionable')
    if has_too_many_decimals(asked.qty):
        raise unprocessable("qty must be limited to 9 decimal places", 40010001)
    if asked.time_in_force != "day":
        raise unprocessable("fractional orders must be DAY orders")


def _assert_shares(state: State, asked: Request) -> None:
    available, position = state.available(asked.symbol), state.positions.get(asked.symbol)
    if position is None:
        raise forbidden("account is not allowed to short")
    if asked.qty > available:
        related = [one.id for one in state.open_orders(asked.symbol) if one.request.side == "sell"]
        raise forbidden(
            f"insufficient qty available for order (requested: {number(asked.qty)}, available: {number(available)})",
            available=number(available),
            existing_qty=number(position.qty),
            held_for_orders=number(position.qty - available),
            related_orders=related,
            symbol=asked.symbol,
        )


def _assert_no_wash_trade(state: State, asked: Request) -> None:
    for other in state.open_orders(asked.symbol):
        if other.request.side == asked.side:
            continue
        both = (asked, other.request)
        limits = {one.side: one.limit_price for one in both if one.type == "limit"}
        if len(limits) == len(both):
            buy, sell = limits["buy"], limits["sell"]
            if buy is not None and sell is not None and buy < sell:
                continue
        raise forbidden(
            "potential wash trade detected. use complex orders",
            existing_order_id=other.id,
            reject_reason="opposite side market/stop order exists"
            if len(limits) < len(both)
            else "opposite side limit order exists",
        )


def placed(
    state: State,
    asked: Request,
    *,
    order_id: str,
    now: dt.datetime,
    expires_at: dt.datetime | None,
    hold_price: Decimal,
    is_session: bool,
    terms: Terms,
) -> State:
    """Take an order that is allowed into the book."""
    status: Status = "pending_new" if is_session else "accepted"
    order = Order(order_id, asked, status, now, now, expires_at, hold_price, terms=terms)
    ids = MappingProxyType({**state.ids, asked.client_order_id: order_id})
    return dataclasses.replace(with_order(state, order), ids=ids)


def with_order(state: State, order: Order) -> State:
    """Put an order in the place of what it was."""
    return dataclasses.replace(state, orders=MappingProxyType({**state.orders, order.id: order}))


def moved(state: State, order_id: str, status: Status, *, now: dt.datetime) -> State:
    """Change an order's status; an end stamps its instant."""
    order = state.order(order_id)
    order = dataclasses.replace(
        order,
        status=status,
        updated_at=now,
        canceled_at=now if status == "canceled" else order.canceled_at,
        expired_at=now if status == "expired" else order.expired_at,
        failed_at=now if status == "rejected" else order.failed_at,
    )
    return with_order(state, order)


def filled(
    state: State, order_id: str, *, qty: Decimal, price: Decimal, fill_id: str, now: dt.datetime
) -> tuple[State, Fill]:
    """Execute a part of an order; `qty` is at most what it leaves."""
    order = state.order(order_id)
    asked = order.request
    if not 0 < qty <= order.leaves_qty:
        raise ValueError(f"{qty} of {order.leaves_qty}")
    is_done = qty == order.leaves_qty
    status: Status = (
        "filled" if is_done else "pending_cancel" if order.status == "pending_cancel" else "partially_filled"
    )
    order = dataclasses.replace(
        order,
        status=status,
        filled_qty=order.filled_qty + qty,
        filled_value=order.filled_value + qty * price,
        fills=order.fills + 1,
        filled_at=now if is_done else None,
        updated_at=now,
    )
    fill = Fill(
        fill_id,
        order_id,
        asked.client_order_id,
        asked.symbol,
        asked.side,
        qty,
        price,
        order.filled_qty,
        order.leaves_qty,
        now,
    )
    cash = state.cash - qty * price if asked.side == "buy" else state.cash + qty * price
    position = _after(state.positions.get(asked.symbol), asked.side, qty=qty, price=price)
    state = with_position(with_order(state, order), asked.symbol, position)
    return dataclasses.replace(state, cash=cash, fills=(*state.fills, fill)), fill


def _after(position: Position | None, side: str, *, qty: Decimal, price: Decimal) -> Position | None:
    if side == "buy":
        before = position or Position(ZERO, ZERO)
        return Position(before.qty + qty, before.cost + qty * price)
    if position is None or qty > position.qty:
        raise ValueError(f"{qty} shares to sell, {position.qty if position else 0} are there")
    if qty == position.qty:
        return None
    return Position(position.qty - qty, position.cost * (position.qty - qty) / position.qty)


def with_position(state: State, symbol: str, position: Position | None) -> State:
    """Put a position in the place of what it was; None takes it away."""
    positions = {name: one for name, one in state.positions.items() if name != symbol}
    if position is not None:
        positions[symbol] = position
    return dataclasses.replace(state, positions=MappingProxyType(positions))


def restored(cash: Decimal, positions: Mapping[str, Position], orders: Iterable[Order], fills: Iterable[Fill]) -> State:
    """Return a state from its parts."""
    by_id = {one.id: one for one in orders}
    return State(
        cash,
        MappingProxyType(dict(positions)),
        MappingProxyType(by_id),
        MappingProxyType({one.request.client_order_id: one.id for one in by_id.values()}),
        tuple(fills),
    )


def triggered(state: State, order_id: str) -> State:
    """Note that the market has reached an order's stop price: from now on it is a market or a limit order."""
    return with_order(state, dataclasses.replace(state.order(order_id), triggered=True))
