"""What a worker itself tells accounts: that it has taken them up, and that records are gone from the log."""

from collections.abc import Iterable, Mapping

from agents.clock import Now
from streams.build import build
from streams.settings import Settings
from streams.topics import partition_for
from trading.events import AccountOpened, Event, WorkerStarted
from trading.inputs import Pause
from trading.policy import TradingPolicy
from trading.portfolio import NEVER, Portfolio


def accounts_on(held: Iterable[int], settings: Settings) -> list[str]:
    """Return the configured accounts whose inbox lies on one of these partitions."""
    here = set(held)
    return [name for name in settings.accounts if partition_for(name.encode(), settings.partitions) in here]


def openings(accounts: Iterable[str], rows: Mapping[str, Portfolio], *, now: Now, settings: Settings) -> list[Event]:
    """Return the first record of each account without a row, and a worker's greeting to the others.

    Event time goes on from the latest now of the rows.
    """
    known = {account: rows[account] for account in accounts if account in rows}
    for row in known.values():
        if row.now > NEVER:
            now.see(row.now)
    return [_greeting(account, at_row=account in known, now=now, settings=settings) for account in accounts]


def pauses(settings: Settings, *, place: str, wanted: int, possible: int) -> list[Event]:
    """Return what stops the entries of every account when the log lacks records that should have been applied."""
    reason = f"the log lacks records {wanted} to {possible} of {place}"
    return [
        Pause(command_id=f"lost:{place}:{wanted}", account_id=account, issued_by=reason)
        for account in settings.accounts
    ]


def _greeting(account: str, *, at_row: bool, now: Now, settings: Settings) -> Event:
    at, mode = now.stamp(None), settings.mode
    if at_row:
        return WorkerStarted(account_id=account, at=at, mode=mode, build=build())
    return AccountOpened(account_id=account, at=at, policy=TradingPolicy(mode=mode), mode=mode, build=build())
