"""What `stonks doctor` says of the channels to the operator: credentials, SNS's sandbox and quota, Gmail's token.

Both fail in silence later: an SNS account begins in a sandbox, and a Gmail refresh token of an app that is still in
testing dies after seven days.
"""

import asyncio
import json

import asyncpg

from connectors.channels import NotDelivered, Outlet
from connectors.outlets import email, sms
from stack.data_dir import endpoints_path, is_in_use
from stack.errors import StackError
from stack.files import read_json_object
from streams.settings import Settings
from trading.deliveries import Channel


class ChannelWrong(StackError):
    """A channel could not tell the operator anything."""

    exit_code = 1


def check_sms(chosen: Settings) -> str:
    """Require that SNS takes the credentials, where there are any or SMS are switched on; name sandbox and quota."""
    return _checked(chosen, "sms", sms(chosen), mend="make a new key in AWS IAM")


def check_email(chosen: Settings) -> str:
    """Require that the refresh token gives access to Gmail, where there is one or mail is switched on."""
    mend = "make a new token; one of an app in testing lasts seven days, so publish the app"
    return _checked(chosen, "email", email(chosen), mend=mend)


def _checked(chosen: Settings, channel: Channel, outlet: Outlet, *, mend: str) -> str:
    using = ", ".join(asyncio.run(_accounts_with(chosen, channel)))
    if outlet.lacks:
        if using:
            raise ChannelWrong(f"switched on for {using}, without credentials: set {outlet.lacks}, or switch it off")
        return "off, no credentials are set"
    try:
        return outlet.probe() + (f"; on for {using}" if using else "")
    except NotDelivered as error:
        raise ChannelWrong(f"{error}: {mend}") from None


async def _accounts_with(chosen: Settings, channel: Channel) -> list[str]:
    """Return the accounts that have a channel on, as the tables of the running stack say; none without one."""
    folder = chosen.data_dir.absolute()
    if not is_in_use(folder):
        return []
    url = read_json_object(endpoints_path(folder)).get("database_url")
    try:
        connection = await asyncpg.connect(str(url), timeout=5, command_timeout=5)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return []  # the check of the stack says so
    try:
        rows = await connection.fetch("SELECT account_id, channels FROM notification_preferences ORDER BY account_id")
        return [row["account_id"] for row in rows if json.loads(row["channels"]).get(channel)]
    except asyncpg.PostgresError:
        return []
    finally:
        await connection.close()
