"""Kafka clients for as long as they are needed: plain ones, without groups, that neither commit nor skip."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from connectors.supervision import is_being_cancelled
from streams.security import for_aiokafka
from streams.settings import Settings
from streams.topics import LARGEST_LETTER

_PATIENCE_MS = 10_000  # a broker that takes longer is away
SECONDS_TO_STOP = 3.0


@contextlib.asynccontextmanager
async def consuming(settings: Settings, *, wait_ms: int = 500) -> AsyncIterator[AIOKafkaConsumer]:
    """Give a consumer; where its position is not in the log it goes on from the log's start.

    At the log's end the broker holds a fetch back for `wait_ms`, and answers nothing else on that connection meanwhile.
    """
    consumer = AIOKafkaConsumer(
        **for_aiokafka(settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=_PATIENCE_MS,
        fetch_max_wait_ms=wait_ms,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await quietly(consumer.stop)


@contextlib.asynccontextmanager
async def producing(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """Give a producer whose records are acknowledged by all replicas."""
    producer = AIOKafkaProducer(
        **for_aiokafka(settings), acks="all", request_timeout_ms=_PATIENCE_MS, max_request_size=LARGEST_LETTER
    )
    try:
        await producer.start()
        yield producer
    finally:
        await quietly(producer.stop)


async def quietly(stop: Callable[[], Awaitable[None]]) -> None:
    """Stop a client of aiokafka, and take its own cancellations for what they are.

    Without a broker `stop` lets the cancellation of its fetch task out. To everybody above it would look as if they
    were cancelled themselves, and the error that made them stop would be lost. And it swallows a cancellation that is
    meant for us while it waits for that task, which may itself have missed its own: so it is not waited for for ever.
    """
    try:
        async with asyncio.timeout(SECONDS_TO_STOP):
            await stop()
    except TimeoutError:
        pass
    except asyncio.CancelledError:
        if is_being_cancelled():
            raise
    if is_being_cancelled():
        raise asyncio.CancelledError
