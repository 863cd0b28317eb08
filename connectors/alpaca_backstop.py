"""The backstop (setting `STONKS_BACKSTOP=stop`): a wide stop order at Alpaca that guards a position while we are dead.

It rests, good till cancelled, while nothing else of ours is live in the symbol, for as many shares as our fills brought
and the account holds. Whatever we send in the symbol waits until it is off the book. The engine does not know it: its
fill is told as that of an order nobody wanted, and the next two snapshots take the shares off the engine's position.
"""

import asyncio
import datetime as dt
import time
from collections import defaultdict
from collections.abc import Mapping
from decimal import ROUND_DOWN, ROUND_FLOOR, Decimal

import structlog

from connectors import alpaca_orders
from connectors.alpaca_book import Book
from connectors.alpaca_orders import BACKSTOP
from connectors.alpaca_rest import AlpacaRest, order_fields
from trading import ids
from trading.effects import Order
from trading.inputs import AccountSnapshot
from trading.money import CENT, ONE, ZERO

_log = structlog.get_logger(__name__)


class Backstop:
    """Keep one stop order beside each position, `width` (a fraction) under its average cost."""

    def __init__(self, rest: AlpacaRest, book: Book, *, account_id: str, width: Decimal) -> None:
        self._rest = rest
        self._book = book
        self._account_id = account_id
        self._width = width
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._has_looked = asyncio.Event()

    async def keep(self, *, every: float) -> None:
        """Bring the backstops in step with the positions every so many seconds, until cancelled."""
        while True:
            if not self._has_looked.is_set():
                await self._look_for_forgotten()
            if self._has_looked.is_set():
                for symbol in [symbol for symbol, shares in self._book.shares.items() if shares > 0]:
                    await self._keep(symbol)
            await asyncio.sleep(every)

    async def withdraw(self, symbol: str) -> None:
        """Take the symbol's backstop off the book and return when the broker has confirmed that, or that it filled."""
        await self._has_looked.wait()
        async with self._locks[symbol]:
            await self._withdraw(symbol)

    async def _withdraw(self, symbol: str) -> None:
        for resting in self._book.backstops(symbol):
            self._book.want_cancelled(resting, reason="an order of ours goes first")
            await resting.is_over.wait()

    async def _keep(self, symbol: str) -> None:
        """Have the right backstop rest; none while an order of ours is live in the symbol."""
        async with self._locks[symbol]:
            shares = self._book.shares[symbol].quantize(ONE, rounding=ROUND_DOWN)
            resting = self._book.backstops(symbol)
            if self._book.of(symbol) or [each.work.order.quantity for each in resting] == [shares]:
                return
            answer = await self._rest.position(symbol)
            position = answer.body if isinstance(answer.body, dict) else {}
            held = ZERO if answer.outcome == "missing" else alpaca_orders.number(position.get("qty"))
            cost = alpaca_orders.number(position.get("avg_entry_price"))
            if held is None:
                return
            quantity = min(shares, held.quantize(ONE, rounding=ROUND_DOWN))
            price = ((cost or ZERO) * (1 - self._width)).quantize(CENT, rounding=ROUND_FLOOR)
            if [each.work.order.quantity for each in resting] == [quantity]:
                return
            if resting:
                await self._withdraw(symbol)  # the next one comes with the next look: this one may have sold
            elif quantity > 0 and price > 0 and not self._book.of(symbol):
                self._book.take(self._order(symbol, quantity=quantity, price=price), is_fresh=True)

    async def _look_for_forgotten(self) -> None:
        """Take over the backstops that rest at the broker and that this journal does not know."""
        answer = await self._rest.open_orders()
        if answer.outcome != "done":
            return
        for raw in answer.body:
            shown = alpaca_orders.seen(raw)
            if shown is None or not shown.client_order_id.startswith(BACKSTOP):
                continue
            symbol, _, quantity, _, _ = shown.fields
            price = alpaca_orders.number(raw.get("stop_price"))
            if quantity is not None and price is not None:
                order = self._order(symbol, quantity=quantity, price=price)
                self._book.take(order.model_copy(update={"client_order_id": shown.client_order_id}), is_fresh=False)
                self._book.see(shown)
        self._has_looked.set()

    def _order(self, symbol: str, *, quantity: Decimal, price: Decimal) -> Order:
        serial = time.time_ns()  # ids of cancelled orders cannot be used again
        return Order.model_validate(
            {
                "client_order_id": f"{BACKSTOP}{symbol}-{serial}",
                "decision_id": ids.of("backstop", self._account_id, symbol, serial),
                "account_id": self._account_id,
                "symbol": symbol,
                "side": "sell",
                "quantity": quantity,
                "limit_price": price,
                "purpose": "stop_loss",
                "created_at": dt.datetime.now(dt.UTC),
            }
        )


def backstop_fields(order: Order) -> Mapping[str, str]:
    """Return an order as Alpaca takes it; a backstop as a stop order that stays until it is cancelled."""
    fields = order_fields(order)
    if order.client_order_id.startswith(BACKSTOP):
        stop_price = fields.pop("limit_price")
        return fields | {"type": "stop", "time_in_force": "gtc", "stop_price": stop_price}
    return fields


def without_backstops(snapshot: AccountSnapshot) -> AccountSnapshot:
    """Return a snapshot that does not show the engine orders which are none of its own, nor anybody else's."""
    others = [each for each in snapshot.open_orders if not (each.client_order_id or "").startswith(BACKSTOP)]
    return snapshot.model_copy(update={"open_orders": tuple(others)})
