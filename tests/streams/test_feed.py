"""The feed: records past Faust, in order, from where the tables say, and nothing after a revocation."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import OffsetOutOfRangeError
from confluent_kafka import TopicPartition as AdminPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.feed import Feed, KafkaSource, common_numbers
from streams.log import Record
from streams.settings import Settings
from tests.streams.fake_log import TOPIC, FakeSource, record

Slices = AsyncIterator[Sequence[Record] | None]


def opened(source: FakeSource, begins: dict[int, int]) -> tuple[Feed, Slices]:
    feed = Feed(TOPIC, source=source)
    feed.open(begins)
    return feed, feed.slices()


async def offsets(slices: Slices) -> list[int] | None:
    some = await asyncio.wait_for(anext(slices), 5)
    return None if some is None else [one.offset for one in some]


async def test_a_feed_gives_each_record_from_where_the_tables_say_and_its_position_follows_what_is_applied() -> None:
    feed, slices = opened(FakeSource(p0=[record(n) for n in range(5)], p1=[record(n, 1) for n in range(3)]), {0: 2})
    assert await offsets(slices) == [2, 3, 4]
    assert feed.positions == {0: 2}  # handed over, not applied
    feed.nudge({0: 5})
    assert await offsets(slices) is None
    assert feed.positions == {0: 5}


async def test_a_feed_that_is_not_open_gives_nothing() -> None:
    feed = Feed(TOPIC, source=FakeSource(p0=[record(0)]))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(feed.slices()), 0.05)


async def test_much_is_given_in_slices_between_which_others_have_their_turn() -> None:
    heavy = [record(n)._replace(value=b"x" * 80_000) for n in range(5)]
    _, slices = opened(FakeSource(p0=heavy), {0: 0})
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(len(turns))
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    assert await offsets(slices) == [0, 1]
    before = len(turns)
    assert await offsets(slices) == [2, 3]
    assert len(turns) > before
    assert await offsets(slices) == [4]
    beside.cancel()


async def test_one_record_heavier_than_a_slice_is_one() -> None:
    _, slices = opened(FakeSource(p0=[record(n)._replace(value=b"x" * 200_000) for n in range(2)]), {0: 0})
    assert [await offsets(slices), await offsets(slices)] == [[0], [1]]


async def test_that_the_backlog_is_read_is_said_after_it_and_not_before() -> None:
    feed, slices = opened(FakeSource(p0=[record(0), record(1)]), {0: 0})
    feed.nudge({0: 2})
    feed.nudge({})  # a look at the log while the backlog is being read
    assert [await offsets(slices), await offsets(slices)] == [[0, 1], None]


async def test_with_nothing_to_read_it_is_said_at_once() -> None:
    feed, slices = opened(FakeSource(), {0: 7})
    feed.nudge({0: 7})
    assert await offsets(slices) is None


async def test_what_ends_a_transaction_is_passed_over() -> None:
    source = FakeSource(p0=[record(0)])
    source.markers[0] = 2
    feed, slices = opened(source, {0: 0})
    feed.nudge({0: 2})
    assert [await offsets(slices), await offsets(slices)] == [[0], None]
    assert feed.positions == {0: 2}


async def test_a_revocation_waits_for_what_was_handed_over_and_nothing_more_is() -> None:
    heavy = [record(n)._replace(value=b"x" * 140_000) for n in range(3)]
    source = FakeSource(p0=heavy)
    feed, slices = opened(source, {0: 0})
    assert await offsets(slices) == [0]
    closing = asyncio.create_task(feed.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    assert feed.positions == {}
    following = asyncio.create_task(offsets(slices))  # what was handed over is applied now
    await closing
    await asyncio.sleep(0.01)
    assert not following.done()
    assert feed.positions == {}
    feed.open({0: 1})
    assert await following == [1]
    assert source.begun == [{0: 0}, {0: 1}]


def test_topics_that_belong_together_must_be_assigned_the_same_numbers() -> None:
    assigned = {("a", 0), ("a", 2), ("b", 0), ("b", 2), ("other", 1)}
    assert common_numbers(assigned, ["a", "b"]) == {0, 2}
    assert common_numbers(set(), ["a", "b"]) == set()
    for wrong in ({*assigned, ("b", 3)}, assigned - {("a", 0)}):
        with pytest.raises(RuntimeError, match="different partitions"):
            common_numbers(wrong, ["a", "b"])


async def read(feed: Feed, slices: Slices, ends: dict[int, int]) -> list[tuple[int, int]]:
    """Return partition and offset of all that comes before these ends are reached."""
    found: list[tuple[int, int]] = []
    feed.nudge(ends)
    while (some := await asyncio.wait_for(anext(slices), 20)) is not None:
        found += [(one.partition, one.offset) for one in some]
    return found


@pytest.mark.integration
async def test_a_real_log_is_read_from_any_offset_and_again_after_another_assignment(
    kafka: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "feed"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result()
    source = KafkaSource(Settings(kafka=kafka))
    feed = Feed(topic, source=source)
    slices = feed.slices()
    feed.open({})
    assert await read(feed, slices, {}) == []  # a worker without a partition
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for number in range(8):
            await producer.send_and_wait(topic, b"%d" % number, key=b"k", partition=number % 2)
        await feed.close()
        feed.open({0: 1, 1: 3})
        assert sorted(await read(feed, slices, {0: 4, 1: 4})) == [(0, 1), (0, 2), (0, 3), (1, 3)]
        await feed.close()
        feed.open({1: 0})
        assert await read(feed, slices, {1: 4}) == [(1, 0), (1, 1), (1, 2), (1, 3)]
        await producer.send_and_wait(topic, b"late", key=b"k", partition=1)
        assert await read(feed, slices, {1: 5}) == [(1, 4)]
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic_prefix) as sure, sure.transaction():
        await sure.send_and_wait(topic, b"x", key=b"k", partition=1)
    assert await read(feed, slices, {1: 7}) == [(1, 5)]  # the commit marker is no record
    assert feed.positions == {1: 7}
    for answer in admin.delete_records([AdminPartition(topic, 0, 3)]).values():
        answer.result()
    await feed.close()
    feed.open({0: 1})
    with pytest.raises(OffsetOutOfRangeError):
        await read(feed, slices, {0: 4})
    await source.close()
