"""The rows that PostgreSQL has: what a worker asks for when Kafka has no row of an account, or no records after it.

Read with short time limits and never kept: whoever cannot be answered now asks again. A row whose hash is not the
recorded one is refused; the fields that a later build has added do not count, for the older one has not recorded them.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg
from pydantic import SecretStr, ValidationError

from streams.topics import partition_for
from trading.portfolio import Portfolio, hash_of

SECONDS_TO_CONNECT = 2.0
SECONDS_TO_ANSWER = 5.0
_GREATEST = "SELECT account_id, seq FROM account_states"
_ROWS = "SELECT account_id, state::text AS state, hash, log_id FROM account_states WHERE account_id = ANY ($1::text[])"

_MEND = "put back the one that had, or delete it to begin anew"


class Kept(NamedTuple):
    """An account's row as last projected, its recorded hash, and the log that its `seq` is an offset of, if known."""

    state: Portfolio
    hash: str
    log_id: str | None


@dataclass(frozen=True)
class Snapshots:
    """What was found: rows, why others are refused, and the greatest `seq` of any account by inbox partition."""

    rows: Mapping[str, Kept] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    greatest: Mapping[int, int] = field(default_factory=dict)


class Unreadable(Exception):
    """PostgreSQL does not answer, or does not have the tables yet; the text says which."""


async def read_snapshots(url: SecretStr, accounts: Collection[str], *, partitions: int) -> Snapshots:
    """Return the rows of these accounts; raises `Unreadable`, which names no address and no secret."""
    try:
        async with asyncio.timeout(SECONDS_TO_CONNECT + SECONDS_TO_ANSWER):
            connection = await asyncpg.connect(
                url.get_secret_value(), timeout=SECONDS_TO_CONNECT, command_timeout=SECONDS_TO_ANSWER
            )
            try:
                greatest = await connection.fetch(_GREATEST)
                found = await connection.fetch(_ROWS, list(accounts))
            finally:
                connection.terminate()  # also when nobody answers any more
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise Unreadable(f"PostgreSQL cannot be read: {type(error).__name__}") from error
    judged = {row["account_id"]: judge(row["state"], row["hash"], row["log_id"]) for row in found}
    by_partition: dict[int, int] = {}
    for row in greatest:
        place = partition_for(row["account_id"].encode(), partitions)
        by_partition[place] = max(by_partition.get(place, -1), row["seq"])
    return Snapshots(
        rows={account: kept for account, kept in judged.items() if isinstance(kept, Kept)},
        refused={account: why for account, why in judged.items() if isinstance(why, str)},
        greatest=by_partition,
    )


def judge(state: str, recorded: str, log_id: str | None) -> Kept | str:
    """Return an account's row, or why it is refused: it is none, or its hash is not the recorded one.

    jsonb keeps neither the order of the fields nor the spaces; the canonical form has both again.
    """
    try:
        row = Portfolio.model_validate_json(state)
    except ValidationError as error:
        return f"its row in account_states is none of this build's, {error.error_count()} fields are wrong: {_MEND}"
    if hash_of(row.model_dump_json(exclude_unset=True).encode()) != recorded:
        return f"its row in account_states does not have the hash that was recorded with it: {_MEND}"
    return Kept(row, recorded, log_id)
