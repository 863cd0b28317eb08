"""`decide`: one inbox record, one pure step; the effects are acknowledged before the row says that it happened.

A crash in between repeats the step, and the repeat sends the same bytes. A record at or below the row's `seq` has
happened. A record that comes before its account was opened goes to the end of the inbox, behind the opening; while
nobody can say yet whether the account has to be opened or restored, it is kept.
"""

from collections.abc import Collection, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any

import structlog

from agents.intake import refusal
from streams.codec import Poison, parse
from streams.crash import crash_point
from streams.log import Record
from streams.outbox import Outgoing, Send, deliver, of_effect
from streams.topics import TOPICS
from tables.circuit import Circuit, circuit_of
from trading.effects import Decision
from trading.engine import react
from trading.events import AccountOpened, AccountRestored, Void
from trading.portfolio import Portfolio

INBOX = TOPICS["account-inbox"]

_log = structlog.get_logger(__name__)


async def decide(
    record: Record,
    *,
    partitions: int,
    accounts: Collection[str],
    rows: MutableMapping[str, Portfolio],
    circuits: MutableMapping[str, Circuit],
    send: Send,
    waiting: Mapping[str, list[bytes]] = MappingProxyType({}),
) -> None:
    """Fold one inbox record into its account's row; `waiting` keeps what comes for accounts that cannot begin yet."""
    crash_point("decide.read")
    event = parse(INBOX, record.key, record.value, partition=record.partition, partitions=partitions)
    if isinstance(event, Poison):
        await deliver(send, [refusal(INBOX, record, event)])
        return
    if isinstance(event, Void):
        return
    row = rows.get(event.account_id)
    if row is None and not isinstance(event, AccountOpened | AccountRestored):
        if event.account_id in waiting:
            waiting[event.account_id].append(record.value or b"")
        elif event.account_id in accounts:
            await deliver(send, [Outgoing(INBOX.name, event.account_id.encode(), record.value)])
        return
    if row is None or record.offset > row.seq:
        await _step(row, event, seq=record.offset, partitions=partitions, rows=rows, circuits=circuits, send=send)


async def _step(
    row: Portfolio | None,
    event: Any,
    *,
    seq: int,
    partitions: int,
    rows: MutableMapping[str, Portfolio],
    circuits: MutableMapping[str, Circuit],
    send: Send,
) -> None:
    after, effects = react(row, event, seq=seq)
    await deliver(send, [of_effect(effect, partitions=partitions) for effect in effects])
    crash_point("decide.sent")
    if after is None:
        raise TypeError(f"{type(event).__name__} at {seq} left no row")
    rows[after.account_id] = after
    circuit = circuit_of(after)
    known = circuits.get(after.account_id)
    if known is None or known.model_copy(update={"at": circuit.at}) != circuit:
        circuits[after.account_id] = circuit
    crash_point("decide.written")
    for effect in effects:
        if isinstance(effect, Decision):
            _log.info("decision", **effect.model_dump(mode="json", include=_LOGGED))


_LOGGED = {"decision_id", "account_id", "source_type", "symbol", "decision", "skip_reason", "quantity", "cause"}
