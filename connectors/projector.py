"""Write what a batch of records says into PostgreSQL, all of it in one transaction with the offsets that it covers.

Everything bears being written twice. A record that PostgreSQL refuses does not hold the others up: the batch is then
written record by record, each under a savepoint, and what was refused becomes a dead letter.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from pydantic import ValidationError

from connectors import tables
from connectors.edits import edit_of
from connectors.quarantine import Quarantine
from connectors.rows import Change, config_row, position_rows, preferences_row, states, without_targets
from streams.topics import Topic
from trading.records import AccountState


class Projected(NamedTuple):
    """A record and what it asks of the database."""

    topic: Topic
    record: ConsumerRecord
    change: Change


def is_refusal(error: BaseException) -> bool:
    """Return whether an error lies in the record (a value or a rule of the schema), and so would come again."""
    if isinstance(error, ValidationError):
        return True
    state = getattr(error, "sqlstate", None) or ""
    return isinstance(error, asyncpg.DataError) or state[:2] in {"22", "23", "54"}


async def write(
    connection: asyncpg.Connection,
    batch: Sequence[Projected],
    offsets: Mapping[TopicPartition, int],
    names: Mapping[str, str],
    quarantine: Quarantine,
) -> None:
    """Commit a batch and the next offsets, once the log has the dead letters of what was refused.

    `offsets` are by Kafka's names, `names` gives the public ones. Raises asyncpg's errors and OSError when the database
    is away or not as it must be, and aiokafka's `KafkaError`: it is not known then whether the batch was committed.
    """
    try:
        async with connection.transaction():
            await _write(connection, [projected.change for projected in batch])
            await _move(connection, offsets, names)
            await quarantine.send()
    except (asyncpg.PostgresError, ValidationError) as error:
        if not is_refusal(error):
            raise
    else:
        return
    async with connection.transaction():
        for projected in batch:
            try:
                async with connection.transaction():
                    await _write(connection, [projected.change])
            except (asyncpg.PostgresError, ValidationError) as error:
                if not is_refusal(error):
                    raise
                reason = str(error).partition("\n")[0]
                quarantine.add(projected.topic, projected.record, error=f"invalid_field: PostgreSQL refuses: {reason}")
        await _move(connection, offsets, names)
        await quarantine.send()


async def _write(connection: asyncpg.Connection, changes: Sequence[Change]) -> None:
    writes = sorted((write for change in changes for write in change.writes), key=lambda write: write.table)
    for statement, run in itertools.groupby(writes, key=lambda write: write.statement):
        await connection.executemany(statement, [write.values for write in run])
    orders = sorted(frozenset().union(*(change.orders for change in changes)))
    await connection.executemany(tables.ORDER_PROGRESS, [(order,) for order in orders])
    decisions = sorted(frozenset().union(*(change.decisions for change in changes)))
    await connection.executemany(tables.DECISION_WASH_SALE, [(decision,) for decision in decisions])
    for state in states(changes):
        await _write_state(connection, state)


async def _write_state(connection: asyncpg.Connection, state: AccountState) -> None:
    """Replace the account's state and what is a part of it, unless a newer one is there."""
    kept = without_targets(state)
    row = kept.model_dump_json(include={"state"})
    found = await connection.fetchrow(
        tables.ACCOUNT_STATE, state.account_id, state.at, state.seq, row[len('{"state":') : -1], kept.hash
    )
    if found is None:
        return
    positions = position_rows(state)
    held = [write.values[0] for write in positions]
    await connection.execute(tables.CLOSED_POSITIONS, state.account_id, held)
    await connection.executemany(tables.POSITIONS.upsert(), [write.values for write in positions])
    await _write_config(connection, state, before=json.loads(found["before"]) if found["before"] else None)
    await connection.execute(tables.PREFERENCES_UPSERT, *preferences_row(state))


async def _write_config(connection: asyncpg.Connection, state: AccountState, *, before: Any) -> None:
    """Write a changed policy or tier; a row that a person has edited stays until `hand_edits` has taken that up."""
    config = {name: state.state[name] for name in ("policy", "risk_tier")}
    values = config_row(state.account_id, state.at, config)
    statement = tables.CONFIG.upsert()
    if before is not None:
        known = await connection.fetchrow(tables.CONFIG_ROW, state.account_id) if before != config else None
        if known is None or edit_of(known, before).is_there:
            statement = tables.NEW_CONFIG.upsert()
    await connection.execute(statement, *values)


async def _move(
    connection: asyncpg.Connection, offsets: Mapping[TopicPartition, int], names: Mapping[str, str]
) -> None:
    rows = [(names[place.topic], place.partition, next_offset) for place, next_offset in offsets.items()]
    await connection.executemany(tables.MOVE_OFFSET, rows)
