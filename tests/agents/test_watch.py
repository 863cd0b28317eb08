"""`watch`: the facts of a symbol, and what goes into whose inbox at once."""

import json
from collections.abc import Awaitable
from typing import Any

import pytest

from agents import watch
from agents.board import Board
from agents.canary import Canaries
from agents.clock import Now
from streams.outbox import Outgoing
from tables.facts import Facts
from tests.agents.world import Sent, at, by_events, facts, levels, record, text
from trading.effects import StopLevels


class Market:
    """One symbol's topics, handed to `watch` one record at a time."""

    def __init__(self, now: Now | None = None, *watched: StopLevels) -> None:
        self.sent = Sent()
        self.now = now or by_events()
        self.rows: dict[bytes, bytes] = {}
        self.facts = Facts(self.rows)
        self.levels: dict[str, tuple[StopLevels, ...]] = {"AAPL": watched}
        self.board = Board(self.levels)
        self.canaries = Canaries(self.board.is_canary)
        self.own: dict[str, Any] = {"partitions": 4, "now": self.now, "facts": self.facts, "send": self.sent}

    async def tick(self, price: str, seconds: float, symbol: str = "AAPL") -> None:
        value = {"symbol": symbol, "price": price, "at": text(seconds)}
        found = record("price-ticks", value, symbol)
        await watch.on_ticks([found], accounts=("paper", "other"), board=self.board, canaries=self.canaries, **self.own)

    async def bar(self, seconds: float, **changes: Any) -> None:
        value = {"symbol": "AAPL", "interval": "1d", "open": "1", "high": "3", "low": "1", "close": "2", "volume": "1"}
        found = record("price-bars", value | {"at": text(seconds)} | changes, "AAPL")
        await watch.on_bar(found, accounts=("paper",), board=self.board, **self.own)

    async def level(self, value: Any, key: str = "AAPL/paper") -> None:
        await watch.on_levels(record("stop-levels", value, key), levels=self.levels, board=self.board, **self.own)

    def kinds(self) -> list[tuple[str, str]]:
        return [(event["kind"], event["account_id"]) for event in self.sent.inbox]


async def test_a_tick_moves_the_last_price_and_an_older_one_does_not() -> None:
    market = Market()
    await market.tick("100", 10)
    await market.tick("90", 5)
    found = market.facts.get("AAPL")
    assert found is not None
    assert (str(found.last_price), found.last_price_at) == ("100", at(10))


@pytest.mark.covers("R4.4")
async def test_a_tick_through_the_stop_is_in_the_inbox_at_once_with_the_instant_of_the_tick() -> None:
    market = Market(None, levels())
    await market.tick("93", 0)
    await market.tick("90", 1)
    mark = market.sent.inbox[-1]
    assert (mark["kind"], mark["account_id"], mark["reason"], mark["last"]) == ("mark", "paper", "stop", "90")
    assert (mark["at"], mark["price_at"]) == (text(1), text(1))
    assert market.sent.acknowledged == len(market.sent)


async def test_an_older_tick_triggers_nothing() -> None:
    market = Market(None, levels())
    await market.tick("100", 10)
    before = len(market.sent)
    await market.tick("80", 5)
    assert len(market.sent) == before


async def test_facts_are_not_written_before_the_marks_of_their_ticks_are_acknowledged() -> None:
    """A tick older than a written price changes nothing when it is read again: its mark would be lost."""
    market = Market(None, levels())
    written: list[bool] = []

    async def send(outgoing: Outgoing) -> Awaitable[object]:
        written.append(market.facts.flush())  # as another agent does meanwhile
        return await market.sent(outgoing)

    market.own["send"] = send
    await market.tick("90", 0)
    assert market.sent.acknowledged == len(written) > 0
    assert not any(written)
    assert market.rows == {}
    assert market.facts.flush()


