"""Notification preferences (R19.9): what the operator wants told, where, and how often; part of the account's row.

A target is a secret: whatever shows it outside the row shows it masked, and one that comes back in a change as it was
shown keeps the old one.
"""

import json
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError

from trading.effects import EventType
from trading.money import Frozen

MASK = "***"
TARGETS = ("sms_target", "email_target")
_PHONE_OR_TOPIC = r"^(\+[1-9][0-9]{6,14}|arn:aws[a-z\-]*:sns:[a-z0-9\-]+:[0-9]{12}:[A-Za-z0-9_\-]{1,200})$"
_ADDRESS = r"^[A-Za-z0-9.!#$%&'+/=?^_`{|}~\-]{1,64}@[A-Za-z0-9.\-]{1,180}$"
Problem = tuple[Literal["unknown_field", "invalid_field"], str]


class Channels(Frozen):
    """Which channels are switched on (R19.1)."""

    sms: bool = False
    email: bool = False


class NotificationPreferences(Frozen):
    """The columns of `notification_preferences`; `version` counts the accepted changes."""

    version: Annotated[int, Field(ge=1)] = 1
    channels: Channels = Channels()
    sms_target: Annotated[str, Field(pattern=_PHONE_OR_TOPIC)] | None = None
    email_target: Annotated[str, Field(pattern=_ADDRESS)] | None = None
    event_types: Annotated[tuple[EventType, ...], Field(max_length=50)] = get_args(EventType)
    sms_per_hour: Annotated[int, Field(ge=1, le=1000)] = 10
    emails_per_hour: Annotated[int, Field(ge=1, le=1000)] = 20
    summary_minutes_after_close: Annotated[int, Field(ge=0, le=12 * 60)] = 30


def revised(before: NotificationPreferences, changes: dict[str, Any]) -> NotificationPreferences | Problem:
    """Return the next version with changes laid over it, or what is wrong with them."""
    fields = json.loads(before.model_dump_json())
    for name, value in changes.items():
        if name not in fields or name == "version":
            return "unknown_field", name
        if name in TARGETS and isinstance(value, str) and MASK in value:
            if value != mask(fields[name]):
                return "invalid_field", f"{name}: is masked, and is not the one that is set"
            continue
        both = isinstance(value, dict) and isinstance(fields[name], dict)
        fields[name] = fields[name] | value if both else value
    fields["version"] = before.version + 1
    try:
        return NotificationPreferences.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors()[0]
        return "invalid_field", f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def masked(preferences: NotificationPreferences) -> dict[str, Any]:
    """Return preferences as they may be shown: without a whole phone number or address."""
    fields: dict[str, Any] = json.loads(preferences.model_dump_json())
    return fields | {name: mask(fields[name]) for name in TARGETS}


def mask(target: str | None) -> str | None:
    """Return what is left of a phone number (`***67`) or an address (`o***@***`)."""
    if target is None:
        return None
    return f"{target[0]}{MASK}@{MASK}" if "@" in target else MASK + target[-2:]


def difference(before: NotificationPreferences, after: NotificationPreferences) -> str:
    """Return what a change changed, masked, in words."""
    old, new = masked(before), masked(after)
    told = []
    for name in old:
        if name != "version" and getattr(before, name) != getattr(after, name):
            told.append(f"{name} from {json.dumps(old[name])} to {json.dumps(new[name])}")
    return ", ".join(told) or "nothing"
