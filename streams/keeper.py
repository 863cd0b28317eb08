"""The keeper of the guards: opens them when the tables are complete, and looks every 2 s for what has not arrived.

A hole at the end of a partition shows itself only by comparing with the log. What was there 2 s ago and has not moved
the position since is read past Faust. When the worker becomes ready everything that waits is read at once, because a
restart onto a backlog is where Faust loses records.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.held import Held
from streams.log import Log

EVERY_SECONDS = 2.0
_RETRY_SECONDS = 0.5
_SECONDS_TO_ANSWER = 5.0
_UNSEEN_SECONDS = 8.0

Begin = Callable[[TopicPartition], int | None]
Lost = Callable[[TopicPartition, int, int], Awaitable[None]]
Commit = Callable[[Mapping[TopicPartition, int]], Awaitable[None]]

_log = structlog.get_logger(__name__)


class Keeper:
    """Know where every guard stands and what the log has.

    `assigned` gives the partitions of this worker, `begin` the first offset of one that the tables do not cover (None:
    nothing is known of it). `lost` is awaited with a partition, where it should begin and where it can, when the log
    does not have what should come next: it alerts the accounts and stops their entries. `commit` is told the positions
    that have moved.
    """

    def __init__(
        self,
        guards: Iterable[Held],
        *,
        log: Log,
        assigned: Callable[[], Iterable[TopicPartition]],
        begin: Begin,
        lost: Lost,
        commit: Commit,
    ) -> None:
        self.guards = {guard.topic: guard for guard in guards}
        self._log = log
        self._assigned = assigned
        self._begin = begin
        self._lost = lost
        self._commit = commit
        self._generation = 0
        self._seen: dict[TopicPartition, tuple[int, int]] = {}  # position and end at the last look
        self._stood_since: dict[TopicPartition, float] = {}
        self.is_open = False
        self._looked_at = time.monotonic()

    @property
    def sees_the_log(self) -> bool:
        """Return whether the broker has answered in the last seconds."""
        return time.monotonic() - self._looked_at < _UNSEEN_SECONDS

    async def open(self) -> None:
        """Open the guards of the partitions that this worker holds; call it when their tables are complete."""
        self._generation += 1
        generation = self._generation
        held = [TopicPartition(*here) for here in self._assigned() if here[0] in self.guards]
        while True:
            try:
                async with asyncio.timeout(_SECONDS_TO_ANSWER):
                    starts, ends = await self._log.starts(held), await self._log.ends(held)
                break
            except (KafkaError, TimeoutError) as error:
                _log.warning("the broker does not say where the log begins and ends", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
            if generation != self._generation:
                return
        begins = {here: await self._where(here, starts[here], ends[here]) for here in held}
        if generation != self._generation:
            return
        self._seen, self._stood_since = {}, {}
        for guard in self.guards.values():
            guard.open({here.partition: begins[here] for here in held if here.topic == guard.topic})
            guard.nudge({here.partition: ends[here] for here in held if here.topic == guard.topic})
        self.is_open = True
        self._looked_at = time.monotonic()

    async def close(self) -> None:
        """Close all guards and wait until what they handed over is applied; call it when partitions are revoked."""
        self._generation += 1
        self.is_open = False
        await asyncio.gather(*(guard.close() for guard in self.guards.values()))

    async def run(self) -> None:
        """Look at the log every 2 s until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                async with asyncio.timeout(_SECONDS_TO_ANSWER):
                    moved = await self.look()
            except (KafkaError, TimeoutError) as error:
                self._stood_since.clear()  # without a broker nobody is stuck
                _log.warning("the broker does not say where the log ends", error=repr(error))
                continue
            if moved and self.is_open:
                await self._commit(moved)

    async def look(self) -> dict[TopicPartition, int]:
        """Compare positions with the ends of the log, nudge every guard, and return the positions that have moved.

        Raises aiokafka's `KafkaError` without a broker.
        """
        positions = self.positions()
        ends = await self._log.ends(positions)
        self._looked_at = time.monotonic()
        late = {here: end for here, (position, end) in self._seen.items() if positions.get(here) == position < end}
        for guard in self.guards.values():
            guard.nudge({here.partition: end for here, end in late.items() if here.topic == guard.topic})
        self._stood_since = {here: self._stood_since.get(here, time.monotonic()) for here in late}
        before, self._seen = self._seen, {here: (position, ends[here]) for here, position in positions.items()}
        return {here: at for here, at in positions.items() if here not in before or before[here][0] != at}

    def positions(self) -> dict[TopicPartition, int]:
        """Return the live position of every partition that this worker holds."""
        return {
            TopicPartition(guard.topic, partition): position
            for guard in self.guards.values()
            for partition, position in guard.positions.items()
        }

    def stuck(self, seconds: float) -> list[TopicPartition]:
        """Return the partitions that have stood still behind the log's end for longer than this."""
        now = time.monotonic()
        return [here for here, since in self._stood_since.items() if now - since > seconds]

    async def _where(self, here: TopicPartition, start: int, end: int) -> int:
        wanted = self._begin(here)
        if wanted is None:
            return start
        possible = min(max(wanted, start), end)
        if possible != wanted:
            await self._lost(here, wanted, possible)
        return possible
