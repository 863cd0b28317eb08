"""`watch`: prices, bars, companies, earnings dates and levels of a symbol meet here.

It is the one writer of a symbol's facts and of the levels that accounts have in it. It tells an account at once when a
price reaches one of its levels, and of the price itself once an interval; ticks write no table each.
"""

import datetime as dt
from collections.abc import Iterable, MutableMapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from agents.board import Board
from agents.canary import Canaries
from agents.clock import Now, minute_passed
from agents.intake import refusal
from agents.ticks import TOPIC as TICKS
from agents.ticks import Ticks, read_ticks
from streams.codec import Deletion, Poison, happened_at, parse
from streams.log import Record
from streams.outbox import Outgoing, Send, deliver, to_inbox, to_market_stress
from streams.topics import TOPICS
from tables.facts import Facts
from trading import market
from trading.effects import StopLevels
from trading.events import BarClosed, EarningsChanged, Event
from trading.inputs import FROM_POSTGRESQL, EarningsDate, PriceBar
from trading.market import SymbolFacts

BARS, COMPANIES, EARNINGS = TOPICS["price-bars"], TOPICS["companies"], TOPICS["earnings-dates"]
LEVELS = TOPICS["stop-levels"]

Levels = MutableMapping[str, tuple[StopLevels, ...]]


async def on_ticks(
    records: Sequence[Record],
    *,
    partitions: int,
    accounts: Sequence[str],
    now: Now,
    facts: Facts,
    board: Board,
    canaries: Canaries,
    send: Send,
) -> None:
    """Fold the ticks of some records into their symbols' facts and tell who watches them.

    Ticks older than the newest of their symbol change nothing. Those of a canary also say how volatile the market is.
    """
    outgoing: list[Outgoing] = []
    for record in records:
        wall = now.wall
        ticks = read_ticks(record, partitions=partitions, wall_now=wall)
        if isinstance(ticks, Poison):
            outgoing.append(refusal(TICKS, record, ticks))
            continue
        symbol = ticks.symbol
        outgoing += minute_passed(now.see(ticks.instants[-1]), accounts)
        fresh = ticks.since(facts.last_price_at(symbol))
        if fresh.instants:
            facts.see(symbol, fresh.outline())
            if board.accounts(symbol):
                outgoing += _stamped(board.look(fresh, moved=partial(_moved, facts, symbol), wall=wall), now)
            outgoing += map(to_market_stress, canaries.look(fresh))
    if outgoing:
        with facts.held_back():
            await deliver(send, outgoing)


async def when_idle(*, now: Now, board: Board, send: Send) -> None:
    """Compare the newest of the prices that were old when they came: the backlog is read."""
    await deliver(send, _stamped(board.catch_up(), now))


async def on_bar(
    record: Record, *, partitions: int, accounts: Sequence[str], now: Now, facts: Facts, board: Board, send: Send
) -> None:
    """Fold a bar into the symbol's facts; a daily one goes to the accounts that watch the symbol, where it is news."""
    bar = parse(BARS, record.key, record.value, partition=record.partition, partitions=partitions, wall_now=now.wall)
    if isinstance(bar, Poison):
        await deliver(send, [refusal(BARS, record, bar)])
        return
    outgoing = minute_passed(now.see(happened_at(BARS, bar)), accounts)
    if bar.interval == "1d":
        after = market.with_bar(_known(facts, bar.symbol), bar)
        facts.put(bar.symbol, after)
        told = board.accounts(bar.symbol) if bar.source != FROM_POSTGRESQL else ()
        outgoing += [to_inbox(_closed(bar, after, account, now)) for account in told]
    await deliver(send, outgoing)


async def on_company(record: Record, *, partitions: int, now: Now, facts: Facts, send: Send) -> None:
    """Fold a company into its symbol's facts; a null removes it."""
    company = parse(COMPANIES, record.key, record.value, partition=record.partition, partitions=partitions)
    if isinstance(company, Poison):
        await deliver(send, [refusal(COMPANIES, record, company)])
    elif isinstance(company, Deletion):
        facts.put(company.key, market.with_company(_known(facts, company.key), None))
    else:
        facts.put(company.symbol, market.with_company(_known(facts, company.symbol), company))


async def on_earnings(record: Record, *, partitions: int, now: Now, facts: Facts, board: Board, send: Send) -> None:
    """Fold an earnings date into its symbol's facts and tell who watches it; a null removes it."""
    earnings = parse(EARNINGS, record.key, record.value, partition=record.partition, partitions=partitions)
    if isinstance(earnings, Poison):
        await deliver(send, [refusal(EARNINGS, record, earnings)])
        return
    date: EarningsDate | None = None if isinstance(earnings, Deletion) else earnings
    symbol = earnings.key if isinstance(earnings, Deletion) else earnings.symbol
    before = _known(facts, symbol)
    after = market.with_earnings(before, date)
    facts.put(symbol, after)
    if after != before:
        told = [_changed(after, account, now) for account in board.accounts(symbol)]
        await deliver(send, map(to_inbox, told))


async def on_levels(
    record: Record, *, partitions: int, now: Now, facts: Facts, levels: Levels, board: Board, send: Send
) -> None:
    """Take an account's levels in a symbol over and compare them at once with the newest price."""
    wanted = parse(LEVELS, record.key, record.value, partition=record.partition, partitions=partitions)
    if isinstance(wanted, Poison):
        await deliver(send, [refusal(LEVELS, record, wanted)])
    elif isinstance(wanted, Deletion):
        symbol, _, account = wanted.key.partition("/")
        board.remove(symbol, account)
        levels[symbol] = _others(levels, symbol, account)
    else:
        marks = board.revise(wanted, _newest(facts, wanted.symbol))
        levels[wanted.symbol] = (*_others(levels, wanted.symbol, wanted.account_id), wanted)
        await deliver(send, _stamped(marks, now))


def _known(facts: Facts, symbol: str) -> SymbolFacts:
    return facts.get(symbol) or SymbolFacts(symbol=symbol)


def _newest(facts: Facts, symbol: str) -> Ticks | None:
    known = facts.get(symbol)
    if known is None or known.last_price is None or known.last_price_at is None:
        return None
    return Ticks.of(symbol, [known.last_price_at], [known.last_price], is_quote=False)


def _moved(facts: Facts, symbol: str, span: dt.timedelta) -> Decimal:
    return market.fast_move(_known(facts, symbol), within=span)


def _others(levels: Levels, symbol: str, account: str) -> tuple[StopLevels, ...]:
    return tuple(known for known in levels.get(symbol, ()) if known.account_id != account)


def _stamped(marks: Iterable[Any], now: Now) -> list[Outgoing]:
    return [to_inbox(mark.model_copy(update={"at": now.stamp(mark.price_at)})) for mark in marks]


def _closed(bar: PriceBar, facts: SymbolFacts, account: str, now: Now) -> Event:
    return BarClosed(
        account_id=account,
        at=now.stamp(bar.at),
        symbol=bar.symbol,
        on=bar.at.date(),
        close=bar.close,
        atr=facts.atr,
    )


def _changed(facts: SymbolFacts, account: str, now: Now) -> Event:
    return EarningsChanged(
        account_id=account,
        at=now.stamp(None),
        symbol=facts.symbol,
        earnings_on=facts.earnings_on,
        session=facts.earnings_session,
        reported_at=facts.earnings_reported_at,
    )
