"""The exchange: takes orders into the book, fills, cancels and expires them as the market and the clock say.

Every change is published as a trade update, written to the log, and kept; reads may look at an older state.
"""

import datetime as dt
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Any, Protocol

from tests.fakes.alpaca import book
from tests.fakes.alpaca.book import Fill, Position, State
from tests.fakes.alpaca.clock import coming_session
from tests.fakes.alpaca.market import Market, Quote
from tests.fakes.alpaca.order_log import OrderLog
from tests.fakes.alpaca.orders import WHOLE, Order, Request, Terms, is_whole, read_request, unprocessable
from tests.fakes.alpaca.wire import number

SECONDS_OF_HISTORY = 300.0
LEAST = Decimal("0.000000001")
NAMES = uuid.UUID("0c8a8a3e-3f0e-4a86-9d38-0e2f6a5d9b52")

Publish = Callable[[str, Order, Fill | None, Decimal], None]


class Keeper(Protocol):
    """Something that remembers a state over a restart."""

    def keep(self, state: State) -> None:
        """Write down what has changed."""


class Exchange:
    """Hold the account's state and bring it forward; one at a time, on one event loop."""

    def __init__(
        self, market: Market, log: OrderLog, state: State, *, publish: Publish, keeper: Keeper | None = None
    ) -> None:
        self.market = market
        self.log = log
        self.state = state
        self._publish = publish
        self._keeper = keeper
        self._past: deque[tuple[float, State]] = deque([(time.monotonic(), state)])
        self._next_part_at: dict[str, float] = {}
        self._cancels_at: dict[str, float] = {}
        market.on_trade.append(lambda _: self.step())

    def seen(self, *, seconds_ago: float = 0.0) -> State:
        """Return the state, or what it was some seconds ago."""
        then = time.monotonic() - seconds_ago
        older = [state for at, state in self._past if at <= then]
        return self.state if not seconds_ago else older[-1] if older else self._past[0][1]

    def submit(self, body: Any, terms: Terms = WHOLE) -> Order:
        """Take an order's JSON into the book and return it; raises `Refusal`."""
        now = self._now()
        number_of = len(self.state.orders) + 1
        order_id = self._id("order", number_of)
        asked = read_request(body, default_id=self._id("client", number_of))
        listing, quote = self.market.listings.get(asked.symbol), self.market.quote(asked.symbol)
        if listing is None or quote is None:
            raise unprocessable(f'asset "{asked.symbol}" not found')
        if not listing.tradable:
            raise unprocessable(f'asset "{asked.symbol}" is not tradable')
        hold_price = asked.limit_price or asked.stop_price or quote.ask
        book.assert_allowed(
            self.state,
            asked,
            prices=self.market.prices(),
            hold_price=hold_price,
            fractionable=listing.fractionable,
        )
        session = self.market.clock.session()
        self._put(
            book.placed(
                self.state,
                asked,
                order_id=order_id,
                now=now,
                expires_at=coming_session(now).close_at if asked.time_in_force == "day" else None,
                hold_price=hold_price,
                is_session=session is not None,
                terms=terms,
            )
        )
        self._log_order("created", order_id)
        if session is not None and terms.first:
            self._match(order_id, quote)
        if session is None:
            self._tell("accepted", order_id)
        return self.state.order(order_id)

    def cancel(self, order_id: str) -> None:
        """Take an order off the book, at once or after its terms' seconds; raises `Refusal`."""
        order = self.state.order(order_id)
        if not order.is_open:
            raise unprocessable(f'order is already in "{order.status}" state')
        if order.terms.cancel_seconds:
            self._cancels_at.setdefault(order_id, time.monotonic() + order.terms.cancel_seconds)
            self._move(order_id, "pending_cancel")
        else:
            self._move(order_id, "canceled")
            self._log_order("canceled", order_id)

    def set_cash(self, cash: Decimal) -> None:
        """Have the account hold this much cash."""
        self._put(State(cash, self.state.positions, self.state.orders, self.state.ids, self.state.fills))
        self.log.add("cash_set", self._now(), cash=number(cash))

    def set_position(self, symbol: str, qty: Decimal, *, avg_entry_price: Decimal) -> None:
        """Have the account hold shares that no order here bought; none takes the position away."""
        position = Position(qty, qty * avg_entry_price) if qty else None
        self._put(book.with_position(self.state, symbol, position))
        self.log.add("position_set", self._now(), symbol=symbol, qty=number(qty))

    def step(self) -> None:
        """Bring every open order to now."""
        now, in_session = self._now(), self.market.clock.session() is not None
        for order in self.state.open_orders():
            if order.expires_at is not None and now >= order.expires_at:
                self._move(order.id, "expired")
                self._log_order("expired", order.id)
                continue
            if order.status == "pending_new" or (order.status == "accepted" and in_session):
                self._move(order.id, "new")
            if time.monotonic() >= self._cancels_at.get(order.id, float("inf")):
                self._move(order.id, "canceled")
                self._log_order("canceled", order.id)
                continue
            quote = self.market.quote(order.request.symbol)
            if in_session and quote is not None:
                self._match(order.id, quote)

    def _match(self, order_id: str, quote: Quote) -> None:
        """Fill what the market's prices and the order's terms let fill now."""
        while (order := self.state.order(order_id)).is_open:
            price = self._price_for(order, quote)
            if price is None or (qty := self._part_of(order)) is None:
                return
            fill_id = self._id("fill", len(self.state.fills) + 1)
            state, fill = book.filled(self.state, order_id, qty=qty, price=price, fill_id=fill_id, now=self._now())
            self._put(state)
            self._next_part_at[order_id] = time.monotonic() + order.terms.seconds
            self._tell("fill" if fill.leaves_qty == 0 else "partial_fill", order_id, fill)
            self.log.add(
                "fill",
                fill.at,
                order_id=order_id,
                client_order_id=fill.client_order_id,
                symbol=fill.symbol,
                side=fill.side,
                qty=number(qty),
                price=number(price),
                cum_qty=number(fill.cum_qty),
                leaves_qty=number(fill.leaves_qty),
            )

    def _price_for(self, order: Order, quote: Quote) -> Decimal | None:
        """Return what a share costs the order now, None while it rests."""
        asked = order.request
        is_buy = asked.side == "buy"
        touch, last = quote.ask if is_buy else quote.bid, self.market.prices()[asked.symbol]
        if asked.stop_price is not None and not order.triggered:
            if last < asked.stop_price if is_buy else last > asked.stop_price:
                return None
            self._put(book.triggered(self.state, order.id))
        if asked.limit_price is not None and (touch > asked.limit_price if is_buy else touch < asked.limit_price):
            return None
        return touch

    def _part_of(self, order: Order) -> Decimal | None:
        """Return how many shares the order's terms let fill now, None when it is not time, or none will."""
        terms = order.terms
        limit = terms.parts if terms.filled_parts is None else terms.filled_parts
        if order.fills >= limit or time.monotonic() < self._next_part_at.get(order.id, 0.0):
            return None
        reached = part(order.request, parts=terms.parts, number_of=order.fills + 1)
        return reached - order.filled_qty or None

    def _move(self, order_id: str, status: Any) -> None:
        self._put(book.moved(self.state, order_id, status, now=self._now()))
        self._tell(status, order_id)

    def _tell(self, event: str, order_id: str, fill: Fill | None = None) -> None:
        order = self.state.order(order_id)
        position = self.state.positions.get(order.request.symbol)
        self._publish(event, order, fill, position.qty if position else Decimal(0))

    def _log_order(self, what: str, order_id: str) -> None:
        order = self.state.order(order_id)
        asked = order.request
        self.log.add(
            what,
            self._now(),
            order_id=order_id,
            client_order_id=asked.client_order_id,
            symbol=asked.symbol,
            side=asked.side,
            qty=number(asked.qty),
            filled_qty=number(order.filled_qty),
        )

    def _put(self, state: State) -> None:
        self.state = state
        now = time.monotonic()
        self._past.append((now, state))
        while len(self._past) > 1 and self._past[1][0] < now - SECONDS_OF_HISTORY:
            self._past.popleft()
        if self._keeper is not None:
            self._keeper.keep(state)

    def _id(self, what: str, number_of: int) -> str:
        return str(uuid.uuid5(NAMES, f"{self.market.seed}:{what}:{number_of}"))

    def _now(self) -> dt.datetime:
        return self.market.clock.now()


def part(asked: Request, *, parts: int, number_of: int) -> Decimal:
    """Return how many shares are filled after a number of equal parts; whole ones where there is one for each."""
    if number_of >= parts:
        return asked.qty
    unit = Decimal(1) if is_whole(asked.qty) and asked.qty >= parts else LEAST
    return (asked.qty * number_of / parts).quantize(unit, rounding=ROUND_DOWN)


def account_of(state: State, prices: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return the account's amounts in dollars by their names."""
    value = state.market_value(prices)
    return {
        "cash": state.cash,
        "equity": state.cash + value,
        "long_market_value": value,
        "buying_power": state.buying_power(prices),
    }
