"""The projection: what the topics say becomes rows in PostgreSQL, for audit, for queries and for a cold start.

It reads without a group, from the offsets that PostgreSQL itself holds: rows and offsets are committed together. So a
crash, or a database that is away, costs nothing but time: the next run begins where the tables stand.
"""

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from connectors import tables
from connectors.checks import Check
from connectors.clients import consuming, producing
from connectors.market_memory import tell_again
from connectors.projector import Projected, write
from connectors.quarantine import Quarantine, recorded_at
from connectors.rows import change_of
from connectors.steps import complete
from streams.codec import Poison, parse
from streams.crash import crash_point
from streams.identity import topic_ids
from streams.settings import Settings
from streams.topics import PROJECTED, TOPICS, Topic

PROJECTORS_LOCK = 0x5E1_0019  # one process at a time writes the projection of a database

_WAIT_MS = 500
_BATCH = 500
_SECONDS_TO_ANSWER = 30.0

_log = structlog.get_logger(__name__)


class Projection:
    """Project until cancelled or until something fails; begun anew, it goes on where PostgreSQL says it stands."""

    def __init__(self, settings: Settings, *, check: Check, closed: Callable[[], None] = lambda: None) -> None:
        """Project as the settings say; `closed` is told when daily bars or companies were written."""
        self._settings = settings
        self._check = check
        self._closed = closed
        self._topics: dict[str, Topic] = {settings.topic(name): TOPICS[name] for name in PROJECTED}
        self._names = {name: topic.name for name, topic in self._topics.items()}
        self._held_back: dict[TopicPartition, list[ConsumerRecord]] = {}
        self.records = 0

    async def run(self) -> None:
        """Project what comes; raises asyncpg's errors, OSError and aiokafka's `KafkaError`."""
        url = self._settings.database_url.get_secret_value()
        connection = await asyncpg.connect(url, timeout=10, command_timeout=_SECONDS_TO_ANSWER)
        try:
            await self._take_turns(connection)
            async with producing(self._settings) as producer, consuming(self._settings) as consumer:
                await self._assign(consumer, connection, producer)
                while True:
                    self._check.holds("projecting")
                    batch = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_BATCH)
                    if batch:
                        await self._project(connection, batch, Quarantine(producer, self._settings))
                    else:
                        await connection.fetchval("SELECT 1")  # so that a database that is away shows
        finally:
            connection.terminate()  # also when nobody answers any more

    async def _take_turns(self, connection: asyncpg.Connection) -> None:
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", PROJECTORS_LOCK):
            self._check.fails("another process projects into this database")
            await asyncio.sleep(1)

    async def _assign(
        self, consumer: AIOKafkaConsumer, connection: asyncpg.Connection, producer: AIOKafkaProducer
    ) -> None:
        """Go to the offsets that PostgreSQL holds, or to the log's start where it holds none or the log is another.

        A log that has lost the market gets it back first, so that a start that is cut short does that again.
        """
        self._held_back.clear()
        partitions = [
            TopicPartition(name, number)
            for name, topic in self._topics.items()
            for number in range(topic.partition_count(self._settings))
        ]
        consumer.assign(partitions)
        topics = await asyncio.to_thread(topic_ids, self._settings, self._topics)
        stored = {(row["topic"], row["partition"]): row for row in await connection.fetch(tables.OFFSETS)}
        starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        begins: dict[TopicPartition, int] = {}
        lost: set[str] = set()
        for place in partitions:
            name, topic_id = self._names[place.topic], topics[place.topic]
            row = stored.get((name, place.partition))
            begin = row["next_offset"] if row else 0
            is_another = row is not None and row["topic_id"] not in (None, topic_id)
            if is_another or begin > ends[place] or 0 < begin < starts[place]:
                _log.error("records are gone from the log", topic=place.topic, partition=place.partition, wanted=begin)
            if is_another or begin > ends[place]:
                lost.add(name)
            begins[place] = begin if not is_another and starts[place] <= begin <= ends[place] else starts[place]
        await tell_again(lost, connection, producer, self._settings)
        values = [(self._names[at.topic], at.partition, begin, topics[at.topic]) for at, begin in begins.items()]
        await connection.executemany(tables.BEGIN_AT, values)
        for place, begin in begins.items():
            consumer.seek(place, begin)

    async def _project(
        self,
        connection: asyncpg.Connection,
        batch: Mapping[TopicPartition, list[ConsumerRecord]],
        quarantine: Quarantine,
    ) -> None:
        crash_point("projection.read")
        projected: list[Projected] = []
        offsets: dict[TopicPartition, int] = {}
        is_of_closes = False
        for place, arrived in batch.items():
            records = [*self._held_back.pop(place, ()), *arrived]
            models = [self._parse(record) for record in records]
            ready = complete(models)
            if ready < len(records):
                self._held_back[place] = records[ready:]
            if ready:
                offsets[place] = records[ready - 1].offset + 1
            for record, model in zip(records[:ready], models, strict=False):
                topic = self._topics[record.topic]
                if not isinstance(model, Poison):
                    projected.append(Projected(topic, record, change_of(topic, model, recorded_at(record))))
                    is_of_closes |= topic.name == "companies" or getattr(model, "interval", None) == "1d"
                elif topic.direction == "out" and topic.name != "orders":  # others have judged the rest
                    quarantine.add(topic, record, error=model.error)
        if offsets:
            await write(connection, projected, offsets, self._names, quarantine)
            self.records += len(projected)
            if is_of_closes:
                self._closed()
        crash_point("projection.written")

    def _parse(self, record: ConsumerRecord) -> Any:
        topic = self._topics[record.topic]
        count = topic.partition_count(self._settings)
        judged_by_time = topic.direction == "in" and self._settings.clock == "system"
        wall_now = dt.datetime.now(dt.UTC) if judged_by_time else None
        return parse(topic, record.key, record.value, partition=record.partition, partitions=count, wall_now=wall_now)
