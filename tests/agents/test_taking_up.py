"""How a worker takes an account up: from its row, from PostgreSQL's, in a new log, or as new; and who has to wait."""

import asyncio
import datetime as dt
import json
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from agents import taking_up
from agents.openings import Inbox, Way, is_sound, way_of
from agents.snapshots import Kept, Snapshots, Unreadable, judge
from agents.taking_up import TakingUp
from streams.settings import Settings
from streams.topics import partition_for
from tests.agents.world import Sent, at, by_events
from tests.streams.fake_log import FakeLog
from tests.trading import recorded
from trading.engine import react
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio, hash_of, row_bytes, row_hash

pytestmark = pytest.mark.covers("R18.5")

SETTINGS = Settings(accounts=("paper",), database_url=SecretStr("postgresql://nobody/"))
PLACE = partition_for(b"paper", SETTINGS.partitions)
LOG, LOST = "the log that is there", "the log that is lost"


def row(seq: int, **changes: Any) -> Portfolio:
    return Portfolio(account_id="paper", build="b", mode="paper", policy=TradingPolicy(), seq=seq, **changes)


def kept(seq: int, *, log_id: str | None = LOG, **changes: Any) -> Kept:
    state = row(seq, **changes)
    return Kept(state, row_hash(state), log_id)


@pytest.mark.parametrize(
    ("known", "found", "inbox", "way"),
    [
        (None, None, Inbox(0, 0), "open"),
        (row(7), None, Inbox(0, 8), "greet"),
        (row(7), kept(9), Inbox(0, 30), "greet"),  # behind PostgreSQL: the log has what comes next
        (None, kept(9), Inbox(0, 30), "take"),  # no changelog
        (None, kept(9), Inbox(0, 10), "take"),  # and nothing after it
        (row(7), kept(20), Inbox(15, 30), "take"),  # a log that no longer goes back so far
        (row(7), kept(3), Inbox(15, 30), "greet"),  # the keeper finds the hole and stops the entries
        (None, kept(9), Inbox(0, 0), "restore"),  # no log
        (None, kept(9), Inbox(0, 9), "restore"),  # one that ends where it did, and has lost the last record
        (None, kept(9, log_id=LOST), Inbox(0, 30), "restore"),  # another log, however long
        (None, kept(9, log_id=None), Inbox(0, 30), "take"),  # from before ids were kept
        (row(7), None, Inbox(0, 3), "restore"),  # the tables are there, the inbox is not
        (row(30), kept(9, log_id=LOST), Inbox(20, 40), "greet"),  # restored already, not projected yet
    ],
)
def test_the_way_in_which_an_account_is_taken_up(
    known: Portfolio | None, found: Kept | None, inbox: Inbox, way: Way
) -> None:
    assert way_of(known, found, inbox=inbox, log_id=LOG) == way


def test_a_row_is_sound_when_the_log_has_what_comes_next() -> None:
    assert is_sound(row(7), Inbox(8, 8))
    assert not is_sound(row(7), Inbox(9, 12))
    assert not is_sound(row(7), Inbox(0, 7))
    assert not is_sound(None, Inbox(0, 7))


def test_a_row_survives_jsonb_which_keeps_no_order_and_no_spaces() -> None:
    found: Portfolio | None = None
    for seq, event in recorded.log(events=400):
        found, _ = react(found, event, seq=seq)
        assert found is not None
        if seq % 20 == 0:
            shuffled = json.dumps(json.loads(row_bytes(found)), sort_keys=True, indent=2)
            assert judge(shuffled, row_hash(found), LOG) == Kept(found, row_hash(found), LOG)


def test_a_row_with_another_hash_or_of_no_shape_is_refused() -> None:
    text = row_bytes(row(7)).decode()
    assert isinstance(judge(text.replace('"cash":"0"', '"cash":"1000000"'), row_hash(row(7)), LOG), str)
    assert isinstance(judge("{}", row_hash(row(7)), LOG), str)


def test_a_row_of_an_older_build_is_taken_though_it_lacks_a_field_that_came_later() -> None:
    older = json.loads(row_bytes(row(7)))
    del older["in_emergency"]
    text = json.dumps(older, separators=(",", ":"))
    found = judge(text, hash_of(text.encode()), LOG)
    assert isinstance(found, Kept)
    assert found.state == row(7)


