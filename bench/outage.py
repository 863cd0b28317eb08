"""An hour without SNS and Gmail: what a decision takes before, meanwhile and after, and what becomes of every message.

For the first half of the hour both refuse connections, for the second they take them and never answer. The clock is the
system's, so that ages and hourly limits are those of real time. Every twenty seconds a message is asked for on each
channel, before, meanwhile and after: more than a silent channel can be tried with, so that many wait when it is back.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Callable

from bench.messages import SYMBOL, WANTED, Sampler, sampling
from bench.report import quantile, say, spread
from tests.fakes.gmail.server import FakeGmail, fake_gmail
from tests.fakes.sns.server import FakeSns, fake_sns
from tests.integration import market
from tests.integration.harness import Stack, eventually

LIMIT = 60
SECONDS_BETWEEN_SAMPLES, SAMPLES_A_MESSAGE = 2.0, 10
SECONDS_TO_SETTLE = 4000  # a try that may have arrived takes a slot for an hour, and what waits for one waits so long
_COUNTS = "SELECT channel, delivery_status, count(*) AS n FROM notifications GROUP BY 1, 2 ORDER BY 1, 2"
_PENDING = "SELECT count(*) AS n FROM notifications WHERE delivery_status = 'pending'"


def measure(minutes: float = 60) -> None:
    """Take an eighth of the outage before it, as much after it, and wait until every message is settled."""
    around = minutes / 8
    with (
        fake_sns() as sns,
        fake_gmail() as gmail,
        Stack(clock="system", **sns.environment, **gmail.environment) as stack,
    ):
        stack.start()
        stack.produce("companies", [market.company(SYMBOL)])
        stack.until_lag_zero()
        limits = {"sms_per_hour": LIMIT, "emails_per_hour": LIMIT}
        assert stack.request("PUT", "/api/trading/notifications/config", json=WANTED | limits).status_code == 200
        asyncio.run(_samples(stack, 0, minutes=around / 8))  # to warm up
        before = asyncio.run(_samples(stack, 10_000, minutes=around))
        _each(sns, gmail, lambda server: server.die())
        refused = asyncio.run(_samples(stack, 20_000, minutes=minutes / 2))
        sns.always = gmail.always = "slow"
        _each(sns, gmail, lambda server: server.revive())
        silent = asyncio.run(_samples(stack, 30_000, minutes=minutes / 2))
        say("messages that wait when both are back", f"{stack.sql(_PENDING)[0]['n']}")
        out = len(sns.sms), len(gmail.mails)
        sns.always = gmail.always = None
        after = asyncio.run(_samples(stack, 40_000, minutes=around))
        say(
            f"SMS and mails in the {around:.1f} minutes after, limit {LIMIT} an hour",
            f"{len(sns.sms) - out[0]} and {len(gmail.mails) - out[1]}",
        )
        began = time.monotonic()
        eventually(lambda: stack.sql(_PENDING)[0]["n"] == 0, seconds=SECONDS_TO_SETTLE, what="every message is settled")
        say("until the last message was settled", f"{time.monotonic() - began:.0f} s")
        for row in stack.sql(_COUNTS):
            say(f"{row['channel'] or 'no channel'} {row['delivery_status']}", f"{row['n']}")
        say("SMS and mails that came, in all", f"{len(sns.sms)} and {len(gmail.mails)}")
    for name, values in (("before", before), ("refused", refused), ("silent", silent), ("after", after)):
        say(f"recommendation to decision, {name}", spread(values, unit="ms"))
    for part in (0.5, 0.95):
        ratio = quantile(refused + silent, part) / quantile(before + after, part)
        say(f"ratio dead to alive at p{part * 100:.0f}", f"{ratio:.2f}")


def _each(sns: FakeSns, gmail: FakeGmail, do: Callable[[FakeSns | FakeGmail], None]) -> None:
    for server in (sns, gmail):
        do(server)


async def _samples(stack: Stack, first: int, *, minutes: float) -> list[float]:
    """Take a sample every two seconds, and ask for messages every twenty seconds."""
    taken: list[float] = []
    ends_at = time.monotonic() + minutes * 60
    async with sampling(stack.endpoints["kafka"]) as sampler:
        while time.monotonic() < ends_at:
            taken.append(await _sample(sampler, first + len(taken)))
            await asyncio.sleep(SECONDS_BETWEEN_SAMPLES)
    return taken


async def _sample(sampler: Sampler, number: int) -> float:
    if number % SAMPLES_A_MESSAGE == 0:
        await sampler.ask_for_messages(number)
        await asyncio.sleep(0.1)
    return await sampler.decide(number, at=dt.datetime.now(dt.UTC).isoformat())
