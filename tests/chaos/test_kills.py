"""Any process of a whole stack is killed or frozen at random while it trades; nothing is lost and nothing done twice.

`STONKS_CHAOS_SEED` repeats a run, `STONKS_CHAOS_RECOMMENDATIONS` and `STONKS_CHAOS_SECONDS` make it longer.
"""

import contextlib
import os
import random
import threading
import time

import psutil
import pytest

from tests.chaos import feed, oracle
from tests.integration.harness import Stack, frozen

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

ACCOUNTS = ("ann", "ben", "cid")
SEED = int(os.environ.get("STONKS_CHAOS_SEED", "1"))
RECOMMENDATIONS = int(os.environ.get("STONKS_CHAOS_RECOMMENDATIONS", "500"))
SECONDS = float(os.environ.get("STONKS_CHAOS_SECONDS", "60"))
FAULTS = ("worker", "worker", "connectors", "connectors", "broker", "freeze")


def disturb(stack: Stack, chance: random.Random, over: threading.Event, faults: list[str]) -> None:
    """Kill -9 a worker, the connectors or the broker, or freeze a worker beyond its session, until the feed is over."""
    while not over.wait(chance.uniform(2, 6)):
        fault = chance.choice(FAULTS)
        part = {"connectors": "connectors", "broker": "kafka.Kafka"}.get(fault, "agents.worker")
        with contextlib.suppress(psutil.NoSuchProcess):
            there = stack.children(part)
            if not there:
                continue
            victim = chance.choice(there)
            faults.append(fault)
            if fault == "freeze":
                with frozen(victim):
                    time.sleep(chance.uniform(11, 13))
            else:
                victim.kill()


@pytest.mark.covers("R18.5")
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_anywhere_nothing_is_lost_and_nothing_is_done_twice(workers: int) -> None:
    chance = random.Random(SEED * 10 + workers)
    variables = {"STONKS_SIM_PARTIAL_PCT": "30", "STONKS_SIM_REJECT_PCT": "10"}
    with Stack(workers=workers, accounts=ACCOUNTS, clock="events", **variables) as stack:
        stack.start()
        feed.prepare(stack)
        over, faults = threading.Event(), list[str]()
        chaos = threading.Thread(target=disturb, args=(stack, random.Random(chance.random()), over, faults))
        chaos.start()
        try:
            ids = feed.play(stack, chance, recommendations=RECOMMENDATIONS, seconds=SECONDS)
        finally:
            over.set()
            chaos.join()
        began = time.monotonic()
        stack.until_ready(seconds=90)
        stack.until_lag_zero(projected=True, seconds=120)
        caught_up = time.monotonic() - began
        figures = oracle.figures_of_a_running_stack(stack, ids)
        rows, orders = oracle.states(stack), stack.bodies("orders")
        trades = stack.sql("SELECT count(*) AS n FROM trades")[0]["n"]
        stack.ask_to_stop()
        figures |= oracle.figures_of_a_stopped_stack(stack, rows, orders)
        replay = stack.run("replay", "--assert-identical")
        print(f"\nseed {SEED}  workers {workers}  faults {len(faults)}: {', '.join(faults)}")
        print(f"recommendations {len(ids)} x {len(ACCOUNTS)} accounts  orders {len(orders)}  trades {trades}")
        print(f"caught up after {caught_up:.1f} s")
        for name, figure in figures.items():
            print(f"{name} {figure:f}")
        print(replay.stdout.strip())
        assert {name: figure for name, figure in figures.items() if figure} == {}
        assert replay.returncode == 0, replay.stderr
        assert faults, "nothing was killed"
        assert trades > 0, "nothing was traded"
