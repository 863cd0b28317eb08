"""Apply the numbered SQL files of a directory to a PostgreSQL database, each once, in order, and never half.

A file is one transaction together with the row that says it was applied; its sha256 is kept, so that an edited file is
refused. A file whose first line is `-- no-transaction` holds one statement that PostgreSQL runs outside of transactions
(`CREATE INDEX CONCURRENTLY`): it must bear being run again, because its row is written after it.

MigrationError
+-- DatabaseUnreachable  nobody answers, or the role may not connect
+-- DatabaseTooOld       PostgreSQL before 15
+-- DirectoryUnusable    no files, or two with one number
+-- EditedMigration      a file differs from what was applied
+-- UnknownMigration     the database has a migration that the directory has not: this build is older
+-- MigrationFailed      PostgreSQL refused a file; nothing of it was kept
+-- MigrationLocked      another runner is at work, and did not end in time
"""

import asyncio
import hashlib
import pathlib
import re
import time
from typing import NamedTuple

import asyncpg

DIRECTORY = pathlib.Path(__file__).parent
LOCK = 0x5E1_0018  # any number; all runners use this one
OLDEST_SERVER = 15
_FILE_NAME = re.compile(r"(\d+)_\w+\.sql")
_APPLIED = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version text PRIMARY KEY,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    took_ms integer NOT NULL
)
"""


class MigrationError(Exception):
    """Say in one line why the database could not be migrated, and the mend."""


class DatabaseUnreachable(MigrationError):
    """Nobody answers at the address, or the role may not connect."""


class DatabaseTooOld(MigrationError):
    """The server is older than what the SQL is written for."""


class DirectoryUnusable(MigrationError):
    """The directory holds no migrations, or two with one number."""


class EditedMigration(MigrationError):
    """A file was edited after it was applied."""


class UnknownMigration(MigrationError):
    """The database was migrated by a newer build."""


class MigrationFailed(MigrationError):
    """PostgreSQL refused a file."""


class MigrationLocked(MigrationError):
    """Another runner did not end in time."""


class Migration(NamedTuple):
    """One file: its number as written, its name, its text."""

    version: str
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Return the hash of the text, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def in_transaction(self) -> bool:
        """Return whether the file may run in a transaction."""
        return re.match(r"--\s*no-transaction", self.sql) is None


def migrations(directory: pathlib.Path = DIRECTORY) -> list[Migration]:
    """Return the directory's migrations by number; raise `DirectoryUnusable` for none, or two with one number."""
    named = [(match, path) for path in directory.glob("*.sql") if (match := _FILE_NAME.fullmatch(path.name))]
    found = [Migration(match[1], path.stem, path.read_text(encoding="utf-8")) for match, path in named]
    found.sort(key=lambda migration: int(migration.version))
    numbers = [int(migration.version) for migration in found]
    if not found:
        raise DirectoryUnusable(f"{directory} holds no migrations (files like 018_trading_engine.sql)")
    if twice := [migration.name for migration in found if numbers.count(int(migration.version)) > 1]:
        raise DirectoryUnusable(f"two migrations have one number: {', '.join(twice)}; number one of them anew")
    return found


async def migrate(dsn: str, directory: pathlib.Path = DIRECTORY, *, wait_seconds: float = 60) -> list[str]:
    """Apply what is not applied yet, oldest number first, and return the names of those files without `.sql`.

    Runners that come at once take turns, `wait_seconds` at most. Raises a `MigrationError`; the file it names has left
    nothing behind, those before it are applied.
    """
    wanted = migrations(directory)
    connection = await reach(dsn)
    try:
        await _take_turns(connection, wait_seconds)
        missing = await _missing(connection, wanted)
        for migration in missing:
            await _apply(connection, migration)
        return [migration.name for migration in missing]
    finally:
        await connection.close()  # gives the lock back, also when a file failed


async def reach(dsn: str, *, timeout_seconds: float = 10) -> asyncpg.Connection:
    """Return a connection, for the caller to close; raise `DatabaseUnreachable` or `DatabaseTooOld`."""
    try:
        connection = await asyncpg.connect(dsn, timeout=timeout_seconds)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnreachable(f"PostgreSQL does not let us in: {error or type(error).__name__}") from error
    if (major := connection.get_server_version().major) < OLDEST_SERVER:
        await connection.close()
        raise DatabaseTooOld(f"PostgreSQL {major} is too old: use {OLDEST_SERVER} or newer")
    return connection


async def _take_turns(connection: asyncpg.Connection, wait_seconds: float) -> None:
    """Take the session's lock, by polling: one who waits for it in a query blocks CREATE INDEX CONCURRENTLY."""
    deadline = time.monotonic() + wait_seconds
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
        if time.monotonic() > deadline:
            raise MigrationLocked(
                f"another migration has been running for {wait_seconds:.0f} s: wait for it, or end it"
            )
        await asyncio.sleep(0.1)


async def _missing(connection: asyncpg.Connection, wanted: list[Migration]) -> list[Migration]:
    try:
        await connection.execute(_APPLIED)
        rows = await connection.fetch("SELECT version, name, sha256 FROM schema_migrations ORDER BY version::bigint")
    except asyncpg.PostgresError as error:
        raise MigrationFailed(f"schema_migrations: {error}") from error
    applied = {int(row["version"]): row for row in rows}
    by_number = {int(migration.version): migration for migration in wanted}
    for number, row in applied.items():
        if number not in by_number:
            raise UnknownMigration(f"the database has {row['name']}, which this build does not know: use a newer build")
        if by_number[number].sha256 != row["sha256"]:
            raise EditedMigration(
                f"{by_number[number].name}.sql was edited after it was applied: put it back, and write a new migration"
            )
    return [migration for number, migration in by_number.items() if number not in applied]


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    started = time.monotonic()
    try:
        if migration.in_transaction:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await _record(connection, migration, started)
        else:
            await connection.execute(migration.sql)
            await _record(connection, migration, started)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise MigrationFailed(f"{migration.name}.sql{_line(migration.sql, error)}: {error}") from error


async def _record(connection: asyncpg.Connection, migration: Migration, started: float) -> None:
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, sha256, took_ms) VALUES ($1, $2, $3, $4)",
        migration.version,
        migration.name,
        migration.sha256,
        round((time.monotonic() - started) * 1000),
    )


def _line(sql: str, error: Exception) -> str:
    """Return `, line 7` where PostgreSQL says at which character it stumbled."""
    position = getattr(error, "position", None)
    return f", line {sql.count(chr(10), 0, int(position) - 1) + 1}" if position else ""
