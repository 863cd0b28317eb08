"""From a recommendation to its decision while messages go out, and while SNS and Gmail do not answer, in one run.

Blocks of both kinds alternate on one stack, so that what else the machine does falls on both alike. Before each sample
two messages are asked for, one a channel: there is always something to deliver.
"""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.report import quantile, say, spread
from streams.topics import partition_for
from tests.fakes.gmail.server import fake_gmail
from tests.fakes.sns.server import fake_sns
from tests.integration import market
from tests.integration.harness import PARTITIONS, Stack

ACCOUNT = "paper"
BLOCKS = 6
SYMBOL, DAY = "AAPL", market.FIRST_DAY
WANTED = {
    "version": 1,
    "channels": {"sms": True, "email": True},
    "sms_target": "+15550007788",
    "email_target": "operator@example.org",
    "sms_per_hour": 1000,
    "emails_per_hour": 1000,
}


def measure(samples: int = 50) -> None:
    """Take so many samples a block, three blocks with working channels and three with silent ones."""
    taken: dict[str, list[float]] = {"alive": [], "dead": []}
    with fake_sns() as sns, fake_gmail() as gmail, Stack(**sns.environment, **gmail.environment) as stack:
        stack.start()
        stack.produce("companies", [market.company(SYMBOL)])
        stack.produce("price-bars", market.bars_before(SYMBOL, DAY, "40.00"))
        stack.produce("price-ticks", [market.tick(SYMBOL, "40.00", market.instant(DAY, "14:00"))])
        stack.until_lag_zero()
        assert stack.request("PUT", "/api/trading/notifications/config", json=WANTED).status_code == 200
        numbers = itertools.count()
        for block in range(BLOCKS):
            name = "dead" if block % 2 else "alive"
            sns.always = gmail.always = "slow" if name == "dead" else None
            time.sleep(1)
            taken[name] += asyncio.run(_block(stack, numbers, samples))
        say("SMS and mails that went out meanwhile", f"{len(sns.sms)} and {len(gmail.mails)}")
        sns.always = gmail.always = None
    for name, values in taken.items():
        say(f"recommendation to decision, channels {name}", spread(values, unit="ms"))
    for part in (0.5, 0.95):
        ratio = quantile(taken["dead"], part) / quantile(taken["alive"], part)
        say(f"ratio dead to alive at p{part * 100:.0f}", f"{ratio:.2f}")


async def _block(stack: Stack, numbers: "itertools.count[int]", samples: int) -> list[float]:
    async with sampling(stack.endpoints["kafka"]) as sampler:
        taken = []
        for _ in range(samples):
            number = next(numbers)
            await sampler.ask_for_messages(number)
            await asyncio.sleep(0.1)
            taken.append(await sampler.decide(number, at=market.instant(DAY, "14:01")))
        return taken


class Sampler:
    """Send what one sample takes, and time it."""

    def __init__(self, producer: AIOKafkaProducer, decisions: AIOKafkaConsumer) -> None:
        self._producer, self._decisions = producer, decisions

    async def ask_for_messages(self, number: int) -> None:
        """Ask for a test message on each channel."""
        for channel in ("sms", "email"):
            command = market.command("test_notification", f"t-{channel}-{number}", ACCOUNT, channel=channel)
            await self._producer.send_and_wait("commands", json.dumps(command).encode(), key=ACCOUNT.encode())

    async def decide(self, number: int, *, at: str) -> float:
        """Return the milliseconds from a recommendation of an instant to its decision."""
        signal = market.recommendation(SYMBOL, f"bench-{number}", at, confidence="0.1")
        began = time.perf_counter()
        await self._producer.send_and_wait("recommendations", json.dumps(signal).encode(), key=SYMBOL.encode())
        await self._decisions.getone()
        return (time.perf_counter() - began) * 1000


@contextlib.asynccontextmanager
async def sampling(kafka: str) -> AsyncIterator[Sampler]:
    """Join the broker, at the end of the account's decisions."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    decisions = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="latest")
    await producer.start()
    await decisions.start()
    decisions.assign([TopicPartition("decisions", partition_for(ACCOUNT.encode(), PARTITIONS))])
    await decisions.seek_to_end()
    try:
        yield Sampler(producer, decisions)
    finally:
        await decisions.stop()
        await producer.stop()
