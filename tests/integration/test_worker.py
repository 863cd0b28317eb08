"""A worker on a real broker: poison never stops it, its tables lie where they belong, and it ends as it should."""

import asyncio
import base64
import json
import pathlib
import signal
import socket
import time
from typing import Any

import pytest
from aiokafka import TopicPartition
from confluent_kafka import TopicPartition as AdminPartition
from confluent_kafka.admin import AdminClient

from streams.topics import TABLES, partition_for
from tables.cursors import place
from tests.integration.engine import ACCOUNTS, Engine, Producer, engine, reader
from tests.streams.examples import EXAMPLES, INPUTS, KEYS

pytestmark = pytest.mark.integration

POISON: dict[str, Any] = {
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe",
    "not an object": b"[]",
    "null": None,
    "too large": b'{"pad": "' + b"x" * 256 * 1024 + b'"}',
    "nothing in it": b"{}",
    "not a number": b'{"price": NaN}',
}


async def changelog(stack: Engine, table: str) -> list[Any]:
    """Return the records of a table's changelog."""
    return await stack.read(f"stonks-{table}-changelog", partitions=TABLES[table] or 4)


async def test_poison_of_every_kind_on_every_input_topic_is_kept_and_the_next_record_is_applied_within_a_second(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path
) -> None:
    with engine(kafka, topic_prefix, tmp_path, STONKS_ACCOUNTS="paper") as stack:
        async with Producer(stack) as producer:
            stack.start()
            await stack.when_applied()
            expected = []
            for name in INPUTS:
                for kind, value in POISON.items():
                    if not (kind == "null" and name in {"companies", "earnings-dates"}):
                        await producer.send(name, KEYS[name], value)
                        expected.append((name, value))
                await producer.send(name, "X" + KEYS[name], EXAMPLES[name])
                expected.append((name, json.dumps(EXAMPLES[name]).encode()))
            await producer.recommend(1)
            seconds = await stack.when_applied()
            print(f"{len(expected)} poison records and the next one applied in {seconds:.2f} s")
            assert seconds < 1 + len(expected) / 100
            letters = [json.loads(record.value) for record in await stack.read("dead-letters")]
            kept = [
                (letter["topic"], None if letter["payload"] is None else base64.b64decode(letter["payload"]))
                for letter in letters
            ]
            assert sorted(kept, key=repr) == sorted(expected, key=repr)
            kinds = ("unreadable: ", "missing_field: ", "too_large: ", "wrong_key: ")
            assert all(letter["error"].startswith(kinds) for letter in letters)
            assert len(await stack.read("decisions")) == 1


async def test_every_row_lies_on_its_keys_partition_and_a_restart_finds_it(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path
) -> None:
    with engine(kafka, topic_prefix, tmp_path) as stack:
        async with Producer(stack) as producer:
            stack.start()
            await producer.recommend(24)
            await producer.send("companies", "AAPL", EXAMPLES["companies"])
            await producer.send("price-ticks", "AAPL", EXAMPLES["price-ticks"])
            await producer.send("stop-levels", "AAPL", None)  # on the partition of its symbol, but its key is wrong
            await stack.when_applied()
            before = {account: stack.live("worker-1", account) for account in ACCOUNTS}
            await asyncio.sleep(3)  # facts and cursors are written once a second, and when there is nothing else to do
            stack.kill()
            for table in ("positions", "circuit", "facts"):
                found = await changelog(stack, table)
                assert found, table
                assert all(record.partition == partition_for(record.key, 4) for record in found), table
            for table in ("cursors", "market-cursors"):
                assert all(record.partition == place(record.key) for record in await changelog(stack, table)), table
            stack.start()
            await stack.when_applied()
            for account in ACCOUNTS:
                earlier, later = before[account], stack.live("worker-1", account)
                assert earlier is not None
                assert later is not None
                volatile = {"seq", "build"}  # the worker has told the account that it is back
                assert {k: v for k, v in later["row"].items() if k not in volatile} == {
                    k: v for k, v in earlier["row"].items() if k not in volatile
                }


