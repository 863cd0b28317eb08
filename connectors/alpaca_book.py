"""The orders that Alpaca's connector has taken over: what is known of them, and what is to be told next.

Whoever sees an order, the stream or an answer, brings it here. What came of it waits until the trading connector
commits it, with the order's state, to the journal: so what is told and what is remembered never part.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

import structlog

from connectors import alpaca_orders
from connectors.alpaca_orders import End, Seen, Told, Work
from connectors.journal import Journal
from connectors.ports import OrderEvent
from trading.effects import Order
from trading.inputs import AccountSnapshot, OrderFill
from trading.money import ZERO, Mode

Now = Callable[[], dt.datetime | None]
_log = structlog.get_logger(__name__)


class Tracked:
    """One order that is live: its work, and when it was last seen at the broker.

    `is_fresh`: nobody can have sent it before. `is_settled` is set once it is known whether it was placed, `is_over`
    once nothing happens to it any more. `changes` is for the one task that pursues the order.
    """

    def __init__(self, work: Work, *, is_fresh: bool) -> None:
        self.work = work
        self.is_fresh = is_fresh
        self.seen_at = time.monotonic()
        self.is_settled, self.is_over = asyncio.Event(), asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def symbol(self) -> str:
        """Return what is traded."""
        return self.work.order.symbol

    def note(self, work: Work) -> None:
        """Take over what is now known, and wake whoever waits for it."""
        self.work = work
        if work.is_known or work.is_over:
            self.is_settled.set()
        if work.is_over:
            self.is_over.set()
        self._changed.set()

    async def changes(self, *, seconds: float | None = None) -> None:
        """Return when something has become known since this was last awaited, or when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()


