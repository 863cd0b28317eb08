"""Ticks through kills and rebalances: each crossing is in the account's inbox, also one that the next tick takes back.

A crossing that is lost cannot be found later: the last price of each record is on the right side of the stop again.
"""

import asyncio
import json
import pathlib
import signal

import pytest
from aiokafka import AIOKafkaProducer

from streams.topics import partition_for
from tests.integration.engine import ACCOUNTS, Engine, engine

pytestmark = pytest.mark.integration

WATCHER = ACCOUNTS[0]
SYMBOLS = tuple(f"W{number}" for number in range(400))


async def watch_all(stack: Engine, kafka: AIOKafkaProducer) -> None:
    """Let one account have its stop at 90 in every symbol."""
    topic = stack.settings.topic("stop-levels")
    for symbol in SYMBOLS:
        levels = {
            "account_id": WATCHER,
            "symbol": symbol,
            "revision": 1,
            "set_at": "2026-03-02T14:30:00Z",
            "stop": "90",
            "target": "120",
            "interval_seconds": 60,
        }
        place = partition_for(symbol.encode(), 4)
        await kafka.send(topic, json.dumps(levels).encode(), key=f"{symbol}/{WATCHER}".encode(), partition=place)
    await kafka.flush()


async def cross(stack: Engine, kafka: AIOKafkaProducer, symbols: tuple[str, ...], *, pause: float = 0) -> None:
    """Let the price of each symbol dip through its stop and come back, all in one record."""
    for symbol in symbols:
        second = SYMBOLS.index(symbol)
        at = f"2026-03-02T15:{second // 60:02d}:{second % 60:02d}"
        ticks = [{"at": f"{at}.{tenth}Z", "price": price} for tenth, price in enumerate(("100", "89.99", "100"))]
        value = json.dumps({"symbol": symbol, "ticks": ticks}).encode()
        await kafka.send_and_wait(stack.settings.topic("price-ticks"), value, key=symbol.encode())
        await asyncio.sleep(pause)


async def crossings(stack: Engine) -> dict[str, set[tuple[str, str]]]:
    """Return the crossings that the account was told of: by symbol, their prices and instants."""
    found: dict[str, set[tuple[str, str]]] = {}
    for record in await stack.read("account-inbox"):
        event = json.loads(record.value)
        if event["kind"] == "mark" and event["reason"] == "stop":
            found.setdefault(event["symbol"], set()).add((event["last"], event["price_at"]))
    return found


@pytest.mark.covers("R4.4")
async def test_every_crossing_is_told_through_kills_a_backlog_and_rebalances_of_two_workers(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path
) -> None:
    with engine(kafka, topic_prefix, tmp_path) as stack:
        async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
            stack.start("worker-1")
            await watch_all(stack, producer)
            await stack.when_applied()
            sending = asyncio.create_task(cross(stack, producer, SYMBOLS[:280], pause=0.07))
            await asyncio.sleep(2)
            stack.kill("worker-1")
            await cross(stack, producer, SYMBOLS[280:])  # a backlog
            stack.start("worker-1")
            await asyncio.sleep(3)
            stack.start("worker-2")
            await asyncio.sleep(4)
            stack.kill("worker-1")
            await asyncio.sleep(1)
            stack.start("worker-1")
            await asyncio.sleep(4)
            stack.kill("worker-2", signal.SIGTERM)
            await sending
            await stack.when_applied()
            told = await crossings(stack)
            assert sorted(set(SYMBOLS) - told.keys()) == []
            assert {len(each) for each in told.values()} == {1}  # repeats say the same
            assert {price for each in told.values() for price, _ in each} == {"89.99"}
