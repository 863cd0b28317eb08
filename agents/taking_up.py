"""How a worker takes its accounts up: each gets its first record, from wherever what is known of it lies.

An account with a row in Kafka and the records after it waits for nobody. For any other PostgreSQL is asked, and as long
as it cannot be read the account is neither opened nor restored: it is not ready, says why, and what comes for it is
kept. An account that is opened as new although PostgreSQL knows it would trade what it holds a second time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping, Sequence

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException

from agents.clock import Now
from agents.openings import Inbox, Way, is_sound, openings, way_of
from agents.snapshots import Snapshots, Unreadable, read_snapshots
from streams.codec import encode
from streams.identity import topic_ids
from streams.log import Log
from streams.outbox import Outgoing, Send, deliver, to_inbox
from streams.renumber import MARGIN, fill
from streams.settings import Settings
from streams.topics import partition_for
from trading.events import Void
from trading.portfolio import Portfolio

SECONDS_BETWEEN_TRIES = 1.0
_SECONDS_TO_ANSWER = 5.0

_log = structlog.get_logger("worker")


class TakingUp:
    """Take accounts up; `waiting` are those for which PostgreSQL has to be read first, with what came meanwhile."""

    def __init__(
        self,
        settings: Settings,
        *,
        rows: MutableMapping[str, Portfolio],
        now: Now,
        log: Log,
        send: Send,
        held: Callable[[], Iterable[TopicPartition]] = tuple,
        read: Callable[[Collection[str]], Awaitable[Snapshots]] | None = None,
    ) -> None:
        self._settings = settings
        self._rows = rows
        self._now = now
        self._log = log
        self._send = send
        self._held = held
        self._read = read or self._read_postgresql
        self.waiting: dict[str, list[bytes]] = {}
        self.why = ""
        self.tries = 0
        self._generation = 0

    async def begin(self, accounts: Sequence[str]) -> None:
        """Take up every account that can be; the others are `waiting` afterwards, for `until_done`."""
        self.forget()
        await self._take_up(accounts)

    async def until_done(self) -> None:
        """Try again until nobody is waiting, or everything was forgotten."""
        generation = self._generation
        while self.waiting:
            await asyncio.sleep(SECONDS_BETWEEN_TRIES)
            if generation != self._generation:
                return
            await self._take_up(list(self.waiting))

    def forget(self) -> None:
        """Drop who is waiting and what came for them: the partitions have been revoked, and will be read again."""
        self._generation += 1
        self.waiting.clear()
        self.why = ""

    async def _take_up(self, accounts: Sequence[str]) -> None:
        generation = self._generation
        inboxes = await self._inboxes(accounts)
        found, held_back = await self._found(accounts, inboxes)
        able = [account for account in accounts if account not in held_back]
        log_id = await self._log_id() if any(account in found.rows for account in able) else ""
        ways = {
            account: way_of(self._rows.get(account), found.rows.get(account), inbox=inboxes[account], log_id=log_id)
            for account in able
        }
        await self._go_on_numbering(ways, found, inboxes)
        if generation != self._generation:
            return  # another worker may have them by now
        first = openings(ways, self._rows, found.rows, now=self._now, settings=self._settings)
        kept = [
            Outgoing("account-inbox", account.encode(), value)
            for account in able
            for value in self.waiting.pop(account, [])
        ]
        await deliver(self._send, [*map(to_inbox, first), *kept])
        for account, way in ways.items():
            if way == "take":
                self._rows[account] = found.rows[account].state
            if way != "greet":
                _log.warning("taken up", account_id=account, way=way)
        self.waiting |= {account: self.waiting.get(account, []) for account in held_back}
        self.why = "; ".join(f"{account}: {why}" for account, why in held_back.items())

    async def _found(
        self, accounts: Sequence[str], inboxes: Mapping[str, Inbox]
    ) -> tuple[Snapshots, Mapping[str, str]]:
        """Return what PostgreSQL has of the accounts that need it, and who has to wait, with the reason."""
        asked = [account for account in accounts if not is_sound(self._rows.get(account), inboxes[account])]
        if not asked or not self._settings.database_url.get_secret_value():
            return Snapshots(), {}
        self.tries += 1
        try:
            found = await self._read(asked)
        except Unreadable as error:
            found = Snapshots(refused=dict.fromkeys(asked, str(error)))
        held_back = {account: why for account, why in found.refused.items() if account not in self._rows}
        for account, why in found.refused.items():
            _log.error("the account's row in PostgreSQL cannot be used", account_id=account, why=why)
        return found, held_back

    async def _read_postgresql(self, accounts: Collection[str]) -> Snapshots:
        return await read_snapshots(self._settings.database_url, accounts, partitions=self._settings.partitions)

    async def _inboxes(self, accounts: Sequence[str]) -> dict[str, Inbox]:
        """Return where each account's inbox begins and ends, as often as it takes to be told.

        Asked together with all that is `held`, because a topic that is met for the first time costs a wait.
        """
        places = {account: self._place(account) for account in accounts}
        wanted = {*places.values(), *self._held()}
        while True:
            try:
                async with asyncio.timeout(_SECONDS_TO_ANSWER):
                    starts, ends = await self._log.starts(wanted), await self._log.ends(wanted)
                return {account: Inbox(starts[place], ends[place]) for account, place in places.items()}
            except (KafkaError, TimeoutError) as error:
                _log.warning("the broker does not say where the inbox begins and ends", error=repr(error))
                await asyncio.sleep(SECONDS_BETWEEN_TRIES)

    async def _log_id(self) -> str:
        """Return the id of the topic that PostgreSQL's rows come from, as often as it takes to be told."""
        name = self._settings.topic("records")
        while True:
            try:
                return (await asyncio.to_thread(topic_ids, self._settings, [name]))[name]
            except KafkaException as error:
                _log.warning("the broker does not say which log this is", error=repr(error))
                await asyncio.sleep(SECONDS_BETWEEN_TRIES)

    async def _go_on_numbering(self, ways: Mapping[str, Way], found: Snapshots, inboxes: Mapping[str, Inbox]) -> None:
        """Let the inbox of every account that is restored end beyond every offset that may have been used."""
        restored = {self._place(account): account for account, way in ways.items() if way == "restore"}
        for place, account in restored.items():
            rows = [row.seq for name, row in self._rows.items() if self._place(name) == place]
            greatest = max([found.greatest.get(place.partition, -1), *rows])
            void = Void(account_id=account)
            await asyncio.to_thread(
                fill,
                self._settings,
                place.topic,
                place.partition,
                start=inboxes[account].start,
                end=inboxes[account].end,
                until=greatest + MARGIN,
                key=account.encode(),
                value=encode(void),
            )

    def _place(self, account: str) -> TopicPartition:
        partitions = self._settings.partitions
        return TopicPartition(self._settings.topic("account-inbox"), partition_for(account.encode(), partitions))
