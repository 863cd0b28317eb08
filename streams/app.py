"""The Faust application: group membership, delivery and changelogs, with what its releases get wrong turned off.

Bytes everywhere; our codec decodes. The choices and their reasons are measured in `faust.md`: at least once and one
stream an agent, tables in memory, static membership with a short session, no leader topic, no web server, no topic
that Faust would create by itself.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, cast

import faust
import structlog
from aiokafka import TopicPartition
from faust.tables.manager import TableManager
from faust.types import TP, StreamT

from streams.crash import end_loudly
from streams.in_order import Guard, Nudge
from streams.log import Record
from streams.outbox import Outgoing, Send
from streams.security import for_faust
from streams.settings import Settings
from streams.topics import APP, LARGEST_LETTER, TABLES

BUFFERED_CHANGES = 10_000  # changelog records that may wait in the producer before Faust holds its streams back

_log = structlog.get_logger(__name__)


class EngineApp(faust.App):
    """An application with work beside its agents, which runs from the very start to the very end."""

    beside: tuple[Callable[[], Awaitable[None]], ...] = ()
    at_end: Callable[[], Awaitable[None]] | None = None

    async def on_first_start(self) -> None:
        """Start what runs beside the agents; what it raises ends the process."""
        await super().on_first_start()
        for work in self.beside:
            self.add_future(or_end_loudly(work()))

    async def on_stop(self) -> None:
        """Let the work beside the agents end before what it sends through is taken away."""
        if self.at_end is not None:
            await self.at_end()
        await super().on_stop()


async def or_end_loudly(work: Awaitable[None]) -> None:
    """Await work; a programmer's error ends the process, because Faust would acknowledge the record and lose it."""
    try:
        await work
    except Exception as error:
        _log.exception("a programmer's error")
        end_loudly("a programmer's error ends the worker", error=repr(error))


class QuarantineTopic(faust.Topic):
    """A topic whose undecodable records stop nobody: the guard reads them as a hole and our codec judges them."""

    async def on_key_decode_error(self, exc: Any, message: Any) -> None:
        """Pass the record over."""
        _log.warning("a key that Faust cannot read", topic=message.topic, offset=message.offset, error=repr(exc))

    async def on_value_decode_error(self, exc: Any, message: Any) -> None:
        """Pass the record over."""
        _log.warning("a value that Faust cannot read", topic=message.topic, offset=message.offset, error=repr(exc))


class PlacedTable(faust.Table[bytes, bytes]):
    """A table whose keys say themselves on which changelog partition they lie.

    Faust takes the partition of the event it is delivering; the records that the guard reads are no such events.
    """

    def __init__(self, app: Any, *, place: Callable[[bytes], int], **options: Any) -> None:
        super().__init__(app, **options)
        self._place = place

    def partition_for_key(self, key: bytes) -> int:
        """Return the changelog partition of a key."""
        return self._place(key)


class PromptTableManager(TableManager):
    """Start the tables at once: all are declared before the application starts, so there is nothing to wait for."""

    async def on_start(self) -> None:
        """Begin recovery without Faust's second of grace."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()


class ReadySensor(faust.Sensor):
    """Say when tables are recovered and streams resumed after a rebalance."""

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        super().__init__()

    def on_rebalance_end(self, app: Any, state: Any) -> None:
        """Call the listener, on the application's own loop."""
        self._on_ready()


def create_app(settings: Settings) -> EngineApp:
    """Return an application without agents, tables or web server; nothing connects before it is started."""
    folder = settings.data_dir / settings.worker_id
    folder.mkdir(parents=True, exist_ok=True)
    return EngineApp(
        settings.topic(APP),
        **for_faust(settings),
        datadir=folder,
        store="memory://",
        processing_guarantee="at_least_once",
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=settings.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
        consumer_group_instance_id=settings.worker_id,
        broker_session_timeout=10,
        broker_heartbeat_interval=1,
        broker_request_timeout=30,
        stream_buffer_maxsize=4096,
        stream_wait_empty=False,
        stream_recovery_delay=0,
        table_standby_replicas=0,
        producer_acks=-1,
        producer_max_request_size=LARGEST_LETTER,
        Topic=QuarantineTopic,
        Table=PlacedTable,
        TableManager=PromptTableManager,
    )


def declare_table(app: faust.App, name: str, *, place: Callable[[bytes], int]) -> Any:
    """Declare the Faust table of this name (see `topics.TABLES`), bytes to bytes, and return it."""
    partitions = TABLES[name] or app.conf.topic_partitions
    return app.Table(name, key_type=bytes, value_type=bytes, partitions=partitions, place=place)


def sender(app: faust.App, settings: Settings) -> Send:
    """Return how agents send: through the application's own producer, acknowledged by all replicas."""

    async def send(outgoing: Outgoing) -> Awaitable[object]:
        topic, key, value, partition = outgoing
        acknowledged: Awaitable[object] = await app.producer.send(
            settings.topic(topic), key, value, partition, None, None
        )
        return acknowledged

    return send


async def commit(app: faust.App, positions: Mapping[TopicPartition, int]) -> None:
    """Let Faust begin at these positions next time; a hint that spares it what the guard would pass over.

    Faust's own bookkeeping of what was acknowledged stands still for good behind the first record that it loses.
    """
    assigned = app.consumer.assignment()
    ours = {TP(*here): at for here, at in positions.items() if TP(*here) in assigned}
    if ours:  # a feed's partitions are none of Faust's, and the client refuses to commit nothing
        await cast(Any, app.consumer)._commit(ours)


async def arrivals(stream: StreamT[Any], guard: Guard) -> AsyncIterator[Record | Nudge]:
    """Give what Faust delivers, and the guard's nudges, which travel through the same queue."""
    guard.attach(cast(Any, stream.channel).queue.put_nowait)  # ours are topics, which have a queue
    async for nudge in stream:
        event = stream.current_event
        if event is None:
            yield nudge
        else:
            message = event.message
            yield Record(
                message.topic,
                message.partition,
                message.offset,
                message.key,
                message.value,
                round(message.timestamp * 1000),
            )
