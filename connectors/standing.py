"""What delivery must know of an account: its notification preferences, targets unmasked, and how far its time has come.

Both stand in the account's row, and the newest row is the last `account_state` on `records`. It is looked for from the
log's end backwards when somebody asks, so that a log of years costs nothing and a busy one little.
"""

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import pydantic_core
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord
from pydantic import ValidationError

from streams.settings import Settings
from streams.topics import TOPICS, partition_for
from trading.preferences import NotificationPreferences

_FIRST_LOOK = 20
_WIDER = 8
_GLANCE = b'"kind":"account_state"'

_log = structlog.get_logger(__name__)


class Standing(NamedTuple):
    """An account as its newest row says it; `at` is the engine's now in it."""

    seq: int
    at: dt.datetime
    preferences: NotificationPreferences


class Accounts:
    """Look accounts up in the log; those who ask take turns."""

    def __init__(self, consumer: AIOKafkaConsumer, settings: Settings) -> None:
        self._consumer = consumer
        self._settings = settings
        self._topic = settings.topic("records")
        self._known: dict[str, Standing] = {}
        self._looked_until: dict[str, int] = {}
        self._turn = asyncio.Lock()

    async def of(self, account_id: str) -> Standing | None:
        """Return how an account stands, None while the log does not say; raises aiokafka's `KafkaError`."""
        count = TOPICS["records"].partition_count(self._settings)
        place = TopicPartition(self._topic, partition_for(account_id.encode(), count))
        async with self._turn:
            end = (await self._consumer.end_offsets([place]))[place]
            floor = self._looked_until.get(account_id)
            if floor is None:
                floor = (await self._consumer.beginning_offsets([place]))[place]
            high, look = end, _FIRST_LOOK
            while high > floor:
                low = max(floor, high - look)
                if await self._look(account_id, place, low, high):
                    break
                high, look = low, look * _WIDER
            self._looked_until[account_id] = end
            return self._known.get(account_id)

    async def _look(self, account_id: str, place: TopicPartition, low: int, high: int) -> bool:
        """Take up the newest row between two offsets; return whether there was one."""
        newest: Mapping[str, Any] | None = None
        async for record in read(self._consumer, place, low, high):
            if record.key == account_id.encode() and _GLANCE in (record.value or b""):
                with contextlib.suppress(ValueError, KeyError):  # a poison record is not ours to judge
                    found = pydantic_core.from_json(record.value)
                    if newest is None or found["seq"] > newest["seq"]:
                        newest = found
        if newest is None:
            return False
        try:
            preferences = NotificationPreferences.model_validate_json(json.dumps(newest["state"]["preferences"]))
            standing = Standing(newest["seq"], dt.datetime.fromisoformat(newest["at"]), preferences)
        except (ValidationError, KeyError, TypeError, ValueError) as error:
            _log.error("a row of another build", account_id=account_id, error=type(error).__name__)
            return False
        known = self._known.get(account_id)
        if known is None or standing.seq >= known.seq:
            self._known[account_id] = standing
        return True


async def read(
    consumer: AIOKafkaConsumer, place: TopicPartition, begin: int, end: int
) -> AsyncIterator[ConsumerRecord]:
    """Give the records of a partition between two offsets, in order; raises aiokafka's `KafkaError`."""
    if begin >= end:
        return
    consumer.assign([place])
    consumer.seek(place, begin)
    try:
        while await consumer.position(place) < end:
            batch = await consumer.getmany(place, timeout_ms=500)
            for record in batch.get(place, ()):
                if record.offset >= end:
                    return
                yield record
    finally:
        consumer.unsubscribe()  # what it fetches at the end would hold up the next question


async def offsets_since(
    consumer: AIOKafkaConsumer, places: list[TopicPartition], at: dt.datetime
) -> dict[TopicPartition, int]:
    """Return where the records that the log took since an instant begin: at the end where there are none."""
    found = await consumer.offsets_for_times(dict.fromkeys(places, int(at.timestamp() * 1000)))
    ends = await consumer.end_offsets(places)
    return {place: ends[place] if found[place] is None else found[place].offset for place in places}
