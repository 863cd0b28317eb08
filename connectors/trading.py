"""The trading connector: `orders` and `order-cancels` to a broker, and what the broker says to `broker-events`.

What a batch made is committed to the journal with the offsets that were reached, then sent, then marked: killed between
any two of these, an order still trades once. A `client_order_id` that is known is answered again in the same words.
Orders are read before cancels: a cancel of an order that nobody ever sent ends that order before it comes.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Iterable

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord
from pydantic import ValidationError

from connectors.checks import Check
from connectors.clients import consuming, producing
from connectors.journal import Journal, Unsent
from connectors.ports import Broker
from connectors.quarantine import Quarantine
from connectors.simulated_events import cancelled
from streams.codec import Poison, parse
from streams.crash import crash_point
from streams.identity import topic_ids
from streams.settings import Settings
from streams.topics import TOPICS
from trading.effects import Order, OrderCancel
from trading.money import ZERO

ORDERS, CANCELS = TOPICS["orders"], TOPICS["order-cancels"]
SECONDS_BETWEEN_SNAPSHOTS = 60.0
SECONDS_BETWEEN_PROBES = 3.0
SECONDS_TO_READ_ORDERS = 10.0
_WAIT_MS = 200
_BATCH = 200

_log = structlog.get_logger(__name__)


class TradingConnector:
    """Bring orders to the broker and its events back; `run` goes on until it is cancelled or something fails.

    `positions` is by public topic name and partition the next offset whose effects the log has.
    """

    def __init__(self, broker: Broker, journal: Journal, settings: Settings, *, check: Check) -> None:
        self._broker = broker
        self._journal = journal
        self._settings = settings
        self._check = check
        self._events = settings.topic("broker-events")
        self._topics = {settings.topic(topic.name): topic for topic in (ORDERS, CANCELS)}
        self._snapshot_at = self._probed_at = 0.0
        self.positions: dict[str, dict[int, int]] = {}

    async def run(self) -> None:
        """Catch up, report every account, and trade; what an earlier run left unsent goes first.

        Raises aiokafka's `KafkaError`, ConnectionError and TimeoutError when the broker is away, and `KafkaException`.
        """
        async with producing(self._settings) as producer, consuming(self._settings) as consumer:
            ends = await self._assign(consumer)
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                await self._turn(consumer, producer)
            await self._report(producer)
            while True:
                self._check.holds("trading")
                await self._turn(consumer, producer)
                await self._report_when_due(producer)
                await self._probe(consumer, [*ends][:1])

    async def _assign(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Go to where the journal says, or to the log's start, and return the ends."""
        partitions = [
            TopicPartition(name, number)
            for name, topic in self._topics.items()
            for number in range(topic.partition_count(self._settings))
        ]
        consumer.assign(partitions)
        starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        topic_ids_now = await asyncio.to_thread(topic_ids, self._settings, self._topics)
        with self._journal.transaction():
            self._journal.meet(topic_ids_now)
        stored = self._journal.positions()
        for partition in partitions:
            begin = stored.get((partition.topic, partition.partition), 0)
            if not starts[partition] <= begin <= ends[partition]:
                begin = starts[partition]  # the log is another one, or shorter; what is known does not trade again
            consumer.seek(partition, begin)
            self._reached(partition, begin)
        return dict(ends)

    async def _turn(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        records = await self._read(consumer)
        if records:
            crash_point("broker.read")
        quarantine = Quarantine(producer, self._settings)
        with self._journal.transaction():
            for record in records:
                await self._apply(record, quarantine)
                self._journal.move(record.topic, record.partition, next_offset=record.offset + 1)
            self._journal.add(await self._broker.advance())
            await quarantine.send()
        if records:
            crash_point("broker.committed")
        self._broker.committed()
        await self._send(producer)
        for record in records:
            self._reached(TopicPartition(record.topic, record.partition), record.offset + 1)

    async def _read(self, consumer: AIOKafkaConsumer) -> list[ConsumerRecord]:
        """Return what has come, orders first; with cancels among it, every order that was sent before them."""
        records = _flat(await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_BATCH))
        orders_name = self._settings.topic(ORDERS.name)
        if any(record.topic != orders_name for record in records):
            orders = [partition for partition in consumer.assignment() if partition.topic == orders_name]
            ends = await consumer.end_offsets(orders)
            async with asyncio.timeout(SECONDS_TO_READ_ORDERS):
                while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                    records += _flat(await consumer.getmany(*orders, timeout_ms=_WAIT_MS))
        return sorted(records, key=lambda record: record.topic != orders_name)

    async def _apply(self, record: ConsumerRecord, quarantine: Quarantine) -> None:
        topic = self._topics[record.topic]
        model = parse(
            topic,
            record.key,
            record.value,
            partition=record.partition,
            partitions=topic.partition_count(self._settings),
        )
        try:
            if isinstance(model, Order):
                await self._order(model)
            elif isinstance(model, OrderCancel):
                await self._cancel(model)
            elif isinstance(model, Poison):
                quarantine.add(topic, record, error=model.error)
        except ValidationError as error:  # no event can carry its numbers or words; nothing was done
            quarantine.add(topic, record, error=f"invalid_field: no broker could answer it: {error.title}")

    async def _order(self, order: Order) -> None:
        if self._journal.knows(order.client_order_id):
            self._journal.send_again(order.client_order_id)
        else:
            self._journal.add(await self._broker.submit(order))
        self._journal.save_newest_order(order.account_id, order.client_order_id)

    async def _cancel(self, cancel: OrderCancel) -> None:
        events = await self._broker.cancel(cancel)
        if events is None:
            return
        if events:
            self._journal.add(events)
        elif self._journal.knows(cancel.client_order_id):
            self._journal.send_again(cancel.client_order_id)
        else:
            now = dt.datetime.now(dt.UTC) if self._settings.clock == "system" else None
            self._journal.add((cancelled(cancel, ZERO, reason="the broker never had the order", at=now),))

    async def _send(self, producer: AIOKafkaProducer) -> None:
        """Send what is not sent, in order; a snapshot leaves when everything before it has arrived."""
        while events := self._journal.unsent():
            crash_point("broker.before_send")
            for run in _runs(events):
                arrivals = [
                    await producer.send(self._events, event.value, key=event.account_id.encode()) for event in run
                ]
                for arrival in arrivals:
                    await arrival
            crash_point("broker.sent")
            self._journal.mark_sent(events)

    async def _report_when_due(self, producer: AIOKafkaProducer) -> None:
        if self._settings.clock == "system" and time.monotonic() - self._snapshot_at > SECONDS_BETWEEN_SNAPSHOTS:
            await self._report(producer)

    async def _report(self, producer: AIOKafkaProducer) -> None:
        """Send a snapshot of every account; what it contains is in the log already."""
        with self._journal.transaction():
            taken = [await self._broker.snapshot(account_id) for account_id in self._settings.accounts]
            self._journal.add([snapshot for snapshot in taken if snapshot is not None])
        self._snapshot_at = time.monotonic()
        await self._send(producer)

    async def _probe(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Ask the broker something now and then: a consumer without a broker only looks idle."""
        if time.monotonic() - self._probed_at > SECONDS_BETWEEN_PROBES:
            try:
                async with asyncio.timeout(SECONDS_BETWEEN_PROBES):
                    await consumer.end_offsets(partitions)
            except TimeoutError as error:
                raise ConnectionError(f"Kafka at {self._settings.kafka} does not answer") from error
            self._probed_at = time.monotonic()

    def _reached(self, partition: TopicPartition, next_offset: int) -> None:
        public = self._topics[partition.topic].name
        self.positions.setdefault(public, {})[partition.partition] = next_offset


def _flat(batch: dict[TopicPartition, list[ConsumerRecord]]) -> list[ConsumerRecord]:
    return [record for records in batch.values() for record in records]


def _runs(events: Iterable[Unsent]) -> Iterable[list[Unsent]]:
    """Cut events into runs that may be under way together: a snapshot is one by itself."""
    run: list[Unsent] = []
    for event in events:
        if event.client_order_id is None:
            if run:
                yield run
            yield [event]
            run = []
        else:
            run.append(event)
    if run:
        yield run
