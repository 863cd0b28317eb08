"""Kafka goes away under the connectors: they say so, end when asked, and go on where they were when it is back."""

import asyncio
import pathlib
import signal
import time

import pytest

from stack import kafka as embedded
from stack.jars import cache_dir
from stack.ports import free_port
from stack.programs import await_ready, running
from stack.programs import start as start_program
from streams.settings import Settings
from tests.connectors.examples import order, prices
from tests.connectors.running import has_applied, is_ready, process, settings_of, topics_of, trades_of

pytestmark = pytest.mark.integration


async def test_kafka_is_killed_and_comes_back(tmp_path: pathlib.Path) -> None:
    port = free_port()
    address = embedded.bootstrap(port)
    program = embedded.prepare(
        tmp_path / "kafka", port=port, controller_port=free_port([port]), cache=cache_dir(Settings())
    )

    def answers(_: int) -> bool:
        return embedded.is_ready(address)

    settings = settings_of(address, "", tmp_path / "data")
    with running(program, answers) as broker, process(settings) as connectors:
        async with topics_of(settings) as topics:
            await topics.send("price-ticks", *prices("10"))
            await topics.send("orders", order(number=1))
            connectors.until(lambda here: is_ready(here) and has_applied(here, orders=1))
        broker.kill()
        broker.wait()
        connectors.until(lambda here: here.get("/ready")[0] == 503, seconds=15)
        assert connectors.checks()["broker"] is False
        assert connectors.get("/health")[0] == 200

        with process(settings_of(address, "", tmp_path / "other")) as other:
            other.until(lambda here: here.get("/health")[0] == 200)
            asked_at = time.monotonic()
            other.child.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(other.child.wait, 10) == 0
            assert time.monotonic() - asked_at < 8

        again = start_program(program)
        try:
            await_ready(again, program, answers)
            connectors.until(is_ready, seconds=10)
            async with topics_of(settings) as topics:
                await topics.send("orders", order(number=1), order(number=2))
                connectors.until(lambda here: has_applied(here, orders=3))
                assert trades_of(await topics.read("broker-events")) == {"order-1": 1, "order-2": 1}
        finally:
            again.kill()
            again.wait()
