"""Delivery: messages of the topic `notifications` go out by SMS and mail, and the log has what became of each (R19).

It reads the messages of the last days without a group, past those that `notification-deliveries` has settled, so that a
restart neither loses one nor repeats one: only what was in flight when the process was killed may come twice.
PostgreSQL is not needed. A message's channels are those that were on when it was first read. Time is the wall clock's;
with `STONKS_CLOCK=events` an age and an hour are counted in the account's event time, and the wall clock serves the
rests between tries alone.
"""

import datetime as dt
from collections.abc import Mapping

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from connectors.channels import Outlet
from connectors.checks import Check
from connectors.clients import consuming, producing
from connectors.delivery_memory import LOOK_BACK, Memory
from connectors.lane import Lane, Outcome, merged_in
from connectors.probing import probing
from connectors.standing import Accounts, offsets_since
from connectors.supervision import together
from streams.codec import encode, model_of
from streams.settings import Settings
from streams.topics import TOPICS
from trading import ids
from trading.deliveries import CHANNELS, Channel, Delivery
from trading.effects import Notification
from trading.preferences import NotificationPreferences

NOTIFICATIONS = TOPICS["notifications"]
NAMES: Mapping[Channel, str] = {"sms": "SMS", "email": "mail"}
_OTHER: Mapping[Channel, Channel] = {"sms": "email", "email": "sms"}
_WAIT_MS, _LOOKING_WAIT_MS = 500, 20

_log = structlog.get_logger(__name__)


class MessageDelivery:
    """Deliver until cancelled or until Kafka fails; begun anew, it goes on where the log says it stands."""

    def __init__(
        self,
        settings: Settings,
        outlets: Mapping[Channel, Outlet],
        *,
        check: Check,
        checks: Mapping[Channel, Check],
    ) -> None:
        self._settings = settings
        self._outlets = outlets
        self._check = check
        self._checks = checks
        self._memory = Memory(settings)

    async def run(self) -> None:
        """Deliver what comes; raises aiokafka's `KafkaError` and ConnectionError."""
        settings = self._settings
        async with (
            producing(settings) as producer,
            consuming(settings, wait_ms=_LOOKING_WAIT_MS) as looking,
            consuming(settings) as consumer,
        ):
            await self._memory.recall(looking, _wall_now())
            await self._memory.write(producer)
            accounts = Accounts(looking, settings)
            desks = {each: Desk(each, settings, self._memory, accounts, producer) for each in settings.accounts}
            lanes = {
                (account_id, channel): Lane(
                    channel, self._outlets[channel], desk, self._memory, check=self._checks[channel]
                )
                for account_id, desk in desks.items()
                for channel in CHANNELS
            }
            probes = [
                probing(channel, self._outlets[channel], self._checks[channel], list(desks.values()))
                for channel in CHANNELS
            ]
            await together(self._read(consumer, desks, lanes), *(lane.run() for lane in lanes.values()), *probes)

    async def _read(
        self,
        consumer: AIOKafkaConsumer,
        desks: "Mapping[str, Desk]",
        lanes: Mapping[tuple[str, Channel], Lane],
    ) -> None:
        name = self._settings.topic(NOTIFICATIONS.name)
        places = [TopicPartition(name, number) for number in range(NOTIFICATIONS.partition_count(self._settings))]
        consumer.assign(places)
        for place, begin in (await offsets_since(consumer, places, _wall_now() - LOOK_BACK)).items():
            consumer.seek(place, begin)
        while True:
            self._check.holds("delivering")
            batch = await consumer.getmany(timeout_ms=_WAIT_MS)
            for message in _messages(batch):
                desk = desks.get(message.account_id)
                for channel in await desk.channels_of(message) if desk else ():
                    lanes[message.account_id, channel].offer(message)


