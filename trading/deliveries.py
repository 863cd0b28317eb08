"""What became of a message on one channel (R19.8): a record of the topic `notification-deliveries`."""

from typing import Final, Literal

from pydantic import Field

from trading.effects import EventType
from trading.money import AccountId, Frozen, Id, Instant

Channel = Literal["sms", "email"]
Status = Literal["pending", "sent", "failed", "dropped", "merged"]
CHANNELS: Final[tuple[Channel, ...]] = ("sms", "email")


class Delivery(Frozen):
    """How a message stands on a channel; None where it is meant for no channel that is on.

    `at` is when it came to stand so. `may_have_arrived` counts against the limit: an attempt whose outcome nobody knows
    does too. `channels` are all that the message goes out on, `covers` the messages that went out in this one.
    """

    notification_id: Id
    account_id: AccountId
    channel: Channel | None
    event_type: EventType
    severity: Literal["info", "warning", "critical"]
    subject: str
    body: str
    created_at: Instant
    delivery_status: Status
    attempts: int = Field(ge=0)
    detail: str | None = None
    may_have_arrived: bool = False
    channels: tuple[Channel, ...] = ()
    covers: tuple[Id, ...] = ()
    at: Instant
