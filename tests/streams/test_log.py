"""The log of a real broker, read past Faust: exact offsets, and what was compacted or ended a transaction."""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from confluent_kafka import TopicPartition as AdminPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.log import KafkaLog
from streams.settings import Settings

pytestmark = pytest.mark.integration


async def filled(kafka: str, topic: str, count: int) -> TopicPartition:
    admin = AdminClient({"bootstrap.servers": kafka})  # kept until it has answered
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for number in range(count):
            await producer.send_and_wait(topic, b"%d" % number, key=b"k")
    return TopicPartition(topic, 0)


async def offsets(log: KafkaLog, here: TopicPartition, begin: int, end: int) -> list[int]:
    return [record.offset async for record in log.read(here, begin=begin, end=end)]


async def test_exactly_the_asked_for_records_are_read(kafka: str, topic_prefix: str) -> None:
    here, log = await filled(kafka, topic_prefix + "read", 10), KafkaLog(Settings(kafka=kafka))
    assert (await log.starts([here]), await log.ends([here])) == ({here: 0}, {here: 10})
    assert await offsets(log, here, 3, 7) == [3, 4, 5, 6]
    assert await offsets(log, here, 0, 10) == list(range(10))
    (first,) = [record async for record in log.read(here, begin=0, end=1)]
    assert (first.topic, first.partition, first.key, first.value) == (here.topic, 0, b"k", b"0")
    await log.close()


async def test_what_ended_a_transaction_is_passed_over(kafka: str, topic_prefix: str) -> None:
    here, log = await filled(kafka, topic_prefix + "marks", 2), KafkaLog(Settings(kafka=kafka))
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic_prefix)
    async with producer, producer.transaction():
        await producer.send_and_wait(here.topic, b"x", key=b"k")
    end = (await log.ends([here]))[here]
    assert end == 4  # the commit marker has an offset and no record
    assert await offsets(log, here, 0, end) == [0, 1, 2]
    await log.close()


async def test_a_beginning_that_the_log_no_longer_has_is_an_error(kafka: str, topic_prefix: str) -> None:
    here, log = await filled(kafka, topic_prefix + "cut", 10), KafkaLog(Settings(kafka=kafka))
    admin = AdminClient({"bootstrap.servers": kafka})
    for answer in admin.delete_records([AdminPartition(here.topic, 0, 5)]).values():
        answer.result()
    assert await log.starts([here]) == {here: 5}
    with pytest.raises(OffsetOutOfRangeError):
        await offsets(log, here, 2, 10)
    assert await offsets(log, here, 5, 10) == [5, 6, 7, 8, 9]
    await log.close()


async def test_many_partitions_are_read_one_after_the_other_without_a_wait_at_the_end_of_each(
    kafka: str, topic_prefix: str
) -> None:
    topic, partitions = topic_prefix + "many", range(60)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, len(partitions), 1)])[topic].result()
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for partition in partitions:
            await producer.send_and_wait(topic, b"x", key=b"k", partition=partition)
    log = KafkaLog(Settings(kafka=kafka))
    async with asyncio.timeout(15):  # thirty seconds, were a fetch held back for half a second after each
        for partition in partitions:
            async for record in log.read(TopicPartition(topic, partition), begin=0, end=1):
                await asyncio.sleep(0.005)  # what is done with it gives the consumer the time to fetch on
                assert record.value == b"x"
    await log.close()
