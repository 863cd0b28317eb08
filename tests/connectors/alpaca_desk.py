"""The Alpaca broker against the fake, driven as the trading connector drives it, with waits of milliseconds."""

import asyncio
import contextlib
import datetime as dt
import pathlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from decimal import Decimal
from typing import Any

from pydantic import SecretStr

from connectors.alpaca_backstop import backstop_fields
from connectors.alpaca_broker import AlpacaBroker, Watch
from connectors.alpaca_client import Timeouts
from connectors.alpaca_pursuit import Fields, Patience
from connectors.alpaca_rest import AlpacaRest
from connectors.alpaca_socket import StreamTimes
from connectors.checks import Check
from connectors.journal import Journal
from tests.connectors.examples import NOON
from tests.fakes.alpaca import FakeAlpaca
from trading.effects import Order, OrderCancel
from trading.inputs import AccountSnapshot, BrokerEvent, OrderFill
from trading.money import Mode

CASH = Decimal(1000)
PRICE = Decimal("10.01")
HELD = Decimal(6)
"""Shares of AAPL that the account holds before the first order."""

PATIENCE = Patience(misses=3, between_looks=0.05, first_rest=0.03, longest_rest=0.2, confirmation=0.15)
WATCH = Watch(unseen=0.2, mute=0.4, retry=0.05, backstop=0.05)
TIMES = StreamTimes(login=2, heartbeat=5, first_rest=0.05, longest_rest=0.2)
TIMEOUTS = Timeouts(connect=0.5, read=0.25, whole=0.5)

Now = Callable[[], dt.datetime | None]


class Desk:
    """One account: what the broker tells of it, in order, and what a fold of that gives."""

    def __init__(self, broker: AlpacaBroker, journal: Journal, check: Check, updates: Check) -> None:
        self.broker, self._journal = broker, journal
        self.check, self.updates = check, updates
        self.events: list[BrokerEvent] = []

    async def turn(self, *actions: Order | OrderCancel) -> None:
        """Do what the trading connector does in one turn."""
        with self._journal.transaction():
            for action in actions:
                if isinstance(action, Order):
                    self.events += await self.broker.submit(action)
                    self._journal.save_newest_order(action.account_id, action.client_order_id)
                else:
                    self.events += await self.broker.cancel(action) or ()
            told = await self.broker.advance()
            self._journal.add(told)
            self.events += told
        self.broker.committed()

    async def until(self, condition: Callable[[], Any], *, seconds: float = 10) -> None:
        """Take turns until something holds; fail with what was told when it never does."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, [event.kind for event in self.events]
            await asyncio.sleep(0.005)
            await self.turn()

    async def rest(self, seconds: float) -> None:
        """Take turns for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            await asyncio.sleep(0.01)
            await self.turn()

    async def look(self) -> AccountSnapshot:
        """Ask for a snapshot and return it."""
        before = len(self.snapshots)
        await self.broker.snapshot("paper")
        await self.until(lambda: len(self.snapshots) > before)
        return self.snapshots[-1]

    @property
    def snapshots(self) -> list[AccountSnapshot]:
        """Return the snapshots so far."""
        return [event for event in self.events if isinstance(event, AccountSnapshot)]

    def kinds(self, client_order_id: str) -> list[str]:
        """Return what was told of an order, by kind."""
        return [event.kind for event in self.events if getattr(event, "client_order_id", None) == client_order_id]

    def fills(self, client_order_id: str = "") -> list[OrderFill]:
        """Return the fills of one order, or of all."""
        found = [event for event in self.events if isinstance(event, OrderFill)]
        return [fill for fill in found if client_order_id in ("", fill.client_order_id)]

    def has_ended(self, order: Order) -> bool:
        """Tell whether an order's end was told."""
        told = self.kinds(order.client_order_id)
        filled = sum(fill.quantity for fill in self.fills(order.client_order_id))
        return "order_cancelled" in told or "order_rejected" in told or filled >= order.quantity


