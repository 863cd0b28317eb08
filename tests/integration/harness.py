"""One stack as an outsider sees it: started by `stonks up`, spoken to through Kafka, HTTP and SQL alone.

Nothing of the engine is imported here. What a record must look like is written in `contracts.md`; keys are placed by
librdkafka's own murmur2.
"""

import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import asyncpg
import httpx
import psutil
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tests.tether import tethered

ROOT = pathlib.Path(__file__).parents[2]
PARTITIONS = 4
KEYED_BY = {
    "recommendations": "symbol",
    "price-ticks": "symbol",
    "price-bars": "symbol",
    "macro-events": "event_id",
    "trend-summaries": "symbol",
    "market-stress": None,  # its key is the word `market`
    "companies": "symbol",
    "earnings-dates": "symbol",
    "commands": "account_id",
    "broker-events": "account_id",
}
ID_OF = {
    "orders": "client_order_id",
    "order-cancels": "cancel_id",
    "decisions": "decision_id",
    "records": "record_id",
    "notifications": "notification_id",
}
FOLDERS = "stonks-stack-"  # and the number of the process that removes it at the end
SECONDS_TO_START = 120.0
SECONDS_TO_STOP = 30.0

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Message:
    """One record as it lies in a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None

    @property
    def body(self) -> Json:
        """Return the record's JSON object."""
        return dict(json.loads(self.value or b"null"))


@dataclasses.dataclass(frozen=True)
class Raw:
    """A record to produce whose bytes, key and partition are the test's own."""

    value: bytes | None
    key: bytes | None
    partition: int | None = None


