"""Signals: records of a file to a topic, checked line by line."""

import datetime as dt
import json
import sys
import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from streams.codec import Poison, parse
from streams.security import for_librdkafka
from streams.settings import Settings
from streams.topics import TOPICS, Topic, partition_for

COULD_NOT_RUN, REFUSED, DONE = 2, 1, 0
_SECONDS_TO_ARRIVE = 30.0
_SECONDS_BETWEEN_LINES = 2.0


def produce(lines: Iterable[bytes], topic: str, bootstrap: str, settings: Settings) -> int:
    """Send JSON lines to an input topic, under the key that it names; blank lines are passed over; blocks.

    A line that `intake` would refuse is not sent: its number and the reason go to stderr. Returns 0 when every line was
    sent and acknowledged, 1 when some were refused, 2 when it could not run.
    """
    wanted = TOPICS.get(topic)
    if wanted is None or wanted.direction != "in":
        inputs = ", ".join(each.name for each in TOPICS.values() if each.direction == "in")
        return _fail(f"{topic} is no input topic; these are: {inputs}")
    name = settings.topic(topic)
    try:
        partitions = _partitions(settings, bootstrap, name)
    except KafkaException as error:
        return _fail(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}")
    if not partitions:
        return _fail(f"Kafka at {bootstrap} has no topic {name}: create it with `stonks topics create`")
    sending = _Sending(settings, bootstrap, name)
    refused = 0
    for number, line in enumerate(lines, start=1):
        value = line.strip()
        if not value:
            continue
        reason, key = _judged(wanted, value, partitions=partitions, settings=settings)
        if reason:
            refused += 1
            print(f"line {number}: {reason}", file=sys.stderr)
        else:
            sending.send(key, value)
    lost = sending.finish()
    print(f"{sending.arrived} sent to {topic}, {refused} refused", file=sys.stderr)
    if lost:
        return _fail(f"{lost} records did not reach Kafka at {bootstrap}: {sending.problem}")
    if refused:
        print(f"error: {refused} lines were refused", file=sys.stderr)
    return REFUSED if refused else DONE


class _Sending:
    """A producer that counts what arrived, and says now and then how far it is."""

    def __init__(self, settings: Settings, bootstrap: str, name: str) -> None:
        self._producer = Producer(
            {
                **for_librdkafka(settings, bootstrap),
                "partitioner": "murmur2_random",  # Java's; librdkafka's own puts keys elsewhere
                "enable.idempotence": True,  # keeps the order of a key's records when one is sent again
                "linger.ms": 5,
                "message.timeout.ms": int(_SECONDS_TO_ARRIVE * 1000),
            }
        )
        self._name = name
        self._shown_at = time.monotonic()
        self.arrived = 0
        self.problem = ""
        self._lost = 0

    def send(self, key: bytes, value: bytes) -> None:
        """Hand a record to the producer; waits while its queue is full."""
        while True:
            try:
                self._producer.produce(self._name, value, key, on_delivery=self._arrived)
                break
            except BufferError:
                self._producer.poll(0.5)
        self._producer.poll(0)
        if time.monotonic() - self._shown_at > _SECONDS_BETWEEN_LINES:
            self._shown_at = time.monotonic()
            print(f"{self.arrived} sent", file=sys.stderr)

    def finish(self) -> int:
        """Wait for what is under way, and return how many records did not arrive."""
        under_way: int = self._producer.flush(_SECONDS_TO_ARRIVE + 5)
        return under_way + self._lost

    def _arrived(self, error: Any, message: Message) -> None:
        if error is None:
            self.arrived += 1
        else:
            self._lost += 1
            self.problem = error.str()


def _judged(topic: Topic, value: bytes, *, partitions: int, settings: Settings) -> tuple[str, bytes]:
    """Return why a line is refused, empty if it is not, and the key that it belongs under."""
    key = _key(topic, value)
    now = dt.datetime.now(dt.UTC) if settings.clock == "system" else None
    place = partition_for(key, partitions)
    found = parse(topic, key, value, partition=place, partitions=partitions, wall_now=now)
    return (found.error if isinstance(found, Poison) else ""), key


def _key(topic: Topic, value: bytes) -> bytes:
    """Return the field that the topic is keyed by, whatever it holds: whether it may, the codec judges."""
    if topic.key == "market":
        return b"market"
    field = {"symbol": "symbol", "account": "account_id", "event_id": "event_id"}[topic.key]
    try:
        record = json.loads(value)
    except (ValueError, RecursionError):
        return b""
    named = record.get(field, "paper" if field == "account_id" else "") if isinstance(record, dict) else ""
    return str(named).encode("utf-8", "replace")


def _partitions(settings: Settings, bootstrap: str, name: str) -> int:
    known = AdminClient(for_librdkafka(settings, bootstrap)).list_topics(timeout=5).topics
    return len(known[name].partitions) if name in known else 0


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return COULD_NOT_RUN