class Oracle:
    """What must be so at the end, whatever happened in between; the fake's own log is the truth."""

    def __init__(self, fake: FakeAlpaca, desk: Desk, orders: Mapping[str, Order]) -> None:
        self._fake, self._desk, self._orders = fake, desk, orders

    def created(self) -> Counter[str]:
        """Count the orders that the broker took by what they trade, so that one without our id counts too."""
        return Counter(f"{entry['side']} {entry['symbol']}" for entry in self._fake.log.of("created"))

    def wrong(self) -> list[str]:
        """Return everything that is not as it must be."""
        found: list[str] = []
        meant = Counter(f"{order.side} {order.symbol}" for order in self._orders.values())
        found += [f"{what}: {count} too many" for what, count in (self.created() - meant).items()]
        cash, held = CASH, Counter({"AAPL": HELD})
        for order in self._orders.values():
            found += list(self._wrong_of(order))
            for fill in self._desk.fills(order.client_order_id):
                sign = 1 if order.side == "buy" else -1
                cash -= sign * fill.quantity * fill.price + fill.fee
                held[order.symbol] += sign * fill.quantity
        state = self._fake.exchange.state
        if cash != state.cash:
            found.append(f"cash: {cash}, the broker has {state.cash}")
        theirs = {symbol: position.qty for symbol, position in state.positions.items()}
        if {symbol: count for symbol, count in held.items() if count} != theirs:
            found.append(f"positions: {held}, the broker has {theirs}")
        ids = [event.event_id for event in self._desk.events]
        return found + [f"said twice: {each}" for each, count in Counter(ids).items() if count > 1]

    def _wrong_of(self, order: Order) -> list[str]:
        name, told = order.client_order_id, self._desk.kinds(order.client_order_id)
        found = []
        fills = self._desk.fills(name)
        cumulative = [fill.cumulative_quantity for fill in fills]
        if cumulative != sorted(set(cumulative)):
            found.append(f"{name}: cumulative quantities {cumulative}")
        for fill in fills:
            if fill.fill_id != f"{name}:{fill.cumulative_quantity:f}":
                found.append(f"{name}: {fill.fill_id}")
        is_placed = self._fake.log.of("created", client_order_id=name)
        if not is_placed and told[-1:] not in (["order_rejected"], ["order_cancelled"]):
            found.append(f"{name}: not placed, and nothing says why: {told}")
        if told.count("order_unknown") > 1:
            found.append(f"{name}: unknown more than once")
        if fills and told.index("order_fill") < told.index("order_accepted"):
            found.append(f"{name}: filled before it was accepted")
        return found


@contextlib.asynccontextmanager
async def desk_of(
    fake: FakeAlpaca,
    folder: pathlib.Path,
    *,
    mode: Mode = "paper",
    now: Now = lambda: None,
    fields: Fields = backstop_fields,
    patience: Patience = PATIENCE,
    is_up: bool = True,
    **options: Any,
) -> AsyncIterator[Desk]:
    """Open a desk that hears of trades (where it `is_up`); a folder that had one before is taken up again."""
    journal = Journal(folder / "alpaca.sqlite")
    rest = AlpacaRest(
        key_id=SecretStr(fake.keys.key_id), secret_key=SecretStr(fake.keys.secret_key), url=fake.url, timeouts=TIMEOUTS
    )
    check, updates = Check("alpaca", required=True), Check("trade_updates", required=False)
    broker = AlpacaBroker(
        rest,
        journal,
        account_id="paper",
        mode=mode,
        now=now,
        check=check,
        updates_check=updates,
        patience=patience,
        watch=WATCH,
        times=TIMES,
        fields=fields,
        **options,
    )
    desk = Desk(broker, journal, check, updates)
    running = asyncio.create_task(broker.run())
    try:
        await desk.until(lambda: running.done() or updates.ok or not is_up)
        if running.done():
            running.result()
        yield desk
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        journal.close()


@contextlib.asynccontextmanager
async def exchange(**options: Any) -> AsyncIterator[FakeAlpaca]:
    """Give a fake with some cash, some shares, and prices that stand still; it is noon on a day of trade."""
    async with FakeAlpaca(cash=CASH, prices={"AAPL": PRICE, "KO": PRICE}, at=NOON, **options) as fake:
        fake.exchange.set_position("AAPL", HELD, avg_entry_price=Decimal(9))
        yield fake
