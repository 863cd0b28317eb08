"""`intake`: what comes from outside enters the accounts' inboxes, stamped with its instant, in one order.

Recommendations and trends take their symbol's facts along, so that the log alone fixes a decision. What concerns
everybody goes to every account. An earnings date that an operator enters goes to `earnings-dates` too (R10.1), so that
it is a fact of its symbol like any other. What cannot be used goes to the dead letters.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from agents.clock import Now, minute_passed
from streams.codec import Poison, dead_letter, happened_at, parse
from streams.crash import crash_point
from streams.log import Record
from streams.outbox import Outgoing, Send, deliver, to_dead_letters, to_earnings_dates, to_inbox
from streams.topics import Topic
from tables.facts import Facts
from trading.events import Event, MacroEventReceived, RecommendationReceived, StressReceived, TrendReceived
from trading.inputs import EarningsDate, FlagEarnings, MacroEvent, MarketStress, Recommendation, TrendSummary
from trading.market import candidate

Instant = dt.datetime | None


async def intake(
    record: Record,
    *,
    topic: Topic,
    partitions: int,
    accounts: Sequence[str],
    now: Now,
    facts: Facts,
    send: Send,
) -> None:
    """Send one record of an input topic to the inboxes it concerns, or to the dead letters."""
    model = parse(topic, record.key, record.value, partition=record.partition, partitions=partitions, wall_now=now.wall)
    if not isinstance(model, Poison) and getattr(model, "account_id", accounts[0]) not in accounts:
        model = Poison("invalid_field: account_id: is none of STONKS_ACCOUNTS")
    if isinstance(model, Poison):
        await deliver(send, [refusal(topic, record, model)])
        return
    own = happened_at(topic, model)
    clock = minute_passed(now.see(own), accounts)
    at = now.stamp(own)
    inbox = [to_inbox(event) for event in entries(model, accounts, at=at, facts=facts)]
    await deliver(send, [*clock, *inbox, *_entered(model)])
    crash_point("intake.sent")


def entries(model: Any, accounts: Sequence[str], *, at: Instant, facts: Facts) -> list[Event]:
    """Return the inbox events of one input: one for each account that it concerns."""
    make = _FOR_ALL.get(type(model))
    if make is None:  # a command, or what a broker said: for its own account
        return [model.model_copy(update={"at": at})]
    return [make(model, account, at, facts) for account in accounts]


def refusal(topic: Topic, record: Record, poison: Poison) -> Outgoing:
    """Return the dead letter of a record."""
    letter = dead_letter(
        topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        error=poison.error,
        at=dt.datetime.fromtimestamp(record.timestamp / 1000, dt.UTC),
    )
    return to_dead_letters(letter)


def _entered(model: Any) -> list[Outgoing]:
    """Return the earnings date that a command enters by hand."""
    if not isinstance(model, FlagEarnings):
        return []
    date = EarningsDate(symbol=model.symbol, earnings_on=model.earnings_on, session=model.session, source="operator")
    return [to_earnings_dates(date)]


def _recommendation(model: Recommendation, account: str, at: Instant, facts: Facts) -> Event:
    known = candidate(facts.get(model.symbol))
    return RecommendationReceived(account_id=account, at=at, recommendation=model, facts=known)


def _trend(model: TrendSummary, account: str, at: Instant, facts: Facts) -> Event:
    return TrendReceived(account_id=account, at=at, trend=model, facts=candidate(facts.get(model.symbol)))


def _macro_event(model: MacroEvent, account: str, at: Instant, facts: Facts) -> Event:
    return MacroEventReceived(account_id=account, at=at, event=model)


def _stress(model: MarketStress, account: str, at: Instant, facts: Facts) -> Event:
    return StressReceived(account_id=account, at=at, reading=model)


_FOR_ALL: dict[type, Callable[[Any, str, Instant, Facts], Event]] = {
    Recommendation: _recommendation,
    TrendSummary: _trend,
    MacroEvent: _macro_event,
    MarketStress: _stress,
}
