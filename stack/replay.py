"""`stonks replay`: fold the recorded `account-inbox` again and compare every decision, order and row hash.

Works on a running stack, or on a stopped one's data directory, whose broker it starts for as long as it reads. It
writes to no topic and no table. `--from OFFSET` starts from the newest row that was recorded
below that inbox offset instead of from the beginning.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pydantic_core
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from confluent_kafka.admin import AdminClient

from stack.checklist import Checklist
from stack.data_dir import is_in_use, locked
from stack.errors import Missing, StackError
from stack.foundations import given_kafka, own_kafka
from stack.kafka import bootstrap
from stack.ports import assert_free, kept_ports
from stack.running import kafka_address
from stack.supervisor import Supervisor
from streams.security import for_aiokafka, for_librdkafka
from streams.settings import Settings, settings
from trading.effects import Decision, Effect, Order
from trading.engine import react
from trading.events import EVENT, Void
from trading.portfolio import Portfolio
from trading.records import AccountState

DIFFERENT = 1
SECONDS_TO_ANSWER = 10.0


@dataclass
class Recorded:
    """What the topics hold of one account: the bytes of each decision and order by id, each row's hash by `seq`,
    and the newest row below the inbox offset to begin from."""

    decisions: dict[str, bytes] = field(default_factory=dict)
    orders: dict[str, bytes] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)
    row_before: dict[str, Any] | None = None
    repeats: list[str] = field(default_factory=list)
    newest: int = -1


@dataclass
class Comparison:
    """Count what was folded and compared; `differences` names each record that is not the same, in the log's order."""

    records: int = 0
    decisions: int = 0
    orders: int = 0
    rows: int = 0
    differences: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return the summary line of the contract."""
        return (
            f"records {self.records} decisions {self.decisions} orders {self.orders} rows {self.rows} "
            f"differing {len(self.differences)}"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments `stonks replay` takes."""
    parser.add_argument("--assert-identical", action="store_true", help="exit with 1 when anything differs")
    parser.add_argument("--account", metavar="A", help="this account alone (all)")
    parser.add_argument("--from", dest="begin", type=_offset, metavar="OFFSET", help="from this inbox offset on")


def main(arguments: argparse.Namespace) -> int:
    """Fold, compare and print the summary; return 1 for a difference that was asserted away."""
    with _broker(settings()) as address:
        comparison = asyncio.run(compare(address, settings(), account=arguments.account, begin=arguments.begin))
    print(comparison.line())
    if comparison.differences:
        print(f"first difference: {comparison.differences[0]}", file=sys.stderr)
        if arguments.assert_identical:
            print(f"error: not identical: {comparison.differences[0]}", file=sys.stderr)
            return DIFFERENT
    return 0


async def compare(
    address: str, chosen: Settings, *, account: str | None = None, begin: int | None = None
) -> Comparison:
    """Return how the recorded outputs of a log differ from what the code at hand makes of it.

    What the log's newest records ask for may not be written yet on a running stack: outputs of records after the newest
    one that has left any trace are not missed.
    """
    recorded = await _recorded(address, chosen, account=account, begin=begin)
    comparison = Comparison()
    rows: dict[str, Portfolio | None] = {}
    if begin is not None:
        rows = {name: _row_before(name, known, begin) for name, known in recorded.items()}
    seen: dict[str, tuple[set[str], set[str]]] = {}
    async for message in _read(address, chosen, "account-inbox"):
        name = (message.key or b"").decode()
        if account not in (None, name):
            continue
        event = EVENT.validate_json(message.value or b"")
        if isinstance(event, Void):
            continue
        before = rows.get(name)
        if before is not None and message.offset <= before.seq:
            continue
        after, effects = react(before, event, seq=message.offset)
        rows[name] = after
        comparison.records += 1
        known = recorded.setdefault(name, Recorded())
        found = seen.setdefault(name, (set(), set()))
        for effect in effects:
            _check(comparison, known, effect, seq=message.offset, seen=found)
    if account is not None and account not in recorded:
        raise StackError(f"nothing of an account {account} is recorded: name another one, or leave --account out")
    for name, known in recorded.items():
        _check_surplus(comparison, known, name=name, seen=seen.get(name, (set(), set())), is_whole=begin is None)
    return comparison


def _check(
    comparison: Comparison, known: Recorded, effect: Effect, *, seq: int, seen: tuple[set[str], set[str]]
) -> None:
    if isinstance(effect, Decision):
        comparison.decisions += 1
        seen[0].add(effect.decision_id)
        recorded, what = known.decisions.get(effect.decision_id), f"decision {effect.decision_id}"
    elif isinstance(effect, Order):
        comparison.orders += 1
        seen[1].add(effect.client_order_id)
        recorded, what = known.orders.get(effect.client_order_id), f"order {effect.client_order_id}"
    elif isinstance(effect, AccountState):
        comparison.rows += 1
        row_hash = known.hashes.get(effect.seq)
        if row_hash != effect.hash and (row_hash is not None or effect.seq <= known.newest):
            why = f"its hash is recorded as {row_hash}, replayed as {effect.hash}"
            comparison.differences.append(f"row of {effect.account_id} at inbox offset {seq}: {why}")
        return
    else:
        return
    made = effect.model_dump_json().encode()
    if recorded != made and (recorded is not None or seq <= known.newest):
        why = _first_field(_json(recorded), _json(made))
        comparison.differences.append(f"{what} of {effect.account_id} at inbox offset {seq}: {why}")


