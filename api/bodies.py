"""What the API takes: one model a body, closed to unknown fields."""

from decimal import Decimal
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, model_validator

from trading.effects import EventType
from trading.inputs import Day, EarningsSession, Instant, TierName
from trading.money import Symbol, Text
from trading.policy import TradingPolicy


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Empty(_Body):
    """Nothing."""


class Resumption(_Body):
    """The end of a pause; `confirm` is needed to end a halt."""

    confirm: Literal["RESUME"] | None = None


class Flatten(_Body):
    """A kill, confirmed."""

    confirm: Literal["FLATTEN"]
    reason: Text = "by hand"


class Arming(_Body):
    """Live trading, confirmed, until an instant; without one until the close of the session in force or the next."""

    confirm: Literal["LIVE"]
    until: Instant | None = None


def _only_true(value: bool) -> bool:
    if not value:
        raise ValueError("must be true, or left out")
    return value


class TierChoice(_Body):
    """A tier to hold, or the release of the one that is held."""

    risk_tier: TierName | None = None
    release: Annotated[StrictBool, AfterValidator(_only_true)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.risk_tier is None) == (self.release is None):
            raise ValueError("give either risk_tier or release")
        return self


class Adjustment(_Body):
    """Dollars and cents to move into the reserve pool, negative: out of it."""

    amount: Annotated[Decimal, Field(max_digits=14, decimal_places=2)]
    reason: Annotated[Text, Field(min_length=1)]


class NextEarnings(_Body):
    """The next earnings report of a company; `bmo` before the open, `amc` after the close."""

    symbol: Symbol
    earnings_on: Day
    session: EarningsSession


class ChannelChoice(_Body):
    """Which channels deliver; one that is left out stays as it is."""

    sms: StrictBool | None = None
    email: StrictBool | None = None


PerHour = Annotated[StrictInt, Field(ge=1, le=1000)]


class PreferencesChange(_Body):
    """The version of the notification preferences that is changed, and the fields that change.

    What is left out stays as it is, and so does a target that is sent as it was shown, masked; null removes a target.
    """

    version: Annotated[StrictInt, Field(ge=1, lt=2**31, description="as GET answered it")]
    channels: ChannelChoice | None = None
    sms_target: Annotated[
        StrictStr | None, Field(max_length=300, description="a phone number, +15551234567, or an SNS topic's ARN")
    ] = None
    email_target: Annotated[StrictStr | None, Field(max_length=300, description="an e-mail address")] = None
    event_types: Annotated[list[EventType] | None, Field(max_length=len(get_args(EventType)))] = None
    sms_per_hour: PerHour | None = None
    emails_per_hour: PerHour | None = None
    summary_minutes_after_close: Annotated[StrictInt | None, Field(ge=0, le=12 * 60)] = None


class ChannelTest(_Body):
    """The channel to send a test message on."""

    channel: Literal["sms", "email"]


def _with_the_policy(schema: dict[str, Any]) -> None:
    """Describe the policy's own fields too: those that are changed stand beside `version`."""
    policy = TradingPolicy.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["properties"] |= {name: field for name, field in policy["properties"].items() if name != "version"}
    schema["additionalProperties"] = False


class ConfigChange(BaseModel):
    """The version that is changed, and the fields that change."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_with_the_policy)

    version: Annotated[StrictInt, Field(ge=1, lt=2**31, description="as GET answered it")]
    confirmation_token: Annotated[StrictStr | None, Field(min_length=1, max_length=256)] = None

    @property
    def changes(self) -> dict[str, Any]:
        """Return the changed fields as they were sent."""
        return dict(self.model_extra or {})
