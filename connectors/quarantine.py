"""Records that a connector cannot use: kept on `dead-letters` with the reason, so that the next one can be read."""

import datetime as dt
from typing import Protocol

import structlog
from aiokafka.structs import ConsumerRecord

from streams.codec import DeadLetter, dead_letter, encode
from streams.settings import Settings
from streams.topics import Topic

_log = structlog.get_logger(__name__)


class Producer(Protocol):
    """What is needed of `AIOKafkaProducer`."""

    async def send_and_wait(self, topic: str, value: bytes, key: bytes) -> object:
        """Return when the broker has acknowledged the record."""


class Quarantine:
    """Collect dead letters; `send` returns when the log has them, before their offsets may be passed."""

    def __init__(self, producer: Producer, settings: Settings) -> None:
        self._producer = producer
        self._name = settings.topic("dead-letters")
        self._letters: list[DeadLetter] = []

    def add(self, topic: Topic, record: ConsumerRecord, *, error: str) -> None:
        """Keep a record with what is wrong with it."""
        letter = dead_letter(
            topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            error=error,
            at=recorded_at(record),
        )
        self._letters.append(letter)
        _log.error("dead letter", topic=letter.topic, partition=letter.partition, offset=letter.offset, error=error)

    async def send(self) -> None:
        """Send what was collected and wait for the broker's acknowledgement."""
        for letter in self._letters:
            await self._producer.send_and_wait(self._name, encode(letter), letter.topic.encode())
        self._letters.clear()


def recorded_at(record: ConsumerRecord) -> dt.datetime:
    """Return the instant at which the log took the record."""
    return dt.datetime.fromtimestamp(record.timestamp / 1000, dt.UTC)
