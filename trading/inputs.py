"""What programs outside send us: the values of the input topics, as `contracts.md` names them.

Topics that others own ignore unknown fields; commands refuse them.
"""

import datetime as dt
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, model_validator

from trading import money
from trading.money import AccountId, Foreign, Fraction, Frozen, Id, Natural, Number, Positive, Prose, Symbol, Text

LAST_YEAR = 2099
FROM_POSTGRESQL = "postgresql"
"""The `source` of a bar that the connectors tell again, because Kafka's data is lost: no news to any account."""
Action = Literal["buy", "sell", "hold", "watch"]
TierName = Literal["conservative", "moderate", "aggressive"]
EarningsSession = Literal["bmo", "amc", "unknown"]


def _iso_date(value: Any) -> Any:
    """Read `YYYY-MM-DD` alone; pydantic would also take numbers and instants."""
    if isinstance(value, dt.date):
        return value
    if not isinstance(value, str) or len(value) != len("2000-01-01"):
        raise ValueError("must be a date, YYYY-MM-DD")
    return dt.date.fromisoformat(value)


def _in_our_time(value: dt.datetime) -> dt.datetime:
    if value.year > LAST_YEAR:
        raise ValueError(f"must not be after the year {LAST_YEAR}")
    return value


Instant = Annotated[money.Instant, AfterValidator(_in_our_time)]
"""An instant that comes from outside: early enough for every span that a rule adds to it."""
Day = Annotated[dt.date, BeforeValidator(_iso_date), Field(ge=dt.date(1970, 1, 1), le=dt.date(2099, 12, 31))]


class Recommendation(Foreign):
    """A signal of the recommendation engine; `confidence` is 0..1."""

    recommendation_id: Id
    symbol: Symbol
    action: Action
    mode: Literal["paper_eligible", "live_eligible", "informational"]
    confidence: Fraction
    generated_at: Instant
    expires_at: Instant | None = None
    thesis: Prose | None = None
    reference_price: Positive | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.expires_at is not None and self.expires_at < self.generated_at:
            raise ValueError("expires_at: must not be before generated_at")
        return self


class Tick(Foreign):
    """One price of a symbol at an instant; `size` in shares."""

    at: Instant
    price: Positive
    size: Natural | None = None


class PriceTicks(Foreign):
    """One tick (`price`, `at`) or several of one symbol in time order (`ticks`), as `each` gives them."""

    symbol: Symbol
    price: Positive | None = None
    at: Instant | None = None
    size: Natural | None = None
    ticks: Annotated[tuple[Tick, ...], Field(max_length=10_000)] | None = None
    source: Id | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.ticks is None:
            if self.price is None or self.at is None:
                raise ValueError("missing_field: " + ("price" if self.price is None else "at"))
        elif self.price is not None or self.at is not None:
            raise ValueError("ticks: either one tick or a batch, not both")
        elif not self.ticks:
            raise ValueError("ticks: must not be empty")
        elif any(later.at < earlier.at for earlier, later in zip(self.ticks, self.ticks[1:], strict=False)):
            raise ValueError("ticks: must be in time order")
        return self

    @property
    def each(self) -> tuple[Tick, ...]:
        """Return the ticks in time order, one or many."""
        if self.ticks is not None:
            return self.ticks
        if self.price is None or self.at is None:
            return ()  # cannot be: the validator has seen to it
        return (Tick(at=self.at, price=self.price, size=self.size),)


class PriceBar(Foreign):
    """An OHLCV bar; `at` is its end, before which it does not count."""

    symbol: Symbol
    interval: Literal["1d", "1m", "5m", "15m"]
    open: Positive
    high: Positive
    low: Positive
    close: Positive
    volume: Natural
    at: Instant
    source: Id | None = None

    @model_validator(mode="after")
    def _high_is_not_below_low(self) -> Self:
        if self.high < self.low:
            raise ValueError("high: must not be below low")
        return self


class MacroEvent(Foreign):
    """A classified macro event, active from `started_at` for its estimated duration."""

    event_id: Id
    severity: Literal["low", "moderate", "high", "critical"]
    headline: Prose
    started_at: Instant
    estimated_duration_seconds: Annotated[int, Field(ge=0, le=366 * 86_400)]
    sectors: tuple[Id, ...] | None = None


class TrendSummary(Foreign):
    """A short-window trend of a symbol; `confidence` is 0..1."""

    trend_id: Id
    symbol: Symbol
    window: Literal["intraday", "1d"]
    interval: Literal["5m", "15m"]
    direction: Literal["bullish", "bearish", "neutral"]
    confidence: Fraction
    at: Instant
    expires_at: Instant | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.expires_at is not None and self.expires_at < self.at:
            raise ValueError("expires_at: must not be before at")
        return self


class MarketStress(Foreign):
    """A reading of market volatility in annualised percent; the latest counts for 30 minutes.

    One that is realised from the prices of a symbol names it, and counts for those whose canary it is.
    """

    name: Literal["vix", "realised_volatility"]
    value: Natural
    at: Instant
    symbol: Symbol | None = Field(default=None, exclude_if=lambda symbol: symbol is None)


class Company(Foreign):
    """A tracked company."""

    symbol: Symbol
    name: Text
    sector: Id


class EarningsDate(Foreign):
    """The next known earnings report of a company; `bmo` before the open, `amc` after the close."""

    symbol: Symbol
    earnings_on: Day
    session: EarningsSession
    source: Id
    reported_at: Instant | None = None


