"""What a broker remembers: how far a group has read that nobody ever joins."""

import time

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.identity import Bookmark, committed
from streams.settings import Settings

pytestmark = [pytest.mark.integration, pytest.mark.covers("R18.5")]


def test_what_is_put_is_what_was_committed_and_the_last_one_counts(kafka: str, topic_prefix: str) -> None:
    topic, group = topic_prefix + "read", topic_prefix + "readers"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result()
    places = [(topic, 0), (topic, 1)]
    here = Settings(kafka=kafka)
    bookmark = Bookmark(here, group)
    bookmark.put({})
    until(here, group, places, {})
    bookmark.put({(topic, 0): 3})
    bookmark.put({(topic, 0): 7})
    until(here, group, places, {(topic, 0): 7})


def until(here: Settings, group: str, places: list[tuple[str, int]], expected: dict[tuple[str, int], int]) -> None:
    """Ask as often as it takes: a broker that has just met the group does not answer yet."""
    deadline = time.monotonic() + 30
    found: object = None
    while found != expected:
        assert time.monotonic() < deadline, found
        try:
            found = committed(here, group, places)
        except KafkaException as error:
            found = error
        time.sleep(0.1)
