"""What PostgreSQL knows of the market, told again to a log that has lost it: companies, earnings dates, daily bars.

Without them no entry is possible until upstream sends everything anew. Bars say that they come from here, so that they
are no news to anybody; what the new log says already of the same thing is newer, and stays.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from pydantic import BaseModel, ValidationError

from connectors import tables
from streams.codec import Deletion, Poison, encode, model_of
from streams.log import KafkaLog
from streams.settings import Settings
from streams.topics import TOPICS, partition_for
from trading.inputs import FROM_POSTGRESQL, Company, EarningsDate, PriceBar
from trading.market import KEPT_BARS

_AT_ONCE = 500
_SECONDS_TO_READ = 60.0

_log = structlog.get_logger(__name__)


class _Known(NamedTuple):
    """A topic's query and its arguments, how a row becomes a record, and what makes two records be of one thing."""

    query: str
    arguments: tuple[int, ...]
    record: Callable[[Mapping[str, Any]], BaseModel]
    thing: Callable[[Any], Any]


async def tell_again(
    lost: Collection[str], connection: asyncpg.Connection, producer: AIOKafkaProducer, settings: Settings
) -> None:
    """Send what is known to those of the three topics that are lost, by public name; repeating it changes nothing.

    Raises asyncpg's errors, aiokafka's `KafkaError` and TimeoutError.
    """
    for name, known in _KNOWN.items():
        if name in lost:
            there = await _things_on(name, known, settings)
            records = [_record(known, dict(row)) for row in await connection.fetch(known.query, *known.arguments)]
            news = [record for record in records if record is not None and known.thing(record) not in there]
            await _send(settings.topic(name), news, producer, settings)
            _log.warning("a new log is told what PostgreSQL knows", topic=name, records=len(news))


def _record(known: _Known, row: Mapping[str, Any]) -> Any:
    """Return the record that a row stands for; None for a row that a person has made unreadable."""
    try:
        return known.record(row)
    except ValidationError as error:
        _log.error("a row of the market cannot be told", symbol=row["symbol"], error=error.title)
        return None


async def _things_on(name: str, known: _Known, settings: Settings) -> set[Any]:
    """Return what the topic speaks of already; what is deleted there is spoken of too."""
    topic, things, log = TOPICS[name], set[Any](), KafkaLog(settings)
    places = [TopicPartition(settings.topic(name), number) for number in range(topic.partition_count(settings))]
    try:
        async with asyncio.timeout(_SECONDS_TO_READ):
            starts, ends = await log.starts(places), await log.ends(places)
            for place in places:
                async for record in log.read(place, begin=starts[place], end=ends[place]):
                    model = model_of(topic, record.key, record.value)
                    if isinstance(model, Deletion):
                        things.add(model.key)
                    elif not isinstance(model, Poison):
                        things.add(known.thing(model))
    finally:
        await log.close()
    return things


async def _send(topic: str, records: Collection[Any], producer: AIOKafkaProducer, settings: Settings) -> None:
    values = [(record.symbol.encode(), encode(record)) for record in records]
    for begin in range(0, len(values), _AT_ONCE):
        under_way = [
            await producer.send(topic, value, key=key, partition=partition_for(key, settings.partitions))
            for key, value in values[begin : begin + _AT_ONCE]
        ]
        await asyncio.gather(*under_way)


def _company(row: Mapping[str, Any]) -> Company:
    return Company(symbol=row["symbol"], name=row["name"], sector=row["sector"])


def _earnings(row: Mapping[str, Any]) -> EarningsDate:
    return EarningsDate.model_validate(row)


def _bar(row: Mapping[str, Any]) -> PriceBar:
    return PriceBar.model_validate({**row, "source": FROM_POSTGRESQL})


_KNOWN: dict[str, _Known] = {
    "companies": _Known(tables.ALL_COMPANIES, (), _company, lambda company: company.symbol),
    "earnings-dates": _Known(tables.ALL_EARNINGS, (), _earnings, lambda date: date.symbol),
    "price-bars": _Known(tables.NEWEST_BARS, (KEPT_BARS,), _bar, lambda bar: (bar.symbol, bar.interval, bar.at)),
}
