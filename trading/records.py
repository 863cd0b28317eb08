"""The records of the topic `records`: what happened to an account besides decisions, orders and notifications.

Each has a `record_id` that is a function of its cause, the instant it happened at, and `cause`, the inbox offset of the
event that made it. The other fields are the columns of its table.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, TypeAdapter, WrapValidator

from trading.inputs import TierName
from trading.money import AccountId, Exact, Frozen, Id, Instant, Symbol

BreakerTrigger = Literal["daily_loss", "position_loss", "market_stress", "stop_cluster"]
LevelReason = Literal["opened", "tranche", "breakeven", "event", "earnings", "heat", "re_evaluated", "closed"]
LotStatus = Literal["open", "closed", "washed"]


class _Record(Frozen):
    record_id: Id
    account_id: AccountId
    at: Instant
    cause: int


class LedgerEntry(_Record):
    """A movement of the reserve pool; negative amounts are withdrawals. Table `reserve_pool_ledger`."""

    kind: Literal["ledger_entry"] = "ledger_entry"
    entry_id: Id
    seq: int
    amount: Exact
    balance_after: Exact
    trigger: Literal["profit_siphon", "emergency_liquidation", "manual_adjustment"]
    trade_id: Id | None = None
    fill_id: Id | None = None
    reason: str | None = None


class TierChange(_Record):
    """A change of the risk tier. Table `risk_tier_history`."""

    kind: Literal["tier_change"] = "tier_change"
    change_id: Id
    previous_tier: TierName
    new_tier: TierName
    source: Literal["auto", "operator", "emergency"]
    metrics: dict[str, Any]


class BreakerEvent(_Record):
    """A breaker tripped or resumed. Table `circuit_breaker_events`."""

    kind: Literal["breaker_event"] = "breaker_event"
    event_id: Id
    event: Literal["triggered", "resumed"]
    trigger: BreakerTrigger
    symbol: Symbol | None = None
    threshold: Exact
    actual_value: Exact | None = None
    until: Instant | None = None


class StopLevelSet(_Record):
    """A stop and target with the inputs they were computed from. Table `position_stop_levels`.

    An overlay's stop is `last_price` less `factor` x `multiplier` x `atr`; `heat` stops at that at the latest.
    """

    kind: Literal["stop_level"] = "stop_level"
    level_id: Id
    position_id: Id
    symbol: Symbol
    revision: int
    stop_price: Exact
    target_price: Exact
    entry_price: Exact
    atr: Exact | None
    multiplier: Exact
    reward_risk_ratio: Exact
    signal_confidence: Exact
    reason: LevelReason
    last_price: Exact | None = None
    factor: Exact | None = None


class Lot(_Record):
    """A tax lot as it now stands. Table `tax_lots`."""

    kind: Literal["lot"] = "lot"
    lot_id: Id
    position_id: Id
    symbol: Symbol
    acquired_at: Instant
    quantity: Exact
    open_quantity: Exact
    cost_basis_per_share: Exact
    status: LotStatus
    closed_at: Instant | None = None
    disallowed_loss: Exact
    decision_id: Id


class Fill(_Record):
    """A fill, counted once. Table `fills`; it also moves `orders.filled_quantity` and its status."""

    kind: Literal["fill"] = "fill"
    fill_id: Id
    client_order_id: Id
    symbol: Symbol
    side: Literal["buy", "sell"]
    quantity: Exact
    price: Exact
    fee: Exact
    cumulative_quantity: Exact


class Trade(_Record):
    """A closing order and what it realized, as it now stands. Table `trades`."""

    kind: Literal["trade"] = "trade"
    trade_id: Id
    client_order_id: Id
    position_id: Id
    symbol: Symbol
    entry_price: Exact
    exit_price: Exact
    quantity: Exact
    opened_at: Instant
    closed_at: Instant
    realized_pnl: Exact
    realized_pnl_pct: Exact
    tax_adjusted_pnl: Exact
    wash_sale: bool
    disallowed_loss: Exact
    exit_purpose: str
    recommendation_id: Id | None = None
    is_micro: bool


class OrderStatus(_Record):
    """An order's status changed. Table `orders`."""

    kind: Literal["order_status"] = "order_status"
    client_order_id: Id
    status: Literal["new", "accepted", "partially_filled", "filled", "cancelled", "rejected", "unknown"]
    filled_quantity: Exact
    reason: str | None = None


class HeatMeasured(_Record):
    """Portfolio heat at a loop tick, in dollars. Table `portfolio_heat`."""

    kind: Literal["portfolio_heat"] = "portfolio_heat"
    heat: Exact
    max_heat: Exact
    active_pool: Exact


