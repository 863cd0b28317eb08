"""What can happen to an account: the records of `account-inbox`, in the order of the log.

Each is a past fact or a command as one account sees it. `at` is the instant that `intake` stamped; without one the
record happens at the account's now. Facts that a decision needs ride on the event, so that the log alone fixes it.
"""

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from trading.inputs import (
    AccountSnapshot,
    AdjustReserve,
    ArmLive,
    EarningsSession,
    FlagEarnings,
    Kill,
    MacroEvent,
    MarketStress,
    OrderAccepted,
    OrderCancelled,
    OrderFill,
    OrderRejected,
    OrderUnknown,
    Pause,
    Recommendation,
    ReleaseRiskTier,
    Resume,
    SendTestNotification,
    SetRiskTier,
    TrendSummary,
    UpdateConfig,
    UpdateNotifications,
)
from trading.market import CandidateFacts
from trading.money import AccountId, Exact, Frozen, Id, Instant, Mode, Symbol
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio


class _Own(Frozen):
    account_id: AccountId
    at: Instant | None = None


class AccountOpened(_Own):
    """The first record of an account: what it trades under."""

    kind: Literal["account_opened"] = "account_opened"
    policy: TradingPolicy
    mode: Mode
    build: Id


class WorkerStarted(_Own):
    """A worker took the account up: its build and mode.

    `again` where its row came from PostgreSQL, so that nobody knows whether all that its last step asked for was sent.
    """

    kind: Literal["worker_started"] = "worker_started"
    mode: Mode
    build: Id
    again: bool = False


class AccountRestored(_Own):
    """The first record of an account in a log that is new because the one before is lost: its row as last known.

    `hash` is that row's SHA-256, in hexadecimal, as it was recorded.
    """

    kind: Literal["account_restored"] = "account_restored"
    state: Portfolio
    hash: str
    mode: Mode
    build: Id


class Void(_Own):
    """Nothing: it takes an offset that a lost log has used, because ids and rows are functions of offsets."""

    kind: Literal["void"] = "void"


class Clock(_Own):
    """Time has passed; what fell due is fired by the step itself."""

    kind: Literal["clock"] = "clock"


class RecommendationReceived(_Own):
    """A recommendation, with its symbol's facts."""

    kind: Literal["recommendation"] = "recommendation"
    recommendation: Recommendation
    facts: CandidateFacts


class TrendReceived(_Own):
    """A trend summary, with its symbol's facts."""

    kind: Literal["trend"] = "trend"
    trend: TrendSummary
    facts: CandidateFacts


class MacroEventReceived(_Own):
    """A classified macro event."""

    kind: Literal["macro_event"] = "macro_event"
    event: MacroEvent


class StressReceived(_Own):
    """A reading of market volatility."""

    kind: Literal["market_stress"] = "market_stress"
    reading: MarketStress


class Mark(_Own):
    """The price of a held or watched symbol, or a crossing of one of its levels.

    `low` and `high` are those since the last mark; `reason` says why it was sent: the loop interval, the name of the
    level that was crossed, `fast_move` (R7.3) or `level` (compared at once when a level arrived).
    """

    kind: Literal["mark"] = "mark"
    symbol: Symbol
    last: Exact
    low: Exact
    high: Exact
    price_at: Instant
    reason: Literal[
        "interval", "stop", "target", "breakeven", "broad_decline", "position_loss", "tranche", "fast_move", "level"
    ] = "interval"
    quoted: bool = False


class BarClosed(_Own):
    """A new daily bar of a held or watched symbol, with the ATR after it."""

    kind: Literal["daily_bar"] = "daily_bar"
    symbol: Symbol
    on: dt.date
    close: Exact
    atr: Exact | None = None


class EarningsChanged(_Own):
    """The next earnings date of a held or watched symbol; none is known without `earnings_on`."""

    kind: Literal["earnings_changed"] = "earnings_changed"
    symbol: Symbol
    earnings_on: dt.date | None = None
    session: EarningsSession | None = None
    reported_at: Instant | None = None


OwnEvent = (
    AccountOpened
    | WorkerStarted
    | AccountRestored
    | Void
    | Clock
    | RecommendationReceived
    | TrendReceived
    | MacroEventReceived
    | StressReceived
    | Mark
    | BarClosed
    | EarningsChanged
)
Event = Annotated[
    OwnEvent
    | Pause
    | Resume
    | Kill
    | UpdateConfig
    | SetRiskTier
    | ReleaseRiskTier
    | AdjustReserve
    | FlagEarnings
    | UpdateNotifications
    | SendTestNotification
    | ArmLive
    | OrderAccepted
    | OrderRejected
    | OrderFill
    | OrderCancelled
    | OrderUnknown
    | AccountSnapshot,
    Field(discriminator="kind"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
"""Reads an inbox record: `EVENT.validate_json(value)`."""
