"""What a worker itself tells accounts: that it has taken them up, and how, and that records are gone from the log.

The log is the truth. With a row in Kafka and the records after it an account goes on from there. Without a row it goes
on from the one that PostgreSQL has and the log's records after it, or, where the log is lost too, from that row alone;
in a new log nothing is new but what the broker knows. Only an account that nobody knows is opened.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from agents.clock import Now
from agents.snapshots import Kept
from streams.build import build
from streams.settings import Settings
from streams.topics import partition_for
from trading.events import AccountOpened, AccountRestored, Event, WorkerStarted
from trading.inputs import Pause
from trading.policy import TradingPolicy
from trading.portfolio import NEVER, Portfolio, row_hash


def accounts_on(held: Iterable[int], settings: Settings) -> list[str]:
    """Return the configured accounts whose inbox lies on one of these partitions."""
    here = set(held)
    return [name for name in settings.accounts if partition_for(name.encode(), settings.partitions) in here]


class Inbox(NamedTuple):
    """An account's partition of `account-inbox`: the first offset that it has and the next one that it will give."""

    start: int
    end: int


Way = Literal["greet", "take", "restore", "open"]


def is_sound(row: Portfolio | None, inbox: Inbox) -> bool:
    """Return whether an account can go on from its row in Kafka and the log alone: the log has what comes next."""
    return row is not None and inbox.start <= row.seq + 1 <= inbox.end


def way_of(row: Portfolio | None, kept: Kept | None, *, inbox: Inbox, log_id: str) -> Way:
    """Return how an account is taken up: from its row, as PostgreSQL has it, in a new log, or as a new account.

    `kept` is what PostgreSQL has, None when it has nothing of the account; `log_id` names the log that is there. The
    log is another one than the row's when it says so, or when it ends before the row. Only the rows decide when both
    are there: what was kept may be older.
    """
    if row is None and kept is None:
        return "open"
    is_newer = kept is not None and (row is None or kept.state.seq > row.seq)
    is_of_another_log = row is None and kept is not None and kept.log_id not in (None, log_id)
    newest = max(row.seq if row is not None else -1, kept.state.seq if kept is not None else -1)
    if is_of_another_log or newest >= inbox.end:
        return "restore"
    return "take" if is_newer and not is_sound(row, inbox) else "greet"


def openings(
    ways: Mapping[str, Way],
    rows: Mapping[str, Portfolio],
    kept: Mapping[str, Kept],
    *,
    now: Now,
    settings: Settings,
) -> list[Event]:
    """Return the first record of each account that is opened or restored, and a worker's greeting to the others.

    Event time goes on from the latest now of the rows.
    """
    known = {account: _newest(account, rows, kept) for account in ways}
    for row in known.values():
        if row is not None and row.now > NEVER:
            now.see(row.now)
    return [_opening(account, way, known[account], kept, now=now, settings=settings) for account, way in ways.items()]


def pauses(settings: Settings, *, place: str, wanted: int, possible: int) -> list[Event]:
    """Return what stops the entries of every account when the log lacks records that should have been applied."""
    reason = f"the log lacks records {wanted} to {possible} of {place}"
    return [
        Pause(command_id=f"lost:{place}:{wanted}", account_id=account, issued_by=reason)
        for account in settings.accounts
    ]


def _newest(account: str, rows: Mapping[str, Portfolio], kept: Mapping[str, Kept]) -> Portfolio | None:
    found = [rows[account]] if account in rows else []
    found += [kept[account].state] if account in kept else []
    return max(found, key=lambda row: row.seq, default=None)


def _opening(
    account: str, way: Way, row: Portfolio | None, kept: Mapping[str, Kept], *, now: Now, settings: Settings
) -> Event:
    at, mode = now.stamp(None), settings.mode
    if row is None:
        return AccountOpened(account_id=account, at=at, policy=TradingPolicy(mode=mode), mode=mode, build=build())
    if way == "restore":
        recorded = kept[account].hash if account in kept and kept[account].state is row else row_hash(row)
        return AccountRestored(account_id=account, at=at, state=row, hash=recorded, mode=mode, build=build())
    return WorkerStarted(account_id=account, at=at, mode=mode, build=build(), again=way == "take")
