"""Real workers over a real broker: started, killed, frozen, and what they have made of what was sent."""

import asyncio
import contextlib
import http.client
import json
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka.admin import AdminClient

from stack.ports import free_port
from streams.settings import Settings, environment
from streams.topics import ALL, create_topics
from tests.tether import tethered

ACCOUNTS = tuple(f"account{number}" for number in range(8))
SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "TSLA", "JPM", "XOM", "UNH", "SPY", "V")


class Engine:
    """One engine of one or more workers, with topics of its own."""

    def __init__(self, kafka: str, prefix: str, folder: pathlib.Path, **changes: str) -> None:
        accounts = tuple(changes.get("STONKS_ACCOUNTS", ",".join(ACCOUNTS)).split(","))
        self.settings = Settings(kafka=kafka, topic_prefix=prefix, accounts=accounts)
        self.changes = {
            "STONKS_KAFKA": kafka,
            "STONKS_TOPIC_PREFIX": prefix,
            "STONKS_DATA_DIR": str(folder),
            "STONKS_ACCOUNTS": ",".join(ACCOUNTS),
            "STONKS_BROKER": "external",
            "STONKS_CLOCK": "events",
            "STONKS_DATABASE_URL": "",  # whatever the session was given: nobody migrates it for these workers
            **changes,
        }
        self._folder = folder
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}
        create_topics(kafka, self.settings)

    def start(self, worker_id: str = "worker-1", **changes: str) -> None:
        """Start a worker; return at once."""
        port = self._ports.setdefault(worker_id, free_port())
        own = {"STONKS_WORKER_ID": worker_id, "STONKS_WORKER_PORT": str(port)}
        with (self._folder / f"{worker_id}.log").open("ab") as log:
            self.workers[worker_id] = subprocess.Popen(
                tethered(sys.executable, "-m", "agents.worker"),
                env=environment({**self.changes, **own, **changes}),
                cwd=pathlib.Path(__file__).parents[2],
                stdout=log,
                stderr=log,
            )

    def kill(self, worker_id: str = "worker-1", how: signal.Signals = signal.SIGKILL) -> None:
        """End a worker and wait until it has ended."""
        process = self.workers.pop(worker_id)
        process.send_signal(how)
        process.wait(timeout=30)

    def signal(self, worker_id: str, what: signal.Signals) -> None:
        """Freeze a worker, or wake it."""
        self.workers[worker_id].send_signal(what)

    def ask(self, worker_id: str, path: str, *, token: str = "") -> tuple[int, bytes]:
        """Return the status and body of a GET; status 0 while nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[worker_id], timeout=1)
        try:
            connection.request("GET", path, headers={"X-Internal-Token": token})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def when_it_answers(self, worker_id: str = "worker-1", *, seconds: float = 20) -> None:
        """Wait until a worker's HTTP answers."""
        deadline = time.monotonic() + seconds
        while self.ask(worker_id, "/health")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def live(self, worker_id: str, account_id: str = "") -> dict[str, Any] | None:
        """Return what a worker says of itself; None while it does not answer."""
        status, body = self.ask(worker_id, f"/live?account_id={account_id or self.settings.accounts[0]}")
        found: dict[str, Any] | None = json.loads(body) if status == 200 else None
        return found

    async def when_applied(self, *, seconds: float = 240) -> float:
        """Wait until the workers have applied all that is in their topics; return the seconds it took."""
        began = time.monotonic()
        names = set[str]()
        async with reader(self.settings.kafka) as consumer:
            while True:
                lives = [await asyncio.to_thread(self.live, worker_id) for worker_id in self.workers]
                positions = {
                    TopicPartition(self.settings.topic(name), int(partition)): offset
                    for live in lives
                    if live
                    for name, partitions in live["positions"].items()
                    for partition, offset in partitions.items()
                }
                names = {here.topic for here in positions}
                if self.settings.topic("account-inbox") in names and len(positions) == 4 * 11 + 1:
                    ends = await consumer.end_offsets(list(positions))
                    if all(positions[here] >= end for here, end in ends.items()):
                        return time.monotonic() - began
                assert time.monotonic() - began < seconds, f"not applied after {seconds} s: {lives}"
                await asyncio.sleep(0.05)

    async def read(self, name: str, *, partitions: int = 4) -> list[Any]:
        """Return all records of a topic, each partition in its order."""
        found: list[Any] = []
        async with reader(self.settings.kafka) as consumer:
            here = [TopicPartition(self.settings.topic(name), number) for number in range(partitions)]
            ends = await consumer.end_offsets(here)
            consumer.assign(here)
            await consumer.seek_to_beginning()
            while any([await consumer.position(one) < ends[one] for one in here]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found.extend(records)
        return found

    def stop(self) -> None:
        """End all workers, frozen or not."""
        for worker_id in list(self.workers):
            self.workers[worker_id].send_signal(signal.SIGCONT)
            self.kill(worker_id)
        admin = AdminClient({"bootstrap.servers": self.settings.kafka})
        for answer in admin.delete_topics([self.settings.topic(topic.name) for topic in ALL]).values():
            answer.result()  # many stacks share one small broker


@contextlib.contextmanager
def engine(kafka: str, prefix: str, folder: pathlib.Path, **changes: str) -> Iterator[Engine]:
    """Give an engine without workers, and end what was started."""
    started = Engine(kafka, prefix, folder, **changes)
    try:
        yield started
    finally:
        started.stop()


@contextlib.asynccontextmanager
async def reader(kafka: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Give a consumer of no group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, retry_backoff_ms=20)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


class Producer:
    """Send recommendations, each with an id of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kafka = AIOKafkaProducer(bootstrap_servers=engine.settings.kafka, acks="all")
        self.ids: list[str] = []

    async def __aenter__(self) -> "Producer":
        await self._kafka.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kafka.stop()

    async def recommend(self, count: int, *, pause: float = 0) -> None:
        """Send so many recommendations, one after another."""
        for _ in range(count):
            number = len(self.ids)
            name = f"r{number}"
            symbol = SYMBOLS[number % len(SYMBOLS)]
            value = {
                "recommendation_id": name,
                "symbol": symbol,
                "action": "buy",
                "mode": "paper_eligible",
                "confidence": "0.9",
                "generated_at": f"2026-03-02T15:{number // 60 % 60:02d}:{number % 60:02d}Z",
            }
            topic = self._engine.settings.topic("recommendations")
            await self._kafka.send_and_wait(topic, json.dumps(value).encode(), key=symbol.encode())
            self.ids.append(name)
            if pause:
                await asyncio.sleep(pause)

    async def send(self, name: str, key: str, value: dict[str, Any] | bytes | None) -> None:
        """Send one record to an input topic."""
        payload = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
        await self._kafka.send_and_wait(self._engine.settings.topic(name), payload, key=key.encode())
