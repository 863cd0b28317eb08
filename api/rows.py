"""What the API answers about what happened: one model a kind of row, with the columns of its table.

Money, prices, quantities and ratios are decimal strings exactly as they are stored; instants are ISO 8601 in UTC.
"""

import datetime as dt
from typing import Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, Field

from api.states import Breaker, Exact
from trading.effects import EventType
from trading.inputs import TierName

ItemT = TypeVar("ItemT", bound=BaseModel)


class Page(BaseModel, Generic[ItemT]):
    """Rows, newest first; `next_cursor` asks for the older ones, and is null at the end."""

    items: list[ItemT]
    next_cursor: str | None = None


class Row(BaseModel):
    """A row of an account; `at` is the event time."""

    account_id: str
    at: AwareDatetime


class Decision(Row):
    """One decision (R17.1)."""

    decision_id: str
    source_type: str
    source_id: str
    recommendation_id: str | None
    symbol: str
    decision: Literal["act", "skip"]
    skip_reason: str | None
    gates: list[dict[str, Any]]
    computed_position_size: Exact
    quantity: Exact
    risk_tier_at_decision: TierName
    portfolio_heat_at_decision: Exact
    max_portfolio_heat_at_decision: Exact | None
    active_pool_at_decision: Exact
    reserve_pool_at_decision: Exact
    circuit_breaker_status: Literal["inactive", "active"]
    correlation_check_result: dict[str, Any]
    sector_exposure_check_result: dict[str, Any]
    earnings_proximity_flag: str
    policy_version: int
    decided_at: AwareDatetime
    timestamp: AwareDatetime
    confidence: Exact | None
    purpose: str | None
    wash_sale: bool
    cause: int = Field(description="offset in `account-inbox` of what was decided on")


class Order(Row):
    """An order and what became of it."""

    client_order_id: str
    decision_id: str
    symbol: str
    side: Literal["buy", "sell"]
    quantity: Exact
    order_type: Literal["market", "limit"]
    limit_price: Exact | None
    time_in_force: str
    purpose: str
    tranche: int
    of_tranches: int
    valid_until: AwareDatetime | None
    created_at: AwareDatetime
    filled_quantity: Exact
    status: Literal["new", "accepted", "partially_filled", "filled", "cancelled", "rejected", "unknown"]
    status_reason: str | None


class Fill(Row):
    """A fill."""

    fill_id: str
    client_order_id: str
    symbol: str
    side: Literal["buy", "sell"]
    quantity: Exact
    price: Exact
    fee: Exact
    cumulative_quantity: Exact


class DecisionChain(Decision):
    """A decision with the whole chain: what it was decided on, each step of the size, its orders and their fills."""

    source: dict[str, Any] | None
    sizing: dict[str, Any] | None
    orders: list[Order] = []
    fills: list[Fill] = []
    wash_sales: list[dict[str, Any]] = Field([], description="the losses that were disallowed")


class Position(Row):
    """An open position."""

    position_id: str
    symbol: str
    sector: str
    quantity: Exact
    avg_entry_price: Exact
    last_price: Exact
    market_value: Exact
    unrealized_pnl: Exact
    stop_price: Exact
    target_price: Exact
    confidence: Exact
    is_micro: bool
    opened_at: AwareDatetime


class TaxLot(Row):
    """The shares of one opening fill."""

    lot_id: str
    position_id: str
    symbol: str
    acquired_at: AwareDatetime
    quantity: Exact
    open_quantity: Exact
    cost_basis_per_share: Exact
    status: Literal["open", "closed", "washed"]
    closed_at: AwareDatetime | None
    disallowed_loss: Exact
    decision_id: str


class Trade(Row):
    """A closing order and what it realized."""

    trade_id: str
    client_order_id: str
    position_id: str
    symbol: str
    entry_price: Exact
    exit_price: Exact
    quantity: Exact
    opened_at: AwareDatetime
    closed_at: AwareDatetime
    realized_pnl: Exact
    realized_pnl_pct: Exact
    tax_adjusted_pnl: Exact
    wash_sale: bool
    disallowed_loss: Exact
    exit_purpose: str
    recommendation_id: str | None
    is_micro: bool


