"""A part that fails is begun anew, whatever way it failed, until somebody ends it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
import structlog

from connectors import supervision
from connectors.checks import Check
from connectors.supervision import keep_running, together


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep the failures that are made here out of the log: drawing their traces takes longer than the tests."""
    with structlog.testing.capture_logs():
        yield


async def fails() -> None:
    raise ConnectionError("nobody answers")


async def ends() -> None:
    return None


async def is_cancelled_by_a_library() -> None:
    raise asyncio.CancelledError


async def fails_beside_another() -> None:
    await together(asyncio.sleep(3600), fails())


async def is_cancelled_beside_another() -> None:
    await together(asyncio.sleep(3600), is_cancelled_by_a_library())


@pytest.mark.parametrize(
    ("way", "detail"),
    [
        (fails, "ConnectionError: nobody answers"),
        (ends, "RuntimeError: it ended by itself"),
        (is_cancelled_by_a_library, "RuntimeError: it was cancelled by nobody"),
        (fails_beside_another, "ConnectionError: nobody answers"),
        (is_cancelled_beside_another, "RuntimeError: it was cancelled by nobody"),
    ],
)
async def test_a_part_is_begun_anew_and_says_what_was_wrong(
    way: Callable[[], Awaitable[None]], detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_REST", 0.001)
    check, begun = Check("part", required=True), asyncio.Queue[str]()

    async def part() -> None:
        begun.put_nowait(check.detail)
        check.holds("working")
        await way()

    task = asyncio.create_task(keep_running(part, check))
    seen = [await asyncio.wait_for(begun.get(), 5) for _ in range(3)]
    assert seen == ["starting", detail, detail]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_runs_beside_what_fails_is_ended_first() -> None:
    left = asyncio.Event()

    async def other() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            left.set()

    with pytest.raises(ConnectionError):
        await together(other(), fails())
    assert left.is_set()


async def test_a_part_that_works_is_ended_when_it_is_asked_to() -> None:
    check = Check("part", required=True)

    async def part() -> None:
        check.holds("working")
        await asyncio.sleep(3600)

    task = asyncio.create_task(keep_running(part, check))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert check.shown()["detail"] == "working"
