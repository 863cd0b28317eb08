"""Which log this is, and how far a group has read it: what the broker itself remembers of topics and of consumers.

A topic that is made anew has another id, whatever its name and its offsets: so a lost log is known for one, also when
the new one is already longer. The functions block, and raise `KafkaException` when the broker does not answer.
"""

from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.security import for_librdkafka
from streams.settings import Settings

SECONDS_TO_ANSWER = 10.0


def topic_ids(settings: Settings, topics: Iterable[str]) -> dict[str, str]:
    """Return the id of each topic by its name on the broker."""
    admin = AdminClient(for_librdkafka(settings))  # its end would be that of its answers
    answers = admin.describe_topics(TopicCollection(list(topics)), request_timeout=SECONDS_TO_ANSWER)
    return {name: str(answer.result().topic_id) for name, answer in answers.items()}


def committed(settings: Settings, group: str, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Return the next offset that a group wants, for those of these topics and partitions of which it ever said one."""
    # A consumer that never joins: asked of an unknown group, the admin client of 2.16.1 ends the process.
    consumer = Consumer({**for_librdkafka(settings), "group.id": group})
    try:
        wanted = [TopicPartition(topic, partition) for topic, partition in places]
        answers = consumer.committed(wanted, timeout=SECONDS_TO_ANSWER) if wanted else []
    finally:
        consumer.close()
    return {(place.topic, place.partition): place.offset for place in answers if place.offset >= 0}


class Bookmark:
    """Tell the broker how far a group has read that nobody joins: who reads what is said elsewhere."""

    def __init__(self, settings: Settings, group: str) -> None:
        self._settings = settings
        self._group = group
        self._consumer: Consumer | None = None

    def put(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Send the next offsets of these topics and partitions, for `committed` to return; awaits no answer."""
        if not positions:
            return
        if self._consumer is None:
            self._consumer = Consumer({**for_librdkafka(self._settings), "group.id": self._group})
        offsets = [TopicPartition(topic, partition, at) for (topic, partition), at in positions.items()]
        self._consumer.commit(offsets=offsets, asynchronous=True)
