"""One step in the making: the account as it stands, the effects so far, and the ids that both are given.

A handler changes the portfolio and emits effects through a `Step`; `react` makes one for every event and returns what
came of it, so that to everybody else a step is a pure function.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from trading import ids
from trading.effects import Effect, EventType, Notification
from trading.policy import CANARY
from trading.portfolio import Entry, LiveOrder, Portfolio, Position, TaxLot, hash_of, row_bytes
from trading.records import AccountState, Alert, Lot, OrderStatus, Record, RowText

Severity = Literal["info", "warning", "critical"]
KEPT_DONE = 30
RecordT = TypeVar("RecordT", bound=Record)


class Step:
    """Fold one event into an account: `portfolio` is its newest state, `effects` what the world is asked to do."""

    def __init__(self, portfolio: Portfolio, *, seq: int) -> None:
        self.portfolio = portfolio
        self.seq = seq
        self.effects: list[Effect] = []
        self.touched: set[str] = set()
        self._is_stateful = False
        self._count = 0

    @property
    def now(self) -> dt.datetime:
        """Return the account's now."""
        return self.portfolio.now

    def change(self, **updates: Any) -> None:
        """Replace fields of the portfolio; values are ours and already valid."""
        self.portfolio = self.portfolio.model_copy(update=updates)

    def reschedule(self, **updates: Any) -> None:
        """Replace instants of the schedule, once it has begun."""
        if self.portfolio.schedule is not None:
            self.change(schedule=self.portfolio.schedule.model_copy(update=updates))

    def emit(self, effect: Effect) -> None:
        """Ask the world for something."""
        self.effects.append(effect)

    def next_id(self, kind: str) -> str:
        """Return the id of the next thing that this step makes: a function of the inbox offset and an ordinal."""
        self._count += 1
        return ids.of(kind, self.portfolio.account_id, self.seq, self._count)

    def record(self, kind: Callable[..., RecordT], **fields: Any) -> RecordT:
        """Emit a record of a kind, with its id, account, instant and cause, and return it."""
        common = {
            "record_id": self.next_id("record"),
            "account_id": self.portfolio.account_id,
            "at": self.now,
            "cause": self.seq,
        }
        record = kind(**common, **fields)
        self.emit(record)
        return record

    def keep_state(self) -> None:
        """Close this step with the account's whole row on `records`."""
        self._is_stateful = True

    def notify(
        self,
        event_type: EventType,
        *,
        severity: Severity,
        subject: str,
        body: str,
        channel: Literal["sms", "email"] | None = None,
    ) -> None:
        """Emit a message for the operator, on one channel alone where it is named."""
        self.emit(
            Notification(
                notification_id=self.next_id("notification"),
                account_id=self.portfolio.account_id,
                event_type=event_type,
                severity=severity,
                subject=subject,
                body=body,
                created_at=self.now,
                channel=channel,
            )
        )

    def alert(self, subject: str, *, body: str, severity: Severity = "warning", symbol: str | None = None) -> None:
        """Record an alert and, unless it is for information only, tell the operator."""
        self.record(Alert, severity=severity, subject=subject, body=body, symbol=symbol)
        if severity != "info":
            self.notify("alert", severity=severity, subject=subject, body=body)

    def record_lot(self, lot: TaxLot) -> None:
        """Record a lot as it now stands."""
        self.record(Lot, **{name: getattr(lot, name) for name in type(lot).model_fields if name in Lot.model_fields})

    def put_position(self, position: Position) -> None:
        """Replace the position of a symbol, add it, or remove it when it holds nothing."""
        others = tuple(known for known in self.portfolio.positions if known.symbol != position.symbol)
        self.change(positions=others if position.quantity == 0 else (*others, position))
        self.touched.add(position.symbol)

    def swap_position(self, position: Position) -> None:
        """Replace a position in its place, without telling `watch`: its levels have not changed."""
        held = tuple(position if known.symbol == position.symbol else known for known in self.portfolio.positions)
        self.change(positions=held)

    def put_entry(self, entry: Entry) -> None:
        """Replace or add the entry being built in a symbol."""
        others = tuple(known for known in self.portfolio.entries if known.symbol != entry.symbol)
        self.change(entries=(*others, entry))
        self.touched.add(entry.symbol)

    def drop_entry(self, symbol: str) -> None:
        """Forget the entry in a symbol; orders of it that are live go on."""
        self.change(entries=tuple(known for known in self.portfolio.entries if known.symbol != symbol))
        self.touched.add(symbol)

    def next_order_number(self) -> int:
        """Count an order that is about to be sent; the first is 1."""
        self.change(orders_sent=self.portfolio.orders_sent + 1)
        return self.portfolio.orders_sent

    def put_order(self, order: LiveOrder, *, reason: str | None = None) -> None:
        """Record an order's new state, which nothing doubts yet; one that is done moves to those done lately."""
        if order.doubt:
            order = order.model_copy(update={"doubt": ""})
        orders = tuple(known for known in self.portfolio.orders if known.client_order_id != order.client_order_id)
        done = tuple(known for known in self.portfolio.done if known.client_order_id != order.client_order_id)
        if order.status in ("filled", "cancelled", "rejected"):
            self.change(orders=orders, done=(*done, order)[-KEPT_DONE:])
        else:
            self.change(orders=(*orders, order), done=done)
        self.change(moved_since_snapshot=True)
        self.record(
            OrderStatus,
            client_order_id=order.client_order_id,
            status=order.status,
            filled_quantity=order.filled,
            reason=reason,
        )
        self.keep_state()

    def touch_all(self) -> None:
        """Send the levels of everything held, bought, waiting or followed: what they are made of has changed."""
        waiting = {waiting.recommendation.symbol for waiting in self.portfolio.queue}
        followed = {self.portfolio.policy.canary_symbol} - {CANARY}
        self.touched |= self.portfolio.held_symbols | waiting | followed

    def finish(self) -> tuple[Portfolio, tuple[Effect, ...]]:
        """Set the offset that was applied and return the step's outcome."""
        self.change(seq=self.seq)
        if self._is_stateful:
            row = row_bytes(self.portfolio)  # once: it is the dearest part of a step
            self.record(AccountState, seq=self.seq, state=RowText(row), hash=hash_of(row))
        return self.portfolio, tuple(self.effects)
