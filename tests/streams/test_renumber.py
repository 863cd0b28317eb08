"""Numbers go on where a lost log ended, and a log made anew has another identity."""

import time

import pytest
from aiokafka import TopicPartition
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from streams.identity import committed, topic_ids
from streams.log import KafkaLog
from streams.renumber import fill
from streams.settings import Settings
from streams.topics import create_topics, partition_for
from trading.events import EVENT, Void

pytestmark = [pytest.mark.integration, pytest.mark.covers("R18.5")]

KEY = b"paper"
PLACE = partition_for(KEY, 4)
VOID = Void(account_id="paper").model_dump_json().encode()


async def bounds(kafka: str, topic: str) -> tuple[int, int]:
    log, here = KafkaLog(Settings(kafka=kafka)), TopicPartition(topic, PLACE)
    try:
        return (await log.starts([here]))[here], (await log.ends([here]))[here]
    finally:
        await log.close()


def made(kafka: str, prefix: str) -> str:
    settings = Settings(kafka=kafka, topic_prefix=prefix)
    create_topics(kafka, settings)
    return settings.topic("account-inbox")


def say(kafka: str, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for value in values:
        producer.produce(topic, value, KEY, PLACE)
    assert producer.flush(30) == 0


async def test_an_empty_partition_ends_beyond_and_keeps_nothing_of_what_filled_it(
    kafka: str, topic_prefix: str
) -> None:
    topic = made(kafka, topic_prefix)
    began = time.monotonic()
    fill(Settings(kafka=kafka), topic, PLACE, start=0, end=0, until=200_000, key=KEY, value=VOID)
    print(f"200,000 offsets in {time.monotonic() - began:.1f} s")
    assert await bounds(kafka, topic) == (200_000, 200_000)


async def test_what_lies_there_already_is_kept_and_the_rest_reads_as_void(kafka: str, topic_prefix: str) -> None:
    topic = made(kafka, topic_prefix)
    say(kafka, topic, b"a record of another worker")
    fill(Settings(kafka=kafka), topic, PLACE, start=0, end=1, until=40, key=KEY, value=VOID)
    fill(
        Settings(kafka=kafka), topic, PLACE, start=0, end=40, until=40, key=KEY, value=VOID
    )  # a start that was cut short, again
    assert await bounds(kafka, topic) == (0, 40)
    log = KafkaLog(Settings(kafka=kafka))
    found = [record.value async for record in log.read(TopicPartition(topic, PLACE), begin=0, end=40)]
    await log.close()
    assert found[0] == b"a record of another worker"
    assert {type(EVENT.validate_json(value or b"")) for value in found[1:]} == {Void}


def test_a_topic_made_anew_is_another_one_and_a_group_that_nobody_knows_has_read_nothing(
    kafka: str, topic_prefix: str
) -> None:
    topic = made(kafka, topic_prefix)
    first = topic_ids(Settings(kafka=kafka), [topic])
    assert topic_ids(Settings(kafka=kafka), [topic]) == first
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([topic])[topic].result()
    while topic in admin.list_topics(timeout=10).topics:
        time.sleep(0.05)
    made(kafka, topic_prefix)
    assert topic_ids(Settings(kafka=kafka), [topic]).keys() == first.keys()
    assert topic_ids(Settings(kafka=kafka), [topic]) != first
    assert committed(Settings(kafka=kafka), topic_prefix + "nobody", [(topic, PLACE)]) == {}
