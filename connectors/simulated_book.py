"""The simulated broker's book: cash, holdings and resting orders of one account, as pure functions.

A market order fills at the tick it is given, worse by the slippage and rounded to the cent against us. Partial fills
and rejections are decided by a hash of the seed and the `client_order_id`: the same orders and ticks give the same
events.
"""

import datetime as dt
import hashlib
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from connectors.ports import OrderEvent
from connectors.simulated_events import accepted, broker_order_id, cancelled, filled, rejected
from trading import ids
from trading.effects import Order
from trading.inputs import (
    AccountSnapshot,
    BrokerOrder,
    BrokerPosition,
    Tick,
)
from trading.money import ONE, ZERO, AccountId, Exact, Frozen, Symbol, cents_down, cents_up, total
from trading.trading_window import new_york_date

DECIMALS = 12  # that a quantity may have on `broker-events`
CUT_SHORT_PCT = 25  # of the partial orders: the second half is cancelled instead of filled
_NINE_PLACES = Decimal("0.000000001")
_BASIS_POINTS = 10_000


class Terms(Frozen):
    """How orders are filled: slippage in basis points, partial and rejected orders in percent of all."""

    slippage_bps: int = 5
    partial_pct: int = 0
    reject_pct: int = 0
    seed: int = 1


class Holding(Frozen):
    """Shares of a symbol and what one cost on average, in dollars, to nine places."""

    symbol: Symbol
    quantity: Exact
    avg_entry_price: Exact


class Resting(Frozen):
    """A limit order that waits for its price; `from_offset` is where the ticks after it begin in their log."""

    order: Order
    from_offset: int


class Book(Frozen):
    """One account at the simulated broker; `snapshots` counts those that were taken."""

    account_id: AccountId
    cash: Exact
    holdings: tuple[Holding, ...] = ()
    resting: tuple[Resting, ...] = ()
    snapshots: int = 0

    def held(self, symbol: str) -> Decimal:
        """Return how many shares of a symbol are held."""
        return total(holding.quantity for holding in self.holdings if holding.symbol == symbol)

    @property
    def buying_power(self) -> Decimal:
        """Return the cash that no resting buy keeps."""
        return self.cash - total(_cost_of(each.order) for each in self.resting if each.order.side == "buy")

    def sellable(self, symbol: str) -> Decimal:
        """Return the shares of a symbol that no resting sell keeps."""
        kept = (each.order for each in self.resting if each.order.side == "sell" and each.order.symbol == symbol)
        return self.held(symbol) - total(order.quantity for order in kept)


class Outcome(NamedTuple):
    """The book afterwards, and what is to be told."""

    book: Book
    events: tuple[OrderEvent, ...]


def place(
    book: Book, order: Order, *, tick: Tick | None, from_offset: int, terms: Terms, at: dt.datetime | None
) -> Outcome:
    """Fill an order at `tick`, the last one up to its creation, or reject it, or let it rest.

    A market order needs a tick of its own New York day. `at` is the instant of the events, None without a clock.
    """
    today = tick is not None and new_york_date(tick.at) == new_york_date(order.created_at)
    price = fill_price(order, tick.price, terms) if tick is not None and today else None
    rests = price is None and order.order_type == "limit"
    refusal = _refusal(book, order, price=order.limit_price if rests else price, terms=terms)
    if refusal:
        return Outcome(book, (rejected(order, reason=refusal, at=at),))
    taken = accepted(order, at=at)
    if price is not None:
        book, events = _fill(book, order, price=price, terms=terms, at=at)
        return Outcome(book, (taken, *events))
    if has_expired(order, order.created_at):
        return Outcome(book, (taken, cancelled(order, ZERO, reason="expired", at=at)))
    waiting = Resting(order=order, from_offset=from_offset)
    return Outcome(book.model_copy(update={"resting": (*book.resting, waiting)}), (taken,))


def meet(book: Book, order: Order, *, tick: Tick, terms: Terms, at: dt.datetime | None) -> Outcome:
    """Fill a resting order at a tick that reaches its limit, or end it at one that comes after its time."""
    if tick.at < order.created_at:
        return Outcome(book, ())
    if has_expired(order, tick.at):
        return take_off(book, order, reason="expired", at=at)
    price = fill_price(order, tick.price, terms)
    if price is None:
        return Outcome(book, ())
    return _fill(_without(book, order), order, price=price, terms=terms, at=at)


def take_off(book: Book, order: Order, *, reason: str, at: dt.datetime | None) -> Outcome:
    """Cancel a resting order."""
    return Outcome(_without(book, order), (cancelled(order, ZERO, reason=reason, at=at),))


def snapshot(book: Book, marks: dict[str, Decimal], *, newest_order_id: str, at: dt.datetime | None) -> AccountSnapshot:
    """Return the account as a broker reports it; a holding without a mark counts at its cost."""
    value = total(each.quantity * marks.get(each.symbol, each.avg_entry_price) for each in book.holdings)
    return AccountSnapshot(
        event_id=ids.of("account_snapshot", book.account_id, book.snapshots),
        account_id=book.account_id,
        at=at,
        cash=book.cash,
        buying_power=book.buying_power,
        equity=book.cash + value,
        positions=tuple(
            BrokerPosition(symbol=each.symbol, quantity=each.quantity, avg_entry_price=each.avg_entry_price)
            for each in book.holdings
        ),
        open_orders=tuple(_open(each.order) for each in book.resting),
        newest_order_id=newest_order_id,
    )


