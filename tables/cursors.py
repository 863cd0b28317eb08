"""`cursors` and `market-cursors`: topic and partition -> the next offset to apply, for the guard.

Key: `topic:partition`, on the changelog partition of that number, so that whoever is given a partition has its cursor;
`market-cursors` is the same for topics of one partition. Writers: each agent for its own topic, after the outputs of
what lies before were acknowledged; `decide` and the ticks at a bounded rate, for repeats do no harm. Reader: the guard,
when partitions are assigned.
"""

import time
from collections.abc import Callable, MutableMapping


def place(key: bytes) -> int:
    """Return the changelog partition of a key."""
    return int(key.rpartition(b":")[2])


class CursorTable:
    """Read and write cursors over a table of bytes."""

    def __init__(self, rows: MutableMapping[bytes, bytes]) -> None:
        self._rows = rows

    def get(self, topic: str, partition: int) -> int | None:
        """Return the next offset of a partition, if one was ever written."""
        row = self._rows.get(_key(topic, partition))
        return None if row is None else int(row)

    def put(self, topic: str, partition: int, offset: int) -> None:
        """Write the next offset of a partition."""
        self._rows[_key(topic, partition)] = b"%d" % offset


class Cursor:
    """The cursors of one agent's topic: `advance` remembers, and writes at most once every `seconds` a partition."""

    def __init__(
        self,
        table: CursorTable,
        topic: str,
        *,
        seconds: float = 0.0,
        before: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._topic = topic
        self._seconds = seconds
        self._before = before
        self._clock = clock
        self._waiting: dict[int, int] = {}
        self._written_at: dict[int, float] = {}

    def advance(self, partition: int, offset: int) -> None:
        """Say that everything before `offset` has been applied."""
        self._waiting[partition] = offset
        now = self._clock()
        if now - self._written_at.get(partition, float("-inf")) >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Write what waits, after what must be written before it; where that cannot be now, later."""
        if not self._waiting or not self._before():
            return
        waiting, self._waiting = self._waiting, {}
        for partition, offset in waiting.items():
            self._table.put(self._topic, partition, offset)
            self._written_at[partition] = self._clock()

    def forget(self) -> None:
        """Drop what is not written: the partitions have been revoked."""
        self._waiting.clear()


def _key(topic: str, partition: int) -> bytes:
    return f"{topic}:{partition}".encode()
