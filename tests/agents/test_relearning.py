"""A worker whose tables are lost while the log is there learns again in silence, up to where the group had read."""

from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaException

from agents import relearning
from agents.board import Board
from agents.relearning import Relearning
from streams.log import Record
from streams.outbox import Outgoing, Send, deliver
from streams.settings import Settings
from tests.agents.world import Sent
from trading.effects import StopLevels

pytestmark = pytest.mark.covers("R18.5")

SETTINGS = Settings(topic_prefix="mine-")


def record(offset: int, *, partition: int = 1) -> Record:
    return Record("mine-price-ticks", partition, offset, b"AAPL", b"", 0)


async def say(found: Record, *, send: Send, table: list[int]) -> None:
    table.append(found.offset)
    await deliver(send, [Outgoing("account-inbox", b"paper", b"%d" % found.offset)])


async def prepared(
    monkeypatch: pytest.MonkeyPatch, offsets: dict[tuple[str, int], int], levels: Any = None
) -> tuple[Relearning, Board]:
    asked: list[Any] = []

    def committed(_: Settings, group: str, places: Any) -> dict[tuple[str, int], int]:
        asked.append((group, places))
        if len(asked) == 1:
            raise KafkaException
        return {here: offset for here, offset in offsets.items() if here in places}

    monkeypatch.setattr(relearning, "committed", committed)
    monkeypatch.setattr(relearning, "SECONDS_BETWEEN_TRIES", 0)
    board = Board({} if levels is None else levels)
    here = Relearning(SETTINGS, board=board)
    here.of("price-ticks", relearning.partial(say))
    await here.prepare([("price-ticks", 1), ("commands", 1)])
    of_faust, past_faust = ("mine-stonks", [("mine-commands", 1)]), ("mine-stonks-prices", [("mine-price-ticks", 1)])
    assert asked == [of_faust, of_faust, past_faust]  # the first time nobody answered
    return here, board


async def test_what_was_told_is_folded_in_silence_and_what_was_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    here, _ = await prepared(monkeypatch, {("mine-price-ticks", 1): 2})
    sent, table = Sent(), list[int]()
    apply = here.of("price-ticks", relearning.partial(say, send=sent, table=table))
    for offset in range(4):
        await apply(record(offset))
    await apply(record(0, partition=0))  # of a partition that has its cursor
    assert table == [0, 1, 2, 3, 0]
    assert [one.value for one in sent] == [b"2", b"3", b"0"]


async def test_of_some_records_at_once_those_that_were_told_are_folded_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, _ = await prepared(monkeypatch, {("mine-price-ticks", 1): 2})
    sent, table = Sent(), list[list[int]]()

    async def say_all(records: Sequence[Record], *, send: Send) -> None:
        table.append([found.offset for found in records])
        await deliver(send, [Outgoing("account-inbox", b"paper", b"%d" % found.offset) for found in records])

    apply = here.of_some("price-ticks", relearning.partial(say_all, send=sent))
    await apply([record(0)])
    await apply([record(1), record(2), record(3)])
    await apply([record(4), record(5)])
    assert table == [[0], [1], [2, 3], [4, 5]]
    assert [one.value for one in sent] == [b"2", b"3", b"4", b"5"]


async def test_intake_goes_on_where_the_group_had_read_and_watch_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    here, _ = await prepared(monkeypatch, {("mine-price-ticks", 1): 5, ("mine-commands", 1): 7})
    assert here.begin("commands", 1) == 7
    assert here.begin("price-ticks", 1) is None
    assert here.begin("broker-events", 1) is None
    here.forget()
    assert here.begin("commands", 1) is None


async def test_what_was_believed_to_be_told_in_the_silence_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: dict[str, tuple[StopLevels, ...]] = {}
    here, board = await prepared(monkeypatch, {("mine-price-ticks", 1): 1}, levels)
    apply = here.of("price-ticks", relearning.partial(say, send=Sent(), table=[]))
    watched = board.accounts("AAPL")
    await apply(record(0))
    assert board.accounts("AAPL") is watched
    await apply(record(1))
    assert board.accounts("AAPL") is not watched