class Book:
    """Keep the live orders of one account; everything it tells goes through `collect`.

    `shares` are those that orders have brought, by symbol, since `count_shares` counted those of this journal. Of a
    backstop, which nobody else knows, only fills are told. The journal may hold orders of the other `mode`, which this
    account never had: one that is live is forgotten to be known, so that it is looked for here.
    """

    def __init__(self, journal: Journal, *, mode: Mode, now: Now) -> None:
        self._journal = journal
        self._mode = mode
        self._now = now
        self._told: list[OrderEvent | AccountSnapshot] = []
        self._unsaved: dict[str, Work] = {}
        self._live: dict[str, Tracked] = {}
        self.shares: dict[str, Decimal] = {}
        self._sold_by_backstop: dict[str, Decimal] = {}
        self._begun: list[Tracked] = []
        for saved in journal.live_works():
            work = Work.model_validate_json(saved)
            is_strange = not self.is_ours(work)
            self._track(work.model_copy(update={"broker_order_id": None}) if is_strange else work, is_fresh=False)
        self.news = 0

    def __iter__(self) -> Iterator[Tracked]:
        """Give the live orders in the order in which they came, without the backstops."""
        return iter([tracked for tracked in self._live.values() if not tracked.work.is_backstop])

    def known(self) -> list[Tracked]:
        """Return the live orders that the broker has, backstops too."""
        return [tracked for tracked in self._live.values() if tracked.work.is_known]

    def of(self, symbol: str) -> list[Tracked]:
        """Return the live orders of a symbol, without the backstops."""
        return [tracked for tracked in self if tracked.symbol == symbol]

    def backstops(self, symbol: str) -> list[Tracked]:
        """Return the live backstops of a symbol."""
        return [one for one in self._live.values() if one.work.is_backstop and one.symbol == symbol]

    def take(self, order: Order, *, is_fresh: bool, is_ours: bool = True) -> None:
        """Take an order over, once; `is_fresh`: nobody can have sent it before; `is_ours`: it is for this account."""
        if self._known(order.client_order_id) is None:
            work = Work(order=order, mode=self._mode if is_ours else None)
            self._unsaved[order.client_order_id] = self._track(work, is_fresh=is_fresh).work

    def is_ours(self, work: Work) -> bool:
        """Tell whether an order is for this account, so that it may be sent."""
        return work.mode == self._mode

    def begun(self) -> list[Tracked]:
        """Return the orders that have become live since the last call: nobody pursues them yet."""
        begun, self._begun = self._begun, []
        return begun

    def count_shares(self) -> None:
        """Count what every order of this journal has brought and taken."""
        for saved in self._journal.works():
            self._count(Work.model_validate_json(saved), told=ZERO)

    def was_sold_by_backstop(self, order: Order) -> bool:
        """Tell whether a backstop has sold what an order wants to sell, so that its shares would be somebody else's."""
        left = self.shares.get(order.symbol, ZERO)
        return left < order.quantity <= left + self._sold_by_backstop.get(order.symbol, ZERO)

    def has_news_of(self, client_order_id: str) -> bool:
        """Tell whether something of an order is still to be told."""
        return client_order_id in self._unsaved

    def live(self, client_order_id: str) -> Tracked | None:
        """Return an order to which something may still happen."""
        return self._live.get(client_order_id)

    def before(self, tracked: Tracked) -> Iterable[Tracked]:
        """Return the live orders of the same symbol that came earlier; a backstop waits for none."""
        live = self.of(tracked.symbol)
        return live[: live.index(tracked)] if tracked in live else ()

    def see(self, shown: Seen) -> bool:
        """Take in how an order looks at the broker; return whether that was news.

        Orders of others are none. One that has our id is adopted when it is what we meant, and refused loudly else.
        """
        work = self._known(shown.client_order_id)
        if work is None:
            return False
        live = self._live.get(shown.client_order_id)
        if live is not None:
            live.seen_at = time.monotonic()
        if not (work.is_known or work.is_backstop or alpaca_orders.is_same(work.order, shown)):
            return live is not None and self._refuse(live, shown)
        ours = work.model_copy(update={"mode": self._mode})  # this account has it, whoever it seemed to be for
        told = alpaca_orders.observe(ours, shown, at=self.moment(shown.at))
        if live is None and not told.work.is_over:
            _log.error("an order that was given up is there after all", client_order_id=shown.client_order_id)
            self._track(told.work, is_fresh=False)
        return self.tell(told, before=work)

    def finish(self, tracked: Tracked, *, status: End, reason: str) -> None:
        """End an order that the broker does not have."""
        self.tell(alpaca_orders.end(tracked.work, status=status, reason=reason, at=self._now()), before=tracked.work)

    def doubt(self, tracked: Tracked, *, reason: str) -> None:
        """Say that nobody knows whether the broker has the order."""
        self.tell(alpaca_orders.doubt(tracked.work, reason=reason, at=self._now()), before=tracked.work)

    def want_cancelled(self, tracked: Tracked, *, reason: str) -> None:
        """Note that an order's cancel is asked for."""
        if tracked.work.cancel_reason is None:
            self.tell(Told(tracked.work.model_copy(update={"cancel_reason": reason})), before=tracked.work)

    def report(self, snapshot: AccountSnapshot) -> None:
        """Tell how the account stands, after everything that was told so far."""
        self._told.append(snapshot)

    def tell(self, told: Told, *, before: Work) -> bool:
        """Take over what an order has become, and what is to be told of it; return whether anything is."""
        if told.work == before:
            return False
        client_order_id = told.work.order.client_order_id
        events = [event for event in told.events if not told.work.is_backstop or isinstance(event, OrderFill)]
        self._unsaved[client_order_id] = told.work
        self._told += events
        self.news += len(events)
        self._count(told.work, told=before.filled)
        tracked = self._live.get(client_order_id)
        if tracked is not None:
            tracked.note(told.work)
            if told.work.is_over:
                del self._live[client_order_id]
        return bool(events)

    def collect(self) -> list[OrderEvent | AccountSnapshot]:
        """Save what has changed, inside the caller's transaction, and return what is to be told."""
        for client_order_id, work in self._unsaved.items():
            self._journal.save_work(client_order_id, work.model_dump_json(), is_live=not work.is_over)
        told = self._told
        self._unsaved, self._told = {}, []
        return told

    def moment(self, at: dt.datetime | None) -> dt.datetime | None:
        """Return the broker's instant, or ours where it has none or is ahead of us; None where only the log knows."""
        now = self._now()
        return now if at is None or now is None else min(at, now)

    def _refuse(self, tracked: Tracked, shown: Seen) -> bool:
        reason = f"the broker has another order under this id: {shown.fields}"
        _log.error(reason, client_order_id=shown.client_order_id)
        self.finish(tracked, status="rejected", reason=reason)
        return True

    def _count(self, work: Work, *, told: Decimal) -> None:
        """Count the shares that an order brought or took since `told` of them were counted."""
        if not self.is_ours(work):
            return
        moved = work.filled - told if work.order.side == "buy" else told - work.filled
        symbol = work.order.symbol
        self.shares[symbol] = self.shares.get(symbol, ZERO) + moved
        if work.is_backstop:
            self._sold_by_backstop[symbol] = self._sold_by_backstop.get(symbol, ZERO) - moved

    def _track(self, work: Work, *, is_fresh: bool) -> Tracked:
        tracked = self._live[work.order.client_order_id] = Tracked(work, is_fresh=is_fresh)
        tracked.note(work)
        self._begun.append(tracked)
        return tracked

    def _known(self, client_order_id: str) -> Work | None:
        if client_order_id in self._live:
            return self._live[client_order_id].work
        if client_order_id in self._unsaved:
            return self._unsaved[client_order_id]
        saved = self._journal.work(client_order_id) if client_order_id else None
        return None if saved is None else Work.model_validate_json(saved)
