"""What goes out: one record for one topic, and its delivery, which ends with the broker's acknowledgement."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import NamedTuple, Protocol

from pydantic import BaseModel

from streams.codec import DeadLetter, encode
from streams.topics import level_key, partition_for
from trading.effects import (
    Decision,
    Effect,
    LevelsRemoved,
    Notification,
    Order,
    OrderCancel,
    QuoteRequest,
    StopLevels,
)
from trading.events import Event
from trading.inputs import EarningsDate, MarketStress


class Outgoing(NamedTuple):
    """A record on its way to a public topic; without `partition` it goes where its key belongs."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int | None = None


class Send(Protocol):
    """Hand one record to the producer; await the answer for the broker's acknowledgement."""

    async def __call__(self, outgoing: Outgoing) -> Awaitable[object]:
        """Return what to await."""


async def deliver(send: Send, outgoing: Iterable[Outgoing]) -> None:
    """Send all and return when the broker has acknowledged each; those of one partition keep their order."""
    await asyncio.gather(*[await send(one) for one in outgoing])


def to_inbox(event: Event) -> Outgoing:
    """Return the inbox record of an event."""
    return Outgoing("account-inbox", event.account_id.encode(), encode(event))


def to_market_stress(reading: MarketStress) -> Outgoing:
    """Return the record of a reading of market volatility."""
    return Outgoing("market-stress", b"market", encode(reading))


def to_earnings_dates(date: EarningsDate) -> Outgoing:
    """Return the record of an earnings date, keyed by its symbol."""
    return Outgoing("earnings-dates", date.symbol.encode(), encode(date))


def to_dead_letters(letter: DeadLetter) -> Outgoing:
    """Return the record of a dead letter, keyed by the topic it came from."""
    return Outgoing("dead-letters", letter.topic.encode(), encode(letter))


def of_effect(effect: Effect, *, partitions: int) -> Outgoing:
    """Return the record that carries an effect out of the step."""
    match effect:
        case StopLevels() | LevelsRemoved():
            # Keyed by symbol and account, but it has to meet the symbol's prices.
            value = None if isinstance(effect, LevelsRemoved) else encode(effect)
            place = partition_for(effect.symbol.encode(), partitions)
            return Outgoing("stop-levels", level_key(effect.symbol, effect.account_id), value, place)
        case QuoteRequest():
            return Outgoing("quote-requests", effect.symbol.encode(), encode(effect))
        case _:
            topic = _BY_ACCOUNT.get(type(effect), "records")
            return Outgoing(topic, effect.account_id.encode(), encode(effect))


_BY_ACCOUNT: dict[type[BaseModel], str] = {
    Order: "orders",
    OrderCancel: "order-cancels",
    Decision: "decisions",
    Notification: "notifications",
}
