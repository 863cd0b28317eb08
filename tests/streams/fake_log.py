"""A log in memory, what a feed reads from, and a Faust that loses what a test tells it to lose."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition

from streams.in_order import Nudge
from streams.log import Record

TOPIC = "t"


def record(offset: int, partition: int = 0) -> Record:
    return Record(TOPIC, partition, offset, b"k", b"%d" % offset, 0)


class FakeLog:
    """Partitions as lists of offsets; those left out were compacted away."""

    def __init__(self, **offsets: Iterable[int]) -> None:
        self.offsets = {int(name[1:]): sorted(found) for name, found in offsets.items()}
        self.begins = dict.fromkeys(self.offsets, 0)
        self.reads: list[tuple[int, int, int]] = []

    async def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {here: self.begins[here.partition] for here in partitions}

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {here: max(self.offsets[here.partition], default=-1) + 1 for here in partitions}

    async def read(self, partition: TopicPartition, *, begin: int, end: int) -> AsyncIterator[Record]:
        self.reads.append((partition.partition, begin, end))
        for offset in list(self.offsets[partition.partition]):
            if begin <= offset < end:
                yield record(offset, partition.partition)


class FakeSource:
    """A log in memory that gives what a test puts into it, from where it is told to begin."""

    def __init__(self, **records: Sequence[Record]) -> None:
        self.records = {int(name[1:]): list(found) for name, found in records.items()}
        self.markers: dict[int, int] = {}
        self.begun: list[dict[int, int]] = []
        self.at: dict[int, int] = {}

    async def begin(self, begins: Mapping[TopicPartition, int]) -> None:
        self.at = {here.partition: offset for here, offset in begins.items()}
        self.begun.append(dict(self.at))

    async def more(self) -> Mapping[TopicPartition, Sequence[Any]]:
        await asyncio.sleep(0)
        found = {
            TopicPartition(TOPIC, number): [one for one in self.records.get(number, ()) if one.offset >= begin]
            for number, begin in self.at.items()
        }
        self.at.update({here.partition: records[-1].offset + 1 for here, records in found.items() if records})
        return {here: records for here, records in found.items() if records}

    async def position(self, partition: TopicPartition) -> int:
        number = partition.partition
        given = all(one.offset < self.at[number] for one in self.records.get(number, ()))
        return max(self.at[number], self.markers.get(number, 0)) if given else self.at[number]


async def arriving(arrivals: Iterable[Record | Nudge]) -> AsyncIterator[Record | Nudge]:
    for arrival in arrivals:
        yield arrival
