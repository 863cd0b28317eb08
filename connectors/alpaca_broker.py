"""The broker port for Alpaca: orders are taken over at once and pursued beside each other; REST is the truth.

`run` goes on beside the trading connector: it follows the trade updates, looks at orders of which nothing was seen for
some seconds, and takes the account's snapshots. What comes of all that leaves through `advance`, in order.
"""

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import structlog

from connectors import alpaca_orders
from connectors.alpaca_account import Figures, snapshot_of
from connectors.alpaca_backstop import Backstop, backstop_fields, without_backstops
from connectors.alpaca_book import Book, Now, Tracked
from connectors.alpaca_identity import recognise
from connectors.alpaca_orders import BACKSTOP, Execution
from connectors.alpaca_pursuit import PATIENCE, Fields, Patience, Pursuit
from connectors.alpaca_rest import AlpacaRest
from connectors.alpaca_socket import TIMES, StreamTimes
from connectors.alpaca_stream import TradeUpdates
from connectors.checks import Check
from connectors.journal import Journal
from connectors.ports import BrokerNews
from connectors.supervision import together
from trading.effects import Order, OrderCancel
from trading.money import Mode

_log = structlog.get_logger(__name__)


class Watch(NamedTuple):
    """Seconds: after which an unseen live order is looked at, a stream that missed news is mute, a snapshot is retried.

    Backstops are compared with positions each `backstop` seconds. A snapshot is taken at most `passes` times in a row
    while fills come in between.
    """

    unseen: float = 2.0
    mute: float = 5.0
    retry: float = 2.0
    backstop: float = 5.0
    passes: int = 5


WATCH = Watch()


