"""What the app is made of, and the one place where it is put together.

Every route reaches its collaborators through the app it runs in; a test passes others.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request

from api.commands import Commands
from api.database import Database
from api.engine import Engine
from api.lag import Lags
from api.meters import Meters
from api.offsets import Offsets
from api.problems import not_found
from api.readiness import Doctor
from api.tokens import RateLimit, Tokens
from streams.settings import Settings


@dataclass(frozen=True)
class Parts:
    """The collaborators of one app."""

    accounts: tuple[str, ...]
    tokens: Tokens
    rate_limit: RateLimit
    meters: Meters
    database: Database
    offsets: Offsets
    engine: Engine
    commands: Commands
    lags: Lags
    doctor: Doctor

    @classmethod
    def of(cls, settings: Settings) -> "Parts":
        """Return the real ones, as the settings say; nothing is connected yet."""
        meters = Meters()
        database = Database(settings.database_url.get_secret_value())
        offsets = Offsets(settings)
        engine = Engine(settings)
        commands = Commands(settings)
        lags = Lags(offsets, database, settings)
        return cls(
            accounts=settings.accounts,
            tokens=Tokens.of(settings),
            rate_limit=RateLimit(),
            meters=meters,
            database=database,
            offsets=offsets,
            engine=engine,
            commands=commands,
            lags=lags,
            doctor=Doctor(
                settings,
                database=database,
                offsets=offsets,
                engine=engine,
                commands=commands,
                lags=lags,
                meters=meters,
            ),
        )


@contextlib.asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[None]:
    """Keep the parts connected; one that fails in a way nobody expected ends everything inside, loudly."""
    await parts.database.start()
    await parts.engine.start()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(each.run(), name=type(each).__name__)
                for each in (parts.offsets, parts.commands, parts.doctor)
            ]
            yield
            for task in tasks:
                task.cancel()
    finally:
        await parts.engine.stop()
        await parts.database.stop()


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Here = Annotated[Parts, Depends(_parts)]
"""The collaborators of the app that serves the request."""


def _account(here: Here, account_id: Annotated[str, Query(description="the brokerage account")] = "paper") -> str:
    if account_id not in here.accounts:
        raise not_found("account")
    return account_id


Account = Annotated[str, Depends(_account)]
"""The account that the request is about; an unknown one is a 404."""