async def test_rows_written_from_records_that_the_guard_read_are_recovered(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path
) -> None:
    """A backlog at the start is read past Faust; its rows must reach the changelog like any others."""
    with engine(kafka, topic_prefix, tmp_path) as stack:
        async with Producer(stack) as producer:
            await producer.recommend(50)
            stack.start()
            await stack.when_applied()
            stack.kill()
            rows = {record.key.decode(): json.loads(record.value) for record in await changelog(stack, "positions")}
            newest: dict[str, int] = {}
            for record in await stack.read("account-inbox"):
                newest[record.key.decode()] = max(record.offset, newest.get(record.key.decode(), -1))
            assert {account: row["seq"] for account, row in rows.items()} == newest


async def test_records_that_are_gone_from_the_log_stop_entries_and_are_never_passed_over_silently(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path
) -> None:
    with engine(kafka, topic_prefix, tmp_path) as stack:
        async with Producer(stack) as producer:
            stack.start()
            await producer.recommend(12)
            await stack.when_applied()
            await asyncio.sleep(3)
            stack.kill()
            await producer.recommend(12)
            here = partition_for(b"AAPL", 4)
            topic = stack.settings.topic("recommendations")
            async with reader(kafka) as consumer:
                end = (await consumer.end_offsets([TopicPartition(topic, here)]))[TopicPartition(topic, here)]
            admin = AdminClient({"bootstrap.servers": kafka})
            for answer in admin.delete_records([AdminPartition(topic, here, end - 1)]).values():
                answer.result()
            stack.start()
            await stack.when_applied()
            live = stack.live("worker-1")
            assert live is not None
            assert live["row"]["paused"] is True
            results = [json.loads(record.value) for record in await stack.read("records")]
            ids = {one["command_id"] for one in results if one["kind"] == "command_result"}
            assert any(command.startswith(f"lost:{topic}:{here}:") for command in ids)


async def test_sigterm_ends_it_with_0_and_a_taken_port_with_4(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path
) -> None:
    with engine(kafka, topic_prefix, tmp_path) as stack:
        stack.start()
        await stack.when_applied()
        process = stack.workers["worker-1"]
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0
        assert time.monotonic() - began < 10
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            stack.start("worker-2", STONKS_WORKER_PORT=str(taken.getsockname()[1]))
            assert await asyncio.to_thread(stack.workers["worker-2"].wait, 30) == 4
        assert "error: port" in (tmp_path / "worker-2.log").read_text()
        stack.start("worker-3", STONKS_PARTITIONS="many")
        assert await asyncio.to_thread(stack.workers["worker-3"].wait, 30) == 2
        assert "error: STONKS_PARTITIONS" in (tmp_path / "worker-3.log").read_text()


async def test_its_own_http_answers_with_the_token_alone(kafka: str, topic_prefix: str, tmp_path: pathlib.Path) -> None:
    with engine(kafka, topic_prefix, tmp_path) as stack:
        stack.start()
        await stack.when_applied()
        status, body = stack.ask("worker-1", "/ready")
        assert status == 200
        checks = {check["name"]: (check["ok"], check["required"]) for check in json.loads(body)["checks"]}
        # STONKS_BROKER=external: nobody has sent an account_snapshot, and nobody has to
        assert checks == {"state_loaded": (True, True), "reconciled": (False, False), "consuming": (True, True)}
        assert b'stonks_worker_position{partition="0",topic="account-inbox"}' in stack.ask("worker-1", "/metrics")[1]
        stack.kill()
        stack.start(STONKS_INTERNAL_TOKEN="secret")
        await asyncio.to_thread(stack.when_it_answers)
        for path in ("/ready", "/live", "/metrics"):
            assert stack.ask("worker-1", path)[0] == 401
            assert stack.ask("worker-1", path, token="secret")[0] in {200, 503}
