"""The facts of a symbol: what the newest prices, bars, company and earnings records say, folded one record at a time.

`agents/watch.py` folds live records and the backtester folds recorded ones with these same functions. ATR is Wilder's
(J. W. Wilder, New Concepts in Technical Trading Systems, 1978), over 14 periods, seeded with the mean of the first 14
true ranges, as TA-Lib computes it.
"""

import bisect
import datetime as dt
import itertools
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple, Protocol

from trading.inputs import Company, EarningsDate, EarningsSession, PriceBar
from trading.money import Exact, Frozen, Id, Instant, Symbol, Text, ratio

ATR_PERIODS = 14
KEPT_BARS = 90
FAST_WINDOW = dt.timedelta(minutes=15)

Closes = tuple[tuple[dt.date, Exact], ...]
"""Daily closes in dollars, oldest first, each with the UTC date of its session's end."""


class Priced(Protocol):
    """A price in dollars a share at an instant."""

    @property
    def at(self) -> dt.datetime:
        """Return the instant."""

    @property
    def price(self) -> Decimal:
        """Return the price."""


class Price(NamedTuple):
    """A price that has been judged already; `trading.inputs.Tick` is one that comes from outside."""

    at: dt.datetime
    price: Decimal


class DailyBar(Frozen):
    """One session of a symbol in dollars a share; `at` is its end."""

    at: Instant
    high: Exact
    low: Exact
    close: Exact


class MinuteRange(Frozen):
    """The lowest and the highest price seen in the minute that begins at `at`."""

    at: Instant
    low: Exact
    high: Exact


class SymbolFacts(Frozen):
    """All that is known of a symbol; the row of the table `facts`."""

    symbol: Symbol
    name: Text | None = None
    sector: Id | None = None
    last_price: Exact | None = None
    last_price_at: Instant | None = None
    minutes: tuple[MinuteRange, ...] = ()
    bars: tuple[DailyBar, ...] = ()
    atr: Exact | None = None
    earnings_on: dt.date | None = None
    earnings_session: EarningsSession | None = None
    earnings_reported_at: Instant | None = None


class CandidateFacts(Frozen):
    """The facts that ride into the inbox with a recommendation or a trend."""

    known: bool
    sector: Id | None = None
    last_price: Exact | None = None
    last_price_at: Instant | None = None
    atr: Exact | None = None
    closes: Closes = ()
    earnings_on: dt.date | None = None
    earnings_session: EarningsSession | None = None
    earnings_reported_at: Instant | None = None


def candidate(facts: SymbolFacts | None) -> CandidateFacts:
    """Return what a decision needs of a symbol; one without a company record is not known."""
    if facts is None:
        return CandidateFacts(known=False)
    return CandidateFacts(
        known=facts.sector is not None,
        sector=facts.sector,
        last_price=facts.last_price,
        last_price_at=facts.last_price_at,
        atr=facts.atr,
        closes=tuple((bar.at.date(), bar.close) for bar in facts.bars),
        earnings_on=facts.earnings_on,
        earnings_session=facts.earnings_session,
        earnings_reported_at=facts.earnings_reported_at,
    )


def with_ticks(facts: SymbolFacts, ticks: Iterable[Priced]) -> SymbolFacts:
    """Fold ticks in time order; those older than the newest known one change nothing."""
    newest = facts.last_price_at
    fresh = [tick for tick in ticks if newest is None or tick.at >= newest]
    if not fresh:
        return facts
    last = fresh[-1]
    ranges = {span.at: span for span in facts.minutes}
    for tick in fresh:
        minute = tick.at.replace(second=0, microsecond=0)
        span = ranges.get(minute)
        if span is None:
            ranges[minute] = MinuteRange(at=minute, low=tick.price, high=tick.price)
        elif not span.low <= tick.price <= span.high:
            low, high = min(span.low, tick.price), max(span.high, tick.price)
            ranges[minute] = MinuteRange(at=minute, low=low, high=high)
    kept = tuple(span for at, span in ranges.items() if at > last.at - FAST_WINDOW)
    return facts.model_copy(update={"last_price": last.price, "last_price_at": last.at, "minutes": kept})