class AlpacaBroker:
    """Trade one account at Alpaca; begin `run` beside the connector that submits, cancels and advances."""

    def __init__(
        self,
        rest: AlpacaRest,
        journal: Journal,
        *,
        account_id: str,
        mode: Mode,
        now: Now,
        check: Check,
        updates_check: Check,
        patience: Patience = PATIENCE,
        watch: Watch = WATCH,
        times: StreamTimes = TIMES,
        fields: Fields = backstop_fields,
        backstop_pct: Decimal | None = None,
    ) -> None:
        self._rest = rest
        self._journal = journal
        self._account_id, self._mode = account_id, mode
        self._is_known_here = journal.book(account_id) == mode
        self._now = now
        self._check = check
        self._watch = watch
        self._book = Book(journal, mode=mode, now=now)
        self._backstop: Backstop | None = None
        if backstop_pct is not None:
            self._book.count_shares()
            self._backstop = Backstop(rest, self._book, account_id=account_id, width=backstop_pct)
        self._pursuit = Pursuit(rest, self._book, patience, now=now, fields=fields, backstop=self._backstop)
        self._stream = TradeUpdates(
            rest.stream_url, rest.login, hear=self._hear, joined=self._look, check=updates_check, times=times
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_caught_up = False
        self._is_recognised = asyncio.Event()
        self._is_wanted, self._is_doubtful = asyncio.Event(), asyncio.Event()
        self._missed_at: float | None = None

    async def submit(self, order: Order) -> Sequence[BrokerNews]:
        """Take an order over; what happens to it comes with `advance`.

        A journal that is new, or was kept for the other mode until now, finds orders in the log that were for another
        broker or account: until it has caught up they are looked for here, and not sent.
        """
        self._book.take(order, is_fresh=self._has_caught_up, is_ours=self._is_known_here)
        return ()

    async def cancel(self, cancel: OrderCancel) -> Sequence[BrokerNews] | None:
        """Have the rest of a live order taken off the book; None: the answer comes with `advance`."""
        tracked = self._book.live(cancel.client_order_id)
        if tracked is None:
            return None if self._book.has_news_of(cancel.client_order_id) else ()
        self._book.want_cancelled(tracked, reason=cancel.reason)
        return None

    async def advance(self) -> Sequence[BrokerNews]:
        """Return what has happened since the last call; raise what ended a task that should not have ended."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()
        return self._book.collect()

    def committed(self) -> None:
        """Begin to pursue what was taken over: the journal has it."""
        for tracked in self._book.begun():
            self._tasks.add(asyncio.create_task(self._pursue(tracked)))

    async def snapshot(self, account_id: str) -> None:
        """Have the account looked at: the snapshot comes with `advance`, after the fills that it contains.

        It is asked for first when the log has been read to its end; until then an earlier run may have sent an order.
        """
        if not self._is_known_here:
            self._journal.save_book(self._account_id, self._mode)
        self._has_caught_up = self._is_known_here = True
        self._is_wanted.set()

    async def run(self) -> None:
        """Follow, look and report until cancelled; raise StrangeAccountError where the account is another one."""
        try:
            await recognise(self._rest, self._journal, mode=self._mode, check=self._check, retry=self._watch.retry)
            self._is_recognised.set()
            works = [self._stream.follow(), self._look_after_orders(), self._report()]
            if self._backstop is not None:
                works.append(self._backstop.keep(every=self._watch.backstop))
            await together(*works)
        finally:
            for task in self._tasks:
                task.cancel()
            self._rest.close()

    async def _pursue(self, tracked: Tracked) -> None:
        await self._is_recognised.wait()
        await self._pursuit.pursue(tracked)

    def _hear(self, update: Any) -> None:
        """Take in one trade update: the order as it then was, and the trade that it tells of."""
        self._missed_at = None
        found = update if isinstance(update, dict) else {}
        quantity, price = alpaca_orders.number(found.get("qty")), alpaca_orders.number(found.get("price"))
        traded = found.get("event") in ("fill", "partial_fill") and quantity is not None and price is not None
        execution = Execution(quantity, price) if traded and quantity is not None and price is not None else None
        shown = alpaca_orders.seen(found.get("order"), execution=execution)
        if shown is None:
            _log.warning("a trade update that nobody understands")
            self._look()
        elif self._book.see(shown) and shown.client_order_id.startswith(BACKSTOP):
            self._is_wanted.set()  # it has sold: the engine takes that over from two snapshots in a row
            asyncio.get_running_loop().call_later(self._watch.mute, self._is_wanted.set)

    def _look(self) -> None:
        """Have the live orders looked at now."""
        self._is_doubtful.set()

    async def _look_after_orders(self) -> None:
        """Look at the live orders when one was not seen for a while, and at the stream when it should have known."""
        while True:
            await self._doubt_or_time()
            self._is_doubtful.clear()
            if any(tracked.work.is_known for tracked in self._book):
                before = self._book.news
                if not await self._look_at_orders():
                    await asyncio.sleep(self._watch.retry)
                if self._book.news != before and self._stream.is_up and self._missed_at is None:
                    self._missed_at = time.monotonic()
            if self._missed_at is not None and time.monotonic() - self._missed_at > self._watch.mute:
                self._missed_at = None
                self._stream.restart("trade updates are mute: orders are looked up instead")

    async def _doubt_or_time(self) -> None:
        while not self._is_doubtful.is_set():
            oldest = min((each.seen_at for each in self._book if each.work.is_known), default=None)
            if oldest is not None and time.monotonic() - oldest > self._watch.unseen:
                return
            if self._missed_at is not None and time.monotonic() - self._missed_at > self._watch.mute:
                return
            try:
                async with asyncio.timeout(self._watch.unseen / 4):
                    await self._is_doubtful.wait()
            except TimeoutError:
                continue

    async def _look_at_orders(self) -> bool:
        """See every live order once: the open ones at one go, each of the others by its id; False when unclear."""
        began = time.monotonic()
        answer = await self._rest.open_orders()
        self._judge(answer.outcome == "done", answer.reason)
        for raw in answer.body if answer.outcome == "done" else ():
            shown = alpaca_orders.seen(raw)
            if shown is not None:
                self._book.see(shown)
        rest = [tracked for tracked in self._book.known() if tracked.seen_at < began]
        for tracked in rest:
            answer = await self._rest.look_up(tracked.work.order.client_order_id)
            shown = alpaca_orders.seen(answer.body)
            tracked.seen_at = time.monotonic()
            if answer.outcome == "done" and shown is not None:
                self._book.see(shown)
            elif answer.outcome != "missing":
                return False
        return answer.outcome in ("done", "missing")

    async def _report(self) -> None:
        """Take a snapshot whenever one is wanted."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            if not await self._take_snapshot():
                self._is_wanted.set()
                await asyncio.sleep(self._watch.retry)

    async def _take_snapshot(self) -> bool:
        """Report the account between two looks at the orders that saw nothing new; False when that did not succeed."""
        for _ in range(self._watch.passes):
            if not await self._look_at_orders():
                return False
            before, newest = self._book.news, self._journal.newest_order(self._account_id)
            account, positions, orders = await asyncio.gather(
                self._rest.account(), self._rest.positions(), self._rest.open_orders()
            )
            for answer in (account, positions, orders):
                if answer.outcome != "done":
                    self._judge(False, answer.reason)
                    return False
            if not await self._look_at_orders():
                return False
            if self._book.news == before:
                figures = Figures(account.body, positions.body, orders.body)
                snapshot = snapshot_of(
                    figures,
                    account_id=self._account_id,
                    newest_order_id=newest,
                    serial=time.time_ns(),
                    at=self._now(),
                )
                if snapshot is None:
                    self._judge(False, "the account's figures cannot be read")
                    return False
                self._book.report(without_backstops(snapshot))
                return True
        return False

    def _judge(self, is_well: bool, reason: str) -> None:
        """Say whether Alpaca answers."""
        if is_well:
            self._check.holds("Alpaca answers")
        else:
            self._check.fails(f"Alpaca does not answer: {reason}"[:500])
