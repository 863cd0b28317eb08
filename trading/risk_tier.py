"""The risk tier controller's rule (R5.2 to R5.4, R3.4, decisions 8 and 20): one level down, one up, or none.

Equality passes every limit (decision 37). A downgrade wins over an upgrade; a drawdown downgrades at once, win rates
and upgrades at most once in `tier_change_sessions`.
"""

from decimal import Decimal
from typing import Literal, NamedTuple

from trading.inputs import TierName
from trading.policy import TIERS, TradingPolicy

Reason = Literal["drawdown", "win_rate", "performance", "reserve_high_water"]


class Standing(NamedTuple):
    """What an account is judged by at a close; rates, drawdown and share are fractions.

    `win_rate` is None with too few trades in the trailing window, `sharpe_ratio` where it is undefined. `may_change`
    tells whether the last win-rate change or upgrade lies far enough back, `is_calm` that no breaker tripped lately.
    """

    win_rate: Decimal | None
    closed_trades: int
    sharpe_ratio: Decimal | None
    drawdown: Decimal
    reserve_share: Decimal
    may_change: bool
    is_calm: bool
    in_emergency: bool = False


class Verdict(NamedTuple):
    """The tier to go to, and the rule that says so."""

    tier: TierName
    reason: Reason


def verdict(standing: Standing, *, tier: TierName, policy: TradingPolicy) -> Verdict | None:
    """Return the neighbouring tier that the standing demands, None to stay."""
    down = _downgrade(standing, policy)
    if down is not None:
        is_held_back = down == "win_rate" and not standing.may_change
        return None if is_held_back else _neighbour(tier, -1, down)
    up = _upgrade(standing, policy)
    return _neighbour(tier, 1, up) if up is not None and standing.may_change else None


def _downgrade(standing: Standing, policy: TradingPolicy) -> Reason | None:
    if standing.drawdown > policy.tier_down_drawdown_pct:
        return "drawdown"
    if standing.win_rate is not None and standing.win_rate < policy.tier_down_win_rate:
        return "win_rate"
    return None


def _upgrade(standing: Standing, policy: TradingPolicy) -> Reason | None:
    """Return why to upgrade; while an emergency lasts nothing is."""
    if standing.in_emergency or standing.win_rate is None or standing.drawdown >= policy.tier_up_drawdown_pct:
        return None
    if standing.win_rate > policy.tier_up_win_rate and standing.reserve_share > policy.tier_up_reserve_pct:
        return "performance"
    if standing.reserve_share > policy.reserve_high_water_pct and standing.is_calm:
        return "reserve_high_water"  # its win rate is not under the limit of a downgrade
    return None


def _neighbour(tier: TierName, by: int, reason: Reason) -> Verdict | None:
    place = TIERS.index(tier) + by
    return Verdict(TIERS[place], reason) if 0 <= place < len(TIERS) else None
