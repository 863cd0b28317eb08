"""A small stack for the connectors' tests: topics of their own on the shared broker, and the connectors' process."""

import asyncio
import contextlib
import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord
from pydantic import BaseModel, SecretStr

from stack.ports import free_port
from streams.codec import encode
from streams.settings import Settings, environment
from streams.topics import TOPICS, create_topics
from tests.tether import tethered

PARTITIONS = 2


def settings_of(kafka: str, prefix: str, folder: pathlib.Path, **changes: Any) -> Settings:
    """Return the settings of a stack with topics and a data directory of its own."""
    chosen = {"partitions": PARTITIONS, "clock": "events", **changes}
    return Settings(kafka=kafka, topic_prefix=prefix, data_dir=folder, **chosen)


class Topics:
    """Write to and read from the topics of one stack."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self.settings = settings
        self._producer = producer

    async def send(self, topic: str, *models: BaseModel) -> None:
        """Send models under the key that the topic names, in order."""
        for model in models:
            key = model.symbol if TOPICS[topic].key == "symbol" else model.account_id  # type: ignore[attr-defined]
            await self.send_bytes(topic, key.encode(), encode(model))

    async def send_bytes(self, topic: str, key: bytes, value: bytes | None, *, partition: int | None = None) -> None:
        """Send anything."""
        await self._producer.send_and_wait(self.settings.topic(topic), value, key, partition=partition)

    async def read(self, topic: str) -> list[dict[str, Any]]:
        """Return everything that lies on a topic, partition by partition."""
        return [json.loads(record.value) for record in await self._records(topic)]

    async def places(self, topic: str) -> list[tuple[int, bytes | None]]:
        """Return the partition and the key of everything that lies on a topic."""
        return [(record.partition, record.key) for record in await self._records(topic)]

    async def _records(self, topic: str) -> list[ConsumerRecord]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka, enable_auto_commit=False)
        await consumer.start()
        try:
            count = TOPICS[topic].partition_count(self.settings)
            places = [TopicPartition(self.settings.topic(topic), number) for number in range(count)]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            found: list[ConsumerRecord] = []
            for place, end in (await consumer.end_offsets(places)).items():
                while await consumer.position(place) < end:
                    batch = await consumer.getmany(place, timeout_ms=200)
                    found += [record for records in batch.values() for record in records]
            return found
        finally:
            await consumer.stop()

    async def until(self, topic: str, *, count: int, seconds: float = 30) -> list[dict[str, Any]]:
        """Return what lies on a topic as soon as it holds `count` records; fail when it never does."""
        deadline = time.monotonic() + seconds
        while len(found := await self.read(topic)) < count:
            assert time.monotonic() < deadline, f"{topic} holds {len(found)} records, not {count}"
            await asyncio.sleep(0.1)
        return found


@contextlib.asynccontextmanager
async def topics_of(settings: Settings) -> AsyncIterator[Topics]:
    """Create the topics and give access to them."""
    await asyncio.to_thread(create_topics, settings.kafka, settings)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all")
    await producer.start()
    try:
        yield Topics(settings, producer)
    finally:
        await producer.stop()


class Process:
    """`python -m connectors` with its own HTTP."""

    def __init__(self, settings: Settings, **variables: str) -> None:
        self.port = free_port()
        self.log = settings.data_dir / "connectors.log"
        url = settings.database_url.get_secret_value()
        chosen = {
            "STONKS_KAFKA": settings.kafka,
            "STONKS_TOPIC_PREFIX": settings.topic_prefix,
            "STONKS_PARTITIONS": str(settings.partitions),
            "STONKS_DATA_DIR": str(settings.data_dir),
            "STONKS_CLOCK": settings.clock,
            "STONKS_DATABASE_URL": url,
            "STONKS_CONNECTORS_PORT": str(self.port),
            **variables,
        }
        settings.data_dir.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                tethered(sys.executable, "-m", "connectors"), env=environment(chosen), stdout=log, stderr=log
            )

    def get(self, path: str, token: str = "") -> tuple[int, Any]:
        """Return the status and the JSON or the text of a route; 0 while nobody answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"X-Internal-Token": token})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        except OSError:
            return 0, None
        with contextlib.suppress(ValueError):
            return status, json.loads(body)
        return status, body.decode()

    def checks(self, token: str = "") -> dict[str, bool]:
        """Return the checks by name; nothing while nobody answers."""
        _, body = self.get("/ready", token)
        return {each["name"]: each["ok"] for each in (body or {}).get("checks", ())}

    def until(self, condition: Callable[["Process"], bool], *, seconds: float = 30) -> None:
        """Wait until something holds; fail with the process's log when it never does."""
        deadline = time.monotonic() + seconds
        while not condition(self):
            assert self.child.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    async def until_dead_or(self, condition: Callable[["Process"], bool], *, seconds: float = 30) -> None:
        """Wait until something holds or the process has ended; fail with its log when neither happens."""
        deadline = time.monotonic() + seconds
        while self.child.poll() is None and not condition(self):
            assert time.monotonic() < deadline, self.log.read_text()
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def process(settings: Settings, **variables: str) -> Iterator[Process]:
    """Run the connectors' process and kill it at the end."""
    running = Process(settings, **variables)
    try:
        yield running
    finally:
        running.child.kill()
        running.child.wait()


def with_database(settings: Settings, url: str) -> Settings:
    """Return the settings with a database."""
    return settings.model_copy(update={"database_url": SecretStr(url)})


def is_ready(running: Process) -> bool:
    """Tell whether everything required works."""
    return running.get("/ready")[0] == 200


def has_applied(running: Process, **ends: int) -> bool:
    """Tell whether the trading connector has passed so many records of each topic (underscores for hyphens)."""
    _, body = running.get("/live")
    positions = (body or {}).get("positions", {})
    return all(sum(positions.get(name.replace("_", "-"), {}).values()) >= end for name, end in ends.items())


def trades_of(events: list[dict[str, Any]]) -> Counter[str]:
    """Count the shares that distinct fills moved, by order."""
    fills = {event["fill_id"]: event for event in events if event["kind"] == "order_fill"}
    shares: Counter[str] = Counter()
    for event in fills.values():
        shares[event["client_order_id"]] += int(Decimal(event["quantity"]))
    return shares


def has_projected(running: Process, count: int) -> bool:
    """Tell whether so many records are in the tables since the process began."""
    text = str(running.get("/metrics")[1])
    return any(
        float(line.rpartition(" ")[2]) >= count
        for line in text.splitlines()
        if line.startswith("stonks_projected_records_total")
    )
