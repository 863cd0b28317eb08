"""Where the topics end, asked of the broker in one request; nothing is consumed here."""

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from api.problems import away
from streams.security import for_aiokafka, for_librdkafka
from streams.settings import Settings
from streams.topics import TOPICS

SECONDS_TO_ANSWER: Final = 2.0
SECONDS_TO_RETRY: Final = 0.5
KAFKA_AWAY: Final = "Kafka does not answer: `stonks doctor` says why"

PerPartition = dict[str, dict[int, int]]
"""Offsets by public topic name and partition."""

log = structlog.get_logger()


class Offsets:
    """Ask the broker for end offsets and topics; every method raises `Problem` 503 while it does not answer.

    Once `connected` is set, a lost broker is waited for by the client itself.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._met: set[str] = set()
        self.connected = asyncio.Event()
        self._admin = AdminClient(for_librdkafka(settings))

    async def run(self) -> None:
        """Connect, as often as it takes, and stay connected until cancelled."""
        while True:
            consumer = AIOKafkaConsumer(
                **for_aiokafka(self._settings),
                client_id="stonks-api-offsets",
                enable_auto_commit=False,
                request_timeout_ms=int(SECONDS_TO_ANSWER * 1000),
                metadata_max_age_ms=30_000,
            )
            try:
                await consumer.start()
                self._consumer = consumer
                self._met = set()
                self.connected.set()
                await asyncio.Event().wait()
            except (KafkaError, OSError) as error:
                log.warning("kafka unavailable", error=type(error).__name__)
                await asyncio.sleep(SECONDS_TO_RETRY)
            finally:
                self.connected.clear()
                self._consumer = None
                await consumer.stop()

    async def ends(self, topics: Iterable[str]) -> PerPartition:
        """Return the end offset of every partition of the topics, all read in one request."""
        wanted = {
            TopicPartition(self._settings.topic(name), partition): name
            for name in topics
            for partition in range(TOPICS[name].partition_count(self._settings))
        }
        found: PerPartition = {}
        for place, end in (await self._ask(list(wanted))).items():
            found.setdefault(wanted[place], {})[place.partition] = end
        return found

    async def _ask(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        consumer = self._connected()
        new = {place.topic: place for place in places if place.topic not in self._met}
        try:
            async with asyncio.timeout(SECONDS_TO_ANSWER):
                await asyncio.gather(*(consumer.end_offsets([place]) for place in new.values()))  # each costs a wait
                self._met.update(new)
                ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            raise away("kafka", KAFKA_AWAY) from error
        return ends

    async def wrong_topics(self) -> list[str]:
        """Return what is wrong with the topics: those that are missing or have another number of partitions."""
        try:
            seen = (await asyncio.to_thread(self._admin.list_topics, timeout=SECONDS_TO_ANSWER)).topics
        except KafkaException as error:
            raise away("kafka", KAFKA_AWAY) from error
        wrong = []
        for name, topic in TOPICS.items():
            found, count = seen.get(self._settings.topic(name)), topic.partition_count(self._settings)
            if found is None or found.error:
                wrong.append(f"{name} is missing")
            elif len(found.partitions) != count:
                wrong.append(f"{name} has {len(found.partitions)} partitions and must have {count}")
        return wrong

    def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise away("kafka", KAFKA_AWAY)
        return self._consumer
