"""A client that is stopped: its own cancellations are swallowed, ours are not."""

import asyncio

import pytest

from connectors.clients import quietly


async def test_a_cancellation_that_nobody_asked_for_does_not_get_out() -> None:
    async def stop() -> None:
        raise asyncio.CancelledError

    await quietly(stop)


async def test_a_cancellation_that_somebody_asked_for_does() -> None:
    task = asyncio.create_task(quietly(lambda: asyncio.sleep(3600)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
