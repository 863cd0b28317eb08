"""A log in memory and a Faust that loses what a test tells it to lose."""

from collections.abc import AsyncIterator, Iterable

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


async def arriving(arrivals: Iterable[Record | Nudge]) -> AsyncIterator[Record | Nudge]:
    for arrival in arrivals:
        yield arrival
