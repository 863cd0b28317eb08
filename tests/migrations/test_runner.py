"""The runner on a real PostgreSQL: each file once, in order, never half, and nothing silently different."""

import asyncio
import pathlib

import asyncpg
import pytest

from migrations import runner
from migrations.runner import migrate

ONE = "CREATE TABLE one (id int PRIMARY KEY);\nINSERT INTO one VALUES (1);\n"
TWO = "CREATE TABLE two (id int PRIMARY KEY);\n"

pytestmark = pytest.mark.integration


def write(directory: pathlib.Path, **files: str) -> pathlib.Path:
    for name, sql in files.items():
        (directory / f"{name.removeprefix('m')}.sql").write_text(sql, encoding="utf-8")
    return directory


async def fetch(dsn: str, query: str) -> list[object]:
    connection = await asyncpg.connect(dsn)
    try:
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_the_second_run_does_nothing(database: str, tmp_path: pathlib.Path) -> None:
    write(tmp_path, m001_one=ONE, m018_two=TWO)
    assert await migrate(database, tmp_path) == ["001_one", "018_two"]
    assert await migrate(database, tmp_path) == []
    assert await fetch(database, "SELECT id FROM one") == [1]


async def test_numbers_are_ordered_as_numbers(database: str, tmp_path: pathlib.Path) -> None:
    write(tmp_path, m9_one=ONE, m10_more="INSERT INTO one VALUES (2);")
    assert await migrate(database, tmp_path) == ["9_one", "10_more"]


async def test_a_file_edited_after_it_was_applied_is_refused(database: str, tmp_path: pathlib.Path) -> None:
    await migrate(database, write(tmp_path, m001_one=ONE))
    write(tmp_path, m001_one=ONE + "-- a word more\n", m002_two=TWO)
    with pytest.raises(runner.EditedMigration, match=r"001_one\.sql was edited"):
        await migrate(database, tmp_path)
    assert await fetch(database, "SELECT to_regclass('two')::text") == [None]


async def test_a_database_of_a_newer_build_is_refused(database: str, tmp_path: pathlib.Path) -> None:
    await migrate(database, write(tmp_path, m001_one=ONE, m002_two=TWO))
    (tmp_path / "002_two.sql").unlink()
    with pytest.raises(runner.UnknownMigration, match="002_two"):
        await migrate(database, tmp_path)


async def test_a_file_that_fails_half_way_leaves_nothing(database: str, tmp_path: pathlib.Path) -> None:
    write(tmp_path, m001_one=ONE, m002_two=TWO + "CREATE TABLE three (id int);\nSELEKT 1;\n")
    with pytest.raises(runner.MigrationFailed, match=r"002_two\.sql, line 3: syntax error"):
        await migrate(database, tmp_path)
    assert await fetch(database, "SELECT version FROM schema_migrations") == ["001"]
    assert await fetch(database, "SELECT to_regclass('two')::text") == [None]
    write(tmp_path, m002_two=TWO)
    assert await migrate(database, tmp_path) == ["002_two"]


async def test_runners_that_come_at_once_take_turns(database: str, tmp_path: pathlib.Path) -> None:
    write(tmp_path, m001_one=ONE + "SELECT pg_sleep(0.3);", m002_two=TWO)
    done = await asyncio.gather(*(migrate(database, tmp_path) for _ in range(4)))
    assert sorted(done, key=len) == [[], [], [], ["001_one", "002_two"]]


async def test_a_runner_does_not_wait_for_ever_for_another(database: str, tmp_path: pathlib.Path) -> None:
    other = await asyncpg.connect(database)
    await other.execute("SELECT pg_advisory_lock($1::bigint)".replace("$1", str(runner.LOCK)))
    with pytest.raises(runner.MigrationLocked, match="another migration"):
        await migrate(database, write(tmp_path, m001_one=ONE), wait_seconds=0.3)
    await other.close()


async def test_what_cannot_run_in_a_transaction_runs_outside(database: str, tmp_path: pathlib.Path) -> None:
    index = "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS one_id ON one (id);\n"
    write(tmp_path, m001_one=ONE, m002_index=index)
    done = await asyncio.gather(*(migrate(database, tmp_path) for _ in range(2)))
    assert ["001_one", "002_index"] in done
    assert await fetch(database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'one_id'::regclass") == [True]


async def test_two_files_with_one_number_are_refused(database: str, tmp_path: pathlib.Path) -> None:
    write(tmp_path, m001_one=ONE, m01_two=TWO)
    with pytest.raises(runner.DirectoryUnusable, match=r"one number: (001_one, 01_two|01_two, 001_one)"):
        await migrate(database, tmp_path)


async def test_a_directory_without_migrations_is_refused(database: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(runner.DirectoryUnusable, match="no migrations"):
        await migrate(database, tmp_path)


@pytest.mark.parametrize("dsn", ["postgresql://nobody:x@127.0.0.1:1/none", "mysql://127.0.0.1/none"])
async def test_a_database_that_nobody_answers_for_is_named_as_such(dsn: str) -> None:
    with pytest.raises(runner.DatabaseUnreachable, match="does not let us in"):
        await migrate(dsn)