def _check_surplus(
    comparison: Comparison, known: Recorded, *, name: str, seen: tuple[set[str], set[str]], is_whole: bool
) -> None:
    """Count what was recorded and not made again, and what was recorded twice with different bytes."""
    comparison.differences.extend(known.repeats)
    if not is_whole:
        return
    for kind, recorded, made in (("decision", known.decisions, seen[0]), ("order", known.orders, seen[1])):
        for surplus in recorded.keys() - made:
            comparison.differences.append(f"{kind} {surplus} of {name} is recorded, and the log does not lead to it")


async def _recorded(address: str, chosen: Settings, *, account: str | None, begin: int | None) -> dict[str, Recorded]:
    accounts: dict[str, Recorded] = {}
    for topic in ("decisions", "orders", "records"):
        async for message in _read(address, chosen, topic):
            name = (message.key or b"").decode()
            value = message.value or b""
            if account not in (None, name):
                continue
            known = accounts.setdefault(name, Recorded())
            body = _json(value)
            known.newest = max(known.newest, body.get("cause", -1))
            if topic == "decisions":
                _keep(known, known.decisions, body["decision_id"], value, what="decision")
            elif topic == "orders":
                _keep(known, known.orders, body["client_order_id"], value, what="order")
            elif body["kind"] == "account_state":
                if known.hashes.setdefault(body["seq"], body["hash"]) != body["hash"]:
                    known.repeats.append(f"row of {name} at inbox offset {body['seq']}: recorded twice, differently")
                if begin is not None and (known.row_before or {"seq": -1})["seq"] < body["seq"] < begin:
                    known.row_before = body["state"]
    return accounts


def _keep(known: Recorded, kept: dict[str, bytes], key: str, value: bytes, *, what: str) -> None:
    if kept.setdefault(key, value) != value:
        known.repeats.append(
            f"{what} {key}: recorded twice, differently in {_first_field(_json(kept[key]), _json(value))}"
        )


def _row_before(name: str, known: Recorded, begin: int) -> Portfolio:
    """Return the newest recorded row below an inbox offset."""
    if known.row_before is None:
        raise StackError(f"no row of {name} is recorded below inbox offset {begin}: leave --from out")
    return Portfolio.model_validate_json(pydantic_core.to_json(known.row_before))


def _first_field(recorded: Any, made: Any) -> str:
    """Name the first field in which two JSON objects differ, with both values."""
    if recorded is None:
        return "is not recorded"
    for name in (*made, *recorded):
        if recorded.get(name) != made.get(name):
            return f"{name} is recorded as {_short(recorded.get(name))}, replayed as {_short(made.get(name))}"
    return "the bytes differ, the fields do not"


def _short(value: Any) -> str:
    text = pydantic_core.to_json(value).decode()
    return text if len(text) <= 120 else text[:117] + "..."


def _json(value: bytes | None) -> Any:
    return None if value is None else pydantic_core.from_json(value)


async def _read(address: str, chosen: Settings, name: str) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Yield every record of a topic up to the end that it has now, each partition in order."""
    topic = chosen.topic(name)
    admin = AdminClient(for_librdkafka(chosen, address))
    found = (await asyncio.to_thread(admin.list_topics, timeout=SECONDS_TO_ANSWER)).topics.get(topic)
    if found is None:
        raise Missing(f"the broker has no topic {topic}: is STONKS_TOPIC_PREFIX what it was?")
    partitions = [TopicPartition(topic, number) for number in sorted(found.partitions)]
    consumer = AIOKafkaConsumer(**for_aiokafka(chosen, address), enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        left = {partition for partition in partitions if await consumer.position(partition) < ends[partition]}
        while left:
            for partition, messages in (await consumer.getmany(*left, timeout_ms=1000)).items():
                for message in messages:
                    if message.offset < ends[partition]:
                        yield message
            left = {partition for partition in left if await consumer.position(partition) < ends[partition]}
    finally:
        await consumer.stop()


@contextlib.contextmanager
def _broker(chosen: Settings) -> Iterator[str]:
    """Yield the address of the brokers to read from; start those of a stopped stack for as long as that takes."""
    folder = chosen.data_dir.absolute()
    if given_kafka(chosen) or is_in_use(folder):
        yield kafka_address(chosen)
        return
    if not (folder / "kafka" / "formatted").exists():
        raise StackError(f"no stack has run on {folder}: name its directory with STONKS_DATA_DIR, or set STONKS_KAFKA")
    supervisor = Supervisor(Checklist().say)
    with locked(folder):
        ports = kept_ports(folder, ["kafka", "kafka-controller"])
        for name, port in ports.items():
            assert_free(port, name, f"delete {folder / 'ports.json'} to have other ports chosen")
        try:
            service = own_kafka(folder, chosen, ports)
            supervisor.start(service)
            supervisor.await_ready(service)
            yield bootstrap(ports["kafka"])
        finally:
            supervisor.stop()


def _offset(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not an offset")
    return int(text)