async def test_ticks_of_several_records_are_each_judged_in_turn() -> None:
    market = Market(None, levels("98"))
    values = [("100", 0), ("97.9", 1), ("90", 0.5), ("101", 2)]
    some = [
        record("price-ticks", {"symbol": "AAPL", "price": price, "at": text(seconds)}, "AAPL")
        for price, seconds in values
    ]
    bad = record("price-ticks", b"{", "AAPL")
    await watch.on_ticks(
        [*some[:2], bad, *some[2:]], accounts=("paper",), board=market.board, canaries=market.canaries, **market.own
    )
    marks = [(event["reason"], event["last"]) for event in market.sent.inbox if event["kind"] == "mark"]
    assert marks == [("interval", "100"), ("stop", "97.9")]
    assert len(market.sent.values("dead-letters")) == 1
    assert market.sent.acknowledged == len(market.sent)
    found = market.facts.get("AAPL")
    assert found is not None
    assert (str(found.last_price), found.last_price_at) == ("101", at(2))


async def test_ticks_are_in_memory_until_they_are_flushed() -> None:
    market = Market()
    await market.tick("100", 0)
    assert market.rows == {}
    market.facts.flush()
    assert list(market.rows) == [b"AAPL"]


@pytest.mark.covers("R7.3")
async def test_more_than_five_percent_in_fifteen_minutes_is_a_fast_move() -> None:
    market = Market(None, levels())
    await market.tick("100", 0)
    await market.tick("105.01", 899)
    assert [event["reason"] for event in market.sent.inbox if event["kind"] == "mark"] == [
        "interval",
        "interval",
        "fast_move",
    ]


@pytest.mark.covers("R6.3")
async def test_an_hour_of_the_canarys_ticks_is_a_reading_of_market_stress() -> None:
    market = Market()
    for number in range(14):
        await market.tick(str(100 + number % 2), 300 * number, "SPY")
        await market.tick("50", 300 * number)
    assert [(one.key, one.partition) for one in market.sent if one.topic == "market-stress"] == [(b"market", None)] * 2
    first, second = market.sent.values("market-stress")
    assert (first["name"], first["at"], second["at"]) == ("realised_volatility", text(3600), text(3900))
    assert first["value"] == second["value"]  # the same twelve returns, up and down in turn
    assert first["value"].startswith("145.")  # as `test_market_stress` has it by hand


@pytest.mark.covers("R6.3")
async def test_a_symbol_that_an_account_wants_as_its_canary_is_read_from_then_on() -> None:
    market = Market()
    for number in range(26):
        await market.tick(str(100 + number % 2), 300 * number)
        if number == 12:
            assert market.sent.values("market-stress") == []
            wanted = levels(stop=None).model_copy(update={"canary": True})
            await market.level(json.loads(wanted.model_dump_json()))
    readings = market.sent.values("market-stress")
    assert [(one["symbol"], one["at"]) for one in readings] == [("AAPL", text(300 * 25))]


async def test_with_the_events_clock_a_passed_minute_is_told_to_every_account_once() -> None:
    market = Market()
    for seconds in (0, 30, 59, 61, 200):
        await market.tick("100", seconds)
    clocks = [(event["account_id"], event["at"]) for event in market.sent.inbox]
    assert clocks == [(account, text(minute)) for minute in (0, 60, 180) for account in ("paper", "other")]


async def test_with_the_system_clock_old_ticks_wait_until_the_backlog_is_read() -> None:
    market = Market(Now(by_events=False, wall=lambda: at(100)), levels())
    await market.tick("80", 10)
    assert market.sent == []
    await watch.when_idle(now=market.now, board=market.board, send=market.sent)
    (mark,) = market.sent.inbox
    assert (mark["reason"], mark["at"], mark["price_at"]) == ("stop", text(100), text(10))


async def test_a_daily_bar_goes_to_whoever_watches_the_symbol() -> None:
    market = Market(None, levels(account="paper"), levels(account="other"))
    await market.bar(0)
    assert [event for event in market.kinds() if event[0] != "clock"] == [
        ("daily_bar", "paper"),
        ("daily_bar", "other"),
    ]
    closed = market.sent.inbox[-1]
    assert (closed["on"], closed["close"], closed["atr"]) == ("2026-03-02", "2", None)


