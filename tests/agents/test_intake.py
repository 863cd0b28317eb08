"""`intake`: what enters which inbox, with which facts and which instant."""

import base64
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from agents.clock import Now
from agents.intake import intake
from streams.topics import TOPICS
from tables.facts import Facts
from tests.agents.world import Sent, at, by_events, facts, record, text
from tests.streams.examples import EXAMPLES, KEYS, partitions_of
from trading.events import EVENT
from trading.inputs import EarningsDate
from trading.market import SymbolFacts

ACCOUNTS = ("paper", "other")


async def enter(
    name: str,
    value: Any,
    *,
    now: Now | None = None,
    known: Facts | None = None,
    key: str = "",
    sent: Sent | None = None,
) -> Sent:
    sent = Sent() if sent is None else sent
    await intake(
        record(name, value, key or KEYS[name], offset=7, partitions=partitions_of(name), timestamp=1_772_463_600_000),
        topic=TOPICS[name],
        partitions=partitions_of(name),
        accounts=ACCOUNTS,
        now=now or by_events(),
        facts=known or facts(),
        send=sent,
    )
    return sent


def without_clock(sent: Sent) -> list[dict[str, Any]]:
    return [event for event in sent.inbox if event["kind"] != "clock"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("recommendations", "recommendation"),
        ("trend-summaries", "trend"),
        ("macro-events", "macro_event"),
        ("market-stress", "market_stress"),
    ],
)
async def test_what_concerns_everybody_enters_every_inbox(name: str, kind: str) -> None:
    sent = await enter(name, EXAMPLES[name])
    assert [(event["kind"], event["account_id"]) for event in without_clock(sent)] == [(kind, "paper"), (kind, "other")]
    assert {one.key for one in sent} == {b"paper", b"other"}
    assert sent.acknowledged == len(sent)


@pytest.mark.parametrize("name", ["commands", "broker-events"])
async def test_commands_and_broker_events_enter_their_own_inbox(name: str) -> None:
    sent = await enter(name, EXAMPLES[name])
    (event,) = without_clock(sent)
    assert (event["kind"], event["account_id"]) == (EXAMPLES[name]["kind"], "paper")


@pytest.mark.parametrize("name", ["commands", "broker-events"])
async def test_an_account_that_nobody_configured_is_a_dead_letter(name: str) -> None:
    sent = await enter(name, EXAMPLES[name] | {"account_id": "stranger"}, key="stranger")
    (letter,) = sent.values("dead-letters")
    assert letter["error"].startswith("invalid_field: account_id")
    assert sent.inbox == []


FLAG = {
    "kind": "flag_earnings",
    "command_id": "c",
    "account_id": "paper",
    "issued_by": "me",
    "symbol": "MSFT",
    "earnings_on": "2026-04-29",
    "session": "amc",
}


@pytest.mark.covers("R10.1")
async def test_an_earnings_date_entered_by_hand_is_a_fact_of_its_symbol_too() -> None:
    sent = await enter("commands", FLAG, key="paper")
    assert [(event["kind"], event["account_id"]) for event in without_clock(sent)] == [("flag_earnings", "paper")]
    (one,) = [one for one in sent if one.topic == "earnings-dates"]
    assert (one.key, one.partition) == (b"MSFT", None)
    date = TOPICS["earnings-dates"].model
    assert date is not None
    assert date.validate_json(one.value or b"") == EarningsDate(
        symbol="MSFT", earnings_on=dt.date(2026, 4, 29), session="amc", source="operator"
    )
    assert sent.acknowledged == len(sent)


async def test_poison_enters_no_earnings_date() -> None:
    sent = await enter("commands", FLAG | {"symbol": "msft"}, key="paper")
    assert {one.topic for one in sent} == {"dead-letters"}


@pytest.mark.covers("R1.2")
async def test_a_recommendation_takes_its_symbols_facts_along() -> None:
    known = facts()
    known.put("AAPL", SymbolFacts(symbol="AAPL", sector="Technology", last_price=Decimal("187.1"), last_price_at=at(0)))
    sent = await enter("recommendations", EXAMPLES["recommendations"], known=known)
    found = without_clock(sent)[0]["facts"]
    assert (found["known"], found["sector"], found["last_price"]) == (True, "Technology", "187.1")


async def test_a_symbol_that_nobody_knows_is_not_poison() -> None:
    sent = await enter("recommendations", EXAMPLES["recommendations"])
    assert without_clock(sent)[0]["facts"]["known"] is False


async def test_with_the_events_clock_the_greatest_instant_seen_is_the_stamp() -> None:
    now = by_events()
    now.see(at(10_000))
    assert without_clock(await enter("commands", EXAMPLES["commands"], now=now))[0]["at"] == text(10_000)
    later = EXAMPLES["commands"] | {"at": text(20_000)}
    assert without_clock(await enter("commands", later, now=now))[0]["at"] == text(20_000)


async def test_with_the_events_clock_a_record_before_the_first_instant_has_none() -> None:
    timeless = {field: value for field, value in EXAMPLES["commands"].items() if field != "at"}
    assert without_clock(await enter("commands", timeless))[0]["at"] is None


async def test_with_the_system_clock_the_wall_is_the_stamp() -> None:
    now = Now(by_events=False, wall=lambda: at(5_000))
    sent = await enter("commands", EXAMPLES["commands"], now=now)
    assert [event["at"] for event in sent.inbox] == [text(5_000)]


async def test_a_passed_minute_is_told_before_the_record_that_passed_it() -> None:
    sent = await enter("commands", EXAMPLES["commands"])
    assert [(event["kind"], event["account_id"]) for event in sent.inbox] == [
        ("clock", "paper"),
        ("clock", "other"),
        ("pause", "paper"),
    ]


async def test_poison_is_kept_with_its_place_its_bytes_and_its_reason() -> None:
    sent = await enter("recommendations", b"\xff")
    (letter,) = sent.values("dead-letters")
    assert (letter["topic"], letter["offset"], letter["key"]) == ("recommendations", 7, "AAPL")
    assert base64.b64decode(letter["payload"]) == b"\xff"
    assert letter["error"].startswith("unreadable: ")
    assert letter["at"] == "2026-03-02T15:00:00Z"
    assert {one.key for one in sent} == {b"recommendations"}


async def test_poison_moves_no_clock() -> None:
    now = by_events()
    await enter("market-stress", EXAMPLES["market-stress"] | {"value": "-1"}, now=now)
    assert now.event_time is None


@pytest.mark.parametrize(
    "name",
    ["recommendations", "trend-summaries", "macro-events", "market-stress", "commands", "broker-events"],
)
async def test_the_inbox_reads_what_enters_it(name: str) -> None:
    for one in await enter(name, EXAMPLES[name]):
        assert EVENT.validate_json(one.value or b"").account_id in ACCOUNTS
