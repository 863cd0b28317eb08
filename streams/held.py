"""What a worker holds of one topic: the next offset of each of its partitions, from an assignment to a revocation."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType


class Held:
    """The positions of one topic's partitions on this worker.

    A position is the next offset that has not been applied. It moves when the reader asks for the next record, so
    whoever awaits outputs and writes rows before that has them counted exactly.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._next: dict[int, int] = {}
        self._generation = 0
        self._opened = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def positions(self) -> Mapping[int, int]:
        """Return the next offset of each partition that this worker holds; empty while it holds none."""
        return MappingProxyType(self._next)

    def open(self, begins: Mapping[int, int]) -> None:
        """Begin at these offsets; call it when the tables are complete, and then `nudge` with the ends of the log."""
        self._generation += 1
        self._next = dict(begins)
        self._opened.set()

    async def close(self, *, seconds: float = 3.0) -> None:
        """Hand nothing over any more, and wait at most `seconds` until what was handed over is applied."""
        self._opened.clear()
        self._generation += 1
        self._next = {}
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return  # the new owner computes the same bytes, so a late one does no harm

    def nudge(self, ends: Mapping[int, int]) -> None:
        """Hear where the log ended at a look: what lies before has been there for a while."""
        raise NotImplementedError

    def _begin_work(self) -> int:
        self._idle.clear()
        return self._generation

    def _end_work(self, generation: int, partition: int, position: int) -> None:
        self._idle.set()
        if generation == self._generation:
            self._next[partition] = position
