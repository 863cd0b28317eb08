"""Which log this is, and how far a group has read it: what the broker itself remembers of topics and of consumers.

A topic that is made anew has another id, whatever its name and its offsets: so a lost log is known for one, also when
the new one is already longer. Everything here blocks, and raises `KafkaException` when the broker does not answer.
"""

from collections.abc import Iterable

from confluent_kafka import ConsumerGroupTopicPartitions, TopicCollection
from confluent_kafka.admin import AdminClient

SECONDS_TO_ANSWER = 10.0


def topic_ids(bootstrap: str, topics: Iterable[str]) -> dict[str, str]:
    """Return the id of each topic by its name on the broker."""
    admin = _admin(bootstrap)  # whose end would be the end of its answers
    answers = admin.describe_topics(TopicCollection(list(topics)), request_timeout=SECONDS_TO_ANSWER)
    return {name: str(answer.result().topic_id) for name, answer in answers.items()}


def committed(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """Return the next offset that a group wants, by topic and partition; empty for a group that nobody knows."""
    asked = [ConsumerGroupTopicPartitions(group)]
    admin = _admin(bootstrap)
    answers = admin.list_consumer_group_offsets(asked, request_timeout=SECONDS_TO_ANSWER)
    return {
        (place.topic, place.partition): place.offset
        for answer in answers.values()
        for place in answer.result().topic_partitions
        if place.offset >= 0
    }


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
