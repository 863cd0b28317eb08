"""What a step asks of the world: orders, cancels, decisions, notifications and levels, as `contracts.md` names them.

Ids are functions of their causes, so that a repeated step repeats its effects and consumers drop what they know.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from trading.inputs import TierName
from trading.money import AccountId, Exact, Frozen, Id, Instant, Symbol
from trading.records import Record

Side = Literal["buy", "sell"]
Purpose = Literal[
    "entry",
    "kill",
    "breaker",
    "stop_loss",
    "event",
    "take_profit",
    "micro_timeout",
    "stale_price",
    "signal",
    "rebalance",
]
SourceType = Literal["recommendation", "trend", "exit", "rebalance", "kill"]
GateName = Literal[
    "not_actionable",
    "expired",
    "superseded",
    "unknown_symbol",
    "not_ready",
    "engine_paused",
    "circuit_breaker_active",
    "market_stress",
    "broad_decline",
    "active_pool_minimum",
    "outside_trading_window",
    "price_unavailable",
    "ticker_cooldown",
    "earnings_blackout",
    "insufficient_confidence",
    "no_position_to_sell",
    "already_held",
    "position_limit_reached",
    "correlation_too_high",
    "sector_limit",
    "portfolio_heat",
    "reserve_not_backed",
    "insufficient_active_pool",
    "below_one_share",
    "micro_daily_limit",
    "micro_too_late",
]
EarningsFlag = Literal["none", "unknown", "within_3_days", "within_1_day", "post_earnings"]


EventType = Literal[
    "breaker_triggered",
    "breaker_resumed",
    "tier_changed",
    "emergency_liquidation",
    "large_trade",
    "daily_summary",
    "weekly_digest",
    "alert",
    "kill",
    "test",
]


class Gate(Frozen):
    """One gate of a decision; `passed` is None where it does not apply or its input is missing."""

    name: GateName
    passed: bool | None
    value: str | None = None
    limit: str | None = None
    detail: str | None = None


class Check(Frozen):
    """The result of the correlation or the sector rule: its value, its limit and the factor on the allocation."""

    result: Literal["passed", "reduced", "rejected", "not_applicable"]
    value: Exact | None = None
    limit: Exact | None = None
    factor: Exact | None = None


class Sizing(Frozen):
    """Dollars after each step of the order of operations (decision 2)."""

    formula: Exact
    correlation: Exact
    sector: Exact
    earnings: Exact
    bonus: Exact
    caps: Exact
    cash: Exact
    price: Exact | None = None
    quantity: Exact = Field(description="whole shares")


class Decision(Frozen):
    """One decision and its whole reasoning; every recommendation and every exit has exactly one."""

    decision_id: Id
    account_id: AccountId
    source_type: SourceType
    source_id: Id
    symbol: Symbol
    decision: Literal["act", "skip"]
    skip_reason: GateName | None = None
    gates: tuple[Gate, ...] = ()
    computed_position_size: Exact
    quantity: Exact
    risk_tier: TierName
    portfolio_heat: Exact
    active_pool: Exact
    reserve_pool: Exact
    circuit_breaker_status: Literal["inactive", "active"]
    correlation_check_result: Check
    sector_exposure_check_result: Check
    earnings_proximity_flag: EarningsFlag
    policy_version: int
    decided_at: Instant
    at: Instant
    recommendation_id: Id | None = None
    confidence: Exact | None = None
    max_portfolio_heat: Exact | None = None
    purpose: Purpose | None = None
    sizing: Sizing | None = None
    source: dict[str, Any] | None = None
    cause: int


class Order(Frozen):
    """An order for the broker connector."""

    client_order_id: Annotated[str, Field(min_length=1, max_length=48)]
    decision_id: Id
    account_id: AccountId
    symbol: Symbol
    side: Side
    quantity: Exact
    order_type: Literal["market", "limit"] = "market"
    limit_price: Exact | None = None
    time_in_force: Literal["day"] = "day"
    purpose: Purpose
    tranche: int = 1
    of_tranches: int = 1
    valid_until: Instant | None = None
    created_at: Instant


class OrderCancel(Frozen):
    """A request to take the rest of an order off the book."""

    cancel_id: Id
    client_order_id: str
    account_id: AccountId
    symbol: Symbol
    reason: str
    created_at: Instant


class Notification(Frozen):
    """A message for the operator; `channel` names the only one it is meant for, None means all that are on."""

    notification_id: Id
    account_id: AccountId
    event_type: EventType
    severity: Literal["info", "warning", "critical"]
    subject: str
    body: str
    created_at: Instant
    channel: Literal["sms", "email"] | None = None


class WatchLevel(Frozen):
    """A price at which the account wants a mark, crossed from either side."""

    reason: Literal["breakeven", "broad_decline", "position_loss", "tranche"]
    price: Exact


class StopLevels(Frozen):
    """All levels of an account in a symbol: what `watch` compares every tick with.

    `watched` alone keeps a symbol fresh that is queued or filling, without levels. `revision` grows with each change;
    only ticks at or after `set_at` are compared. A move of more than `fast_move_pct` (a fraction) within
    `fast_move_minutes` is told at once (R7.3). Of a `canary` the account wants to know how volatile it is (R6.3).
    """

    account_id: AccountId
    symbol: Symbol
    revision: int
    set_at: Instant
    stop: Exact | None = None
    target: Exact | None = None
    watch: tuple[WatchLevel, ...] = ()
    watched: bool = True
    interval_seconds: int = 60
    fast_move_pct: Exact = Decimal("0.05")
    fast_move_minutes: int = 15
    canary: bool = False


class LevelsRemoved(Frozen):
    """The account wants nothing of the symbol any more: a null on `stop-levels`."""

    account_id: AccountId
    symbol: Symbol


class QuoteRequest(Frozen):
    """Ask the price connector for a direct quote."""

    symbol: Symbol
    account_id: AccountId
    at: Instant


Effect = Order | OrderCancel | Decision | Notification | StopLevels | LevelsRemoved | QuoteRequest | Record
