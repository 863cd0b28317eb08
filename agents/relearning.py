"""What a worker does whose tables are lost while the log is there: it learns again, and tells nobody twice.

Where a cursor is gone, the group's offset on the broker stands in: positions are committed there every 2 s, after the
outputs of what lies before were acknowledged. `intake` and `decide` go on from it. `watch` reads from the log's start,
because symbols' facts are made of all of it; what lies before that offset has been told, so it is folded in silence.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaException

from agents.board import Board
from streams.identity import committed
from streams.log import Record
from streams.outbox import Outgoing
from streams.settings import Settings
from streams.topics import APP, FEED_GROUP, PRICES

SECONDS_BETWEEN_TRIES = 0.25
Handle = Callable[[Record], Awaitable[None]]
HandleSome = Callable[[Sequence[Record]], Awaitable[None]]

_log = structlog.get_logger("worker")


class Relearning:
    """Know, by topic and partition without a cursor, what was applied before the tables were lost."""

    def __init__(self, settings: Settings, *, board: Board) -> None:
        self._settings = settings
        self._board = board
        self._watched: set[str] = set()
        self._applied: dict[tuple[str, int], int] = {}

    def of(self, name: str, handle: partial[Any]) -> Handle:
        """Return the handler of a topic of `watch`: silent for what was applied before."""
        apply = self.of_some(name, partial(_one, handle=handle))
        return lambda record: apply((record,))

    def of_some(self, name: str, handle: partial[Any]) -> HandleSome:
        """Return the handler of some records of one partition at a time: silent for what was applied before."""
        self._watched.add(name)
        silent = partial(handle, send=_say_nothing)

        async def apply(records: Sequence[Record]) -> None:
            here = name, records[0].partition
            applied = self._applied.get(here, 0)
            told = sum(record.offset < applied for record in records)
            if told:
                await silent(records[:told])
            if told < len(records):
                if self._applied.pop(here, None) is not None:
                    self._board.forget()  # what it believes to have told, it has not
                await handle(records[told:] if told else records)

        return apply

    async def prepare(self, places: Sequence[tuple[str, int]]) -> None:
        """Ask the broker how far these were read, as often as it takes to be told."""
        self.forget()
        if not places:
            return
        while True:
            try:
                self._applied = await asyncio.to_thread(self._committed, places)
                return
            except KafkaException as error:
                _log.warning("the broker does not say how far the group is", error=repr(error))
                await asyncio.sleep(SECONDS_BETWEEN_TRIES)

    def _committed(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        groups = {name: FEED_GROUP if name == PRICES else APP for name, _ in places}
        found: dict[tuple[str, int], int] = {}
        for group in sorted(set(groups.values())):
            here = {
                (self._settings.topic(name), number): (name, number) for name, number in places if groups[name] == group
            }
            offsets = committed(self._settings, self._settings.topic(group), list(here))
            found |= {here[place]: offset for place, offset in offsets.items()}
        return found

    def begin(self, name: str, partition: int) -> int | None:
        """Return where to begin a partition without a cursor; None for the log's start."""
        return None if name in self._watched else self._applied.get((name, partition))

    def forget(self) -> None:
        """Drop everything: the partitions have been revoked."""
        self._applied.clear()


async def _one(records: Sequence[Record], *, handle: partial[Any], **changes: Any) -> None:
    await handle(records[0], **changes)


async def _say_nothing(outgoing: Outgoing) -> Awaitable[object]:
    return asyncio.sleep(0)
