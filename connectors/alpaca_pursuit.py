"""One order's way to the broker: sent once whatever happens, cancelled when that is asked for, never left in doubt.

After every unclear answer the order is looked up by its id, several times before it is sent again with the same id,
because a lagging read says "not there" of an order that is. What is certainly not placed is sent again until its time
is over. Each order has a task of its own: only those of its own symbol that came earlier are waited for.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import structlog

from connectors import alpaca_orders
from connectors.alpaca_book import Book, Now, Tracked
from connectors.alpaca_rest import AlpacaRest, Answer, order_fields
from connectors.simulated_book import has_expired
from streams.crash import crash_point
from trading.effects import Order
from trading.money import ZERO

_log = structlog.get_logger(__name__)


class Patience(NamedTuple):
    """Seconds and counts of the connector's waits.

    `misses` look-ups, `between_looks` apart, must find nothing before an order counts as not placed.
    """

    misses: int = 4
    between_looks: float = 0.5
    first_rest: float = 0.25
    longest_rest: float = 5.0
    confirmation: float = 1.0


PATIENCE = Patience()
Fields = Callable[[Order], Mapping[str, str]]


class Withdrawing(Protocol):
    """What takes its own order of a symbol off the book, so that another one can go."""

    async def withdraw(self, symbol: str) -> None:
        """Return when no order of its own rests in the symbol."""


class Pursuit:
    """Pursue the orders of a book; `pursue` is one order's task."""

    def __init__(
        self,
        rest: AlpacaRest,
        book: Book,
        patience: Patience,
        *,
        now: Now,
        fields: Fields = order_fields,
        backstop: Withdrawing | None = None,
    ) -> None:
        self._rest = rest
        self._book = book
        self._patience = patience
        self._now = now
        self._fields = fields
        self._backstop = backstop

    async def pursue(self, tracked: Tracked) -> None:
        """Place an order, and take it off the book when that is asked for; return when it is over."""
        for earlier in self._book.before(tracked):
            await earlier.is_settled.wait()
        if self._backstop is not None and not tracked.work.is_backstop:
            await self._backstop.withdraw(tracked.symbol)
            self._refuse_what_is_sold(tracked)
        await self._place(tracked)
        rest = self._patience.first_rest
        while not tracked.work.is_over:
            if tracked.work.cancel_reason is None:
                await tracked.changes()
            else:
                await self._cancel(tracked, patience=rest)
                rest = self._longer(rest)

    async def _place(self, tracked: Tracked) -> None:
        """Send an order until it is known whether the broker has it."""
        is_clear = tracked.is_fresh
        rest = self._patience.first_rest
        while not tracked.is_settled.is_set():
            if not is_clear:
                await self._look_for(tracked)
                is_clear = True
            elif (end := self._no_longer(tracked)) is not None:
                self._book.finish(tracked, status="cancelled", reason=end)
            else:
                answer = await self._send(tracked)
                is_clear = answer.outcome not in ("unclear", "duplicate")
                if answer.outcome == "held":
                    await self._clear_the_way(tracked)
                if answer.outcome in ("not_sent", "held") and not tracked.is_settled.is_set():
                    await tracked.changes(seconds=rest)
                    rest = self._longer(rest)

    async def _send(self, tracked: Tracked) -> Answer:
        order = tracked.work.order
        crash_point("broker.before_post")
        answer = await self._rest.place(self._fields(order))
        crash_point("broker.posted")
        said = {"client_order_id": order.client_order_id, "symbol": order.symbol, "reason": answer.reason}
        if answer.outcome == "done":
            shown = alpaca_orders.seen(answer.body)
            if shown is None:
                answer = Answer("unclear", reason="an answer that is no order")
            else:
                self._book.see(shown._replace(client_order_id=order.client_order_id))
        if answer.outcome == "held" and (order.side == "buy" or tracked.work.is_backstop):
            answer = answer._replace(outcome="refused")  # what is in its way is an exit
        if answer.outcome == "refused" and not tracked.is_settled.is_set():
            self._book.finish(tracked, status="rejected", reason=answer.reason)
        elif answer.outcome in ("unclear", "duplicate"):
            self._book.doubt(tracked, reason=answer.reason)
        if answer.outcome != "done":
            _log.warning(f"an order was not simply taken: {answer.outcome}", **said)
        return answer

    async def _look_for(self, tracked: Tracked) -> None:
        """Look an order up until it is found, or often enough not found to count as not placed."""
        misses, rest = 0, self._patience.first_rest
        while not tracked.is_settled.is_set() and misses < self._patience.misses:
            answer = await self._rest.look_up(tracked.work.order.client_order_id)
            shown = alpaca_orders.seen(answer.body)
            if answer.outcome == "done" and shown is not None:
                self._book.see(shown)
            elif answer.outcome == "missing":
                misses += 1
                await until(tracked.is_settled, seconds=self._patience.between_looks)
            else:
                self._book.doubt(tracked, reason=answer.reason or "a look-up's answer that is no order")
                await until(tracked.is_settled, seconds=rest)
                rest = self._longer(rest)

    def _no_longer(self, tracked: Tracked) -> str | None:
        """Return why an order that is certainly not placed is not to be sent any more."""
        order, now = tracked.work.order, self._now()
        if tracked.work.cancel_reason is not None:
            return tracked.work.cancel_reason
        if now is not None and has_expired(order, now):
            return f"not sent: its time was over at {_its_end(order)}"
        if not self._book.is_ours(tracked.work):
            return "not sent: it was made before this account was traded"
        return None

    async def _clear_the_way(self, tracked: Tracked) -> None:
        """Cancel what of ours keeps the shares, wait for its end, and see that there is enough left to sell."""
        order = tracked.work.order
        others = [other for other in self._book.of(order.symbol) if other.work.is_known]
        for other in others:
            self._book.want_cancelled(other, reason=f"its shares are wanted for {order.client_order_id}")
        for other in others:
            await other.is_over.wait()
        await self._see_that_it_is_held(tracked)

    def _refuse_what_is_sold(self, tracked: Tracked) -> None:
        """Refuse a sell of shares that the backstop has sold, of which the engine does not know yet."""
        order = tracked.work.order
        if order.side == "sell" and not tracked.is_settled.is_set() and self._book.was_sold_by_backstop(order):
            self._book.finish(tracked, status="rejected", reason="the backstop has sold the shares")

    async def _see_that_it_is_held(self, tracked: Tracked) -> None:
        """Refuse a sell of more than is held: what stood in its way may have sold the shares."""
        answer = await self._rest.position(tracked.work.order.symbol)
        quantity = alpaca_orders.number(answer.body.get("qty")) if isinstance(answer.body, dict) else None
        held = ZERO if answer.outcome == "missing" else quantity
        if held is not None and held < tracked.work.order.quantity and not tracked.is_settled.is_set():
            self._book.finish(tracked, status="rejected", reason=f"{held:f} shares are held")

    async def _cancel(self, tracked: Tracked, *, patience: float) -> None:
        """Ask for a cancel once, and wait for the order to say so; look it up where it stays silent."""
        broker_order_id = tracked.work.broker_order_id
        if broker_order_id is None:
            return
        crash_point("broker.before_cancel")
        answer = await self._rest.cancel(broker_order_id)
        if tracked.work.is_over:
            return
        if answer.outcome == "done":
            await until(tracked.is_over, seconds=self._patience.confirmation)
            if tracked.work.is_over:
                return
        shown = alpaca_orders.seen((await self._rest.look_up(tracked.work.order.client_order_id)).body)
        if shown is not None:
            self._book.see(shown)
        await until(tracked.is_over, seconds=patience)

    def _longer(self, rest: float) -> float:
        return min(rest * 2, self._patience.longest_rest)


async def until(event: asyncio.Event, *, seconds: float) -> None:
    """Return when something has happened, or when the time is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _its_end(order: Order) -> str:
    end: dt.datetime = order.valid_until or order.created_at
    return end.isoformat() if order.valid_until is not None else f"the end of {end.date()}"
