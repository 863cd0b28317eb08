"""An API in this process, alone or on a real Kafka and PostgreSQL, with an engine double behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.parts import Parts, running
from migrations.runner import migrate
from streams.settings import Settings
from streams.topics import create_topics
from tests.api.engine_double import EngineDouble

TOKENS = {"viewer": "viewer-canary-1", "operator": "operator-canary-2", "armer": "armer-canary-3"}
NOWHERE = "127.0.0.1:1"


def settings_for(**changes: Any) -> Settings:
    """Return settings with the test's tokens, and nothing else to talk to."""
    tokens = {f"api_token_{role}": token for role, token in TOKENS.items()}
    return Settings(**({"kafka": NOWHERE, "database_url": "", "partitions": 2} | tokens | changes))


def as_role(role: str | None) -> dict[str, str]:
    """Return the headers of a caller with that role's token."""
    return {"Authorization": f"Bearer {TOKENS[role]}"} if role else {}


def client_of(parts: Parts, *, role: str | None = "armer") -> httpx.AsyncClient:
    """Return a client of an app on these parts."""
    transport = httpx.ASGITransport(create_app(parts))
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=as_role(role))


@contextlib.asynccontextmanager
async def api_on(settings: Settings, *, listening: bool = False) -> AsyncIterator[httpx.AsyncClient]:
    """Run an API with these settings and give a client with every right; `listening`: once Kafka has answered it."""
    parts = Parts.of(settings)
    async with running(parts), client_of(parts) as client:
        if listening:
            await parts.commands.listening.wait()
            await parts.offsets.connected.wait()
        yield client


@pytest.fixture
async def lone() -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an API whose Kafka, PostgreSQL and workers are all away."""
    async with client_of(Parts.of(settings_for()), role=None) as client:
        yield client


@pytest.fixture
async def engine() -> AsyncIterator[EngineDouble]:
    """Give an engine double that serves; its address is in `url`."""
    double = EngineDouble(token="internal-canary-4")
    async with double.serving() as url:
        double.url = url
        yield double


@pytest.fixture
async def migrated(database: str) -> str:
    """Give the address of a database with every table and no row."""
    await migrate(database)
    return database


@pytest.fixture
async def stack(kafka: str, topic_prefix: str, migrated: str, engine: EngineDouble) -> Settings:
    """Give the settings of an API on real topics, a migrated database, and the engine double."""
    settings = settings_for(
        kafka=kafka,
        topic_prefix=topic_prefix,
        database_url=migrated,
        worker_urls=(engine.url,),
        connectors_url=engine.url + "/connectors",
        internal_token=engine.token,
    )
    await asyncio.to_thread(create_topics, kafka, settings)
    engine.everything_applied(settings)
    return settings
