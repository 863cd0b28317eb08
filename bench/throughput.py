"""Ticks a second of `watch`, single and in batches of 100, against bare aiokafka; decisions a second.

The worker is frozen while the records are produced, so that it alone is measured when it is woken, and never for longer
than its session. Bare aiokafka reads the same records twice: with nothing but the standard library's JSON, and without
looking into them. Poison at the end of each partition says when the worker is through: to ask it is work for it.
"""

import asyncio
import datetime as dt
import json
import time
from collections.abc import Callable

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.report import say
from tests.integration import market
from tests.integration.harness import PARTITIONS, Json, Raw, Stack, frozen

SYMBOLS = tuple(f"T{number}" for number in range(20))
SINGLE, BATCHES, BATCH, SIGNALS = 100_000, 15_000, 100, 3_000
DAY = market.FIRST_DAY
OPEN = dt.datetime.combine(DAY, dt.time(14), tzinfo=dt.UTC)


def measure() -> None:
    """Measure on one stack in event time; all ticks lie within one minute of it."""
    with Stack(clock="events") as stack:
        stack.start()
        stack.produce("companies", [market.company(symbol) for symbol in SYMBOLS])
        stack.produce("price-ticks", [market.tick(symbol, "100", _at(0)) for symbol in SYMBOLS])
        stack.until_lag_zero()
        singles = [market.tick(SYMBOLS[n % len(SYMBOLS)], "100.01", _at(n)) for n in range(1, SINGLE + 1)]
        _compare(stack, "ticks one by one", singles, ticks_each=1)
        batches = [_batch(n) for n in range(BATCHES)]
        _compare(stack, "ticks in batches of 100", batches, ticks_each=BATCH)
        _decisions(stack)


def _compare(stack: Stack, name: str, records: list[Json], *, ticks_each: int) -> None:
    worker, ticks = stack.child("agents.worker"), len(records) * ticks_each
    ready = [Raw(json.dumps(record).encode(), record["symbol"].encode()) for record in records]
    kafka = stack.endpoints["kafka"]
    begins, refused = asyncio.run(_ends(kafka, "price-ticks")), asyncio.run(_ends(kafka, "dead-letters"))
    with frozen(worker):
        stack.produce("price-ticks", ready)
        ends = asyncio.run(_ends(kafka, "price-ticks"))
        stack.produce("price-ticks", [Raw(b"0", b"the last", partition=number) for number in ends])
        used, began = _cpu_seconds(worker), time.time()
    watch = ticks / (asyncio.run(_last_refusal(kafka, refused, count=len(ends))) - began)
    used = _cpu_seconds(worker) - used
    say(f"watch, {name}", f"{watch:,.0f} ticks a second")
    say("its worker", f"{used / ticks * 1e6:.2f} CPU seconds a million ticks")
    for how, look in (("json.loads", json.loads), ("no parsing", len)):
        used, began = time.process_time(), time.perf_counter()
        asyncio.run(_consume(kafka, begins, ends, look))
        bare = ticks / (time.perf_counter() - began)
        used = time.process_time() - used
        say(f"bare aiokafka with {how}", f"{bare:,.0f} ticks a second")
        say("it alone", f"{used / ticks * 1e6:.2f} CPU seconds a million ticks")
        say(f"ratio of watch to bare with {how}", f"{watch / bare:.2f}")


def _cpu_seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def _decisions(stack: Stack) -> None:
    """Send recommendations that are only to be watched: each runs through every gate and is recorded."""
    at = market.instant(DAY, "14:02")
    signals = [
        market.recommendation(SYMBOLS[n % len(SYMBOLS)], f"bench-{n}", at, action="watch") for n in range(SIGNALS)
    ]
    began = time.perf_counter()
    stack.produce("recommendations", signals)
    stack.until_lag_zero(seconds=300)
    say("decide, from recommendation to decision", f"{SIGNALS / (time.perf_counter() - began):,.0f} a second")


def _batch(number: int) -> Json:
    symbol, first = SYMBOLS[number % len(SYMBOLS)], SINGLE + 1 + number * BATCH
    return {"symbol": symbol, "ticks": [{"at": _at(first + n), "price": f"100.{n:02d}"} for n in range(BATCH)]}


def _at(number: int) -> str:
    return (OPEN + dt.timedelta(microseconds=100 * number)).isoformat()


async def _ends(kafka: str, topic: str) -> dict[int, int]:
    """Return the offset that each partition's next record will have."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await consumer.start()
    found = await consumer.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
    await consumer.stop()
    return {partition.partition: end for partition, end in found.items()}


async def _last_refusal(kafka: str, begins: dict[int, int], *, count: int) -> float:
    """Return when the last of so many dead letters was sent, in seconds since 1970."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition("dead-letters", number) for number in begins])
    for number, begin in begins.items():
        consumer.seek(TopicPartition("dead-letters", number), begin)
    sent = [(await consumer.getone()).timestamp for _ in range(count)]
    await consumer.stop()
    return float(max(sent)) / 1000


async def _consume(kafka: str, begins: dict[int, int], ends: dict[int, int], look: Callable[[bytes], object]) -> None:
    """Read the same records with nothing but a consumer, and look at each value."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    partitions = [TopicPartition("price-ticks", number) for number in begins]
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, begins[partition.partition])
    left = sum(ends.values()) - sum(begins.values())
    while left > 0:
        for messages in (await consumer.getmany(timeout_ms=500)).values():
            for message in messages:
                look(message.value)
            left -= len(messages)
    await consumer.stop()