@pytest.mark.covers("R18.5")
async def test_a_bar_that_is_told_again_from_postgresql_is_a_fact_and_no_news() -> None:
    market = Market(None, levels())
    for day in range(15):
        await market.bar(day * 86_400, source="postgresql")
    known = market.facts.get("AAPL")
    assert known is not None
    assert (len(known.bars), known.atr) == (15, 2)
    assert {event["kind"] for event in market.sent.inbox} == {"clock"}


async def test_a_bar_within_the_day_changes_no_facts() -> None:
    market = Market(None, levels())
    await market.bar(0, interval="5m")
    assert market.facts.get("AAPL") is None
    assert [event for event in market.kinds() if event[0] != "clock"] == []


async def test_atr_comes_with_the_fifteenth_bar() -> None:
    market = Market(None, levels())
    for day in range(15):
        await market.bar(day * 86_400)
    atrs = [event["atr"] for event in market.sent.inbox if event["kind"] == "daily_bar"]
    assert atrs == [None] * 14 + ["2.000000000"]  # every true range is 3 - 1


async def test_a_company_makes_a_symbol_known_and_a_null_makes_it_unknown() -> None:
    market = Market()
    company = {"symbol": "AAPL", "name": "Apple", "sector": "Technology"}
    await watch.on_company(record("companies", company, "AAPL"), **market.own)
    known = market.facts.get("AAPL")
    assert known is not None
    assert known.sector == "Technology"
    await watch.on_company(record("companies", None, "AAPL"), **market.own)
    unknown = market.facts.get("AAPL")
    assert unknown is not None
    assert unknown.sector is None


@pytest.mark.covers("R10.1")
async def test_an_earnings_date_is_told_when_it_changes() -> None:
    market = Market(None, levels())
    value = {"symbol": "AAPL", "earnings_on": "2026-04-30", "session": "amc", "source": "x"}
    for one in (value, value, None):
        await watch.on_earnings(record("earnings-dates", one, "AAPL"), board=market.board, **market.own)
    assert [(event["kind"], event["earnings_on"]) for event in market.sent.inbox] == [
        ("earnings_changed", "2026-04-30"),
        ("earnings_changed", None),
    ]


async def test_levels_arrive_are_compared_and_remembered_and_a_null_removes_them() -> None:
    market = Market()
    await market.tick("89", 5)
    await market.level(levels(set_at=5).model_dump(mode="json"))
    assert ("mark", "paper") in market.kinds()
    assert [one.account_id for one in market.levels["AAPL"]] == ["paper"]
    await market.level(None)
    assert market.levels["AAPL"] == ()
    assert market.board.accounts("AAPL") == {}


async def test_levels_of_one_account_leave_the_others_alone() -> None:
    market = Market()
    await market.level(levels(account="other").model_dump(mode="json"), key="AAPL/other")
    await market.level(levels("91").model_dump(mode="json"))
    await market.level(levels("92", revision=2).model_dump(mode="json"))
    assert sorted((one.account_id, str(one.stop)) for one in market.levels["AAPL"]) == [
        ("other", "90"),
        ("paper", "92"),
    ]


async def test_poison_is_dead_lettered_and_changes_nothing() -> None:
    market = Market(None, levels())
    await market.tick("-1", 0)
    await market.bar(0, high="0.5")
    await market.level({"account_id": "paper"})
    await watch.on_company(record("companies", {}, "AAPL"), **market.own)
    await watch.on_earnings(record("earnings-dates", b"x", "AAPL"), board=market.board, **market.own)
    letters = market.sent.values("dead-letters")
    assert [letter["topic"] for letter in letters] == [
        "price-ticks",
        "price-bars",
        "stop-levels",
        "companies",
        "earnings-dates",
    ]
    assert market.sent.inbox == []
    assert market.facts.get("AAPL") is None
    assert market.now.event_time is None
    assert facts().get("AAPL") is None
