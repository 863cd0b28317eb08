"""The engine as it is now: the workers and the connectors, asked over their own HTTP on loopback.

Accounts are sharded over the workers, so all of them are asked: each tells how far it has applied the log, one of them
has the account's row.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import aiohttp
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from api.offsets import PerPartition
from api.problems import Problem, away
from streams.settings import Settings
from trading.money import Instant
from trading.portfolio import Portfolio

SECONDS_TO_ANSWER: Final = 2.0
SECONDS_BETWEEN_LOOKS: Final = 0.01

log = structlog.get_logger()


class _Theirs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Check(_Theirs):
    """One check of another process's readiness."""

    name: str
    ok: bool
    required: bool = True
    detail: str | None = None


class Live(_Theirs):
    """What one process says of itself; `row` is the account's row where this worker owns it."""

    ready: bool
    checks: tuple[Check, ...] = ()
    positions: dict[str, dict[int, int]] = {}
    event_time: Instant | None = None
    row: Portfolio | None = None


@dataclass(frozen=True)
class View:
    """The engine at one moment: positions by topic and partition, its now, and one account's row."""

    positions: PerPartition
    as_of: dt.datetime
    row: Portfolio


class Engine:
    """Ask the workers and the connectors; a process that does not answer in time counts as gone."""

    def __init__(self, settings: Settings) -> None:
        self._workers = tuple(url.rstrip("/") for url in settings.worker_urls)
        self._connectors = settings.connectors_url.rstrip("/")
        self._token = settings.internal_token.get_secret_value()
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the connections' pool."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=SECONDS_TO_ANSWER),
            headers={"X-Internal-Token": self._token} if self._token else {},
            connector=aiohttp.TCPConnector(limit=64),
        )

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def view(self, account_id: str) -> View:
        """Return the engine as it is now; raise `Problem` 503 when no worker answers, or none has the account."""
        workers, connectors = await asyncio.gather(self.workers(account_id), self.connectors(account_id))
        living = _living(workers)
        rows = [worker.row for worker in living if worker.row is not None]
        if not rows:
            raise away("account", "no worker has loaded this account yet: try again in a second")
        row = max(rows, key=lambda each: each.seq)  # a woken zombie still has an older one
        times = [worker.event_time for worker in living if worker.event_time is not None]
        return View(_furthest([*living, connectors]), as_of=max([row.now, *times]), row=row)

    async def row(self, account_id: str) -> Portfolio:
        """Return the account's row as it is now; raise `Problem` 503 as `view` does."""
        return (await self.view(account_id)).row

    async def row_at(self, account_id: str, *, seq: int, until: float) -> Portfolio | None:
        """Return the row once it has applied the inbox up to `seq`; None when it has not at that time of the loop."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            with contextlib.suppress(Problem):  # a restart: the next worker has it in a moment
                if (row := await self.row(account_id)).seq >= seq:
                    return row
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        return None

    async def positions(self, account_id: str) -> PerPartition:
        """Return how far the log is applied; raise `Problem` 503 when no worker answers."""
        workers, connectors = await asyncio.gather(self.workers(account_id), self.connectors(account_id))
        return _furthest([*_living(workers), connectors])

    async def workers(self, account_id: str) -> list[Live | None]:
        """Return what each worker says, None for one that does not answer."""
        return list(await asyncio.gather(*(self._live(url, account_id) for url in self._workers)))

    async def connectors(self, account_id: str) -> Live | None:
        """Return what the connectors say, None when they do not answer."""
        return await self._live(self._connectors, account_id)

    async def _live(self, url: str, account_id: str) -> Live | None:
        if self._session is None or not url:
            return None
        try:
            async with self._session.get(f"{url}/live", params={"account_id": account_id}) as response:
                body = await response.read()
                if response.status == 200:
                    return Live.model_validate_json(body)
        except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            return None
        except ValidationError as error:
            log.error("live state unreadable", url=url, mistakes=error.error_count())
        return None


def _living(workers: Iterable[Live | None]) -> list[Live]:
    living = [worker for worker in workers if worker is not None]
    if not living:
        raise away("engine", "no worker answers: `stonks doctor` says why")
    return living


def _furthest(processes: Iterable[Live | None]) -> PerPartition:
    """Join positions; where two processes name one partition, a woken zombie is behind the owner."""
    joined: PerPartition = {}
    for process in processes:
        for topic, partitions in process.positions.items() if process is not None else ():
            known = joined.setdefault(topic, {})
            for partition, next_offset in partitions.items():
                known[partition] = max(next_offset, known.get(partition, 0))
    return joined
