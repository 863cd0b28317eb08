"""A topic read past Faust altogether: for `price-ticks`, of which Faust could deliver too few.

Faust spends a quarter of a millisecond on a record. A feed is a plain consumer, the guard's own way of reading, on the
partitions whose numbers Faust assigned this worker on the other topics. It begins where the tables say and its offsets
are the log's own, so that it needs no guard.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.held import Held
from streams.log import Record
from streams.security import for_aiokafka
from streams.settings import Settings

_WAIT_MS = 200
_RETRY_SECONDS = 0.5
# A slice is what is applied before others have their turn on the event loop: one or two milliseconds of ticks.
_SLICE_WEIGHT = 128 * 1024
_RECORD_WEIGHT = 1024

_log = structlog.get_logger(__name__)


class Source(Protocol):
    """What a feed reads from."""

    async def begin(self, begins: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these offsets, and no others."""

    async def more(self) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what has come, after a short wait for it: by partition, in order, with a `Record`'s attributes."""

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset before which everything was given, or is no record."""


class KafkaSource:
    """Read a broker's log without a group; waits for a broker that is away."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connected: AIOKafkaConsumer | None = None

    async def begin(self, begins: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these offsets, and no others."""
        consumer = await self._consumer()
        consumer.unsubscribe()
        if begins:
            consumer.assign(list(begins))
            for here, offset in begins.items():
                consumer.seek(here, offset)

    async def more(self) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what has come; raises aiokafka's `OffsetOutOfRangeError` when the log lost what comes next."""
        consumer = await self._consumer()
        if not consumer.assignment():
            await asyncio.sleep(_WAIT_MS / 1000)
            return {}
        found: Mapping[TopicPartition, Sequence[Any]] = await consumer.getmany(timeout_ms=_WAIT_MS)
        return found

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset before which everything was given, or is no record."""
        return int(await (await self._consumer()).position(partition))

    async def close(self) -> None:
        """Disconnect."""
        if self._connected is not None:
            await self._connected.stop()
            self._connected = None

    async def _consumer(self) -> AIOKafkaConsumer:
        while self._connected is None:
            consumer = AIOKafkaConsumer(
                **for_aiokafka(self._settings), enable_auto_commit=False, auto_offset_reset="none"
            )
            try:
                await consumer.start()
                self._connected = consumer
            except KafkaError as error:
                await consumer.stop()
                _log.warning("the broker does not answer", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
        return self._connected


class Feed(Held):
    """Give the records of the partitions that this worker holds, each once and in the partition's order."""

    def __init__(self, topic: str, *, source: Source) -> None:
        super().__init__(topic)
        self._source = source
        self._nudged: Mapping[int, int] | None = None

    def open(self, begins: Mapping[int, int]) -> None:
        """Begin at these offsets; call it when the tables are complete, and then `nudge` with the ends of the log."""
        self._nudged = None
        super().open(begins)

    def nudge(self, ends: Mapping[int, int]) -> None:
        """Let `slices` say when what lies before `ends` has been applied."""
        if self._nudged is None:
            self._nudged = dict(ends)

    async def slices(self) -> AsyncIterator[Sequence[Record] | None]:
        """Give records of one partition, some at a time; None says that what lay before a nudge has been applied.

        Others have their turn on the event loop after each. Raises what the source raises.
        """
        while True:
            await self._opened.wait()
            generation = self._generation
            await self._source.begin(self._places(self._next))
            while generation == self._generation:
                if await self._is_followed():
                    self._nudged = None
                    yield None
                found = await self._source.more()
                for records in found.values():
                    for some in _slices(records):
                        if generation != self._generation:
                            break
                        self._begin_work()
                        yield some
                        self._end_work(generation, some[-1].partition, some[-1].offset + 1)
                        await asyncio.sleep(0)

    async def _is_followed(self) -> bool:
        """Tell whether all before the last nudge is applied; a transaction's markers at the end are no records."""
        if self._nudged is None:
            return False
        for partition, end in self._nudged.items():
            if self._next.get(partition, end) < end:
                position = await self._source.position(TopicPartition(self.topic, partition))
                if partition in self._next:
                    self._next[partition] = max(self._next[partition], position)
        return all(self._next.get(partition, end) >= end for partition, end in self._nudged.items())

    def _places(self, offsets: Mapping[int, int]) -> dict[TopicPartition, int]:
        return {TopicPartition(self.topic, partition): offset for partition, offset in offsets.items()}


def common_numbers(assigned: Collection[tuple[str, int]], topics: Iterable[str]) -> set[int]:
    """Return the partition numbers that each of these topics has among `assigned`.

    Raises RuntimeError where they differ: Faust gives topics of one size and the same subscribers the same numbers
    (`PartitionAssignor._get_copartitioned_groups`), and everything about a symbol relies on it.
    """
    numbers = {topic: {number for name, number in assigned if name == topic} for topic in topics}
    found = set().union(*numbers.values())
    if any(each != found for each in numbers.values()):
        raise RuntimeError(f"topics that belong together were assigned different partitions: {numbers}")
    return found


def _slices(found: Iterable[Any]) -> Iterator[Sequence[Record]]:
    some: list[Record] = []
    weight = 0
    for one in found:
        some.append(Record(one.topic, one.partition, one.offset, one.key, one.value, one.timestamp))
        weight += _RECORD_WEIGHT + len(one.value or b"")
        if weight >= _SLICE_WEIGHT:
            yield some
            some, weight = [], 0
    if some:
        yield some