def fill_price(order: Order, price: Decimal, terms: Terms) -> Decimal | None:
    """Return what a share costs at a tick, to the cent against us; None where a limit order does not reach it.

    A limit caps the slippage. A price under a cent is not rounded: there would be nothing left of it.
    """
    limit = order.limit_price if order.order_type == "limit" else None
    slippage = price * terms.slippage_bps / _BASIS_POINTS
    if order.side == "buy":
        if limit is not None and price > limit:
            return None
        worse = cents_up(price + slippage)
        return worse if limit is None else min(worse, limit)
    if limit is not None and price < limit:
        return None
    worse = cents_down(price - slippage) or price
    return worse if limit is None else max(worse, limit)


def has_expired(order: Order, now: dt.datetime) -> bool:
    """Return whether an order's time is over: its `valid_until` is reached, or its day in New York has ended."""
    if order.valid_until is not None and now >= order.valid_until:
        return True
    return new_york_date(now) > new_york_date(order.created_at)


def fill_quantities(order: Order, terms: Terms) -> tuple[Decimal, ...]:
    """Return the shares of each fill; less than the order where the rest of a partial one is cancelled."""
    half = (order.quantity / 2).quantize(ONE, rounding=ROUND_DOWN)
    if half == 0 or not _is_among(terms.partial_pct, "partial", order, terms):
        return (order.quantity,)
    if _is_among(CUT_SHORT_PCT, "cut short", order, terms):
        return (half,)
    return (half, order.quantity - half)


def _fill(book: Book, order: Order, *, price: Decimal, terms: Terms, at: dt.datetime | None) -> Outcome:
    events: list[OrderEvent] = []
    cumulative = ZERO
    for quantity in fill_quantities(order, terms):
        cumulative += quantity
        book = _booked(book, order, quantity=quantity, price=price)
        events.append(filled(order, quantity=quantity, price=price, cumulative=cumulative, at=at))
    if cumulative < order.quantity:
        events.append(cancelled(order, cumulative, reason="simulated: the rest was cancelled", at=at))
    return Outcome(book, tuple(events))


def _booked(book: Book, order: Order, *, quantity: Decimal, price: Decimal) -> Book:
    """Move cash and shares: what a fill costs leaves the cash, what it brings enters it, and nothing else."""
    bought = quantity if order.side == "buy" else -quantity
    before = next((each for each in book.holdings if each.symbol == order.symbol), None)
    held, average = (before.quantity, before.avg_entry_price) if before else (ZERO, ZERO)
    if bought > 0:
        cost = held * average + bought * price
        average = (cost / (held + bought)).quantize(_NINE_PLACES, rounding=ROUND_HALF_EVEN)
    others = tuple(each for each in book.holdings if each.symbol != order.symbol)
    after = Holding(symbol=order.symbol, quantity=held + bought, avg_entry_price=average)
    holdings = (*others, after) if after.quantity else others
    return book.model_copy(update={"cash": book.cash - bought * price, "holdings": holdings})


def _refusal(book: Book, order: Order, *, price: Decimal | None, terms: Terms) -> str | None:
    """Return why the order cannot be taken; `price` is what a share costs at most, None when nobody knows."""
    if malformed := _malformed(order):
        return malformed
    if _is_among(terms.reject_pct, "reject", order, terms):
        return "simulated rejection"
    if price is None:
        return f"no price of {order.symbol} on {new_york_date(order.created_at)}"
    if order.side == "buy" and order.quantity * price > book.buying_power:
        return f"insufficient cash: {order.quantity * price} is needed, {book.buying_power} is there"
    if order.side == "sell" and order.quantity > book.sellable(order.symbol):
        return f"insufficient shares: {order.quantity} to sell, {book.sellable(order.symbol)} are there"
    return None


def _malformed(order: Order) -> str | None:
    if order.quantity <= 0:
        return f"quantity {order.quantity} is not positive"
    if order.quantity != round(order.quantity, DECIMALS):
        return f"quantity {order.quantity} has more than {DECIMALS} decimals"
    if order.order_type == "limit" and (order.limit_price is None or order.limit_price <= 0):
        return "a limit order needs a limit price"
    return None


def _is_among(percent: int, what: str, order: Order, terms: Terms) -> bool:
    """Return whether chance, which is a hash of its causes, picks this order."""
    digest = hashlib.sha256(f"{terms.seed}|{what}|{order.client_order_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100 < percent


def _without(book: Book, order: Order) -> Book:
    kept = tuple(each for each in book.resting if each.order.client_order_id != order.client_order_id)
    return book.model_copy(update={"resting": kept})


def _cost_of(order: Order) -> Decimal:
    return order.quantity * (order.limit_price or ZERO)


def _open(order: Order) -> BrokerOrder:
    return BrokerOrder(
        client_order_id=order.client_order_id,
        broker_order_id=broker_order_id(order.client_order_id),
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        filled_quantity=ZERO,
    )