class World:
    """A worker's accounts over an inbox, and a PostgreSQL that answers when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, inbox: range, settings: Settings = SETTINGS) -> None:
        self.rows: dict[str, Portfolio] = {}
        self.sent = Sent()
        self.answers: list[Snapshots | Unreadable] = []
        self.asked: list[Collection[str]] = []
        self.filled: list[tuple[int, int, int]] = []
        self.log = FakeLog(**{f"p{number}": () for number in range(4)})
        self.log.offsets[PLACE] = list(inbox)
        self.log.begins[PLACE] = inbox.start
        monkeypatch.setattr(taking_up, "topic_ids", lambda _, names: dict.fromkeys(names, LOG))
        monkeypatch.setattr(taking_up, "fill", self.fill)
        monkeypatch.setattr(taking_up, "SECONDS_BETWEEN_TRIES", 0)
        self.here = TakingUp(settings, rows=self.rows, now=by_events(), log=self.log, send=self.sent, read=self.read)

    def fill(self, _: str, topic: str, partition: int, *, start: int, end: int, until: int, **__: object) -> None:
        assert (topic, partition) == ("account-inbox", PLACE)
        assert self.sent == []  # the numbers go on before anything is said
        self.filled.append((start, end, until))

    async def read(self, accounts: Collection[str]) -> Snapshots:
        self.asked.append(accounts)
        answer = self.answers.pop(0)
        if isinstance(answer, Unreadable):
            raise answer
        return answer


async def test_an_account_with_a_row_and_the_records_after_it_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, inbox=range(8))
    world.rows["paper"] = row(7)
    await world.here.begin(["paper"])
    assert (world.asked, [event["kind"] for event in world.sent.inbox]) == ([], ["worker_started"])
    assert world.sent.inbox[0]["again"] is False


async def test_without_a_database_an_account_without_a_row_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, inbox=range(0), settings=Settings(accounts=("paper",)))
    await world.here.begin(["paper"])
    assert (world.asked, [event["kind"] for event in world.sent.inbox]) == ([], ["account_opened"])


async def test_an_account_is_not_opened_while_postgresql_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits, says why, keeps what comes, and is restored when PostgreSQL answers."""
    world = World(monkeypatch, inbox=range(0))
    world.answers = [Unreadable("PostgreSQL cannot be read: OSError")] * 2
    world.answers.append(Snapshots(rows={"paper": kept(9, log_id=LOST, now=at(5))}, greatest={PLACE: 12}))
    await world.here.begin(["paper"])
    assert world.sent == []
    assert world.here.why == "paper: PostgreSQL cannot be read: OSError"
    world.here.waiting["paper"].append(b'{"kind":"clock"}')
    await asyncio.wait_for(world.here.until_done(), 5)
    assert [event["kind"] for event in world.sent.inbox] == ["account_restored", "clock"]
    assert world.sent.inbox[0]["state"]["seq"] == 9
    assert dt.datetime.fromisoformat(world.sent.inbox[0]["at"]) == at(5)
    assert (world.here.waiting, world.here.why, world.here.tries) == ({}, "", 3)
    [(start, end, until)] = world.filled
    assert (start, end) == (0, 0)
    assert until > 12  # beyond every account of that partition


async def test_a_refused_row_is_neither_opened_nor_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, inbox=range(0))
    world.answers = [Snapshots(refused={"paper": "its row does not have the hash that was recorded with it"})]
    await world.here.begin(["paper"])
    assert (world.sent, world.rows, "hash" in world.here.why) == ([], {}, True)


async def test_a_row_from_postgresql_is_put_into_the_table_and_what_was_under_way_is_said_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, inbox=range(30))
    world.answers = [Snapshots(rows={"paper": kept(9, cash=Decimal(3))}, greatest={PLACE: 9})]
    await world.here.begin(["paper"])
    assert world.rows["paper"] == row(9, cash=Decimal(3))
    [started] = world.sent.inbox
    assert (started["kind"], started["again"], world.filled) == ("worker_started", True, [])


async def test_who_has_a_row_goes_on_while_another_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Settings(accounts=("paper", "new"), database_url=SETTINGS.database_url, partitions=1)
    world = World(monkeypatch, inbox=range(0), settings=both)
    world.log.offsets[0], world.log.begins[0] = list(range(8)), 0
    world.rows["paper"] = row(7)
    world.answers = [Unreadable("away")]
    await world.here.begin(["paper", "new"])
    assert [event["account_id"] for event in world.sent.inbox] == ["paper"]
    assert (list(world.here.waiting), world.asked) == (["new"], [["new"]])


async def test_what_was_revoked_is_forgotten_and_only_the_newest_hold_tries_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, inbox=range(0))
    world.answers = [Unreadable("away"), Unreadable("away")]
    await world.here.begin(["paper"])
    trying = asyncio.create_task(world.here.until_done())
    await asyncio.sleep(0)
    world.here.waiting["paper"].append(b"of the hold before")
    await world.here.begin(["paper"])
    await asyncio.wait_for(trying, 5)  # or it would ask a third time
    assert (world.sent, world.here.waiting, len(world.asked)) == ([], {"paper": []}, 2)


async def test_an_account_that_went_to_another_worker_meanwhile_is_left_to_that_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, inbox=range(30))

    async def read(_: Collection[str]) -> Snapshots:
        world.here.forget()  # the partitions are revoked while PostgreSQL answers
        return Snapshots(rows={"paper": kept(9)}, greatest={PLACE: 9})

    monkeypatch.setattr(world.here, "_read", read)
    await world.here.begin(["paper"])
    assert (world.rows, world.sent) == ({}, [])
