"""How every agent reads: a record is applied, then the cursor moves, then the next one is asked for."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from streams.feed import Feed
from streams.in_order import Guard, Nudge
from streams.log import Record
from tables.cursors import Cursor


async def follow(
    arrivals: AsyncIterator[Record | Nudge],
    *,
    guard: Guard,
    cursor: Cursor,
    handle: Callable[[Record], Awaitable[None]],
) -> None:
    """Apply every record of a topic in order, for as long as there are arrivals."""
    async for record in guard.in_order(arrivals):
        if record is not None:
            await handle(record)
            cursor.advance(record.partition, record.offset + 1)
        else:
            cursor.flush()


async def follow_feed(
    feed: Feed,
    *,
    cursor: Cursor,
    handle: Callable[[Sequence[Record]], Awaitable[None]],
    when_idle: Callable[[], Awaitable[None]],
) -> None:
    """Apply a feed's records in order, some of a partition at a time, until cancelled."""
    async for some in feed.slices():
        if some is not None:
            await handle(some)
            cursor.advance(some[-1].partition, some[-1].offset + 1)
        else:
            await when_idle()
            cursor.flush()
