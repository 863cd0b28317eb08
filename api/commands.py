"""Commands: sent to the log, and answered by what the engine records about them.

The engine alone decides. A repeated `command_id` does nothing there, so a client that repeats its idempotency key gets
the first answer again.
"""

import asyncio
import collections
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaError as DeliveryError
from confluent_kafka import KafkaException, Message, Producer
from pydantic import ValidationError

from api.problems import Problem, away
from streams.codec import encode
from streams.security import for_aiokafka, for_librdkafka
from streams.settings import Settings
from streams.topics import TOPICS
from trading.inputs import Command
from trading.records import CommandResult

SECONDS_TO_DELIVER: Final = 4
SECONDS_TO_RETRY: Final = 0.5
REMEMBERED: Final = 10_000
_MARK: Final = b'"command_result"'

log = structlog.get_logger()


@dataclass(frozen=True)
class _Sent:
    command: Command
    result: asyncio.Future[CommandResult] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Commands:
    """Send commands and hear their results; a result is heard only while `listening` is set."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self._sent: collections.OrderedDict[str, _Sent] = collections.OrderedDict()
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Read `records` from its end on, as often as it takes, until cancelled."""
        while True:
            try:
                await self._listen()
            except (KafkaError, OSError) as error:
                log.warning("command results unavailable", error=type(error).__name__)
                await asyncio.sleep(SECONDS_TO_RETRY)

    async def _listen(self) -> None:
        topic = TOPICS["records"]
        name = self._settings.topic(topic.name)
        places = [TopicPartition(name, number) for number in range(topic.partition_count(self._settings))]
        consumer = AIOKafkaConsumer(
            **for_aiokafka(self._settings),
            client_id="stonks-api-results",
            enable_auto_commit=False,
            auto_offset_reset="latest",
            metadata_max_age_ms=30_000,
        )
        try:
            await consumer.start()
            consumer.assign(places)
            await consumer.seek_to_end(*places)
            self.listening.set()
            while True:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    for record in records:
                        if record.value and _MARK in record.value:
                            self._hear(record.value)
        finally:
            self.listening.clear()
            await consumer.stop()

    def _hear(self, value: bytes) -> None:
        try:
            result = CommandResult.model_validate_json(value)
        except ValidationError:
            return  # another kind of record, with these letters somewhere in it
        sent = self._sent.get(_place(result.account_id, result.command_id))
        if sent is not None and not sent.result.done():
            sent.result.set_result(result)

    async def send(self, command: Command, *, until: float) -> CommandResult | None:
        """Send the command once, and return its result, None when there is none until that time of the loop.

        Raises `Problem`: 503 when it could not be sent, 422 for the id of another command.
        """
        place = _place(command.account_id, command.command_id)
        sent = self._sent.get(place)
        if sent is None:
            sent = self._sent[place] = _Sent(command)
            while len(self._sent) > REMEMBERED:
                self._sent.popitem(last=False)
            try:
                await self._deliver(command)
            except (KafkaException, TimeoutError) as error:
                del self._sent[place]
                log.warning("command not sent", kind=command.kind, command_id=command.command_id)
                raise _unsent(command) from error
        elif sent.command != command:
            raise Problem(422, "idempotency_key_reused", "this idempotency key belongs to another command")
        try:
            async with asyncio.timeout_at(until):
                return await asyncio.shield(sent.result)
        except TimeoutError:
            return None

    async def _deliver(self, command: Command) -> None:
        """Return when the broker has it; raise `KafkaException` when it surely or possibly has not."""
        loop = asyncio.get_running_loop()
        delivered: asyncio.Future[None] = loop.create_future()

        def settle(error: DeliveryError | None) -> None:
            if delivered.done():
                return
            if error is None:
                delivered.set_result(None)
            else:
                delivered.set_exception(KafkaException(error))

        def report(error: DeliveryError | None, _: Message) -> None:
            loop.call_soon_threadsafe(settle, error)

        producer = self._connected()
        topic = self._settings.topic("commands")
        producer.produce(topic, key=command.account_id.encode(), value=encode(command), on_delivery=report)
        await asyncio.to_thread(producer.flush, SECONDS_TO_DELIVER + 1)
        async with asyncio.timeout(1):
            await delivered

    def _connected(self) -> Producer:
        """Return the producer; librdkafka's, because it drops what it could not deliver in time.

        A command that is delivered long after its sender gave it up is worse than one that is not.
        """
        if self._producer is None:
            self._producer = Producer(
                {
                    **for_librdkafka(self._settings),
                    "client.id": "stonks-api-commands",
                    "partitioner": "murmur2_random",
                    "acks": "all",
                    "linger.ms": 0,
                    "message.timeout.ms": SECONDS_TO_DELIVER * 1000,
                }
            )
        return self._producer


def _place(account_id: str, command_id: str) -> str:
    return f"{account_id}/{command_id}"


def _unsent(command: Command) -> Problem:
    problem = away("kafka", "the broker did not confirm the command: repeat it with `command_id` as Idempotency-Key")
    problem.document.command_id = command.command_id
    return problem