class Stack:
    """Run `stonks` on one data directory, which goes with the context."""

    def __init__(self, *, workers: int = 1, accounts: Sequence[str] = ("paper",), clock: str = "events", **env: str):
        remove_what_the_killed_left()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{FOLDERS}{os.getpid()}-"))
        self.data_dir = self.folder / "data"
        self._port_holder = held_port()
        self.http_port = int(self._port_holder.getsockname()[1])
        self.workers = workers
        self.accounts = tuple(accounts)
        self._variables = {
            "STONKS_DATA_DIR": str(self.data_dir),
            "STONKS_HTTP_PORT": str(self.http_port),
            "STONKS_CLOCK": clock,
            "STONKS_ACCOUNTS": ",".join(accounts),
            **env,
        }
        self.kafka_options: Json = {}  # how this outsider reaches a broker that asks for more than an address
        self.process: subprocess.Popen[bytes] | None = None
        self._below: list[psutil.Process] = []
        self._producer: Producer | None = None
        self._consumer: Consumer | None = None
        self._seen: dict[str, list[Message]] = {}
        self._http: httpx.Client | None = None

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Its life

    def environment(self, code: pathlib.Path = ROOT) -> dict[str, str]:
        """Return the variables of this stack, and nothing that the caller's shell says about another one.

        `code` is the checkout whose programs run: this one, wherever the virtual environment points.
        """
        clean = {name: value for name, value in os.environ.items() if not name.startswith("STONKS_")}
        return clean | {"PYTHONPATH": str(code)} | self._variables

    def run(self, *words: str, code: pathlib.Path = ROOT, seconds: float = 180) -> subprocess.CompletedProcess[str]:
        """Run a `stonks` command of the code in a folder on this data directory to its end."""
        command = [sys.executable, "-m", "stack.cli", *words]
        return subprocess.run(
            command,
            cwd=code,
            env=self.environment(code),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def start(self) -> "Stack":
        """Start `stonks up` and return when `/ready` answers 200."""
        command = tethered(sys.executable, "-m", "stack.cli", "up", "--workers", str(self.workers))
        with (self.folder / "up.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment(), stdout=log, stderr=log)
        self.until_ready(seconds=SECONDS_TO_START)
        return self

    def ask_to_stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send `stonks up` a signal and return its exit code; fail when it takes longer than the contract gives it."""
        assert self.process is not None
        self._note_descendants()
        self._disconnect()
        self.process.send_signal(number)
        code = self.process.wait(SECONDS_TO_STOP)
        self.process = None
        return code

    def kill(self) -> None:
        """End `stonks up` itself with SIGKILL."""
        assert self.process is not None
        self._note_descendants()
        self._disconnect()
        self.process.kill()
        self.process.wait()
        self.process = None

    def lose_kafka(self) -> None:
        """Remove everything that the broker of a stopped stack has kept, and what was read of it."""
        assert self.process is None, "the stack still runs"
        shutil.rmtree(self.data_dir / "kafka")
        self._seen.clear()

    def survivors(self) -> list[psutil.Process]:
        """Return the processes below `stonks up`, of when it was last ended, that are still alive."""
        return [process for process in self._below if is_alive(process)]

    def close(self) -> None:
        """End everything of this stack and remove its folder."""
        if self.process is not None:
            self._note_descendants()
            for process in self.survivors():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.ask_to_stop()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self._disconnect()
        for process in self.survivors():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._port_holder.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _note_descendants(self) -> None:
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            self._below = psutil.Process(self.process.pid).children(recursive=True)

    def _disconnect(self) -> None:
        for opened in (self._consumer, self._http):
            if opened is not None:
                opened.close()
        self._producer = self._consumer = self._http = None

    # Its processes

    def children(self, part: str) -> list[psutil.Process]:
        """Return the living descendants whose command line names a part, such as `agents.worker` or `kafka.Kafka`."""
        assert self.process is not None
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                words = process.cmdline()
                if is_alive(process) and any(pathlib.PurePath(word).name == part for word in words):
                    found.append(process)
        return found

    def child(self, part: str) -> psutil.Process:
        """Return the first of the part's processes."""
        found = self.children(part)
        assert found, f"no process of `stonks up` has {part} in its command line"
        return found[0]

    # What it says of itself

    @property
    def endpoints(self) -> Json:
        """Return `endpoints.json`."""
        return dict(json.loads((self.data_dir / "endpoints.json").read_text()))

    def token(self, role: str) -> str:
        """Return the token that `stonks up` made for a role."""
        return str(json.loads((self.data_dir / "tokens.json").read_text())[role])

    def request(self, method: str, path: str, *, role: str | None = "operator", **more: Any) -> httpx.Response:
        """Send one HTTP request; `role` None sends no token."""
        if self._http is None:
            self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.http_port}", timeout=15)
        headers = {} if role is None else {"Authorization": f"Bearer {self.token(role)}"}
        return self._http.request(method, path, headers=headers | more.pop("headers", {}), **more)

    def get(self, path: str, **query: Any) -> Json:
        """Return the JSON of a GET that must succeed."""
        answer = self.request("GET", path, role="viewer", params=query)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def status(self, account: str | None = None) -> Json:
        """Return `GET /api/trading/status` of an account."""
        return self.get("/api/trading/status", account_id=account or self.accounts[0])

    def readiness(self) -> tuple[int, Json]:
        """Return the status and the body of `/ready`; 0 while nothing answers."""
        try:
            answer = self.request("GET", "/ready", role=None)
        except httpx.HTTPError:
            return 0, {}
        return answer.status_code, dict(answer.json())

    def until_ready(self, *, seconds: float) -> float:
        """Wait until `/ready` answers 200 and return how long that took."""
        return self._until(lambda: self.readiness()[0] == 200, seconds, lambda: f"not ready: {self.readiness()}")

    def until_unready(self, *, seconds: float) -> float:
        """Wait until `/ready` answers anything but 200 and return how long that took."""
        return self._until(lambda: self.readiness()[0] != 200, seconds, lambda: "still ready", pause=0.02)

    def until_lag_zero(self, *, projected: bool = False, seconds: float = 30) -> Json:
        """Wait until everything sent so far has had its effect, in the tables too when `projected`; return the status.

        The contract gives no time for it, so `seconds` only bounds the wait.
        """
        last: Json = {}

        def applied() -> bool:
            nonlocal last
            try:
                answer = self.request(
                    "GET", "/api/trading/status", role="viewer", params={"account_id": self.accounts[0]}
                )
            except httpx.HTTPError as error:
                last = {"error": repr(error)}
                return False
            last = dict(answer.json()) | {"http": answer.status_code}
            return answer.status_code == 200 and last["lag"] == 0 and (not projected or last["projection_lag"] == 0)

        self._until(applied, seconds, lambda: f"lag is not 0: {last}")
        return last

    def _until(
        self, condition: Callable[[], bool], seconds: float, problem: Callable[[], str], pause: float = 0.05
    ) -> float:
        began = time.monotonic()
        while not condition():
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"`stonks up` ended with {self.process.returncode}\n{self.logs()}")
            if time.monotonic() - began > seconds:
                raise AssertionError(f"after {seconds:.0f} s: {problem()}\n{self.logs()}")
            time.sleep(pause)
        return time.monotonic() - began

    def logs(self, *, lines: int = 12) -> str:
        """Return the ends of all logs, for the text of a failure."""
        parts = []
        for path in sorted([*self.folder.glob("*.log"), *self.data_dir.glob("*.log")]):
            with contextlib.suppress(OSError):
                tail = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
                parts.append("\n".join([f"--- {path.name}", *(line[:400] for line in tail)]))
        return "\n".join(parts)

    # Kafka

    def produce(self, topic: str, records: Iterable[Json | Raw]) -> list[Message]:
        """Send records in order, each under the key that the table of topics names; return where they lie."""
        if self._producer is None:
            self._producer = Producer(
                {
                    "bootstrap.servers": self.endpoints["kafka"],
                    **self.kafka_options,
                    "partitioner": "murmur2_random",
                    "enable.idempotence": True,
                    "linger.ms": 1,
                    "message.timeout.ms": 150_000,
                    "message.max.bytes": 900_000,
                    "log_level": 0,
                }
            )
        delivered: list[Message] = []
        problems: list[KafkaError] = []

        def on_delivery(error: KafkaError | None, message: Any) -> None:
            if error is not None:
                problems.append(error)
            else:
                delivered.append(Message(topic, message.partition(), message.offset(), message.key(), message.value()))

        for record in records:
            raw = record if isinstance(record, Raw) else Raw(json.dumps(record).encode(), key_of(topic, record))
            placed = {} if raw.partition is None else {"partition": raw.partition}
            self._producer.produce(topic, value=raw.value, key=raw.key, on_delivery=on_delivery, **placed)
            self._producer.poll(0)
        left = self._producer.flush(180)
        assert not left, f"{left} records were not acknowledged"
        assert not problems, problems
        return delivered

    def read(self, topic: str) -> list[Message]:
        """Return everything that the topic holds up to its end of now, each partition in order."""
        if self._consumer is None:
            self._consumer = Consumer(
                {
                    "bootstrap.servers": self.endpoints["kafka"],
                    **self.kafka_options,
                    "group.id": "outsider",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 50,
                    "log_level": 0,
                }
            )
        consumer = self._consumer
        seen = self._seen.setdefault(topic, [])
        numbers = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        begins = dict.fromkeys(numbers, OFFSET_BEGINNING)
        for message in seen:
            begins[message.partition] = message.offset + 1
        ends = {number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30) for number in numbers}
        wanted = {number: high for number, (low, high) in ends.items() if max(begins[number], low) < high}
        if not wanted:
            return list(seen)
        consumer.assign([TopicPartition(topic, number, begins[number]) for number in wanted])
        deadline = time.monotonic() + 60
        while wanted:
            assert time.monotonic() < deadline, f"{topic} cannot be read to its end: {wanted}"
            for message in consumer.consume(500, timeout=0.2):
                if message.error():
                    raise KafkaException(message.error())
                number, offset = message.partition(), message.offset()
                if number in wanted:
                    seen.append(Message(topic, number, offset, message.key(), message.value()))
                    if offset + 1 >= wanted[number]:
                        del wanted[number]
        consumer.unassign()
        return list(seen)

    def bodies(self, topic: str, **where: Any) -> list[Json]:
        """Return the distinct records of an output topic in the order of their first appearance, filtered by fields.

        As the contract asks of every consumer, a known id is dropped; that two records with one id are equal in every
        field is asserted here, for each record that any test reads.
        """
        known: dict[str, bytes | None] = {}
        found = []
        wanted = [json.dumps(value, ensure_ascii=False).encode() for value in where.values() if isinstance(value, str)]
        for message in self.read(topic):
            if not all(value in (message.value or b"") for value in wanted):
                continue  # a glance at the bytes spares reading most records as JSON
            body = message.body
            identity = str(body[ID_OF[topic]])
            if identity in known:
                assert known[identity] == message.value, f"{topic} {identity} was sent twice, differently"
                continue
            known[identity] = message.value
            if all(body.get(name) == value for name, value in where.items()):
                found.append(body)
        return found

    def dead_letters(self) -> dict[tuple[str, int, int], Json]:
        """Return the distinct dead letters by topic, partition and offset of their source."""
        letters: dict[tuple[str, int, int], Json] = {}
        for message in self.read("dead-letters"):
            body = message.body
            place = body["topic"], body["partition"], body["offset"]
            assert letters.setdefault(place, body) == body, f"two dead letters of {place} differ"
        return letters

    # PostgreSQL

    def sql(self, query: str, *values: Any) -> list[Json]:
        """Return the rows of a query by the role that may read every table."""

        async def fetch() -> list[Json]:
            connection = await asyncpg.connect(self.endpoints["database_url"], timeout=10)
            try:
                return [dict(row) for row in await connection.fetch(query, *values)]
            finally:
                await connection.close()

        return asyncio.run(fetch())


