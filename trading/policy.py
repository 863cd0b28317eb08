"""The policy: every number a rule may use, with its default from the requirements, its range and its unit.

One policy an account; it lives in the account's row and is changed by inbox records alone. `*_pct` is a fraction
(0.05 is 5 %), dollars are USD.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from trading.inputs import TierName
from trading.money import ONE, Frozen, Mode, Natural, Number, Positive

CANARY = "SPY"
"""The default canary: its volatility is read whoever wants it or does not."""
TIERS: tuple[TierName, ...] = ("conservative", "moderate", "aggressive")

Up = {"loosens": "up"}  # a greater value lets the engine risk more
Down = {"loosens": "down"}  # a smaller value lets the engine risk more
Pct = Annotated[Number, Field(gt=0, le=1)]
Share = Annotated[Number, Field(ge=0, le=1)]


def _up(default: Any, **bounds: Any) -> Any:
    return Field(default, json_schema_extra=dict(Up), **bounds)


def _down(default: Any, **bounds: Any) -> Any:
    return Field(default, json_schema_extra=dict(Down), **bounds)


def _up_or_never(default: Any) -> Any:
    """A greater value lets the engine risk more, and so does zero, which stands for never."""
    return Field(default, json_schema_extra={"loosens": "up", "zero_is_never": True})


class RiskTier(Frozen):
    """The parameters of one risk tier (R5.1); percentages are fractions of the active pool."""

    min_confidence: Share = _down(Decimal("0.55"))
    max_position_pct: Pct = _up(Decimal("0.10"))
    stop_loss_atr_multiplier: Annotated[Number, Field(gt=0, le=20)] = _up(Decimal("2.0"))
    reward_risk_ratio: Annotated[Number, Field(gt=0, le=20)] = Decimal("1.5")
    max_sector_pct: Pct = _up(Decimal("0.30"))
    max_portfolio_heat: Pct = _up(Decimal("0.20"))
    risk_tier_multiplier: Annotated[Number, Field(gt=0, le=5)] = _up(ONE)


def _tier(**numbers: str) -> RiskTier:
    return RiskTier(**{name: Decimal(number) for name, number in numbers.items()})


class RiskTiers(Frozen):
    """The three named tiers with the defaults of R5.1 and decision 1."""

    conservative: RiskTier = _tier(
        min_confidence="0.75",
        max_position_pct="0.05",
        stop_loss_atr_multiplier="1.5",
        reward_risk_ratio="2.0",
        max_sector_pct="0.20",
        max_portfolio_heat="0.10",
        risk_tier_multiplier="0.5",
    )
    moderate: RiskTier = _tier(
        min_confidence="0.55",
        max_position_pct="0.10",
        stop_loss_atr_multiplier="2.0",
        reward_risk_ratio="1.5",
        max_sector_pct="0.30",
        max_portfolio_heat="0.20",
        risk_tier_multiplier="1.0",
    )
    aggressive: RiskTier = _tier(
        min_confidence="0.40",
        max_position_pct="0.15",
        stop_loss_atr_multiplier="2.5",
        reward_risk_ratio="1.2",
        max_sector_pct="0.40",
        max_portfolio_heat="0.30",
        risk_tier_multiplier="1.5",
    )


class TradingPolicy(Frozen):
    """Everything configurable that a decision depends on; `version` counts the accepted changes."""

    version: Annotated[int, Field(ge=1)] = 1
    enabled: bool = True
    mode: Mode = "paper"

    capital_limit: Positive = _up(Decimal(500))
    base_allocation_pct: Pct = _up(Decimal("0.05"))
    max_open_positions: Annotated[int, Field(ge=0, le=50)] = _up(10)
    absolute_cap_pct: Pct = _up(Decimal("0.10"))
    correlation_limit: Share = _up(Decimal("0.8"))
    correlation_reduce_above: Share = _up(Decimal("0.5"))
    correlation_pair_reduce_above: Share = _up(Decimal("0.7"))
    diversification_bonus: Annotated[Number, Field(ge=1, le=3)] = _up(Decimal("1.2"))
    diversification_sectors: Annotated[int, Field(ge=0, le=20)] = _up(3)
    fractional_enabled: bool = _up(False)

    reserve_siphon_pct: Share = _down(Decimal("0.20"))
    siphon_basis: Literal["per_trade", "high_water_mark"] = "per_trade"
    reserve_high_water_pct: Share = _down(Decimal("0.30"))
    active_pool_minimum: Natural = _down(Decimal(100))
    emergency_drawdown_pct: Pct = _down(Decimal("0.40"))
    emergency_rearm_pct: Pct = _up(Decimal("0.30"))

    daily_loss_pct: Pct = _up(Decimal("0.05"))
    position_loss_pct: Pct = _up(Decimal("0.15"))
    ticker_cooldown_hours: Annotated[int, Field(ge=0, le=24 * 60)] = _down(48)
    market_stress_threshold: Positive = _up(Decimal(35))
    stop_cluster_count: Annotated[int, Field(ge=1, le=100)] = _up(3)
    stop_cluster_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = _down(30)
    breaker_pause_minutes: Annotated[int, Field(ge=1, le=7 * 24 * 60)] = _down(120)
    broad_decline_pct: Pct = _up(Decimal("0.02"))
    broad_decline_share: Share = _up(Decimal("0.5"))
    broad_decline_minutes: Annotated[int, Field(ge=0, le=24 * 60)] = _down(30)
    fast_move_pct: Pct = _up(Decimal("0.05"))
    fast_move_minutes: Annotated[int, Field(ge=1, le=15)] = _down(15)  # prices are kept for 15 minutes
    canary_symbol: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9.\-]{0,9}$")] = CANARY

    polling_interval_seconds: Annotated[int, Field(ge=5, le=3600)] = 60
    stop_check_seconds: Annotated[int, Field(ge=5, le=3600)] = _up(300)
    fast_stop_check_seconds: Annotated[int, Field(ge=5, le=3600)] = _up(60)
    window_margin_minutes: Annotated[int, Field(ge=0, le=90)] = _down(15)
    material_atr_pct: Pct = _up(Decimal("0.10"))
    quote_after_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = _up(5)
    stale_price_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = _up(15)
    stale_feed_action: Literal["hold", "close"] = "hold"
    dedupe_hours: Annotated[int, Field(ge=1, le=24 * 7)] = 24

    gradual_entry_tranches: Annotated[int, Field(ge=1, le=10)] = _down(3)
    gradual_entry_interval_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = _down(15)
    gradual_entry_threshold_usd: Natural = _up(Decimal(30))
    gradual_entry_threshold_pct: Share = _up(Decimal("0.05"))

    earnings_window_days: Annotated[int, Field(ge=1, le=60)] = _down(3)
    earnings_position_factor: Share = _up(Decimal("0.5"))
    post_earnings_days: Annotated[int, Field(ge=0, le=60)] = _down(1)
    earnings_stop_factor: Pct = _up(Decimal("0.7"))
    earnings_action: Literal["hold", "close"] = "hold"
    event_stop_factor: Pct = _up(Decimal("0.5"))
    heat_tighten_at: Pct = _up(Decimal("0.8"))
    heat_stop_factor: Pct = _up(Decimal("0.5"))

    micro_trading_enabled: bool = _up(False)
    micro_max_position_pct: Pct = _up(Decimal("0.03"))
    micro_max_trades_per_day: Annotated[int, Field(ge=0, le=1000)] = _up(10)
    micro_max_hold_minutes: Annotated[int, Field(ge=1, le=6 * 60)] = _up(120)
    micro_stop_loss_atr_multiplier: Annotated[Number, Field(gt=0, le=20)] = _up(ONE)
    micro_reward_risk_ratio: Annotated[Number, Field(gt=0, le=20)] = Decimal("1.5")

    rebalance_interval_weeks: Annotated[int, Field(ge=0, le=52)] = _up_or_never(1)
    swap_enabled: bool = True
    swap_confidence_margin: Share = _down(Decimal("0.15"))
    large_trade_pct: Pct = Decimal("0.05")
    metrics_interval_seconds: Annotated[int, Field(ge=30, le=3600)] = 300

    tier_evaluation_sessions: Annotated[int, Field(ge=1, le=250)] = _up(1)
    tier_minimum_trades: Annotated[int, Field(ge=1, le=1000)] = _down(10)
    tier_change_sessions: Annotated[int, Field(ge=1, le=250)] = _down(5)
    tier_calm_sessions: Annotated[int, Field(ge=0, le=250)] = _down(5)
    tier_down_win_rate: Share = _down(Decimal("0.40"))
    tier_down_drawdown_pct: Share = _up(Decimal("0.15"))
    tier_up_win_rate: Share = _down(Decimal("0.55"))
    tier_up_reserve_pct: Share = _down(Decimal("0.20"))
    tier_up_drawdown_pct: Share = _up(Decimal("0.05"))

    tiers: RiskTiers = RiskTiers()


POLICY: TypeAdapter[TradingPolicy] = TypeAdapter(TradingPolicy)
