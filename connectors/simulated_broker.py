"""The simulated broker: the credential-free default, deterministic, with cash and positions that survive a restart.

It implements `Broker` with the pure book of `simulated_book` on the ticks of a `PriceSource`; a book is saved in the
journal, in the transaction in which the caller writes down what came of it.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal

from connectors.journal import Journal
from connectors.ports import OrderEvent, PriceSource
from connectors.simulated_book import Book, Outcome, Resting, Terms, has_expired, meet, place, snapshot, take_off
from connectors.simulated_events import rejected
from trading.effects import Order, OrderCancel
from trading.inputs import AccountSnapshot

Now = Callable[[], dt.datetime | None]


class SimulatedBroker:
    """Trade the accounts whose books the journal holds; `now` is None where only the log knows the time."""

    def __init__(self, journal: Journal, prices: PriceSource, terms: Terms, *, now: Now) -> None:
        self._journal = journal
        self._prices = prices
        self._terms = terms
        self._now = now
        self._looked_until: dict[str, int] = {}
        self._waiting = {account_id for account_id in journal.accounts() if self._rests(account_id)}

    def open(self, account_id: str, *, cash: Decimal) -> bool:
        """Give an account its cash in dollars, once for ever; return whether this was the time."""
        if self._journal.book(account_id) is not None:
            return False
        self._save(Book(account_id=account_id, cash=cash))
        return True

    async def submit(self, order: Order) -> Sequence[OrderEvent]:
        """Fill the order at its symbol's last tick up to its creation, let it rest, or reject it."""
        book = self._book(order.account_id)
        if book is None:
            return (rejected(order, reason=f"unknown account {order.account_id}", at=self._now()),)
        quote = await self._prices.last(order.symbol, at=order.created_at)
        return self._kept(
            place(book, order, tick=quote.tick, from_offset=quote.from_offset, terms=self._terms, at=self._now())
        )

    async def cancel(self, cancel: OrderCancel) -> Sequence[OrderEvent]:
        """Take a resting order off the book; nothing when it does not rest."""
        book = self._book(cancel.account_id)
        for resting in book.resting if book else ():
            if book and resting.order.client_order_id == cancel.client_order_id:
                return self._kept(take_off(book, resting.order, reason=cancel.reason, at=self._now()))
        return ()

    async def advance(self) -> Sequence[OrderEvent]:
        """Fill or end the resting orders that the ticks since the last call, or the clock, have reached."""
        events: list[OrderEvent] = []
        for account_id in sorted(self._waiting):
            book = self._book(account_id)
            for resting in book.resting if book else ():
                events.extend(await self._advance(resting))
        return events

    async def snapshot(self, account_id: str) -> AccountSnapshot:
        """Return the account and count the snapshot; raises LookupError for an account without a book."""
        book = self._book(account_id)
        if book is None:
            raise LookupError(account_id)
        ticks = await self._prices.newest(holding.symbol for holding in book.holdings)
        marks = {symbol: tick.price for symbol, tick in ticks.items()}
        book = book.model_copy(update={"snapshots": book.snapshots + 1})
        self._save(book)
        newest = self._journal.newest_order(account_id)
        return snapshot(book, marks, newest_order_id=newest, at=self._now())

    def committed(self) -> None:
        """Do nothing: everything was done at once."""

    async def _advance(self, resting: Resting) -> Sequence[OrderEvent]:
        order = resting.order
        offset = self._looked_until.get(order.client_order_id, resting.from_offset)
        ticks, self._looked_until[order.client_order_id] = await self._prices.since(order.symbol, offset=offset)
        book = self._book(order.account_id)
        if book is None:
            return ()
        for tick in ticks:
            if events := self._kept(meet(book, order, tick=tick, terms=self._terms, at=self._now())):
                del self._looked_until[order.client_order_id]
                return events
        now = self._now()
        if now is not None and has_expired(order, now):
            return self._kept(take_off(book, order, reason="expired", at=now))
        return ()

    def _kept(self, outcome: Outcome) -> Sequence[OrderEvent]:
        if outcome.events:
            self._save(outcome.book)
        return outcome.events

    def _book(self, account_id: str) -> Book | None:
        saved = self._journal.book(account_id)
        return None if saved is None else Book.model_validate_json(saved)

    def _rests(self, account_id: str) -> bool:
        book = self._book(account_id)
        return book is not None and bool(book.resting)

    def _save(self, book: Book) -> None:
        if book.resting:
            self._waiting.add(book.account_id)
        else:
            self._waiting.discard(book.account_id)
        self._journal.save_book(book.account_id, book.model_dump_json())
