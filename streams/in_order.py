"""The guard: every record of a partition, in order, from where the tables say, whatever Faust delivers.

Faust 0.15.3 loses records when it restarts onto a backlog and when workers rebalance. So it only delivers, and the log
decides: offsets of a partition are contiguous, so an arrival beyond the next offset shows a hole, and the end of the
partition shows one that nothing has arrived after. The guard reads holes from the log itself and hands them over
first; what it has handed over before it passes over. Offsets that the log does not have (compacted, or a transaction's
markers) are normal: having read past them is the proof.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition

from streams.held import Held
from streams.log import Log, Record


@dataclass(frozen=True)
class Nudge:
    """A look at the log: what lies before these ends should have arrived, by partition."""

    ends: Mapping[int, int]


class Guard(Held):
    """Keep the records of the partitions that this worker holds in order."""

    def __init__(self, topic: str, *, log: Log, enabled: bool = True) -> None:
        super().__init__(topic)
        self._log = log
        self._enabled = enabled
        self._nudge: Callable[[Nudge], None] | None = None
        self._nudged = False

    def open(self, begins: Mapping[int, int]) -> None:
        """Begin at these offsets; call it when the tables are complete, and then `nudge` with the ends of the log."""
        super().open(begins)
        self._nudged = False  # Faust clears its queues when it resumes

    def attach(self, nudge: Callable[[Nudge], None]) -> None:
        """Say how a nudge gets into the arrivals."""
        self._nudge = nudge

    def nudge(self, ends: Mapping[int, int]) -> None:
        """Let the guard read by itself what lies before `ends` and has not arrived; also wakes an idle consumer."""
        if self._nudge is not None and not self._nudged:
            with contextlib.suppress(asyncio.QueueFull):  # whoever has so much to do needs no nudge
                self._nudge(Nudge(dict(ends)))
                self._nudged = True

    async def in_order(self, arrivals: AsyncIterator[Record | Nudge]) -> AsyncIterator[Record | None]:
        """Give every record once, in order; None says that a nudge was followed and nothing else is waiting."""
        async for arrival in arrivals:
            if isinstance(arrival, Nudge):
                self._nudged = False
                for partition, end in sorted(arrival.ends.items()):
                    async for record in self._past_faust(partition, end):
                        yield record
                yield None
            elif not self._enabled:
                yield arrival
                self._next[arrival.partition] = arrival.offset + 1
            else:
                await self._opened.wait()
                position = self._next.get(arrival.partition)
                if position == arrival.offset:
                    generation = self._begin_work()
                    yield arrival
                    self._end_work(generation, arrival.partition, arrival.offset + 1)
                elif position is not None and position < arrival.offset:
                    async for record in self._past_faust(arrival.partition, arrival.offset + 1):
                        yield record

    async def _past_faust(self, partition: int, end: int) -> AsyncIterator[Record]:
        """Give the records from the position to before `end` as the log has them."""
        generation, begin = self._generation, self._next.get(partition)
        if not self._enabled or begin is None or begin >= end:
            return
        async for record in self._log.read(TopicPartition(self.topic, partition), begin=begin, end=end):
            if generation != self._generation:
                return
            self._begin_work()
            yield record
            self._end_work(generation, partition, record.offset + 1)
        if generation == self._generation:
            self._next[partition] = end
