"""What the connectors need of the world, as protocols: a broker, and a source of prices."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from trading.effects import Order, OrderCancel
from trading.inputs import AccountSnapshot, OrderAccepted, OrderCancelled, OrderFill, OrderRejected, OrderUnknown, Tick

OrderEvent = OrderAccepted | OrderRejected | OrderFill | OrderCancelled | OrderUnknown
BrokerNews = OrderEvent | AccountSnapshot


class Broker(Protocol):
    """Carry out orders and say what became of them; the caller asks for one thing at a time.

    All but `committed` is called inside the caller's transaction, so that nothing here may take its time.
    """

    async def submit(self, order: Order) -> Sequence[BrokerNews]:
        """Carry out an order whose `client_order_id` was never told of, and return what happened to it so far."""

    async def cancel(self, cancel: OrderCancel) -> Sequence[BrokerNews] | None:
        """Take the rest of an order off the book; nothing when there is no rest, None when `advance` will tell."""

    async def advance(self) -> Sequence[BrokerNews]:
        """Return what happened by itself since the last call: fills and ends of orders, snapshots that were due."""

    async def snapshot(self, account_id: str) -> AccountSnapshot | None:
        """Return the account as it stands after everything returned so far; None when `advance` will tell."""

    def committed(self) -> None:
        """Hear that what was taken over is in the journal."""


class Quote(NamedTuple):
    """The last tick up to an instant, None when there is none; later ones lie at `from_offset` of its log or after."""

    tick: Tick | None
    from_offset: int


class PriceSource(Protocol):
    """Give the ticks of a symbol from a log."""

    async def last(self, symbol: str, *, at: dt.datetime) -> Quote:
        """Return the tick with the greatest `at` up to an instant, of all that lie in the log when this is called."""

    async def newest(self, symbols: Iterable[str]) -> Mapping[str, Tick]:
        """Return the newest tick of each symbol that ever had one."""

    async def since(self, symbol: str, *, offset: int) -> tuple[Sequence[Tick], int]:
        """Return the ticks that lie at `offset` or after in the log's order, and the offset to continue from."""