def with_bar(facts: SymbolFacts, bar: PriceBar) -> SymbolFacts:
    """Fold a daily bar; a later record of the same session replaces the earlier one, other intervals change nothing.

    A bar newer than all others moves ATR by one Wilder step. One that fills or mends the past is put in its place and
    ATR is computed anew from the bars that are kept.
    """
    if bar.interval != "1d":
        return facts
    new = DailyBar(at=bar.at, high=bar.high, low=bar.low, close=bar.close)
    days = [known.at.date() for known in facts.bars]
    place = bisect.bisect_left(days, bar.at.date())
    if place < len(days) and days[place] == bar.at.date():
        bars = (*facts.bars[:place], new, *facts.bars[place + 1 :])
    elif place < len(days):
        bars = (*facts.bars[:place], new, *facts.bars[place:])
    else:
        step = wilder_step(facts.atr, bars=(*facts.bars[-ATR_PERIODS:], new))
        kept = (*facts.bars, new)[-KEPT_BARS:]
        return facts.model_copy(update={"bars": kept, "atr": step})
    bars = bars[-KEPT_BARS:]
    return facts.model_copy(update={"bars": bars, "atr": atr(bars)})


def with_company(facts: SymbolFacts, company: Company | None) -> SymbolFacts:
    """Fold a company record; None removes it."""
    name, sector = (company.name, company.sector) if company else (None, None)
    return facts.model_copy(update={"name": name, "sector": sector})


def with_earnings(facts: SymbolFacts, earnings: EarningsDate | None) -> SymbolFacts:
    """Fold an earnings date; None removes it."""
    return facts.model_copy(
        update={
            "earnings_on": earnings.earnings_on if earnings else None,
            "earnings_session": earnings.session if earnings else None,
            "earnings_reported_at": earnings.reported_at if earnings else None,
        }
    )


def true_range(bar: DailyBar, *, previous_close: Decimal) -> Decimal:
    """Return Wilder's true range: the greatest of high - low and the distances of both from the previous close."""
    return max(bar.high - bar.low, abs(bar.high - previous_close), abs(bar.low - previous_close))


def wilder_step(previous: Decimal | None, *, bars: tuple[DailyBar, ...]) -> Decimal | None:
    """Return ATR after the last of `bars`; None until 14 true ranges (15 bars) are known."""
    ranges = [true_range(bar, previous_close=before.close) for before, bar in itertools.pairwise(bars)]
    if previous is not None:
        return ratio(float((previous * (ATR_PERIODS - 1) + ranges[-1]) / ATR_PERIODS))
    if len(ranges) < ATR_PERIODS:
        return None
    return ratio(float(sum(ranges[-ATR_PERIODS:]) / ATR_PERIODS))


def atr(bars: tuple[DailyBar, ...]) -> Decimal | None:
    """Return ATR(14) over `bars`, oldest first, in dollars a share; None with fewer than 15."""
    value: Decimal | None = None
    for end in range(ATR_PERIODS + 1, len(bars) + 1):
        value = wilder_step(value, bars=bars[max(0, end - ATR_PERIODS - 1) : end])
    return value


def fast_move(facts: SymbolFacts, *, within: dt.timedelta = FAST_WINDOW) -> Decimal:
    """Return the greatest move within a span of at most 15 minutes, as a fraction of its first price (R7.3)."""
    if facts.last_price is None or facts.last_price_at is None:
        return Decimal(0)
    spans = [span for span in facts.minutes if span.at > facts.last_price_at - within]
    if not spans:
        return Decimal(0)
    low, high = min(span.low for span in spans), max(span.high for span in spans)
    return max(facts.last_price / low - 1, 1 - facts.last_price / high)


def with_close(closes: Closes, *, on: dt.date, close: Decimal) -> Closes:
    """Return `closes` with the close of a session set, the newest 90 kept."""
    known = dict(closes)
    known[on] = close
    return tuple(sorted(known.items()))[-KEPT_BARS:]
