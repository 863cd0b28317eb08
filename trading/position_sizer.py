"""The position sizer (R2, R9, R10, R13): how many dollars, and how many shares, one entry may have.

The order of operations is decision 2's: formula, correlation, sector room, earnings, diversification bonus, the two
caps, cash, whole shares. The dollars after each step are kept.
"""

from decimal import Decimal
from typing import NamedTuple

from trading import correlation
from trading.correlation import CorrelationRule
from trading.effects import EarningsFlag, Sizing
from trading.market import Closes
from trading.money import ONE, ZERO, units_bought, whole_again
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio

MILLI_SHARE = Decimal("0.001")


class Sized(NamedTuple):
    """The dollars after each step, the rules they came from, and whether cash alone left no share."""

    sizing: Sizing
    correlation: CorrelationRule
    sector_exposure: Decimal
    sector_limit: Decimal
    sector_room: Decimal
    cap: Decimal
    shares_before_cash: Decimal

    @property
    def quantity(self) -> Decimal:
        """Return the shares to buy; zero when none."""
        return self.sizing.quantity


def shares(dollars: Decimal, *, price: Decimal, policy: TradingPolicy) -> Decimal:
    """Return the shares that `dollars` buy: whole ones, or thousandths where fractional shares are enabled."""
    if dollars <= 0:
        return ZERO
    return units_bought(dollars, price=price, unit=MILLI_SHARE if policy.fractional_enabled else ONE)


def free_cash(portfolio: Portfolio) -> Decimal:
    """Return the dollars that a buy may cost: backed by cash beside the reserve, and by the broker's buying power."""
    return min(portfolio.spendable, portfolio.buying_power - portfolio.open_buy_holds - portfolio.reserve)


def size_position(
    portfolio: Portfolio,
    *,
    confidence: Decimal,
    price: Decimal,
    sector: str,
    closes: Closes,
    earnings_flag: EarningsFlag,
    is_micro: bool = False,
) -> Sized:
    """Size an entry at `price` (> 0) for a signal of `confidence` (0..1).

    Below the tier's minimum confidence the allocation is zero (R2.2). Non-decreasing in confidence, and never above a
    cap, the sector's room or the spendable cash. A micro trade has a lower cap besides (R20.3).
    """
    policy, tier = portfolio.policy, portfolio.tier
    basis = max(ZERO, min(portfolio.active_pool, policy.capital_limit))

    formula = ZERO
    if confidence >= tier.min_confidence:
        whole = basis * policy.base_allocation_pct * tier.risk_tier_multiplier
        formula = whole * confidence / tier.min_confidence if tier.min_confidence > 0 else whole

    rule = correlation.rule(portfolio, closes=closes, policy=policy)
    after_correlation = formula * rule.factor

    exposure = portfolio.sector_exposure(sector)
    limit = tier.max_sector_pct * basis
    room = max(ZERO, limit - exposure)
    after_sector = min(after_correlation, room)

    near_earnings = earnings_flag in ("within_3_days", "within_1_day", "post_earnings")
    factor = policy.earnings_position_factor if near_earnings else ONE
    after_earnings = after_sector * factor

    sectors = portfolio.held_sectors
    under_represented = sector not in sectors and len(sectors) < policy.diversification_sectors
    bonus = policy.diversification_bonus if under_represented else ONE
    after_bonus = whole_again(after_earnings * bonus)  # 0.85 / 0.75 of 15 dollars are 17, which buy a share at 17

    percentage = min(tier.max_position_pct, policy.micro_max_position_pct) if is_micro else tier.max_position_pct
    absolute_cap = policy.absolute_cap_pct * portfolio.total_value
    cap = max(ZERO, min(percentage * basis, absolute_cap)) * factor
    after_caps = min(after_bonus, cap, room)

    after_cash = max(ZERO, min(after_caps, free_cash(portfolio)))

    return Sized(
        sizing=Sizing(
            formula=formula,
            correlation=after_correlation,
            sector=after_sector,
            earnings=after_earnings,
            bonus=after_bonus,
            caps=after_caps,
            cash=after_cash,
            price=price,
            quantity=shares(after_cash, price=price, policy=policy),
        ),
        correlation=rule,
        sector_exposure=exposure,
        sector_limit=limit,
        sector_room=room,
        cap=cap,
        shares_before_cash=shares(after_caps, price=price, policy=policy),
    )
