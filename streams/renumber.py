"""Go on with the numbers of a log that is lost: a new partition begins at 0, and no offset may be used twice.

Ids and rows are functions of (account, offset). So a new partition is filled with records that mean nothing until its
end lies beyond every offset that may have been used, and what was filled is given back to the disk where that is safe.
"""

import contextlib
from concurrent.futures import Future
from typing import Any

import structlog
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.security import for_librdkafka
from streams.settings import Settings

MARGIN = 100_000
"""Offsets past the greatest known one: more than an account uses in a month, for what was never projected."""
SECONDS_TO_FILL = 300.0
_SECONDS_TO_GIVE_BACK = 10.0

_log = structlog.get_logger(__name__)


class NotFilled(Exception):
    """The log did not take the records; the text says why."""


def fill(
    settings: Settings, topic: str, partition: int, *, start: int, end: int, until: int, key: bytes, value: bytes
) -> None:
    """Append copies of a record until the partition's end is `until` or beyond; blocks, about 2 s for a million.

    `start` and `end` are the partition's as they were just seen. Raises `NotFilled`.
    """
    producer = Producer(
        {
            **for_librdkafka(settings),
            "enable.idempotence": True,
            "compression.type": "gzip",  # the one that every broker can read
            "linger.ms": 20,
            "batch.size": 900_000,
            "batch.num.messages": 50_000,
            "queue.buffering.max.messages": 200_000,
            "message.timeout.ms": int(SECONDS_TO_FILL * 1000),
        }
    )
    placed: list[int] = []
    problems: list[str] = []

    def on_delivery(error: Any, message: Any) -> None:
        if error is not None:
            problems.append(error.str())
        else:
            placed.append(message.offset())

    for number in range(count := max(0, until - end)):
        is_at_an_end = number in (0, count - 1)
        while True:
            try:
                producer.produce(topic, value, key, partition, on_delivery=on_delivery if is_at_an_end else None)
                break
            except BufferError:
                producer.poll(0.1)
    left = producer.flush(SECONDS_TO_FILL)
    if left or problems:
        raise NotFilled(f"{topic}/{partition} did not take {left or count} records: {problems or 'no answer'}")
    _log.warning("the numbering of a lost log goes on", topic=topic, partition=partition, records=count, until=until)
    if start == end and placed and placed[0] == end and placed[-1] == end + count - 1:  # nothing else lies between
        _give_back(settings, TopicPartition(topic, partition, end + count))


def _give_back(settings: Settings, before: TopicPartition) -> None:
    """Delete what was filled, so that nobody has to read it; a broker that refuses costs a little time, no more."""
    admin = AdminClient(for_librdkafka(settings))
    with contextlib.suppress(KafkaException):
        answers: dict[TopicPartition, Future[Any]] = admin.delete_records(
            [before], request_timeout=_SECONDS_TO_GIVE_BACK
        )
        for answer in answers.values():
            answer.result()
