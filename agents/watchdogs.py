"""What ends a worker that is alive but does not work, so that its supervisor starts it again.

Three ways to be stuck: the event loop no longer turns, the recovery of the tables does not advance, or records wait
behind a position that does not move. A broker that is away is none of them.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError

from streams.crash import end_loudly
from streams.keeper import Keeper

LOOP_SECONDS = 30
RECOVERY_SECONDS = 60.0
STANDSTILL_SECONDS = 60.0
_EVERY_SECONDS = 5.0


def watch_the_loop(seconds: int = LOOP_SECONDS) -> Callable[[], None]:
    """Start a thread that ends the process when the returned function is not called for so long.

    The thread counts its own seconds, so that a process that was frozen is not taken for one that is stuck.
    """
    beats = [0]

    def watch() -> None:
        seen, still = -1, 0
        while True:
            threading.Event().wait(1)
            still = still + 1 if beats[0] == seen else 0
            seen = beats[0]
            if still >= seconds:
                end_loudly("the event loop stands still", seconds=still)

    def beat() -> None:
        beats[0] += 1

    threading.Thread(target=watch, name="loop-watchdog", daemon=True).start()
    return beat


async def watch_progress(
    keeper: Keeper,
    *,
    recovery: Callable[[], object],
    broker_answers: Callable[[], Awaitable[object]],
    beat: Callable[[], None],
) -> None:
    """End the process when recovery or a position stands still for a minute while the broker answers.

    `recovery` returns anything that changes as long as recovery advances; `broker_answers` raises aiokafka's
    `KafkaError`, or `TimeoutError`, when it does not.
    """
    seen, still = recovery(), 0.0
    while True:
        for _ in range(int(_EVERY_SECONDS)):
            await asyncio.sleep(1)
            beat()
        try:
            await broker_answers()
        except (KafkaError, TimeoutError):
            still = 0.0
            continue
        now = recovery()
        still = 0.0 if keeper.is_open or now != seen else still + _EVERY_SECONDS
        seen = now
        if still >= RECOVERY_SECONDS:
            end_loudly("the recovery of the tables does not advance", seconds=still, at=repr(now))
        if stuck := keeper.stuck(STANDSTILL_SECONDS):
            end_loudly("records wait behind a position that does not move", partitions=[str(here) for here in stuck])
