"""The embedded database: real, on loopback, with an owner and a reader."""

import concurrent.futures
import pathlib

import asyncpg
import pytest

from stack.postgres import copy_installation


@pytest.mark.integration
async def test_each_test_can_have_an_empty_database_of_its_own(database: str, database_url: str) -> None:
    assert database != database_url
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    assert await connection.fetchval("SELECT count(*) FROM orders") == 0
    await connection.close()


def test_of_processes_that_copy_the_programs_at_once_one_copy_stays_and_it_is_whole(tmp_path: pathlib.Path) -> None:
    installation = tmp_path / "wheel" / "pginstall"
    (installation / "bin").mkdir(parents=True)
    for number in range(100):
        (installation / "bin" / str(number)).write_text(str(number))
    (tmp_path / "wheel.libs").mkdir()
    home = tmp_path / "home"
    home.mkdir()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for copying in [pool.submit(copy_installation, installation, home / "kept") for _ in range(4)]:
            copying.result()
    assert [path.name for path in home.iterdir()] == ["kept"]
    assert {path.read_text() for path in (home / "kept" / "wheel" / "pginstall" / "bin").iterdir()} == {
        str(number) for number in range(100)
    }
    assert (home / "kept" / "wheel.libs").is_dir()
