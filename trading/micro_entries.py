"""Micro trades inside a step (R20): a trend becomes one decision at once, a micro position ends when its time is up.

A trend never waits for the trading window: what is true of the next minutes is of no use tomorrow. While micro trading
is off a trend leaves no trace, so that it may come again once it is on (decision 56).
"""

import datetime as dt
from collections.abc import Iterator

from trading import dedupe, entries, exits, micro_trading, trading_window
from trading.candidates import Candidate
from trading.due import Due
from trading.events import TrendReceived
from trading.inputs import TrendSummary
from trading.market import CandidateFacts
from trading.portfolio import Portfolio
from trading.records import Duplicate
from trading.step import Step

MOST_TRENDS = 600  # ids that are kept; a trend that comes again after so many others is decided under the same id


def on_trend(step: Step, event: TrendReceived) -> None:
    """Decide a trend once, when it arrives; a repeat is recorded as such and does nothing."""
    if not step.portfolio.policy.micro_trading_enabled:
        return
    trend, floor = event.trend, step.portfolio.trends_floor
    if dedupe.is_known(step.portfolio.trends_seen, key=trend.trend_id) or (floor is not None and trend.at <= floor):
        step.record(Duplicate, source_type="trend", source_id=trend.trend_id, symbol=trend.symbol)
        return
    _remember(step, trend)
    candidate = _from_trend(trend, event.facts)
    entries.note_newer(step, candidate)
    if entries.decide(step, candidate, signal=trend) and candidate.action == "buy":
        count = micro_trading.entries_today(step.portfolio) + 1
        step.change(micro_on=trading_window.new_york_date(step.now), micro_entries=count)


def timeouts_due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    """Offer the end of the longest hold of every micro position that is not on its way out."""
    for position in portfolio.positions:
        if position.is_micro and position.exit is None:
            over_at = micro_trading.hold_until(position, policy=portfolio.policy)
            yield Due(max(over_at, portfolio.now), 2, leave_overdue)


def leave_overdue(step: Step) -> None:
    """Leave the micro positions that were held long enough at any price, trading window or not (R20.6, decision 27)."""
    for position in step.portfolio.positions:
        over_at = micro_trading.hold_until(position, policy=step.portfolio.policy)
        if position.is_micro and position.exit is None and over_at <= step.now:
            exits.want(step, position, purpose="micro_timeout")
            exits.pursue(step, position.symbol)


def forget_trends(step: Step) -> None:
    """Drop the ids of trends that have lapsed."""
    seen, floor = dedupe.lapse(step.portfolio.trends_seen, now=step.now, floor=step.portfolio.trends_floor)
    step.change(trends_seen=seen, trends_floor=floor)


def _remember(step: Step, trend: TrendSummary) -> None:
    """Keep a trend's id, apart from those of recommendations: a day of trends must not outdate a recommendation."""
    until = step.now + dt.timedelta(hours=step.portfolio.policy.dedupe_hours)
    seen_at = min(trend.at, step.now)  # one from the future must not outdate all others
    seen = dedupe.remember(step.portfolio.trends_seen, key=trend.trend_id, until=until, now=step.now, newest=seen_at)
    step.change(trends_seen=dedupe.newest(seen, most=MOST_TRENDS))


def _from_trend(trend: TrendSummary, facts: CandidateFacts) -> Candidate:
    return Candidate(
        source_type="trend",
        source_id=trend.trend_id,
        symbol=trend.symbol,
        action=micro_trading.ACTIONS[trend.direction],
        mode=micro_trading.MODE,
        confidence=trend.confidence,
        generated_at=trend.at,
        expires_at=micro_trading.expires_at(trend),
        known=facts.known,
        sector=facts.sector,
        price=facts.last_price,
        price_at=facts.last_price_at,
        atr=facts.atr,
        closes=facts.closes,
        earnings_on=facts.earnings_on,
        earnings_session=facts.earnings_session,
        earnings_reported_at=facts.earnings_reported_at,
    )
