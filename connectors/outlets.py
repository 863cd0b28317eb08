"""The channels as the settings equip them (R19.1): SNS and Gmail, or what says which credentials are missing.

The clients of AWS and Google are imported only where they are used: they cost a second and 40 MB.
"""

from collections.abc import Mapping

from connectors.channels import NotDelivered, Outlet
from streams.settings import Settings
from trading.deliveries import Channel
from trading.effects import Notification


class Unequipped:
    """A channel without credentials."""

    def __init__(self, lacks: str) -> None:
        self.lacks = lacks

    def send(self, message: Notification, *, target: str) -> None:
        """Send nothing; raises `NotDelivered`."""
        raise NotDelivered(f"not set: {self.lacks}")

    def probe(self) -> str:
        """Raise `NotDelivered`."""
        raise NotDelivered(f"not set: {self.lacks}")


def outlets(settings: Settings) -> Mapping[Channel, Outlet]:
    """Return both channels."""
    return {"sms": sms(settings), "email": email(settings)}


def sms(settings: Settings) -> Outlet:
    """Return SNS, where its two credentials are there."""
    lacks = _missing(
        STONKS_AWS_ACCESS_KEY_ID=settings.aws_access_key_id.get_secret_value(),
        STONKS_AWS_SECRET_ACCESS_KEY=settings.aws_secret_access_key.get_secret_value(),
    )
    if lacks:
        return Unequipped(lacks)
    from connectors.sns import Sns  # noqa: PLC0415

    return Sns(settings)


def email(settings: Settings) -> Outlet:
    """Return Gmail, where its credentials and the sender are there."""
    lacks = _missing(
        STONKS_GMAIL_CLIENT_ID=settings.gmail_client_id,
        STONKS_GMAIL_CLIENT_SECRET=settings.gmail_client_secret.get_secret_value(),
        STONKS_GMAIL_REFRESH_TOKEN=settings.gmail_refresh_token.get_secret_value(),
        STONKS_GMAIL_SENDER=settings.gmail_sender,
    )
    if lacks:
        return Unequipped(lacks)
    from connectors.gmail import Gmail  # noqa: PLC0415

    return Gmail(settings)


def _missing(**wanted: str) -> str:
    return ", ".join(name for name, value in wanted.items() if not value)