def key_of(topic: str, record: Json) -> bytes:
    """Return the key that the table of topics names for a record."""
    field = KEYED_BY[topic]
    return b"market" if field is None else str(record[field]).encode()


def payload(letter: Json) -> bytes:
    """Return the untouched bytes of a dead letter."""
    return base64.b64decode(letter["payload"], validate=True)


def held_port() -> socket.socket:
    """Return a socket on a port of the loopback that nobody else had, below those that the kernel hands out by itself.

    It never listens: whoever looks for a free port sees it, a server (SO_REUSEADDR) may have the port nevertheless.
    """
    for _ in range(100):
        holder = socket.socket()
        with contextlib.suppress(OSError):
            holder.bind(("127.0.0.1", 20_000 + int.from_bytes(os.urandom(2), "big") % 12_000))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return holder
        holder.close()
    raise AssertionError("no free port")


def remove_what_the_killed_left() -> None:
    """Remove the folders of stacks whose process was killed, which could not do it itself."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{FOLDERS}*-*"):
        owner = folder.name.removeprefix(FOLDERS).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def is_alive(process: psutil.Process) -> bool:
    """Return whether the process runs; one that only waits to be buried does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@contextlib.contextmanager
def frozen(*processes: psutil.Process) -> Iterator[None]:
    """Hold processes with SIGSTOP, and wake them at the end."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def eventually(condition: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Wait until the condition holds and return how long that took; fail, saying what, when it never does."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"{what}: not so within {seconds:.0f} s"
        time.sleep(0.02)
    return time.monotonic() - began
