"""The daily probe of a channel: credentials expire in silence, and the first lost alert would be the first to tell.

SNS keeps an account in a sandbox with verified numbers and a quota; a Gmail refresh token of an app in testing dies
after seven days. What the probe finds is the channel's check, and the other channel says so when it is bad.
"""

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Final, Protocol

from connectors.channels import NotDelivered, Outlet, in_a_thread
from connectors.checks import Check
from trading.deliveries import Channel
from trading.preferences import NotificationPreferences

SECONDS_BETWEEN_PROBES: Final = 24 * 3600.0
SECONDS_AFTER_A_BAD_ONE: Final = 3600.0
SECONDS_WHILE_OFF: Final = 60.0
SECONDS_TO_PROBE: Final = 20.0


class Asker(Protocol):
    """What the probe needs of an account."""

    async def look(self) -> tuple[NotificationPreferences, dt.datetime]:
        """Return the preferences and the account's now."""

    async def report(self, channel: Channel, problem: str) -> None:
        """Say on the other channel that this one has failed."""

    def recovered(self, channel: Channel) -> None:
        """Take note that a channel works."""


async def probing(channel: Channel, outlet: Outlet, check: Check, accounts: Sequence[Asker]) -> None:
    """Probe a channel once a day, an hour after a bad probe again, for ever."""
    while True:
        rest = await probe(channel, outlet, check, accounts)
        await asyncio.sleep(rest)


async def probe(channel: Channel, outlet: Outlet, check: Check, accounts: Sequence[Asker]) -> float:
    """Look at a channel and say so in its check; return after how many seconds to look again."""
    using = [each for each in accounts if getattr((await each.look())[0].channels, channel)]
    if lacking := outlet.lacks:
        if using:
            check.fails(f"switched on without credentials, set {lacking}")
        else:
            check.holds("off")
        return SECONDS_WHILE_OFF
    try:
        async with asyncio.timeout(SECONDS_TO_PROBE):
            check.holds(await in_a_thread(outlet.probe))
        for each in accounts:
            each.recovered(channel)
    except (NotDelivered, TimeoutError) as error:
        problem = str(error) or f"no answer within {SECONDS_TO_PROBE:.0f} s"
        check.fails(problem)
        for each in using:
            await each.report(channel, problem)
        return SECONDS_AFTER_A_BAD_ONE
    return SECONDS_BETWEEN_PROBES
