"""The worker: the one composition root of the agents. `python -m agents.worker`, or `faust -A agents.worker worker`.

Every agent reads one topic through its own guard; the keeper opens the guards when the tables are recovered, after the
accounts that this worker owns have been told of it. Exit codes: 0 after SIGTERM or SIGINT, 1 when it ended loudly, 2
for wrong settings, 4 for a port in use.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import faust
import structlog
from aiohttp import web
from aiokafka import TopicPartition
from faust.types import StreamT
from pydantic import ValidationError

from agents import clock, endpoint, watch, watchdogs
from agents.board import Board
from agents.canary import Canaries
from agents.decide import decide
from agents.follow import follow, follow_feed
from agents.intake import intake
from agents.openings import accounts_on, pauses
from agents.readiness import Readiness
from agents.relearning import Relearning
from agents.taking_up import TakingUp
from streams.app import (
    BUFFERED_CHANGES,
    EngineApp,
    ReadySensor,
    arrivals,
    commit,
    create_app,
    declare_table,
    or_end_loudly,
)
from streams.app import sender as sender_of
from streams.feed import Feed, KafkaSource, common_numbers
from streams.held import Held
from streams.identity import Bookmark
from streams.in_order import Guard
from streams.keeper import Keeper
from streams.log import KafkaLog, Record
from streams.outbox import deliver, to_inbox
from streams.settings import Settings, settings
from streams.topics import APP, FEED_GROUP, PRICES, TOPICS, partition_for
from tables import cursors, positions
from tables.circuit import circuit
from tables.facts import Facts
from tables.levels import levels
from trading import trading_window

WRONG_SETTINGS, PORT_IN_USE = 2, 4
INTAKE = ("recommendations", "trend-summaries", "macro-events", "market-stress", "commands", "broker-events")
WITH_PRICES = (
    "recommendations",
    "trend-summaries",
    "price-bars",
    "companies",
    "earnings-dates",
    "stop-levels",
    *(f"{APP}-{table}-changelog" for table in ("facts", "levels", "cursors")),
)
"""What must lie on this worker with a symbol's prices."""
SECONDS_BETWEEN_FLUSHES = 1.0

Handle = Callable[[Record], Awaitable[None]]

_log = structlog.get_logger("worker")


