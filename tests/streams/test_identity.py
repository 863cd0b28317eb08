"""What a broker remembers: how far a group has read that nobody ever joins."""

import time

import pytest
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
    assert committed(here, group, places) == {}
    bookmark.put({(topic, 0): 3})
    bookmark.put({(topic, 0): 7})
    deadline = time.monotonic() + 20
    while committed(here, group, places) != {(topic, 0): 7}:
        assert time.monotonic() < deadline, committed(here, group, places)
        time.sleep(0.1)
