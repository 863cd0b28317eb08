"""How every agent reads: a record is applied, then the cursor moves, then the next one is asked for."""

from collections.abc import AsyncIterator, Awaitable, Callable

from streams.in_order import Guard, Nudge
from streams.log import Record
from tables.cursors import Cursor


async def follow(
    arrivals: AsyncIterator[Record | Nudge],
    *,
    guard: Guard,
    cursor: Cursor,
    handle: Callable[[Record], Awaitable[None]],
    when_idle: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Apply every record of a topic in order, for as long as there are arrivals."""
    async for record in guard.in_order(arrivals):
        if record is not None:
            await handle(record)
            cursor.advance(record.partition, record.offset + 1)
        else:
            if when_idle is not None:
                await when_idle()
            cursor.flush()
