"""How far the engine is behind the log, and PostgreSQL behind the engine.

`lag` 0 means that everything acknowledged before the request has had its effect. That holds because positions are read
first and the topics' ends after them: a record between the two counts as not yet applied, never the other way round.
"""

import asyncio
from typing import Final

from api.database import Database
from api.offsets import Offsets, PerPartition
from api.problems import Problem
from streams.settings import Settings
from streams.topics import INPUTS, PROJECTED

APPLIED: Final = (*(topic.name for topic in INPUTS), "account-inbox", "stop-levels")
"""The topics that the workers apply."""
TRADED: Final = ("orders", "order-cancels")
"""The topics that our own trading connector applies."""
SECONDS_FOR_POSTGRES: Final = 0.25
SECONDS_OF_REST: Final = 1.0

_OFFSETS = "SELECT topic, partition, next_offset FROM projection_offsets"


def behind(ends: PerPartition, positions: PerPartition) -> int:
    """Return how many records lie between the positions and the ends; an unknown position is the beginning."""
    return sum(
        max(0, end - positions.get(topic, {}).get(partition, 0))
        for topic, partitions in ends.items()
        for partition, end in partitions.items()
    )


class Lags:
    """Measure both lags; `projected` never waits for PostgreSQL: when it is away, it is where it was."""

    def __init__(self, offsets: Offsets, database: Database, settings: Settings) -> None:
        self._offsets = offsets
        self._database = database
        self.applied = APPLIED if settings.broker == "external" else (*APPLIED, *TRADED)
        self._projected: PerPartition = {topic: {} for topic in PROJECTED}
        self._rests_until = 0.0

    async def projected(self) -> PerPartition:
        """Return the next offset of every projected topic and partition, as last known."""
        now = asyncio.get_running_loop().time()
        if now < self._rests_until:
            return self._projected
        try:
            rows = await self._database.rows(_OFFSETS, seconds=SECONDS_FOR_POSTGRES)
        except Problem:
            self._rests_until = now + SECONDS_FOR_POSTGRES + SECONDS_OF_REST
            return self._projected
        projected: PerPartition = {topic: {} for topic in PROJECTED}
        for row in rows:
            projected.setdefault(row["topic"], {})[row["partition"]] = row["next_offset"]
        self._projected = projected
        return projected

    async def of(self, positions: PerPartition, projected: PerPartition) -> tuple[int, int]:
        """Return `lag` and `projection_lag` for positions that were read before; raise `Problem` without Kafka."""
        ends = await self._offsets.ends({*self.applied, *PROJECTED})
        return (
            behind({topic: ends[topic] for topic in self.applied}, positions),
            behind({topic: ends[topic] for topic in PROJECTED}, projected),
        )

    async def of_projection(self, projected: PerPartition) -> int:
        """Return `projection_lag` alone; raise `Problem` without Kafka."""
        return behind(await self._offsets.ends(PROJECTED), projected)
