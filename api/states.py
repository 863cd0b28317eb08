"""What the API answers about the engine as it is now, and about commands; money is a decimal string."""

import datetime as dt
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from trading.effects import EventType
from trading.inputs import TierName
from trading.money import Mode

Exact = Annotated[str, Field(json_schema_extra={"format": "decimal"}, examples=["187.10"])]


class ActiveBreaker(BaseModel):
    """A breaker that is active."""

    trigger: str
    since: AwareDatetime
    until: AwareDatetime
    threshold: Exact
    actual_value: Exact


class Breaker(BaseModel):
    """The circuit breaker: the one that lasts longest, and all that are active."""

    status: Literal["inactive", "active"]
    trigger: str | None
    until: AwareDatetime | None
    remaining_seconds: int
    active: list[ActiveBreaker]


class Status(BaseModel):
    """The engine's state, all of one account state but the lags."""

    enabled: bool
    paused: bool
    trading_state: Literal["active", "reducing", "halted"]
    risk_tier: TierName
    circuit_breaker: Breaker
    active_pool: Exact
    reserve_pool: Exact
    total_value: Exact
    cash: Exact
    buying_power: Exact
    open_buy_holds: Exact
    portfolio_heat: Exact
    max_portfolio_heat: Exact
    open_positions: int
    queued: int
    last_decision_at: AwareDatetime | None
    mode: Mode
    armed_until: AwareDatetime | None = Field(description="null on paper, and on live money that may not be spent")
    build: str
    as_of: AwareDatetime
    lag: int = Field(description="records not yet applied")
    projection_lag: int = Field(description="records not yet in PostgreSQL")


class SectorExposure(BaseModel):
    """What is held and being bought in a sector."""

    sector: str
    exposure: Exact


class Holding(BaseModel):
    """A position in the summary."""

    symbol: str
    sector: str
    quantity: Exact
    avg_entry_price: Exact
    last_price: Exact
    market_value: Exact
    unrealized_pnl: Exact


class Summary(BaseModel):
    """Both pools, cash, holds, sectors and heat, with the positions they come from."""

    total_value: Exact
    active_pool: Exact
    reserve_pool: Exact
    cash: Exact
    buying_power: Exact
    open_buy_holds: Exact
    invested: Exact
    realized_pnl: Exact
    unrealized_pnl: Exact
    portfolio_heat: Exact
    max_portfolio_heat: Exact
    initial_capital: Exact
    sectors: list[SectorExposure]
    positions: list[Holding]
    as_of: AwareDatetime


class Channels(BaseModel):
    """Which channels deliver."""

    sms: bool = False
    email: bool = False


class Preferences(BaseModel):
    """The notification preferences (R19.9), targets masked."""

    version: int
    channels: Channels
    sms_target: str | None = Field(examples=["***67"])
    email_target: str | None = Field(examples=["o***@***"])
    event_types: list[EventType]
    sms_per_hour: int
    emails_per_hour: int
    summary_minutes_after_close: int


class Partition(BaseModel):
    """A partition of a topic: where it ends, how far it was applied and projected; null where nobody does that."""

    partition: int
    end_offset: int
    applied_offset: int | None
    projected_offset: int | None


class Stream(BaseModel):
    """A topic; `lag` counts the records that the engine has not applied, null where it applies none."""

    topic: str
    direction: Literal["in", "internal", "out"]
    partitions: list[Partition]
    lag: int | None
    projection_lag: int | None


class Streams(BaseModel):
    """All topics."""

    items: list[Stream]


class Applied(BaseModel):
    """A command that was applied, and the state after it."""

    command_id: str
    account_id: str
    accepted: Literal[True] = True
    at: AwareDatetime
    trading_state: Literal["active", "reducing", "halted"]
    paused: bool
    risk_tier: TierName
    held: bool


class Armed(BaseModel):
    """Live trading is armed: entries go out until this instant, the session's close at the latest."""

    command_id: str
    account_id: str
    accepted: Literal[True] = True
    at: AwareDatetime
    armed_until: AwareDatetime


class PendingCommand(BaseModel):
    """A command that was sent and is not applied yet."""

    command_id: str


class ConfirmationNeeded(PendingCommand):
    """A change that loosens limits: the same body with the token acts."""

    confirmation_token: str
    expires_at: AwareDatetime
    loosens: list[str]


class Check(BaseModel):
    """A check of readiness; `since` is the instant of its last change."""

    name: str
    ok: bool
    required: bool
    detail: str
    since: dt.datetime


class Ready(BaseModel):
    """Whether a record produced from now on is processed."""

    ready: bool
    checks: list[Check]


class Health(BaseModel):
    """The API answers."""

    status: Literal["ok"] = "ok"