class _Command(Frozen):
    command_id: Id
    account_id: AccountId = "paper"
    issued_by: Id
    at: Instant | None = None


class Pause(_Command):
    """Stop entries until `Resume`; exits go on."""

    kind: Literal["pause"] = "pause"


class Resume(_Command):
    """End a pause, or a halt."""

    kind: Literal["resume"] = "resume"


class Kill(_Command):
    """Cancel all entries, sell all positions, and halt."""

    kind: Literal["kill"] = "kill"
    reason: Text


class UpdateConfig(_Command):
    """Change policy fields of the account's policy `version`."""

    kind: Literal["update_config"] = "update_config"
    version: int
    changes: dict[str, Any]
    confirmation_token: Id | None = None


class SetRiskTier(_Command):
    """Set the risk tier by hand and hold it."""

    kind: Literal["set_risk_tier"] = "set_risk_tier"
    risk_tier: TierName


class ReleaseRiskTier(_Command):
    """Give the risk tier back to the daily evaluation."""

    kind: Literal["release_risk_tier"] = "release_risk_tier"


class AdjustReserve(_Command):
    """Move `amount` dollars into the reserve pool (negative: out of it)."""

    kind: Literal["adjust_reserve"] = "adjust_reserve"
    amount: Number
    reason: Text


class FlagEarnings(_Command):
    """Enter an earnings date by hand."""

    kind: Literal["flag_earnings"] = "flag_earnings"
    symbol: Symbol
    earnings_on: Day
    session: EarningsSession


class UpdateNotifications(_Command):
    """Change notification preferences of `version`."""

    kind: Literal["update_notifications"] = "update_notifications"
    version: int
    changes: dict[str, Any]


class SendTestNotification(_Command):
    """Send one test message on a channel."""

    kind: Literal["test_notification"] = "test_notification"
    channel: Literal["sms", "email"]


class ArmLive(_Command):
    """Arm live trading until an instant."""

    kind: Literal["arm_live"] = "arm_live"
    until: Instant


Command = Annotated[
    Pause
    | Resume
    | Kill
    | UpdateConfig
    | SetRiskTier
    | ReleaseRiskTier
    | AdjustReserve
    | FlagEarnings
    | UpdateNotifications
    | SendTestNotification
    | ArmLive,
    Field(discriminator="kind"),
]
COMMAND: TypeAdapter[Command] = TypeAdapter(Command)


class _BrokerEvent(Foreign):
    event_id: Id
    account_id: AccountId = "paper"
    at: Instant | None = None


class _OrderEvent(_BrokerEvent):
    client_order_id: Id
    broker_order_id: Id | None = None
    symbol: Symbol


class OrderAccepted(_OrderEvent):
    """The broker has the order."""

    kind: Literal["order_accepted"] = "order_accepted"


class OrderRejected(_OrderEvent):
    """The broker refused the order for good."""

    kind: Literal["order_rejected"] = "order_rejected"
    reason: Text


class OrderFill(_OrderEvent):
    """A fill; `cumulative_quantity` counts it and all before it, `fee` is in dollars."""

    kind: Literal["order_fill"] = "order_fill"
    fill_id: Id
    quantity: Positive
    price: Positive
    cumulative_quantity: Positive
    leaves_quantity: Natural
    fee: Natural


class OrderCancelled(_OrderEvent):
    """The rest of the order is off the book."""

    kind: Literal["order_cancelled"] = "order_cancelled"
    cumulative_quantity: Natural
    reason: Text | None = None


class OrderUnknown(_OrderEvent):
    """The connector cannot tell whether the broker has the order; its reservations stay."""

    kind: Literal["order_unknown"] = "order_unknown"
    reason: Text


Instrument = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9./\-]{0,31}$")]
"""What an account may hold besides our symbols: an option, a bond by its CUSIP, a currency pair refuse nothing."""


class BrokerPosition(Foreign):
    """A position as the broker sees it; a short one has a negative quantity."""

    symbol: Instrument
    quantity: Number
    avg_entry_price: Natural


class BrokerOrder(Foreign):
    """An open order as the broker sees it."""

    client_order_id: Id | None = None
    broker_order_id: Id
    symbol: Instrument
    side: Literal["buy", "sell"]
    quantity: Positive
    filled_quantity: Natural


class AccountSnapshot(_BrokerEvent):
    """The broker's account: cash, buying power and equity in dollars, positions and open orders.

    Both lists have to be there: one that was left out would say that everything we hold is gone. `newest_order_id` is
    the `client_order_id` of the last of `orders` that had been read when the account was looked at, empty before the
    first; a snapshot says nothing of an order after that one. Without it the snapshot does not say what it knows.
    """

    kind: Literal["account_snapshot"] = "account_snapshot"
    cash: Number
    buying_power: Natural
    equity: Number
    positions: tuple[BrokerPosition, ...]
    open_orders: tuple[BrokerOrder, ...]
    newest_order_id: Annotated[str, Field(max_length=256)] | None = None


BrokerEvent = Annotated[
    OrderAccepted | OrderRejected | OrderFill | OrderCancelled | OrderUnknown | AccountSnapshot,
    Field(discriminator="kind"),
]
BROKER_EVENT: TypeAdapter[BrokerEvent] = TypeAdapter(BrokerEvent)
