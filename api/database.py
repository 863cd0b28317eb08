"""PostgreSQL, read only: a pool that connects when it is needed, and never makes a caller wait long.

Numbers come as the text that is stored, so that no digit of money passes through a float or is rounded.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import asyncpg

from api.problems import away

MIGRATION: Final = "018"
"""The last migration whose tables the API reads."""
SECONDS_TO_CONNECT: Final = 2.0
SECONDS_TO_ANSWER: Final = 5.0
CONNECTIONS: Final = 8
Row = dict[str, Any]

_AWAY: Final = (
    OSError,  # TimeoutError is one
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection whose end has been told and is not there yet
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # a database that takes no connections
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
)
_UNAVAILABLE = "PostgreSQL does not answer, or is not migrated ({}): see `stonks doctor`; trading goes on without it"


class Database:
    """Read rows; every method raises `Problem` 503 when PostgreSQL is away or not migrated."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool | None = None

    async def start(self) -> None:
        """Make the pool ready; nothing is connected yet."""
        if self._url:
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=CONNECTIONS,
                init=_init,
                timeout=SECONDS_TO_CONNECT,
                command_timeout=SECONDS_TO_ANSWER,
                server_settings={"application_name": "stonks-api", "default_transaction_read_only": "on"},
            )

    async def stop(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            self._pool.terminate()

    async def rows(self, sql: str, *arguments: object, seconds: float = SECONDS_TO_ANSWER) -> list[Row]:
        """Return all rows of a query within `seconds`."""
        if self._pool is None:
            raise away("database", "STONKS_DATABASE_URL is not set")
        try:
            async with asyncio.timeout(seconds), self._pool.acquire() as connection:
                try:
                    return [dict(row) for row in await connection.fetch(sql, *arguments)]
                except (asyncio.CancelledError, OSError):
                    connection.terminate()  # or giving it back would wait for a server that does not answer
                    raise
        except _AWAY as error:
            raise away("database", _UNAVAILABLE.format(type(error).__name__)) from error

    async def row(self, sql: str, *arguments: object) -> Row | None:
        """Return the first row of a query, None when there is none."""
        rows = await self.rows(sql, *arguments)
        return rows[0] if rows else None

    async def is_migrated(self, *, seconds: float) -> bool:
        """Return whether the tables that the API reads are there."""
        sql = "SELECT 1 FROM schema_migrations WHERE version = $1"
        return bool(await self.rows(sql, MIGRATION, seconds=seconds))


async def _init(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=str, format="text")
    loads: Callable[[str], Any] = _exact_json
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=loads)


def _exact_json(text: str) -> Any:
    return json.loads(text, parse_float=str)
