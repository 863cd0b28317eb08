"""The small parts of a worker: how it reads, greets, answers, and ends when it is stuck."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from agents import watchdogs
from agents.clock import Now
from agents.endpoint import application
from agents.follow import follow, follow_feed
from agents.openings import Way, accounts_on, openings, pauses
from agents.readiness import Readiness
from streams.feed import Feed
from streams.in_order import Guard, Nudge
from streams.keeper import Keeper
from streams.settings import Settings
from streams.topics import partition_for
from tables.cursors import Cursor, CursorTable
from tests.agents.world import at
from tests.streams.fake_log import TOPIC, FakeLog, FakeSource, arriving, record
from trading.events import AccountOpened, WorkerStarted
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio

SETTINGS = Settings(accounts=("paper", "other"), partitions=4)


def row(account: str = "paper", **changes: Any) -> Portfolio:
    return Portfolio(account_id=account, build="b", mode="paper", policy=TradingPolicy(), **changes)


async def test_the_cursor_moves_after_the_record_was_applied_and_is_written_when_idle() -> None:
    rows: dict[bytes, bytes] = {}
    table = CursorTable(rows)
    guard = Guard(TOPIC, log=FakeLog(p0=range(3)))
    guard.open({0: 0})
    happened: list[Any] = []

    async def handle(found: Any) -> None:
        happened.append((found.offset, table.get(TOPIC, 0)))

    cursor = Cursor(table, TOPIC, seconds=60, clock=lambda: 0.0)
    arrivals = arriving([record(0), record(1), record(2), Nudge({})])
    await follow(arrivals, guard=guard, cursor=cursor, handle=handle)
    assert happened == [(0, None), (1, 1), (2, 1)]
    assert table.get(TOPIC, 0) == 3


async def test_the_cursor_of_a_feed_moves_after_its_records_were_applied_and_is_written_when_idle() -> None:
    table = CursorTable({})
    source = FakeSource(p0=[record(n)._replace(value=b"x" * 80_000) for n in range(3)])
    feed = Feed(TOPIC, source=source)
    feed.open({0: 0})
    feed.nudge({0: 3})
    idle = asyncio.Event()
    happened: list[Any] = []

    async def handle(some: Any) -> None:
        happened.append(([found.offset for found in some], table.get(TOPIC, 0)))

    async def when_idle() -> None:
        happened.append(("idle", table.get(TOPIC, 0)))
        idle.set()

    cursor = Cursor(table, TOPIC, seconds=60, clock=lambda: 0.0)
    running = asyncio.create_task(follow_feed(feed, cursor=cursor, handle=handle, when_idle=when_idle))
    await asyncio.wait_for(idle.wait(), 5)
    running.cancel()
    assert happened == [([0, 1], None), ([2], 2), ("idle", 2)]
    assert table.get(TOPIC, 0) == 3


def greeted(rows: dict[str, Portfolio], ways: dict[str, Way], *, now: Now) -> list[Any]:
    return openings(ways, rows, {}, now=now, settings=SETTINGS)


def test_a_worker_opens_the_accounts_without_a_row_and_greets_the_others() -> None:
    now = Now(by_events=True)
    opened, started = greeted({"paper": row(now=at(5))}, {"other": "open", "paper": "greet"}, now=now)
    assert isinstance(opened, AccountOpened)
    assert (opened.account_id, opened.policy, opened.mode) == ("other", TradingPolicy(mode="paper"), "paper")
    assert isinstance(started, WorkerStarted)
    assert (started.account_id, started.at, started.build) == ("paper", at(5), opened.build)


def test_event_time_goes_on_from_the_rows() -> None:
    now = Now(by_events=True)
    greeted({"paper": row(now=at(5)), "other": row("other")}, {"paper": "greet", "other": "greet"}, now=now)
    assert now.event_time == at(5)


def test_an_account_belongs_to_the_partition_of_its_inbox() -> None:
    held = [partition_for(b"paper", 4)]
    assert "paper" in accounts_on(held, SETTINGS)
    assert accounts_on([], SETTINGS) == []


def test_lost_records_pause_every_account_under_one_id_a_loss() -> None:
    stopping = pauses(SETTINGS, place="price-ticks:1", wanted=3, possible=9)
    assert [(event.kind, event.account_id) for event in stopping] == [("pause", "paper"), ("pause", "other")]
    assert stopping == pauses(SETTINGS, place="price-ticks:1", wanted=3, possible=9)


class Ready:
    """A keeper over one partition, and the readiness of a worker with one account."""

    def __init__(self, *, broker_is_ours: bool = True) -> None:
        self.log = FakeLog(p0=range(3))
        self.guard = Guard(TOPIC, log=self.log)
        self.keeper = Keeper(
            [self.guard],
            log=self.log,
            assigned=lambda: [TopicPartition(TOPIC, 0)],
            begin=lambda _: 3,
            lost=self.refuse,
            commit=self.refuse,
        )
        self.rows = {"paper": row()}
        self.wall = at(0)
        self.readiness = Readiness(
            keeper=self.keeper,
            rows=self.rows,
            owned=lambda: ["paper"],
            broker_is_ours=broker_is_ours,
            wall=lambda: self.wall,
        )

    async def refuse(self, *_: Any) -> None:
        raise AssertionError("nothing is lost or committed here")

    def checks(self) -> dict[str, bool]:
        return {check["name"]: check["ok"] for check in self.readiness()["checks"]}


async def test_a_worker_is_ready_when_its_tables_are_loaded_and_its_accounts_reconciled() -> None:
    ready = Ready()
    assert ready.checks() == {"state_loaded": False, "reconciled": False, "consuming": False}
    await ready.keeper.open()
    assert ready.checks() == {"state_loaded": True, "reconciled": False, "consuming": True}
    assert ready.readiness()["ready"] is False
    ready.rows["paper"] = row(reconciled=True)
    assert ready.readiness()["ready"] is True
    await ready.keeper.close()
    assert ready.readiness()["ready"] is False


async def test_without_a_broker_of_ours_nobody_has_to_be_reconciled() -> None:
    ready = Ready(broker_is_ours=False)
    await ready.keeper.open()
    assert ready.readiness()["ready"] is True
    assert ready.checks()["reconciled"] is False


async def test_a_check_remembers_since_when_it_is_as_it_is() -> None:
    ready = Ready()
    ready.readiness()
    ready.wall = at(10)
    await ready.keeper.open()
    since = {check["name"]: check["since"] for check in ready.readiness()["checks"]}
    assert since == {
        "state_loaded": "2026-03-02T14:30:10Z",
        "reconciled": "2026-03-02T14:30:00Z",
        "consuming": "2026-03-02T14:30:10Z",
    }


async def asked(path: str, *, token: str = "", shown: str = "", is_ready: bool = True) -> tuple[int, str]:
    site = application(
        token=token,
        readiness=lambda: {"ready": is_ready, "checks": [{"name": "consuming", "ok": is_ready}]},
        live=lambda: {"worker_id": "w", "positions": {"price-ticks": {"0": 7}}, "event_time": None},
        row={"paper": '{"seq":3}'}.get,
    )
    async with TestClient(TestServer(site)) as client:
        answer = await client.get(path, headers={"X-Internal-Token": shown} if shown else {})
        return answer.status, await answer.text()


async def test_live_shows_positions_and_the_row_of_an_account_that_is_here() -> None:
    status, body = await asked("/live?account_id=paper")
    assert (status, json.loads(body)["row"], json.loads(body)["positions"]) == (
        200,
        {"seq": 3},
        {"price-ticks": {"0": 7}},
    )
    assert json.loads((await asked("/live?account_id=elsewhere"))[1])["row"] is None


async def test_an_unready_worker_answers_503_and_is_healthy() -> None:
    assert (await asked("/ready", is_ready=False))[0] == 503
    assert (await asked("/ready"))[0] == 200
    assert (await asked("/health", is_ready=False))[0] == 200


async def test_all_but_health_ask_for_the_token() -> None:
    assert (await asked("/health", token="secret"))[0] == 200
    for path in ("/ready", "/live", "/metrics"):
        assert (await asked(path, token="secret"))[0] == 401
        assert (await asked(path, token="secret", shown="guess"))[0] == 401
        assert (await asked(path, token="secret", shown="secret"))[0] == 200


async def test_the_figures_are_those_of_the_moment() -> None:
    _, body = await asked("/metrics")
    assert 'stonks_worker_position{partition="0",topic="price-ticks"} 7.0' in body
    assert 'stonks_worker_check{name="consuming"} 1.0' in body


class Ended(Exception):
    """What stands for the end of the process."""


async def guarded_by_watchdogs(
    monkeypatch: pytest.MonkeyPatch, keeper: Keeper, *, recovery: list[int], answers: list[bool]
) -> str:
    """Return why the watchdog ended the process, or "" when it never did in the time of these answers."""
    reasons: list[str] = []

    def end(reason: str, **_: object) -> None:
        reasons.append(reason)
        raise Ended

    async def sleep(_: float) -> None:
        if not answers:
            raise asyncio.CancelledError

    async def broker_answers() -> None:
        if not answers.pop(0):
            raise KafkaConnectionError

    monkeypatch.setattr(watchdogs, "end_loudly", end)
    monkeypatch.setattr(watchdogs.asyncio, "sleep", sleep)
    with pytest.raises((Ended, asyncio.CancelledError)):
        await watchdogs.watch_progress(
            keeper,
            recovery=lambda: recovery.pop(0) if len(recovery) > 1 else recovery[0],
            broker_answers=broker_answers,
            beat=lambda: None,
        )
    return reasons[0] if reasons else ""


async def test_a_recovery_that_does_not_advance_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Ready().keeper
    assert "recovery" in await guarded_by_watchdogs(monkeypatch, keeper, recovery=[1], answers=[True] * 20)


async def test_a_recovery_that_advances_or_a_broker_that_is_away_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Ready().keeper
    assert await guarded_by_watchdogs(monkeypatch, keeper, recovery=list(range(30)), answers=[True] * 20) == ""
    flapping = [True, True, True, False] * 10
    assert await guarded_by_watchdogs(monkeypatch, keeper, recovery=[1], answers=flapping) == ""


async def test_a_position_that_stands_still_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = Ready()
    await ready.keeper.open()
    assert await guarded_by_watchdogs(monkeypatch, ready.keeper, recovery=[1], answers=[True] * 20) == ""
    monkeypatch.setattr(ready.keeper, "stuck", lambda seconds: [TopicPartition(TOPIC, 0)])
    assert "does not move" in await guarded_by_watchdogs(monkeypatch, ready.keeper, recovery=[1], answers=[True])


def test_a_loop_that_stands_still_ends_the_process_and_one_that_turns_does_not() -> None:
    program = (
        "import time; from agents.watchdogs import watch_the_loop; beat = watch_the_loop(2)\n"
        "for _ in range(8): beat(); time.sleep(0.5)\n"
        "print('turned', flush=True); time.sleep(20)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "turned" in done.stdout
    assert "the event loop stands still" in done.stdout


def test_a_crash_point_ends_the_process_the_nth_time_it_comes_by() -> None:
    program = (
        "from streams.crash import crash_point\nfor n in range(5): print(n, flush=True); crash_point('decide.sent')"
    )
    environment = {"STONKS_CRASH_AT": "decide.sent:3", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False, env=environment
    )
    assert (done.returncode, done.stdout.split()) == (137, ["0", "1", "2"])
