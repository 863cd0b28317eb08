"""What the API takes: one model a body, closed to unknown fields."""

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, model_validator

from api.states import Tier
from trading.money import Text
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


class TierChoice(_Body):
    """A tier to hold, or the release of the one that is held."""

    risk_tier: Tier | None = None
    release: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.risk_tier is None) == (self.release is None):
            raise ValueError("give either risk_tier or release")
        return self


class Adjustment(_Body):
    """Dollars and cents to move into the reserve pool, negative: out of it."""

    amount: Annotated[Decimal, Field(max_digits=14, decimal_places=2)]
    reason: Annotated[Text, Field(min_length=1)]


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