class Worker:
    """All parts of one worker, wired; `app` runs them."""

    def __init__(self, chosen: Settings) -> None:
        self.settings = chosen
        self.app: EngineApp = create_app(chosen)
        self.send = sender_of(self.app, chosen)
        self.now = clock.Now(by_events=chosen.clock == "events")
        self.ticker = clock.Ticker()

        by_key = partial(partition_for, partitions=chosen.partitions)
        self.rows = positions.positions(declare_table(self.app, "positions", place=by_key))
        self.circuits = circuit(declare_table(self.app, "circuit", place=by_key))
        self.levels = levels(declare_table(self.app, "levels", place=by_key))
        self.facts = Facts(declare_table(self.app, "facts", place=by_key))
        self.cursors = cursors.CursorTable(declare_table(self.app, "cursors", place=cursors.place))
        self.market_cursors = cursors.CursorTable(declare_table(self.app, "market-cursors", place=cursors.place))
        self.board = Board(self.levels)
        self.canaries = Canaries(self.board.is_canary)

        self.guards: dict[str, Held] = {}
        self.open_cursors: list[cursors.Cursor] = []
        self.log = KafkaLog(chosen)
        self.taking_up = TakingUp(
            chosen, rows=self.rows, now=self.now, log=self.log, send=self.send, held=self._guarded
        )
        self.relearning = Relearning(chosen, board=self.board)
        self._add_agents()
        self.feed = Feed(chosen.topic(PRICES), source=KafkaSource(chosen))
        self.bookmark = Bookmark(chosen, chosen.topic(FEED_GROUP))
        watch_prices = self._add_prices()
        self.keeper = Keeper(
            self.guards.values(),
            log=self.log,
            assigned=self._assigned,
            begin=self._begin,
            lost=self._lost,
            commit=self._commit if not chosen.unsafe_no_guard else self._commit_nothing,
        )
        self.readiness = Readiness(
            keeper=self.keeper,
            rows=self.rows,
            owned=self.owned_accounts,
            broker_is_ours=chosen.broker != "external",
            wall=clock.wall_now,
            why_waiting=lambda: self.taking_up.why,
        )
        self.app.sensors.add(ReadySensor(self._on_ready))
        self.app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        self._calendar_is_read = asyncio.Event()
        self.app.beside = (
            self._read_calendar,
            self._serve,
            self.keeper.run,
            self._tick,
            self._watch_over,
            watch_prices,
        )
        self.app.at_end = self.keeper.close

    def _add_agents(self) -> None:
        here = self.settings
        common: dict[str, Any] = {"partitions": here.partitions, "send": self.send}
        prices: dict[str, Any] = {**common, "now": self.now, "facts": self.facts}
        watched: dict[str, Any] = {**prices, "board": self.board}
        for name in INTAKE:
            topic = TOPICS[name]
            bound = {**prices, "topic": topic, "partitions": topic.partition_count(here), "accounts": here.accounts}
            self._add(name, partial(intake, **bound))
        lazily: dict[str, Any] = {"seconds": SECONDS_BETWEEN_FLUSHES, "before": self.facts.flush}
        self._add_watch("price-bars", partial(watch.on_bar, **watched, accounts=here.accounts), **lazily)
        self._add_watch("companies", partial(watch.on_company, **prices), **lazily)
        self._add_watch("earnings-dates", partial(watch.on_earnings, **watched), **lazily)
        self._add_watch("stop-levels", partial(watch.on_levels, **watched, levels=self.levels))
        here_now: dict[str, Any] = {"rows": self.rows, "circuits": self.circuits, "waiting": self.taking_up.waiting}
        step = partial(decide, **common, accounts=here.accounts, **here_now)
        self._add("account-inbox", step, seconds=SECONDS_BETWEEN_FLUSHES)

    def _add_watch(self, name: str, handle: partial[Any], **how: Any) -> None:
        """Add an agent of `watch`: what it has told once it only learns again when its tables are lost."""
        self._add(name, self.relearning.of(name, handle), **how)

    def _add(self, name: str, handle: Handle, **how: Any) -> None:
        """Add the agent of a topic: its guard, its cursor, and the function that applies a record."""
        topic = self.settings.topic(name)
        guard = Guard(topic, log=KafkaLog(self.settings), enabled=not self.settings.unsafe_no_guard)
        cursor = self._add_cursor(name, guard, **how)

        async def run(stream: StreamT[Any]) -> None:
            arriving = arrivals(stream, guard)
            await or_end_loudly(follow(arriving, guard=guard, cursor=cursor, handle=handle))

        source = self.app.topic(topic, key_type=bytes, value_type=bytes, acks=self.settings.unsafe_no_guard)
        self.app.agent(source, name=name)(run)

    def _add_prices(self) -> Callable[[], Awaitable[None]]:
        """Add the reader of `price-ticks`, which goes past Faust, and return what runs it."""
        here = self.settings
        cursor = self._add_cursor(PRICES, self.feed, seconds=SECONDS_BETWEEN_FLUSHES, before=self.facts.flush)
        handle = partial(
            watch.on_ticks,
            partitions=here.partitions,
            accounts=here.accounts,
            now=self.now,
            facts=self.facts,
            board=self.board,
            canaries=self.canaries,
            send=self.send,
        )
        idle = partial(watch.when_idle, now=self.now, board=self.board, send=self.send)
        handle_some = self.relearning.of_some(PRICES, handle)
        return partial(follow_feed, self.feed, cursor=cursor, handle=handle_some, when_idle=idle)

    def _add_cursor(self, name: str, held: Held, **how: Any) -> cursors.Cursor:
        cursor = cursors.Cursor(self._cursor_table(name), name, **how)
        self.guards[name] = held
        self.open_cursors.append(cursor)
        return cursor

    async def _commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Tell the broker how far this worker is: a hint to Faust, and what stands in where the tables are lost."""
        await commit(self.app, positions)
        read = {(here.topic, here.partition): at for here, at in positions.items() if here.topic == self.feed.topic}
        self.bookmark.put(read)

    async def _commit_nothing(self, positions: Mapping[TopicPartition, int]) -> None:
        """Leave the offsets to Faust, as the test without the guard wants it."""

    def owned_accounts(self) -> list[str]:
        """Return the accounts whose inbox lies on a partition of this worker."""
        return accounts_on(self.guards["account-inbox"].positions, self.settings)

    def _cursor_table(self, name: str) -> cursors.CursorTable:
        return self.market_cursors if TOPICS[name].partitions == 1 else self.cursors

    def _assigned(self) -> set[tuple[str, int]]:
        """Return the partitions of this worker: those that Faust assigned, and of the prices the same numbers.

        A symbol's records must meet in one worker, and the tables that the prices write to must be here.
        """
        assigned = set(self.app.consumer.assignment())
        together = [self.settings.topic(name) for name in WITH_PRICES]
        prices = self.settings.topic(PRICES)
        return assigned | {(prices, number) for number in common_numbers(assigned, together)}

    def _guarded(self) -> list[TopicPartition]:
        topics = {guard.topic for guard in self.guards.values()}
        return [TopicPartition(*here) for here in self._assigned() if here[0] in topics]

    def _begin(self, here: TopicPartition) -> int | None:
        name = here.topic.removeprefix(self.settings.topic_prefix)
        cursor = self._cursor_table(name).get(name, here.partition)
        if cursor is None:
            cursor = self.relearning.begin(name, here.partition)
        if name != "account-inbox":
            return cursor
        return positions.begin(
            self.rows,
            self.settings.accounts,
            cursor=cursor,
            partition=here.partition,
            partitions=self.settings.partitions,
        )

    async def _lost(self, here: TopicPartition, wanted: int, possible: int) -> None:
        """Stop the entries of every account: the log does not have records that should have been applied."""
        place = f"{here.topic}:{here.partition}"
        _log.error("records are gone from the log", place=place, wanted=wanted, possible=possible)
        stopping = pauses(self.settings, place=place, wanted=wanted, possible=possible)
        await deliver(self.send, map(to_inbox, stopping))

    def _on_ready(self) -> None:
        self.app.producer.buffer.max_messages = BUFFERED_CHANGES
        self.app.add_future(or_end_loudly(self._take_up()))

    async def _take_up(self) -> None:
        """Tell the accounts that this worker owns that it is there, then let the guards hand records over."""
        inbox = self.settings.topic("account-inbox")
        owned = accounts_on((partition for topic, partition in self._assigned() if topic == inbox), self.settings)
        await asyncio.gather(self.taking_up.begin(owned), self.relearning.prepare(self._without_cursor()))
        await self._calendar_is_read.wait()
        await self.keeper.open()
        _log.info("ready", accounts=len(owned), partitions=len(self.keeper.positions()))
        await self.taking_up.until_done()

    def _without_cursor(self) -> list[tuple[str, int]]:
        """Return what this worker reads by public topic name and partition, and has no cursor of."""
        held = [(here.topic.removeprefix(self.settings.topic_prefix), here.partition) for here in self._guarded()]
        return [here for here in held if self._cursor_table(here[0]).get(*here) is None]

    async def _read_calendar(self) -> None:
        """Read the exchange calendar while the tables are recovered, not when the first decision needs it."""
        await asyncio.to_thread(trading_window.next_session, clock.wall_now())
        self._calendar_is_read.set()

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        """Finish what was handed over and forget what another worker will know better."""
        await self.keeper.close()
        for cursor in self.open_cursors:
            cursor.forget()
        self.facts.forget()
        self.board.forget()
        self.canaries.forget()
        self.relearning.forget()
        self.taking_up.forget()

    async def _tick(self) -> None:
        """Let time pass for the accounts of this worker; with the events' clock, events do."""
        while self.now.wall is not None:
            await asyncio.sleep(1)
            if self.keeper.is_open:
                await deliver(self.send, self.ticker.due(self.rows, self.owned_accounts(), now=clock.wall_now()))

    async def _watch_over(self) -> None:
        def recovery() -> object:
            tables: Any = self.app.tables
            return self.app.consumer_generation_id, dict(tables.recovery.active_offsets), self.taking_up.tries

        async def broker_answers() -> object:
            async with asyncio.timeout(5):
                return await self.log.ends([TopicPartition(self.settings.topic("account-inbox"), 0)])

        await watchdogs.watch_progress(
            self.keeper, recovery=recovery, broker_answers=broker_answers, beat=watchdogs.watch_the_loop()
        )

    async def _serve(self) -> None:
        """Answer HTTP until cancelled; a port that is taken ends the process."""
        here = self.settings
        if not here.worker_port:
            return
        site = endpoint.application(
            token=here.internal_token.get_secret_value(), readiness=self.readiness, live=self._live, row=self._row
        )
        runner = web.AppRunner(site, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, here.worker_host, here.worker_port).start()
        except OSError as error:
            print(f"error: port {here.worker_port} of the worker cannot be used: {error.strerror}", file=sys.stderr)
            sys.exit(PORT_IN_USE)
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def _live(self) -> dict[str, Any]:
        event_time = self.now.event_time
        return {
            "worker_id": self.settings.worker_id,
            "positions": {
                name: {str(partition): offset for partition, offset in guard.positions.items()}
                for name, guard in self.guards.items()
            },
            "event_time": event_time.isoformat() if event_time else None,
        }

    def _row(self, account: str) -> str | None:
        row = self.rows.get(account) if account in self.owned_accounts() else None
        return None if row is None else row.model_dump_json()


def build_worker() -> Worker:
    """Return the worker of this process's settings; raises `pydantic.ValidationError` for wrong ones."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    worker = Worker(settings())
    if worker.settings.unsafe_no_guard:
        _log.critical("STONKS_UNSAFE_NO_GUARD is set: records WILL be lost; this is for one test alone")
    return worker


def __getattr__(name: str) -> EngineApp:
    """Give `faust -A agents.worker` its `app`, and only then build one."""
    if name == "app":
        return build_worker().app
    raise AttributeError(name)


def main() -> int:
    """Run until SIGTERM or SIGINT, which exit with 0, or say what is wrong with the settings."""
    try:
        worker = build_worker()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        print(f"error: STONKS_{'.'.join(map(str, first['loc'])).upper()}: {first['msg']}", file=sys.stderr)
        return WRONG_SETTINGS
    runner = faust.Worker(worker.app, loglevel="warn", redirect_stdouts=False, quiet=True)
    runner.spinner = None
    runner.execute_from_commandline()


if __name__ == "__main__":
    sys.exit(main())
