"""The embedded broker: real, durable, and dead when we are."""

import pathlib

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stack.errors import StackError
from stack.kafka import is_ready, new_cluster_id, prepare


@pytest.mark.integration
def test_what_is_produced_to_the_shared_broker_can_be_consumed(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}orders"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(topic, b"one")
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topic_prefix, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    record = consumer.poll(10)
    assert record is not None
    assert record.value() == b"one"
    consumer.close()


@pytest.mark.integration
def test_the_log_lies_in_the_brokers_folder_whatever_letters_are_in_its_name(
    tmp_path: pathlib.Path, kafka_jars: pathlib.Path
) -> None:
    folder = tmp_path / "José 株" / "kafka"
    prepare(folder, port=1, controller_port=2, cache=kafka_jars.parent)
    assert (folder / "logs" / "meta.properties").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["José 株"]


def test_a_folder_that_kafka_would_take_for_two_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StackError, match="comma"):
        prepare(tmp_path / "a,b" / "kafka", port=1, controller_port=2, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_port_where_nobody_listens_is_not_a_ready_broker() -> None:
    assert not is_ready("127.0.0.1:1")


def test_a_cluster_id_never_looks_like_an_option() -> None:
    ids = [new_cluster_id() for _ in range(2000)]  # one in 64 would
    assert not any(cluster.startswith("-") for cluster in ids)
    assert {len(cluster) for cluster in ids} == {22}
