"""Whether a record produced from now on is processed: one check for each thing that this takes.

All checks run at once, each with a short time limit, so that a lost Kafka, worker or connectors show within seconds.
"""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from api.commands import Commands
from api.database import Database
from api.engine import Engine, Live
from api.lag import APPLIED, Lags
from api.meters import Meters
from api.offsets import Offsets
from api.problems import Problem
from streams.settings import Settings
from streams.topics import TOPICS

SECONDS_BETWEEN_LOOKS: Final = 2.0
SECONDS_TO_ANSWER: Final = 2.0
SECONDS_WITHOUT_PROGRESS: Final = 10.0
OUR_OWN: Final = frozenset({"kafka", "database", "topics", "migrations", "projection"})
"""What the connectors may say too, and what is checked here."""
NAMES: Final = (
    "kafka",
    "database",
    "topics",
    "migrations",
    "worker",
    "connectors",
    "state_loaded",
    "reconciled",
    "consuming",
    "projection",
)


@dataclass(frozen=True)
class Finding:
    """One check as it stands; `since` is the instant at which `ok` last changed."""

    name: str
    ok: bool
    required: bool
    detail: str
    since: dt.datetime


@dataclass(frozen=True)
class Readiness:
    """All checks; ready while every required one holds."""

    checks: tuple[Finding, ...]

    @property
    def ready(self) -> bool:
        """Return whether everything required holds."""
        return all(check.ok for check in self.checks if check.required)


Outcome = tuple[bool, str]

log = structlog.get_logger()


class Doctor:
    """Look at everything that readiness takes, and remember since when it is as it is."""

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        offsets: Offsets,
        engine: Engine,
        commands: Commands,
        lags: Lags,
        meters: Meters,
        wall_now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._settings = settings
        self._database = database
        self._offsets = offsets
        self._engine = engine
        self._commands = commands
        self._lags = lags
        self._meters = meters
        self._wall_now = wall_now
        self._findings: dict[str, Finding] = {}
        self._started = False
        self._reached = -1
        self._reached_at = 0.0
        self._looking = asyncio.Lock()
        self._looks = 0
        self._latest: Readiness | None = None

    async def run(self) -> None:
        """Look every few seconds until cancelled, so that `since` is right when somebody asks."""
        while True:
            await self.readiness()
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    async def readiness(self) -> Readiness:
        """Return the checks by a look that began after this was asked; those who ask together share one."""
        wanted = self._looks + (2 if self._looking.locked() else 1)
        async with self._looking:
            if self._latest is None or self._looks < wanted:
                self._latest = await self._examine()
                self._looks += 1
            return self._latest

    async def _examine(self) -> Readiness:
        account_id = self._settings.accounts[0]
        workers, connectors, kafka, topics, database, migrations = await asyncio.gather(
            self._engine.workers(account_id),
            self._engine.connectors(account_id),
            _tried(self._kafka),
            _tried(self._topics),
            _tried(self._postgres),
            _tried(self._migrations),
        )
        outcomes: dict[str, Outcome] = {
            "kafka": kafka,
            "database": database,
            "topics": topics,
            "migrations": migrations if database[0] else self._as_it_was("migrations"),
            "worker": _answering(workers),
            "connectors": _working(connectors),
            "state_loaded": _all_say("state_loaded", workers),
            "reconciled": _all_say("reconciled", workers),
            "consuming": self._consuming(workers),
            "projection": await _tried(self._projection) if kafka[0] and database[0] else (False, "cannot be told"),
        }
        readiness = Readiness(tuple(self._finding(name, outcomes[name]) for name in NAMES))
        self._started = self._started or readiness.ready
        return readiness

    def _finding(self, name: str, outcome: Outcome) -> Finding:
        ok, detail = outcome
        known = self._findings.get(name)
        changed = known is None or known.ok != ok
        if changed:
            log.info("check", name=name, ok=ok, detail=detail)
        since = self._wall_now() if known is None or changed else known.since
        found = Finding(name, ok=ok, required=self._required(name), detail=detail, since=since)
        self._findings[name] = found
        self._meters.check(name, ok=ok)
        return found

    def _required(self, name: str) -> bool:
        if name in {"database", "projection"}:
            return not self._started  # trading goes on without PostgreSQL
        return name != "reconciled" or self._settings.broker != "external"

    def _as_it_was(self, name: str) -> Outcome:
        known = self._findings.get(name)
        return (known is not None and known.ok), "as it was when PostgreSQL last answered"

    async def _kafka(self) -> Outcome:
        await self._offsets.ends(("account-inbox",))
        listening = self._commands.listening.is_set()
        return listening, "answers" if listening else "the records are not read yet"

    async def _topics(self) -> Outcome:
        wrong = await self._offsets.wrong_topics()
        return not wrong, "; ".join(wrong) or "all there"

    async def _postgres(self) -> Outcome:
        await self._database.rows("SELECT 1", seconds=SECONDS_TO_ANSWER)
        return True, "answers"

    async def _migrations(self) -> Outcome:
        migrated = await self._database.is_migrated(seconds=SECONDS_TO_ANSWER)
        return migrated, "applied" if migrated else "run `stonks db migrate`"

    def _consuming(self, workers: Sequence[Live | None]) -> Outcome:
        ok, detail = _all_say("consuming", workers)
        owned = {
            (topic, partition)
            for worker in workers
            if worker is not None
            for topic, partitions in worker.positions.items()
            for partition in partitions
        }
        unowned = [
            f"{name}/{partition}"
            for name in APPLIED
            for partition in range(TOPICS[name].partition_count(self._settings))
            if (name, partition) not in owned
        ]
        return (False, f"nobody reads {', '.join(unowned[:3])}") if ok and unowned else (ok, detail)

    async def _projection(self) -> Outcome:
        """Hold while PostgreSQL has everything, or gets nearer."""
        projected = await self._lags.projected()
        lag = await self._lags.of_projection(projected)
        reached = sum(sum(partitions.values()) for partitions in projected.values())
        now = asyncio.get_running_loop().time()
        if lag == 0 or reached != self._reached:
            self._reached, self._reached_at = reached, now
        return now - self._reached_at <= SECONDS_WITHOUT_PROGRESS, f"{lag} records behind"


async def _tried(check: Callable[[], Awaitable[Outcome]]) -> Outcome:
    try:
        return await check()
    except Problem as problem:
        return False, problem.document.detail


def _answering(workers: Sequence[Live | None]) -> Outcome:
    answering = sum(worker is not None for worker in workers)
    return 0 < answering == len(workers), f"{answering} of {len(workers)} answer"


def _working(connectors: Live | None) -> Outcome:
    if connectors is None:
        return False, "no answer"
    failing = [each for each in connectors.checks if not each.ok and each.name not in OUR_OWN]
    failing.sort(key=lambda each: not each.required)  # a message that cannot be sent stops no trade, and is told
    told = "; ".join(f"{each.name}: {each.detail or 'not so'}" for each in failing)
    return not any(each.required for each in failing), told or "answer"


def _all_say(name: str, workers: Sequence[Live | None]) -> Outcome:
    """Return whether every worker that answers says so of itself, and at least one does."""
    said = [check for worker in workers if worker is not None for check in worker.checks if check.name == name]
    failing = [check.detail or "not yet" for check in said if not check.ok]
    return bool(said) and not failing, "; ".join(failing) or ("holds" if said else "no worker says so")