class Metrics(_Record):
    """The performance metrics of R14.1; an undefined one is null and its reason stands in `undefined`."""

    kind: Literal["performance_metrics"] = "performance_metrics"
    metrics: dict[str, Any]


class Snapshot(_Record):
    """The end of a session. Table `portfolio_snapshots`."""

    kind: Literal["portfolio_snapshot"] = "portfolio_snapshot"
    session_on: dt.date
    portfolio_value: Exact
    active_pool: Exact
    reserve_pool: Exact
    daily_return: Exact | None
    cumulative_return: Exact | None
    positions: tuple[dict[str, Any], ...]
    metrics: dict[str, Any]


class ConfigChange(_Record):
    """An accepted change of the policy, or of the active tier by the engine itself (`auto`). Table `config_audit`."""

    kind: Literal["config_change"] = "config_change"
    version: int
    before: dict[str, Any]
    after: dict[str, Any]
    source: Literal["operator", "auto", "start"]
    issued_by: str


class CommandResult(_Record):
    """What became of a command."""

    kind: Literal["command_result"] = "command_result"
    command_id: Id
    accepted: bool
    error: str | None = None
    confirmation_token: str | None = None
    expires_at: Instant | None = None
    loosens: tuple[str, ...] = ()


class Alert(_Record):
    """Something a person should look at. Table `alerts`."""

    kind: Literal["alert"] = "alert"
    severity: Literal["info", "warning", "critical"]
    subject: str
    body: str
    symbol: Symbol | None = None


class Queued(_Record):
    """A recommendation waits for the trading window."""

    kind: Literal["queued"] = "queued"
    source_type: str
    source_id: Id
    symbol: Symbol
    until: Instant | None = None


class Duplicate(_Record):
    """A recommendation or trend was seen before; nothing was done."""

    kind: Literal["duplicate"] = "duplicate"
    source_type: str
    source_id: Id
    symbol: Symbol


class Reconciliation(_Record):
    """What a comparison with the broker's account found and did."""

    kind: Literal["reconciliation"] = "reconciliation"
    clean: bool
    adjusted: bool
    differences: tuple[dict[str, Any], ...]


class RebalanceRationale(_Record):
    """Why a rebalance sold."""

    kind: Literal["rebalance_rationale"] = "rebalance_rationale"
    decision_id: Id
    symbol: Symbol
    rationale: dict[str, Any]


class WashSale(_Record):
    """A loss was disallowed and moved into a replacement lot (26 CFR 1.1091-1)."""

    kind: Literal["wash_sale"] = "wash_sale"
    trade_id: Id
    symbol: Symbol
    replacement_lot_id: Id | None
    quantity: Exact
    disallowed_loss: Exact
    pending_recommendation_id: Id | None = None
    decision_id: Id | None = None


class RowText(Mapping[str, Any]):
    """A row in its canonical form, read only when somebody asks for a part of it."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    @cached_property
    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.text)
        return fields

    def __getitem__(self, name: str) -> Any:
        """Return a field as JSON has it; raises KeyError without one."""
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        """Give the names of the fields, in their order."""
        return iter(self._fields)

    def __len__(self) -> int:
        """Return how many fields there are."""
        return len(self._fields)


def _as_it_is(state: Any, validate: Callable[[Any], Any]) -> Any:
    return state if isinstance(state, RowText) else validate(state)


class AccountState(_Record):
    """The account's row after the step; the last record of its step. Table `account_states`.

    The `state` that a step makes is the row's text: it goes out as it was hashed and is not written a second time.
    """

    kind: Literal["account_state"] = "account_state"
    seq: int
    state: Annotated[Mapping[str, Any], WrapValidator(_as_it_is), PlainSerializer(dict)]
    hash: str

    def model_dump_json(self, **options: Any) -> str:
        """Return the record's JSON, the text of its row in it as it stands."""
        if options or not isinstance(self.state, RowText):
            return super().model_dump_json(**options)
        head = super().model_dump_json(exclude={"state", "hash"})
        return f'{head[:-1]},"state":{self.state.text.decode()},"hash":"{self.hash}"}}'


Record = Annotated[
    LedgerEntry
    | TierChange
    | BreakerEvent
    | StopLevelSet
    | Lot
    | Fill
    | Trade
    | OrderStatus
    | HeatMeasured
    | Metrics
    | Snapshot
    | ConfigChange
    | CommandResult
    | Alert
    | Queued
    | Duplicate
    | Reconciliation
    | RebalanceRationale
    | WashSale
    | AccountState,
    Field(discriminator="kind"),
]
RECORD: TypeAdapter[Record] = TypeAdapter(Record)