class Desk:
    """An account's side of delivery: where its messages go, what its time is, and what the log is told of them."""

    def __init__(
        self, account_id: str, settings: Settings, memory: Memory, accounts: Accounts, producer: AIOKafkaProducer
    ) -> None:
        self.account_id = account_id
        self._settings = settings
        self._memory = memory
        self._accounts = accounts
        self._producer = producer
        self._event_now: dt.datetime | None = None
        self._reported: set[Channel] = set()

    async def look(self) -> tuple[NotificationPreferences, dt.datetime]:
        """Return the preferences and the account's now; those of the beginning while the log has no row."""
        standing = await self._accounts.of(self.account_id)
        if standing is not None:
            self._passed(standing.at)
        return (standing.preferences if standing else NotificationPreferences()), self.now()

    def now(self) -> dt.datetime:
        """Return the wall clock's now, or as far as event time has come."""
        return _wall_now() if self._settings.clock == "system" or self._event_now is None else self._event_now

    async def channels_of(self, message: Notification) -> tuple[Channel, ...]:
        """Return the channels on which a message has still to go out; the log then knows which it goes out on."""
        self._passed(message.created_at)
        identity = message.notification_id
        channels = self._memory.channels(identity)
        if channels is None and not self._memory.is_settled(identity, None):
            channels = await self._decide(message)
        for channel in channels or ():  # of one that went out in another when the process ended
            if parcel := self._memory.covered_by(identity, channel):
                await self.note(message, channel, merged_in(parcel))
        return tuple(each for each in channels or () if not self._memory.is_settled(identity, each))

    async def _decide(self, message: Notification) -> tuple[Channel, ...]:
        preferences, _ = await self.look()
        meant = CHANNELS if message.channel is None else (message.channel,)
        is_chosen = message.event_type in preferences.event_types or message.event_type == "test"
        channels = tuple(each for each in meant if is_chosen and getattr(preferences.channels, each))
        if not channels:
            why = "no channel that it is meant for is on" if is_chosen else "messages of this type are not wanted"
            await self._write(message, message.channel, Outcome("dropped", detail=why))
        for channel in channels:
            await self._write(message, channel, Outcome("pending"), channels=channels)
        return channels

    async def note(
        self, message: Notification, channel: Channel, outcome: Outcome, covers: tuple[str, ...] = ()
    ) -> None:
        """Return when the log has how a message stands on a channel."""
        channels = self._memory.channels(message.notification_id) or (channel,)
        await self._write(message, channel, outcome, channels=channels, covers=covers)
        if outcome.status == "sent":
            self.recovered(channel)
        if outcome.status != "pending":
            told = {"status": outcome.status, "attempts": outcome.attempts, "detail": outcome.detail}
            _log.info(
                "message", account_id=self.account_id, channel=channel, notification_id=message.notification_id, **told
            )

    def recovered(self, channel: Channel) -> None:
        """Take note that a channel works: its next failure is news."""
        self._reported.discard(channel)

    async def report(self, channel: Channel, problem: str) -> None:
        """Say on the other channel that this one has failed, once until it works again."""
        if channel in self._reported or self._memory.is_down(self.account_id, channel):
            return
        other = _OTHER[channel]
        preferences, now = await self.look()
        if not getattr(preferences.channels, other):
            return
        name = NAMES[channel]
        alert = Notification(
            notification_id=ids.of("channel_failed", self.account_id, channel, problem, now.isoformat()),
            account_id=self.account_id,
            event_type="alert",
            severity="warning",
            subject=f"Messages by {name} do not go out",
            body=f"{name} failed: {problem}. This is said once, until a message by {name} goes out again.",
            created_at=now,
            channel=other,
        )
        topic = self._settings.topic(NOTIFICATIONS.name)
        await self._producer.send_and_wait(topic, encode(alert), self.account_id.encode())
        self._reported.add(channel)

    async def _write(
        self,
        message: Notification,
        channel: Channel | None,
        outcome: Outcome,
        *,
        channels: tuple[Channel, ...] = (),
        covers: tuple[str, ...] = (),
    ) -> None:
        delivery = Delivery(
            **message.model_dump(exclude={"channel"}),
            channel=channel,
            delivery_status=outcome.status,
            attempts=outcome.attempts,
            detail=outcome.detail,
            may_have_arrived=outcome.may_have_arrived,
            channels=channels,
            covers=covers,
            at=self.now(),
        )
        await self._memory.note(delivery, self._producer)

    def _passed(self, at: dt.datetime) -> None:
        if self._event_now is None or at > self._event_now:
            self._event_now = at


def _messages(batch: Mapping[TopicPartition, list[ConsumerRecord]]) -> list[Notification]:
    """Return the messages of a batch; the projection keeps what is poison."""
    read = [model_of(NOTIFICATIONS, record.key, record.value) for records in batch.values() for record in records]
    return [model for model in read if isinstance(model, Notification)]


def _wall_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
