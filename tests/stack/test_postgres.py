"""The embedded database: real, on loopback, with an owner and a reader."""

import asyncpg
import pytest


@pytest.mark.integration
async def test_each_test_can_have_an_empty_database_of_its_own(database: str, database_url: str) -> None:
    assert database != database_url
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    assert await connection.fetchval("SELECT count(*) FROM orders") == 0
    await connection.close()
