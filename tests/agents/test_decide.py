"""`decide`: the effects are acknowledged before the row says so, and a repeat repeats the same bytes."""

import json
from collections.abc import Awaitable
from typing import Any

import pytest

from agents.decide import decide
from streams.outbox import Outgoing
from tables.circuit import Circuit
from tests.agents.world import Sent, record, text
from trading.events import AccountOpened, AccountRestored, Clock, RecommendationReceived, Void
from trading.inputs import Pause
from trading.market import CandidateFacts
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio, row_bytes, row_hash

OPENED = AccountOpened(account_id="paper", policy=TradingPolicy(), mode="paper", build="b")


def recommendation(name: str = "r1") -> RecommendationReceived:
    recommended = {
        "recommendation_id": name,
        "symbol": "AAPL",
        "action": "buy",
        "mode": "paper_eligible",
        "confidence": "0.9",
        "generated_at": text(1800),
    }
    event = {"account_id": "paper", "at": text(1800), "facts": {"known": False}, "recommendation": recommended}
    return RecommendationReceived.model_validate_json(json.dumps(event))


class Account:
    """One account's table rows and what was sent for it."""

    def __init__(self) -> None:
        self.rows: dict[str, Portfolio] = {}
        self.circuits: dict[str, Circuit] = {}
        self.sent = Sent()
        self.waiting: dict[str, list[bytes]] = {}

    async def apply(self, event: Any, offset: int, *, send: Any = None, key: str = "paper") -> None:
        value = event if isinstance(event, bytes) else event.model_dump_json().encode()
        await decide(
            record("account-inbox", value, key, offset=offset),
            partitions=4,
            accounts=("paper",),
            rows=self.rows,
            circuits=self.circuits,
            send=self.sent if send is None else send,
            waiting=self.waiting,
        )


async def test_an_account_begins_with_its_opening() -> None:
    account = Account()
    await account.apply(OPENED, 0)
    assert account.rows["paper"].seq == 0
    assert account.sent.acknowledged == len(account.sent) > 0


async def test_what_comes_before_the_opening_goes_to_the_end_of_the_inbox_unchanged() -> None:
    account = Account()
    early = recommendation()
    await account.apply(early, 0)
    assert account.rows == {}
    assert account.sent == [Outgoing("account-inbox", b"paper", early.model_dump_json().encode())]


async def test_an_account_that_nobody_configured_is_left_alone() -> None:
    account = Account()
    stranger = Clock(account_id="stranger")
    await account.apply(stranger, 0, key="stranger")
    assert (account.rows, account.sent) == ({}, [])


async def test_a_recommendation_has_one_decision_and_a_row_that_says_how_far() -> None:
    account = Account()
    await account.apply(OPENED, 0)
    await account.apply(recommendation(), 3)
    (decision,) = account.sent.values("decisions")
    assert (decision["source_id"], decision["decision"], decision["skip_reason"]) == ("r1", "skip", "unknown_symbol")
    assert account.rows["paper"].seq == 3


async def test_a_record_that_was_applied_is_passed_over() -> None:
    account = Account()
    await account.apply(OPENED, 0)
    await account.apply(recommendation(), 3)
    before, row = len(account.sent), account.rows["paper"]
    for offset in (3, 2, 0):
        await account.apply(recommendation(), offset)
    assert (len(account.sent), account.rows["paper"]) == (before, row)


async def test_the_row_is_written_after_the_acknowledgement() -> None:
    account = Account()
    await account.apply(OPENED, 0)
    seen: list[int] = []

    async def watching(outgoing: Outgoing) -> Awaitable[object]:
        async def acknowledge() -> None:
            seen.append(account.rows["paper"].seq)

        return acknowledge()

    await account.apply(recommendation(), 3, send=watching)
    assert set(seen) == {0}
    assert account.rows["paper"].seq == 3


async def test_a_broker_that_fails_leaves_the_row_and_the_repeat_sends_the_same_bytes() -> None:
    account = Account()
    await account.apply(OPENED, 0)
    first, again = Sent(), Sent()

    async def failing(outgoing: Outgoing) -> Awaitable[object]:
        await first(outgoing)

        async def fail() -> None:
            raise ConnectionError

        return fail()

    with pytest.raises(ConnectionError):
        await account.apply(recommendation(), 3, send=failing)
    assert account.rows["paper"].seq == 0
    await account.apply(recommendation(), 3, send=again)
    assert again == first


@pytest.mark.covers("R18.5")
async def test_a_restart_at_any_record_gives_the_same_row_and_the_same_bytes() -> None:
    events = [
        OPENED,
        recommendation("a"),
        Pause(command_id="c", issued_by="me"),
        recommendation("b"),
        recommendation("a"),
    ]
    straight = Account()
    for offset, event in enumerate(events):
        await straight.apply(event, offset)
    for cut in range(1, len(events)):
        account = Account()
        for offset, event in enumerate(events[:cut]):
            await account.apply(event, offset)
        account.rows = {"paper": Portfolio.model_validate_json(row_bytes(account.rows["paper"]))}
        for offset, event in enumerate(events[cut - 1 :], cut - 1):
            await account.apply(event, offset)
        assert row_bytes(account.rows["paper"]) == row_bytes(straight.rows["paper"])
        assert account.sent == straight.sent


async def test_the_circuit_is_written_when_it_changes_alone() -> None:
    account = Account()
    await account.apply(OPENED, 0)
    first = account.circuits["paper"]
    await account.apply(recommendation(), 1)
    assert account.circuits["paper"] is first
    await account.apply(Pause(command_id="c", issued_by="me"), 2)
    assert (account.circuits["paper"].paused, account.circuits["paper"].trading_state) == (True, "reducing")


async def test_poison_in_the_inbox_is_dead_lettered() -> None:
    account = Account()
    await account.apply(OPENED, 0)
    await account.apply(b"{}", 1)
    (letter,) = account.sent.values("dead-letters")
    assert (letter["topic"], letter["offset"], letter["error"]) == ("account-inbox", 1, "missing_field: kind")
    assert account.rows["paper"].seq == 0


def test_facts_that_nobody_has_are_not_known() -> None:
    assert recommendation().facts == CandidateFacts(known=False)


@pytest.mark.covers("R18.5")
async def test_an_account_goes_on_from_a_restored_row_and_voids_are_passed_over() -> None:
    before, account = Account(), Account()
    await before.apply(OPENED, 0)
    state = before.rows["paper"]
    await account.apply(Void(account_id="paper"), 3)
    assert (account.rows, account.sent) == ({}, [])
    event = AccountRestored(account_id="paper", state=state, hash=row_hash(state), mode="paper", build="b")
    await account.apply(event, 7)
    assert (account.rows["paper"].seq, account.rows["paper"].policy) == (7, state.policy)
    sent = len(account.sent)
    await account.apply(Void(account_id="paper"), 8)
    await account.apply(event, 9)
    assert (account.rows["paper"].seq, len(account.sent)) == (7, sent)


@pytest.mark.covers("R18.5")
async def test_what_comes_for_an_account_that_cannot_begin_yet_is_kept_and_not_sent_round_in_circles() -> None:
    account = Account()
    account.waiting["paper"] = []
    clock = Clock(account_id="paper").model_dump_json().encode()
    await account.apply(clock, 0)
    assert (account.sent, account.waiting) == ([], {"paper": [clock]})
    await account.apply(OPENED, 1)  # the log knows it after all
    await account.apply(clock, 2)
    assert (account.rows["paper"].seq, len(account.waiting["paper"])) == (2, 1)
