"""What the agents work with, as plain dicts and lists."""

import datetime as dt
import json
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

from agents.clock import Now
from agents.ticks import Ticks
from streams.log import Record
from streams.outbox import Outgoing
from streams.topics import partition_for
from tables.facts import Facts
from trading.effects import StopLevels, WatchLevel

OPEN = dt.datetime(2026, 3, 2, 14, 30, tzinfo=dt.UTC)


def at(seconds: float) -> dt.datetime:
    return OPEN + dt.timedelta(seconds=seconds)


def text(seconds: float) -> str:
    return at(seconds).isoformat().replace("+00:00", "Z")


class Sent(list[Outgoing]):
    """A producer that remembers, and acknowledges when it is awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged = 0

    async def __call__(self, outgoing: Outgoing) -> Awaitable[object]:
        self.append(outgoing)

        async def acknowledge() -> None:
            self.acknowledged += 1

        return acknowledge()

    def values(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(one.value) for one in self if one.topic == topic and one.value is not None]

    @property
    def inbox(self) -> list[dict[str, Any]]:
        return self.values("account-inbox")


def record(topic: str, value: Any, key: str, *, offset: int = 0, partitions: int = 4, timestamp: int = 0) -> Record:
    raw = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    place = partition_for(key.partition("/")[0].encode(), partitions)
    return Record(topic, place, offset, key.encode(), raw, timestamp)


def by_events() -> Now:
    return Now(by_events=True)


def facts() -> Facts:
    return Facts({})


def ticks(*prices: str, begin: float = 0, step: float = 1, symbol: str = "AAPL", is_quote: bool = False) -> Ticks:
    instants = [at(begin + step * number) for number in range(len(prices))]
    return Ticks.of(symbol, instants, [Decimal(price) for price in prices], is_quote=is_quote)


def levels(
    stop: str | None = "90",
    target: str | None = "120",
    *watch: tuple[str, str],
    revision: int = 1,
    set_at: float = 0,
    account: str = "paper",
) -> StopLevels:
    return StopLevels(
        account_id=account,
        symbol="AAPL",
        revision=revision,
        set_at=at(set_at),
        stop=None if stop is None else Decimal(stop),
        target=None if target is None else Decimal(target),
        watch=tuple(WatchLevel(reason=reason, price=Decimal(price)) for reason, price in watch),  # type: ignore[arg-type]
        interval_seconds=60,
    )
