"""The Faust application: what is turned off, where rows lie, and that nothing wrong passes quietly."""

import asyncio
import pathlib
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import faust
import pytest

from streams.app import PlacedTable, QuarantineTopic, arrivals, create_app, declare_table
from streams.in_order import Guard, Nudge
from streams.log import Record
from streams.settings import Settings
from streams.topics import CHANGELOGS
from tests.streams.fake_log import FakeLog


@pytest.fixture
def app(tmp_path: pathlib.Path) -> faust.App:
    """Give an application that nobody starts."""
    return create_app(Settings(data_dir=tmp_path, topic_prefix="p-", worker_id="w7", kafka="a:1,b:2"))


def test_what_loses_records_or_opens_doors_is_turned_off(app: faust.App) -> None:
    conf = app.conf
    assert conf.id == "p-stonks"
    assert conf.processing_guarantee.value == "at_least_once"
    assert (conf.consumer_group_instance_id, conf.broker_session_timeout, conf.broker_heartbeat_interval) == (
        "w7",
        10,
        1,
    )
    assert (conf.topic_disable_leader, conf.topic_allow_declare, conf.web_enabled) == (True, False, False)
    assert [str(url) for url in conf.broker] == ["kafka://a:1", "kafka://b:2"]


def test_a_tables_changelog_is_the_topic_that_is_created_for_it(app: faust.App) -> None:
    table = declare_table(app, "positions", place=len)
    assert table.changelog_topic.get_topic_name() == "p-" + next(
        topic.name for topic in CHANGELOGS if "positions" in topic.name
    )


def test_a_row_lies_where_its_key_says_whichever_record_is_being_delivered(app: faust.App) -> None:
    table = declare_table(app, "positions", place=len)
    assert isinstance(table, PlacedTable)
    assert table.partition_for_key(b"abc") == 3


async def test_what_faust_cannot_decode_raises_nothing(app: faust.App) -> None:
    topic = app.topic("t", key_type=bytes, value_type=bytes)
    assert isinstance(topic, QuarantineTopic)
    message = SimpleNamespace(topic="t", offset=1)
    await topic.on_key_decode_error(ValueError("x"), message)
    await topic.on_value_decode_error(ValueError("x"), message)


class FakeStream:
    """What Faust's stream gives: values, and the event of each unless it is a nudge."""

    def __init__(self, found: list[Any]) -> None:
        self.channel = SimpleNamespace(queue=asyncio.Queue[Any]())
        self._found = found
        self.current_event: Any = None

    async def __aiter__(self) -> Any:
        for one in self._found:
            self.current_event = None if isinstance(one, Nudge) else SimpleNamespace(message=one)
            yield one


async def test_deliveries_become_records_and_nudges_travel_through_the_same_queue() -> None:
    message = SimpleNamespace(topic="t", partition=1, offset=2, key=b"k", value=b"v", timestamp=1.234)
    stream, guard = FakeStream([message, Nudge({1: 3})]), Guard("t", log=FakeLog())
    found = [one async for one in arrivals(stream, guard)]  # type: ignore[arg-type]
    assert found == [Record("t", 1, 2, b"k", b"v", 1234), Nudge({1: 3})]
    guard.nudge({1: 9})
    assert stream.channel.queue.get_nowait() == Nudge({1: 9})


def test_a_programmers_error_ends_the_process_loudly() -> None:
    program = (
        "import asyncio; from streams.app import or_end_loudly\n"
        "async def wrong(): raise TypeError('mistake')\n"
        "asyncio.run(or_end_loudly(wrong())); print('went on')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "mistake" in done.stdout
    assert "went on" not in done.stdout
