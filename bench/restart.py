"""How fast it is there, and there again: start-up by step, a killed worker, a killed broker, and memory.

The worker has a hundred accounts' rows to recover. It is killed once a minute: of what dies more often the supervisor
puts the next start off, and that would be measured instead. The broker's figure is from kill -9 to the first decision
on a recommendation that was sent when the broker was back.
"""

import itertools
import time

from bench.report import say, spread
from stack.supervisor import FORGET_SECONDS
from tests.integration import market
from tests.integration.harness import Stack

ACCOUNTS = tuple(f"account-{number:03d}" for number in range(100))
PARTS = ("agents.worker", "connectors", "api", "kafka.Kafka")


def measure(kills: int = 8) -> None:
    """Start one stack, kill its worker `kills` times and its broker three times."""
    numbers = itertools.count()
    with Stack(clock="events", accounts=ACCOUNTS) as stack:
        stack.start()
        for line in (stack.folder / "up.log").read_text().splitlines():
            if line.startswith("ok "):
                say("start-up", line[3:])
        stack.produce("companies", [market.company("REST")])
        stack.produce("price-ticks", [market.tick("REST", "10", market.instant(market.FIRST_DAY, "14:00"))])
        stack.until_lag_zero()
        _decide(stack, next(numbers))
        workers = []
        for _ in range(kills):
            worker = stack.child("agents.worker")
            began = time.perf_counter()
            worker.kill()
            _decide(stack, next(numbers))
            workers.append(time.perf_counter() - began)
            stack.until_ready(seconds=60)
            stack.until_lag_zero()
            time.sleep(FORGET_SECONDS)
        say("kill -9 of the worker to the next decision", spread(workers, unit="s"))
        brokers = []
        for _ in range(3):
            broker = stack.child("kafka.Kafka")
            began = time.perf_counter()
            broker.kill()
            broker.wait()
            _decide(stack, next(numbers))
            brokers.append(time.perf_counter() - began)
            stack.until_ready(seconds=60)
            stack.until_lag_zero()
        say("kill -9 of the broker to the next decision", spread(brokers, unit="s"))
        for part in PARTS:
            for process in stack.children(part):
                say(f"memory of {part}", f"{process.memory_info().rss / 2**20:.0f} MB resident")


def _decide(stack: Stack, number: int) -> None:
    """Send a recommendation and wait until the first account has decided it."""
    signal = market.recommendation(
        "REST", f"restart-{number}", market.instant(market.FIRST_DAY, "14:01"), action="watch"
    )
    stack.produce("recommendations", [signal])
    deadline = time.perf_counter() + 120
    while not any(decision["source_id"] == f"restart-{number}" for decision in stack.bodies("decisions")):
        if time.perf_counter() > deadline:
            raise TimeoutError(f"no decision on restart-{number} within 120 s")
        time.sleep(0.02)
