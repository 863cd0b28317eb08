"""Stale prices (R4.8, decision 15): how long a symbol, and the feed as a whole, have been silent, in session time.

A symbol is stale when it is silent and the feed went on without it; where every holding and the canary are silent it is
the feed that has failed, and a mute feed sells nothing by itself.
"""

import datetime as dt

from trading import trading_window
from trading.portfolio import Portfolio, Position


def silence(portfolio: Portfolio, position: Position) -> dt.timedelta:
    """Return the session time since a position's last price, or since a silent feed came back, if that is later."""
    return trading_window.session_time(_heard_at(portfolio, position), until=portfolio.now)


def is_stale(portfolio: Portfolio, position: Position) -> bool:
    """Tell whether a position has had no price for more than `stale_price_minutes` while the feed was alive.

    Alive means: the newest price of any holding or the canary came after the first direct quote was asked for. The
    last prices of symbols lie apart by an interval when a feed dies; none is sold for having been the first.
    """
    policy, heard_at = portfolio.policy, _heard_at(portfolio, position)
    outlived = trading_window.session_time(heard_at, until=_newest_price_at(portfolio))
    asked_after = min(policy.quote_after_minutes, policy.stale_price_minutes)
    return silence(portfolio, position) > _limit(portfolio) and outlived > dt.timedelta(minutes=asked_after)


def is_feed_silent(portfolio: Portfolio) -> bool:
    """Tell whether no holding and no canary has had a price for more than `stale_price_minutes`."""
    if not portfolio.positions:
        return False
    return trading_window.session_time(_newest_price_at(portfolio), until=portfolio.now) > _limit(portfolio)


def _limit(portfolio: Portfolio) -> dt.timedelta:
    return dt.timedelta(minutes=portfolio.policy.stale_price_minutes)


def _heard_at(portfolio: Portfolio, position: Position) -> dt.datetime:
    return max(position.last_price_at, portfolio.feed_back_at or position.last_price_at)


def _newest_price_at(portfolio: Portfolio) -> dt.datetime:
    """Return when any holding or the canary was heard last; the canary speaks through its realised volatility too."""
    heard = [position.last_price_at for position in portfolio.positions]
    heard += [reading.at for reading in portfolio.stress if reading.name == "realised_volatility"]
    if portfolio.canary_at is not None:
        heard.append(portfolio.canary_at)
    return min(portfolio.now, max(heard))
