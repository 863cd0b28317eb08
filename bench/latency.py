"""From a tick through a stop to the sell order on `orders`, against three bare hops through the same broker.

A hop is: produce, acknowledged by the broker, and consumed by a plain consumer. The engine's way has three: the tick to
`watch`, its mark through `account-inbox` to `decide`, the order to its reader. Then the same while ticks of other
symbols come in, in batches on every partition.
"""

import asyncio
import datetime as dt
import itertools
import json
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.report import quantile, say, spread
from streams.topics import partition_for
from tests.integration import market
from tests.integration.harness import PARTITIONS, Stack

FLOOD, FLOOD_BATCH, FLOOD_SECONDS = tuple(f"F{number}" for number in range(40)), 100, 0.1
HOPS = ("bench-hop-1", "bench-hop-2", "bench-hop-3")
PRICE, STOPPED = "10.00", "9.90"


def measure(samples: int = 50) -> None:
    """Stop one position a day out, `samples` times, and as often send a record through three hops; then in a flood."""
    with Stack(clock="events") as stack:
        stack.start()
        stops, hops, flooded = asyncio.run(_measure(stack, samples))
    say("tick to stop order", spread(stops, unit="ms"))
    rate = len(FLOOD) * FLOOD_BATCH / FLOOD_SECONDS
    say(f"the same in {rate:,.0f} ticks a second", spread(flooded, unit="ms"))
    say("three bare hops", spread(hops, unit="ms"))
    for part in (0.5, 0.99):
        say(f"ratio at p{part * 100:.0f}", f"{quantile(stops, part) / quantile(hops, part):.2f}")


async def _measure(stack: Stack, samples: int) -> tuple[list[float], list[float], list[float]]:
    kafka = stack.endpoints["kafka"]
    await _create(kafka)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    orders = await _tail(kafka, "orders")
    end = await _tail(kafka, HOPS[-1])
    relays = [asyncio.create_task(_relay(kafka, *pair)) for pair in itertools.pairwise(HOPS)]
    await asyncio.sleep(1)
    days = market.sessions()
    stops, hops, flooded = [], [], []
    for number in range(2 * samples):
        symbol, day = f"S{number}", next(days)
        await asyncio.to_thread(_open_position, stack, symbol, day)
        await _drain(orders)
        tick = json.dumps(market.tick(symbol, STOPPED, market.instant(day, "14:02"))).encode()
        flood = asyncio.create_task(_flood(producer, day)) if number >= samples else None
        await asyncio.sleep(0.5 if flood else 0)
        began = time.perf_counter()
        await producer.send_and_wait("price-ticks", tick, key=symbol.encode())
        await orders.getone()
        (stops if flood is None else flooded).append((time.perf_counter() - began) * 1000)
        if flood is not None:
            flood.cancel()
            await asyncio.to_thread(stack.until_lag_zero)
            continue
        began = time.perf_counter()
        await producer.send_and_wait(HOPS[0], tick, partition=0)
        await end.getone()
        hops.append((time.perf_counter() - began) * 1000)
        await asyncio.to_thread(stack.until_lag_zero)
    for relay in relays:
        relay.cancel()
    await asyncio.gather(*relays, return_exceptions=True)
    for client in (producer, orders, end):
        await client.stop()
    return stops, hops, flooded


async def _flood(producer: AIOKafkaProducer, day: dt.date) -> None:
    """Send a batch of each symbol of the flood again and again, all within one minute of event time."""
    begin = dt.datetime.fromisoformat(market.instant(day, "14:01:30"))
    for number in itertools.count():
        for symbol in FLOOD:
            instants = [begin + dt.timedelta(microseconds=number * FLOOD_BATCH + n) for n in range(FLOOD_BATCH)]
            ticks = [{"at": instant.isoformat(), "price": f"50.{n:02d}"} for n, instant in enumerate(instants)]
            value = json.dumps({"symbol": symbol, "ticks": ticks}).encode()
            await producer.send("price-ticks", value, key=symbol.encode())
            await asyncio.sleep(FLOOD_SECONDS / len(FLOOD))


def _open_position(stack: Stack, symbol: str, day: dt.date) -> None:
    """Buy a share or more of a symbol whose stop lies four cents below its price."""
    stack.produce("companies", [market.company(symbol)])
    stack.produce("price-bars", market.bars_before(symbol, day, PRICE, half_range="0.01"))
    stack.produce("price-ticks", [market.tick(symbol, PRICE, market.instant(day, "14:00"))])
    stack.until_lag_zero()
    at = market.instant(day, "14:01")
    stack.produce("recommendations", [market.recommendation(symbol, f"bench-{symbol}", at)])
    stack.until_lag_zero()


async def _create(kafka: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1) for name in HOPS])
    await admin.close()


async def _tail(kafka: str, topic: str) -> AIOKafkaConsumer:
    """Return a plain consumer that stands at the end of a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="latest")
    await consumer.start()
    numbers = (0,) if topic in HOPS else (partition_for(b"paper", PARTITIONS),)
    consumer.assign([TopicPartition(topic, number) for number in numbers])
    await consumer.seek_to_end()
    return consumer


async def _drain(consumer: AIOKafkaConsumer) -> None:
    while await consumer.getmany(timeout_ms=20):
        pass


async def _relay(kafka: str, source: str, target: str) -> None:
    """Consume a record, produce it again, and wait for the broker's acknowledgement: one hop's work."""
    consumer = await _tail(kafka, source)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    try:
        async for message in consumer:
            await producer.send_and_wait(target, message.value, partition=0)
    finally:
        await consumer.stop()
        await producer.stop()
