"""What delivery must not forget: how every message of the last days stands, as `notification-deliveries` has it.

The log is the memory: it survives the process, its container and PostgreSQL's absence. A record is written before an
attempt and after it, so that a restart repeats none but one that was in flight when the process was killed. What could
not be written because Kafka was away is kept here, and written first when it is back.
"""

import asyncio
import collections
import datetime as dt
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from connectors.delivery_rules import HOUR, Sent, is_urgent
from connectors.standing import offsets_since, read
from streams.codec import encode, model_of
from streams.settings import Settings
from streams.topics import TOPICS
from trading.deliveries import Channel, Delivery, Status

DELIVERIES = TOPICS["notification-deliveries"]
LOOK_BACK = dt.timedelta(days=7)


class Known(NamedTuple):
    """How a message stands on a channel, as far as delivery has to know it."""

    status: Status
    attempts: int
    may_have_arrived: bool


class Memory:
    """Remember deliveries; the newest record of a message on a channel counts."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[tuple[str, Channel | None], Known] = {}
        self._covered: dict[tuple[str, Channel | None], str] = {}
        self._channels: dict[str, tuple[Channel, ...]] = {}
        self._sent: dict[tuple[str, Channel], dict[str, Sent]] = collections.defaultdict(dict)
        self._last: dict[tuple[str, Channel], Status] = {}
        self._unwritten: collections.deque[Delivery] = collections.deque()
        self._writing = asyncio.Lock()

    async def recall(self, consumer: AIOKafkaConsumer, now: dt.datetime) -> None:
        """Read what the log took in the last days, `now` being the wall clock's; what is known here is newer."""
        unwritten, own = list(self._unwritten), dict(self._known)
        name = self._settings.topic(DELIVERIES.name)
        places = [TopicPartition(name, number) for number in range(DELIVERIES.partition_count(self._settings))]
        begins = await offsets_since(consumer, places, now - LOOK_BACK)
        ends = await consumer.end_offsets(places)
        for place in places:
            async for record in read(consumer, place, begins[place], ends[place]):
                delivery = model_of(DELIVERIES, record.key, record.value)
                if isinstance(delivery, Delivery) and (delivery.notification_id, delivery.channel) not in own:
                    self._take(delivery)
        for delivery in unwritten:
            self._take(delivery)

    async def note(self, delivery: Delivery, producer: AIOKafkaProducer) -> None:
        """Remember how a message stands, and return when the log has it; raises aiokafka's `KafkaError`."""
        self._take(delivery)
        self._unwritten.append(delivery)
        await self.write(producer)

    async def write(self, producer: AIOKafkaProducer) -> None:
        """Write what is not written, in order."""
        async with self._writing:
            while self._unwritten:
                delivery, name = self._unwritten[0], self._settings.topic(DELIVERIES.name)
                await producer.send_and_wait(name, encode(delivery), delivery.account_id.encode())
                self._unwritten.popleft()

    def of(self, notification_id: str, channel: Channel | None) -> Known | None:
        """Return how a message stands on a channel, None when nothing was ever done with it."""
        return self._known.get((notification_id, channel))

    def channels(self, notification_id: str) -> tuple[Channel, ...] | None:
        """Return the channels that a message was found to go out on, None when that is not decided."""
        return self._channels.get(notification_id)

    def is_settled(self, notification_id: str, channel: Channel | None) -> bool:
        """Return whether nothing more is to be done with a message on a channel."""
        known = self.of(notification_id, channel)
        return known is not None and known.status != "pending"

    def covered_by(self, notification_id: str, channel: Channel | None) -> str | None:
        """Return the message that one went out in, while the log has no word of its own on that."""
        return self._covered.get((notification_id, channel))

    def sent(self, account_id: str, channel: Channel) -> list[Sent]:
        """Return what left on a channel lately, or may have."""
        return list(self._sent[account_id, channel].values())

    def is_down(self, account_id: str, channel: Channel) -> bool:
        """Return whether the last message that was tried on a channel failed."""
        return self._last.get((account_id, channel)) == "failed"

    def _take(self, delivery: Delivery) -> None:
        identity, channel = delivery.notification_id, delivery.channel
        self._known[identity, channel] = Known(
            delivery.delivery_status, delivery.attempts, may_have_arrived=delivery.may_have_arrived
        )
        self._covered.pop((identity, channel), None)
        for covered in delivery.covers if delivery.delivery_status != "pending" else ():
            self._known[covered, channel] = Known("merged", 0, may_have_arrived=False)
            self._covered[covered, channel] = identity
        if channel is None:
            return
        self._channels.setdefault(identity, delivery.channels)
        lane = delivery.account_id, channel
        if delivery.delivery_status in ("sent", "failed"):
            self._last[lane] = delivery.delivery_status
        sent = self._sent[lane]
        sent.pop(identity, None)
        if delivery.may_have_arrived:
            sent[identity] = Sent(delivery.at, is_urgent(delivery.event_type))
            for past in [known for known, each in sent.items() if each.at <= delivery.at - HOUR]:
                del sent[past]
