"""`python -m tests.trading.soak [EVENTS] [--seed FIRST] [--one]`: random days until so many events have been folded.

Batches of days, each with a seed of its own from FIRST on, run in one process a core under the same rules and laws as
the ordinary test. It prints how far it is after each batch, at the end what occurred and what never did, and stops at
the first failure with its seed; `--one` runs the batch of that seed alone and looks for the smallest failing days.
"""

import argparse
import itertools
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.trading.machine import Days
from tests.trading.occurred import OCCURRED, Occurred

DAYS = settings(
    max_examples=25,
    stateful_step_count=100,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Batch(NamedTuple):
    """What came of one batch: its events by what occurred, and its failure with the steps that led to it."""

    number: int
    events: int
    counts: Counter[tuple[str, str]]
    failure: str | None


def main() -> int:
    """Return 0 when all batches held, 1 after a failure."""
    asked = _arguments()
    print(f"{asked.events:,} events from seed {asked.seed} on, {asked.processes} processes", flush=True)
    met, began = Occurred(), time.monotonic()
    batches = _alone(asked.seed) if asked.one else _beside_one_another(asked.seed, asked.processes)
    for batch in batches:
        met.add(batch.events, batch.counts)
        rate = met.events / (time.monotonic() - began)
        print(f"seed {batch.number}: {met.events:,} events, {rate:,.0f} a second", flush=True)
        if batch.failure is not None:
            print(batch.failure, f"FAILED: seed {batch.number}", sep="\n", flush=True)
            return 1
        if asked.one or met.events >= asked.events:
            break
    print("", *met.lines(), "", f"held: {met.events:,} events from seed {asked.seed} on", sep="\n", flush=True)
    return 0


def run(number: int, *, smallest: bool = False) -> Batch:
    """Run the batch of one seed."""
    OCCURRED.clear()
    phases = [Phase.generate, Phase.shrink] if smallest else [Phase.generate]
    machine = seed(number)(type("Batch", (Days,), {}))
    failure = None
    try:
        run_state_machine_as_test(machine, settings=settings(DAYS, phases=phases))
    except BaseException as error:
        failure = "".join(traceback.format_exception(error))
    return Batch(number, OCCURRED.events, OCCURRED.counts, failure)


def _alone(number: int) -> Iterator[Batch]:
    yield run(number, smallest=True)


def _beside_one_another(first: int, processes: int) -> Iterator[Batch]:
    """Yield batches as they end, as many at work as there are processes."""
    numbers = itertools.count(first)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_end_with_the_parent) as pool:
        working: set[Future[Batch]] = {pool.submit(run, next(numbers)) for _ in range(processes)}
        try:
            while True:
                ended, working = wait(working, return_when=FIRST_COMPLETED)
                working |= {pool.submit(run, next(numbers)) for _ in ended}
                for future in ended:
                    yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()  # a batch that is not needed any more


def _end_with_the_parent() -> None:
    """Leave no process behind, however the first one ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.trading.soak", description=__doc__)
    parser.add_argument("events", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0, help="the first batch's; the others count up from it")
    parser.add_argument("--one", action="store_true", help="that batch alone, and the smallest days that fail")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
