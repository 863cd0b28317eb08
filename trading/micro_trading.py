"""Micro-trading mode (R20): short trades on intraday trends, smaller, tighter and briefer than standard ones.

Everything that makes a micro trade different, as values: how long its trend lives, how many there were today, when the
last one of a session may begin, which levels it gets, and when it is over.
"""

import datetime as dt
from decimal import Decimal
from typing import NamedTuple

from trading import trading_window
from trading.inputs import Action, TrendSummary
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio, Position

LIFETIME_INTERVALS = 2  # of a trend that names no expiry
INTERVALS = {"5m": dt.timedelta(minutes=5), "15m": dt.timedelta(minutes=15)}
ACTIONS: dict[str, Action] = {"bullish": "buy", "bearish": "sell", "neutral": "hold"}
"""What a trend asks for (decision 56); a neutral one asks for nothing."""
MODE = "trend"  # a trend has no eligibility: what lets it act is that micro trading is on


class LevelTerms(NamedTuple):
    """What a stop and a target are computed with: multiples of ATR, and of the stop's distance."""

    multiplier: Decimal
    reward_risk_ratio: Decimal


def expires_at(trend: TrendSummary) -> dt.datetime:
    """Return when a trend has lapsed: as it says, else two of its own intervals after its instant."""
    return trend.expires_at or trend.at + LIFETIME_INTERVALS * INTERVALS[trend.interval]


def entries_today(portfolio: Portfolio) -> int:
    """Return how many micro trades were entered on the date of New York (R20.4)."""
    return portfolio.micro_entries if portfolio.micro_on == trading_window.new_york_date(portfolio.now) else 0


def latest_entry_at(now: dt.datetime, *, policy: TradingPolicy) -> dt.datetime | None:
    """Return until when a micro trade may begin in the session at `now`: close - margin - longest hold (decision 27).

    It then ends inside the trading window. Without a session there is no such instant.
    """
    session = trading_window.session_at(now)
    if session is None:
        return None
    return session.close_at - dt.timedelta(minutes=policy.window_margin_minutes + policy.micro_max_hold_minutes)


def hold_until(position: Position, *, policy: TradingPolicy) -> dt.datetime:
    """Return when a micro position has been held long enough, whatever it has earned (R20.6)."""
    return position.opened_at + dt.timedelta(minutes=policy.micro_max_hold_minutes)


def level_terms(portfolio: Portfolio, *, is_micro: bool) -> LevelTerms:
    """Return the multiples of a position's levels: the tier's, or the tighter ones of a micro trade (R20.5)."""
    policy, tier = portfolio.policy, portfolio.tier
    if is_micro:
        return LevelTerms(policy.micro_stop_loss_atr_multiplier, policy.micro_reward_risk_ratio)
    return LevelTerms(tier.stop_loss_atr_multiplier, tier.reward_risk_ratio)
