"""The guard: every record of a partition once, in order, whatever Faust loses, repeats or brings late."""

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from streams.in_order import Guard, Nudge
from streams.log import Record
from tests.streams.fake_log import TOPIC, FakeLog, arriving, record


async def handed_over(guard: Guard, *arrivals: Record | Nudge) -> list[tuple[int, int]]:
    found = [one async for one in guard.in_order(arriving(arrivals))]
    return [(one.partition, one.offset) for one in found if one is not None]


async def test_records_that_arrive_in_order_are_handed_over_without_reading_the_log() -> None:
    log = FakeLog(p0=range(3))
    guard = Guard(TOPIC, log=log)
    guard.open({0: 0})
    assert await handed_over(guard, record(0), record(1), record(2)) == [(0, 0), (0, 1), (0, 2)]
    assert log.reads == []
    assert guard.positions == {0: 3}


async def test_a_hole_before_the_first_arrival_is_read_from_the_log_first() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=range(6)))
    guard.open({0: 2})
    assert await handed_over(guard, record(5)) == [(0, 2), (0, 3), (0, 4), (0, 5)]


async def test_a_hole_between_two_arrivals_is_read_from_the_log_first() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=range(6)))
    guard.open({0: 0})
    assert [offset for _, offset in await handed_over(guard, record(0), record(4), record(5))] == [0, 1, 2, 3, 4, 5]


async def test_a_record_below_the_position_is_passed_over() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=range(6)))
    guard.open({0: 4})
    assert await handed_over(guard, record(1), record(3), record(4), record(4)) == [(0, 4)]


async def test_a_hole_at_the_end_is_read_when_a_nudge_shows_it() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=range(6), p1=range(2)))
    guard.open({0: 3, 1: 2})
    assert await handed_over(guard, Nudge({0: 6, 1: 2})) == [(0, 3), (0, 4), (0, 5)]
    assert guard.positions == {0: 6, 1: 2}


async def test_offsets_that_were_compacted_away_are_no_hole() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=[3, 7, 8]))
    guard.open({0: 0})
    assert await handed_over(guard, record(7), record(8), Nudge({0: 12})) == [(0, 3), (0, 7), (0, 8)]
    assert guard.positions == {0: 12}


async def test_partitions_of_other_workers_are_not_touched() -> None:
    log = FakeLog(p0=range(3), p1=range(3))
    guard = Guard(TOPIC, log=log)
    guard.open({0: 0})
    assert await handed_over(guard, record(2, partition=1), Nudge({1: 3})) == []
    assert log.reads == []


async def test_nothing_is_handed_over_before_the_tables_are_complete() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=range(3)))
    working = asyncio.create_task(handed_over(guard, record(1)))
    await asyncio.sleep(0.01)
    assert not working.done()
    guard.open({0: 1})
    assert await working == [(0, 1)]


async def test_the_position_moves_only_after_the_record_was_applied() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=range(3)))
    guard.open({0: 0})
    seen = []
    async for _ in guard.in_order(arriving([record(0), record(1), Nudge({0: 3})])):
        seen.append(guard.positions[0])
    assert seen == [0, 1, 2, 3]


async def test_a_record_applied_after_its_partition_was_revoked_moves_no_position() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=range(9)))
    guard.open({0: 0})
    handed = []
    async for found in guard.in_order(arriving([record(3), record(4)])):
        handed.append(found)
        if len(handed) == 1:
            await guard.close(seconds=0.01)
            guard.open({0: 4})  # the tables of the new assignment know more
    assert [found.offset for found in handed if found] == [0, 4]
    assert guard.positions == {0: 5}


async def test_closing_waits_until_what_was_handed_over_is_applied() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=range(3)))
    guard.open({0: 0})
    release, applied = asyncio.Event(), []

    async def work() -> None:
        async for found in guard.in_order(arriving([record(0)])):
            await release.wait()
            applied.append(found)

    working = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(guard.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    release.set()
    await closing
    await working
    assert len(applied) == 1


async def test_an_idle_consumer_is_woken_by_every_nudge() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=[]))
    guard.open({0: 0})
    assert [found async for found in guard.in_order(arriving([Nudge({})]))] == [None]


async def test_a_nudge_waits_for_the_one_before_it() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=range(3)))
    nudges: list[Nudge] = []
    guard.attach(nudges.append)
    guard.open({0: 0})
    guard.nudge({0: 1})
    guard.nudge({0: 2})
    assert nudges == [Nudge({0: 1})]
    await handed_over(guard, *nudges)
    guard.nudge({0: 2})
    assert nudges == [Nudge({0: 1}), Nudge({0: 2})]


async def test_a_nudge_that_finds_the_queue_full_is_left_out() -> None:
    guard, queue = Guard(TOPIC, log=FakeLog(p0=range(3))), asyncio.Queue[Nudge](maxsize=1)
    guard.attach(queue.put_nowait)
    guard.open({0: 0})
    queue.put_nowait(Nudge({}))
    guard.nudge({0: 1})
    queue.get_nowait()
    guard.nudge({0: 2})
    assert queue.get_nowait() == Nudge({0: 2})


async def test_without_the_guard_a_hole_stays_a_hole() -> None:
    guard = Guard(TOPIC, log=FakeLog(p0=range(6)), enabled=False)
    guard.open({0: 0})
    assert await handed_over(guard, record(0), record(4), Nudge({0: 6})) == [(0, 0), (0, 4)]


@given(
    length=st.integers(0, 30),
    compacted=st.sets(st.integers(0, 29)),
    begin=st.integers(0, 30),
    arrivals=st.lists(st.integers(0, 29), max_size=40),
)
async def test_whatever_arrives_nothing_is_lost_repeated_or_out_of_order(
    length: int, compacted: set[int], begin: int, arrivals: list[int]
) -> None:
    there = [offset for offset in range(length) if offset not in compacted]
    guard = Guard(TOPIC, log=FakeLog(p0=there))
    guard.open({0: begin})
    arrived = [record(offset) for offset in arrivals if offset in there]
    handed = [offset for _, offset in await handed_over(guard, *arrived, Nudge({0: length}))]
    assert handed == [offset for offset in there if offset >= begin]


async def test_a_rebalance_in_the_middle_of_a_hole_ends_the_reading() -> None:
    class Slow(FakeLog):
        async def read(self, *where: object, **bounds: int) -> AsyncIterator[Record]:
            async for found in super().read(*where, **bounds):  # type: ignore[arg-type]
                yield found
                await asyncio.sleep(0)

    guard = Guard(TOPIC, log=Slow(p0=range(100)))
    guard.open({0: 0})
    handed = []
    async for found in guard.in_order(arriving([Nudge({0: 100})])):
        handed.append(found)
        if len(handed) == 5:
            await guard.close(seconds=0.01)
    assert [found.offset for found in handed if found] == [0, 1, 2, 3, 4]
    assert guard.positions == {}
