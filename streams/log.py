"""The log as it is on the broker, read past Faust: no group, no commits, exact offsets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.security import for_aiokafka
from streams.settings import Settings

_WAIT_MS = 500
_CHUNK = 500
_WAIT_AT_THE_END_MS = 10  # the broker holds a fetch there, and answers nothing else on that connection meanwhile


class Record(NamedTuple):
    """One record of the log as it lies there; `timestamp` is the broker's, in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


class Log(Protocol):
    """What the guard needs of the log."""

    async def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset that each partition still has."""

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset that each partition's next record will have."""

    def read(self, partition: TopicPartition, *, begin: int, end: int) -> AsyncIterator[Record]:
        """Give the records of `begin` to before `end` in order; offsets that the log does not have are passed over."""


class KafkaLog:
    """Read a broker's log; connects when it is first asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connected: AIOKafkaConsumer | None = None
        self._met: set[str] = set()

    async def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset that each partition still has; raises aiokafka's `KafkaError` without a broker."""
        return await self._offsets((await self._consumer()).beginning_offsets, list(partitions))

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset that each partition's next record will have; raises as `starts` does."""
        return await self._offsets((await self._consumer()).end_offsets, list(partitions))

    async def read(self, partition: TopicPartition, *, begin: int, end: int) -> AsyncIterator[Record]:
        """Give the records of `begin` to before `end` in order, waiting for a broker that is away.

        The caller asks for one partition at a time. Raises aiokafka's `OffsetOutOfRangeError` when the log no longer
        goes back to `begin`.
        """
        consumer = await self._consumer()
        consumer.assign([partition])
        consumer.seek(partition, begin)
        while await consumer.position(partition) < end:
            found = await consumer.getmany(partition, timeout_ms=_WAIT_MS, max_records=_CHUNK)
            for here in found.get(partition, ()):
                if here.offset < end:
                    yield Record(here.topic, here.partition, here.offset, here.key, here.value, here.timestamp)
        consumer.pause(partition)  # or it would go on fetching what nobody asked for

    async def close(self) -> None:
        """Disconnect."""
        if self._connected is not None:
            await self._connected.stop()
            self._connected = None

    async def _offsets(
        self, ask: Callable[[list[TopicPartition]], Awaitable[Any]], partitions: list[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Ask for offsets; topics met for the first time are asked for side by side, because each costs a wait."""
        new = {here.topic: here for here in partitions if here.topic not in self._met}
        await asyncio.gather(*(ask([here]) for here in new.values()))
        self._met.update(new)
        return dict(await ask(partitions))

    async def _consumer(self) -> AIOKafkaConsumer:
        if self._connected is None:
            consumer = AIOKafkaConsumer(
                **for_aiokafka(self._settings),
                enable_auto_commit=False,
                auto_offset_reset="none",
                fetch_max_wait_ms=_WAIT_AT_THE_END_MS,
            )
            await consumer.start()
            self._connected = consumer
        return self._connected