class StopLevel(Row):
    """A stop and target with the inputs they were computed from."""

    level_id: str
    position_id: str
    symbol: str
    revision: int
    stop_price: Exact
    target_price: Exact
    entry_price: Exact
    atr: Exact | None
    multiplier: Exact
    reward_risk_ratio: Exact
    signal_confidence: Exact
    reason: str
    last_price: Exact | None
    factor: Exact | None
    cause: int


class LedgerEntry(Row):
    """A movement of the reserve pool; negative amounts are withdrawals."""

    entry_id: str
    seq: int
    amount: Exact
    balance_after: Exact
    trigger: Literal["profit_siphon", "emergency_liquidation", "manual_adjustment"]
    trade_id: str | None
    fill_id: str | None
    reason: str | None


class Reserve(Page[LedgerEntry]):
    """The reserve pool and its ledger."""

    balance: Exact


class TierChange(Row):
    """A change of the risk tier."""

    change_id: str
    previous_tier: TierName
    new_tier: TierName
    source: Literal["auto", "operator", "emergency"]
    metrics: dict[str, Any]
    cause: int


class RiskTier(Page[TierChange]):
    """The risk tier and its history; `held` means that the daily evaluation leaves it alone."""

    risk_tier: TierName
    held: bool


class BreakerEvent(Row):
    """A breaker tripped or resumed."""

    event_id: str
    event: Literal["triggered", "resumed"]
    trigger: Literal["daily_loss", "position_loss", "market_stress", "stop_cluster"]
    symbol: str | None
    threshold: Exact
    actual_value: Exact | None
    until: AwareDatetime | None
    cause: int


class CircuitBreakers(Page[BreakerEvent]):
    """The circuit breaker and its events."""

    circuit_breaker: Breaker


class Alert(Row):
    """Something a person should look at."""

    record_id: str
    severity: Literal["info", "warning", "critical"]
    subject: str
    body: str
    symbol: str | None
    cause: int


class Metrics(Row):
    """The performance metrics at an instant (R14.1); an undefined one is null."""

    record_id: str
    metrics: dict[str, Any]
    cause: int


class MetricsPage(Page[Metrics]):
    """The metrics and their history; `latest` is null before the first."""

    latest: Metrics | None


class Snapshot(Row):
    """The end of a session (R14.3)."""

    session_on: dt.date
    portfolio_value: Exact
    active_pool: Exact
    reserve_pool: Exact
    daily_return: Exact | None
    cumulative_return: Exact | None
    positions: list[dict[str, Any]]
    metrics: dict[str, Any]


class EarningsDate(BaseModel):
    """The next known earnings report of a company, for every account (R10.1)."""

    symbol: str
    earnings_on: dt.date
    session: Literal["bmo", "amc", "unknown"]
    source: str
    reported_at: AwareDatetime | None
    at: AwareDatetime


class Notification(Row):
    """A message for the operator on a channel, and how its delivery stands, why and since when (R19.8)."""

    notification_id: str
    channel: Literal["sms", "email"] | None
    event_type: EventType
    severity: Literal["info", "warning", "critical"]
    subject: str
    body: str
    delivery_status: Literal["pending", "sent", "failed", "dropped", "merged"]
    attempts: int
    detail: str | None
    changed_at: AwareDatetime | None


class MicroToday(BaseModel):
    """The micro trades of one day; `pnl` is what closed trades realized and open positions stand at."""

    on: dt.date
    entries: int
    max_entries: int
    closed: int
    realized_pnl: Exact
    unrealized_pnl: Exact
    pnl: Exact


class MicroDay(BaseModel):
    """The micro trades that were closed on a day."""

    on: dt.date
    count: int
    pnl: Exact


class MicroFigures(BaseModel):
    """Micro trades closed in the last seven days; what is undefined is null.

    `count_per_day` is a session's average, `contribution` the micro trades' fraction of all realized profit and loss.
    """

    since: dt.date
    until: dt.date
    sessions: int
    count: int
    win_rate: Exact | None
    average_pnl: Exact | None
    count_per_day: Exact | None
    pnl: Exact
    total_pnl: Exact
    contribution: Exact | None
    per_day: list[MicroDay]


class Micro(BaseModel):
    """Micro-trading: whether it is on, today, what is open, and the last seven days (R20.7, R20.9)."""

    enabled: bool
    as_of: AwareDatetime
    today: MicroToday
    positions: list[Position]
    trailing_7_days: MicroFigures
