"""Prices from the topic `price-ticks`: the last tick up to an instant, of all that lie in the log when one asks.

The tail of every partition is followed all the time. An instant before that tail is looked up further back in the log,
in steps that double, as far as its beginning. A plain consumer without a group: nothing of its position is kept.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence

from aiokafka import TopicPartition

from connectors.clients import consuming, quietly
from connectors.ports import Quote
from connectors.tick_tail import Placed, TickTail
from streams.codec import parse
from streams.log import KafkaLog
from streams.settings import Settings
from streams.topics import TOPICS, partition_for
from trading.inputs import PriceTicks, Tick

_TOPIC = TOPICS["price-ticks"]
_TAIL = 2_000  # records of a partition that are read at the start
_WAIT_MS = 500
_SECONDS_TO_READ = 10.0  # to an end that the broker has named: longer, and it is away
_END_OF_TIME = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


class KafkaPrices:
    """Implement `PriceSource` on Kafka; `follow` must run meanwhile."""

    def __init__(self, settings: Settings) -> None:
        self._name = settings.topic(_TOPIC.name)
        self._partitions = _TOPIC.partition_count(settings)
        self._settings = settings
        self._log = KafkaLog(settings)
        self._tails: dict[int, TickTail] = {}
        self._next: dict[int, int] = {}
        self._before_the_tail: dict[str, Tick | None] = {}
        self._moved = asyncio.Condition()

    async def follow(self) -> None:
        """Read the tail of every partition, and go on until cancelled; raises aiokafka's `KafkaError`."""
        partitions = [TopicPartition(self._name, number) for number in range(self._partitions)]
        try:
            async with consuming(self._settings) as consumer:
                consumer.assign(partitions)
                starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
                for partition in partitions:
                    begin = max(starts[partition], ends[partition] - _TAIL)
                    consumer.seek(partition, begin)
                    self._tails[partition.partition] = TickTail(self._reader(partition.partition), begin=begin)
                    await self._move(partition.partition, begin)
                while True:
                    found = await consumer.getmany(timeout_ms=_WAIT_MS)
                    for partition, records in found.items():
                        tail = self._tails[partition.partition]
                        for record in records:
                            if record.key is not None and record.value is not None:
                                tail.add(record.offset, record.key, record.value)
                        await self._move(partition.partition, records[-1].offset + 1)
        finally:
            await quietly(self._log.close)

    async def last(self, symbol: str, *, at: dt.datetime) -> Quote:
        """Return the symbol's tick with the greatest instant up to `at`; of two at one instant, the later in the log.

        Raises aiokafka's `KafkaError` when the broker is away.
        """
        partition = await self._read_to_the_end(symbol)
        tail = self._tails[partition.partition]
        best = _latest(tail.ticks(symbol), at=at)
        if best is not None:
            return Quote(best[1], best[0])
        return await self._look_back(symbol, partition, at=at)

    async def newest(self, symbols: Iterable[str]) -> Mapping[str, Tick]:
        """Return the newest tick of each symbol that ever had one; asks the broker once for all of them.

        Raises aiokafka's `KafkaError` when the broker is away.
        """
        places = {symbol: self._place(symbol) for symbol in symbols}
        await self._read_to_the_ends(set(places.values()))
        found: dict[str, Tick] = {}
        for symbol, partition in places.items():
            best = _latest(self._tails[partition.partition].ticks(symbol), at=_END_OF_TIME)
            if best is not None:
                found[symbol] = best[1]
                continue
            if symbol not in self._before_the_tail:  # what lies before the tail does not change any more
                quote = await self._look_back(symbol, partition, at=_END_OF_TIME)
                self._before_the_tail[symbol] = quote.tick
            if (tick := self._before_the_tail[symbol]) is not None:
                found[symbol] = tick
        return found

    async def since(self, symbol: str, *, offset: int) -> tuple[Sequence[Tick], int]:
        """Return the symbol's ticks at `offset` or after in the log's order, and the offset to continue from.

        An offset beyond the end is one of a log that is lost: of the one that follows it every tick is new.
        """
        partition = await self._read_to_the_end(symbol)
        tail, end = self._tails[partition.partition], self._next[partition.partition]
        offset = offset if offset <= end else 0
        newest = [each for each in tail.ticks(symbol) if each.offset >= offset]
        begin = tail.begin(symbol)
        start = (await self._log.starts([partition]))[partition] if offset < begin else begin
        older = [each async for each in self._read(symbol, partition, begin=max(offset, start), end=begin)]
        return [tick for each in (*older, *newest) for tick in each.ticks], end

    async def _look_back(self, symbol: str, partition: TopicPartition, *, at: dt.datetime) -> Quote:
        """Search what lies before the tail, back to the log's start."""
        start = (await self._log.starts([partition]))[partition]
        begin, step = self._tails[partition.partition].begin(symbol), _TAIL
        while begin > start:
            end, begin = begin, max(start, begin - step)
            best = _latest([each async for each in self._read(symbol, partition, begin=begin, end=end)], at=at)
            if best is not None:
                return Quote(best[1], best[0])
            step *= 2
        return Quote(None, begin)

    def _place(self, symbol: str) -> TopicPartition:
        return TopicPartition(self._name, partition_for(symbol.encode(), self._partitions))

    async def _read_to_the_end(self, symbol: str) -> TopicPartition:
        """Wait until the symbol's partition is read to the end that it has now."""
        partition = self._place(symbol)
        await self._read_to_the_ends({partition})
        return partition

    async def _read_to_the_ends(self, partitions: Collection[TopicPartition]) -> None:
        ends = await self._log.ends(partitions) if partitions else {}
        async with asyncio.timeout(_SECONDS_TO_READ), self._moved:
            await self._moved.wait_for(
                lambda: all(self._next.get(place.partition, -1) >= end for place, end in ends.items())
            )

    async def _move(self, number: int, next_offset: int) -> None:
        async with self._moved:
            self._next[number] = next_offset
            self._moved.notify_all()

    async def _read(self, symbol: str, partition: TopicPartition, *, begin: int, end: int) -> AsyncIterator[Placed]:
        key, read = symbol.encode(), self._reader(partition.partition)
        async for record in self._log.read(partition, begin=begin, end=end):
            if record.key == key and record.value is not None:
                yield Placed(record.offset, read(key, record.value))

    def _reader(self, number: int) -> Callable[[bytes, bytes], tuple[Tick, ...]]:
        def read(key: bytes, value: bytes) -> tuple[Tick, ...]:
            """Return the record's ticks; none of one that `intake` has dead-lettered."""
            found = parse(_TOPIC, key, value, partition=number, partitions=self._partitions)
            return found.each if isinstance(found, PriceTicks) else ()

        return read


def _latest(records: Iterable[Placed], *, at: dt.datetime) -> tuple[int, Tick] | None:
    """Return the tick with the greatest instant up to `at`, the last of equals, and its record's offset."""
    known = [(record.offset, tick) for record in records for tick in record.ticks if tick.at <= at]
    return max(reversed(known), key=lambda each: each[1].at, default=None)
