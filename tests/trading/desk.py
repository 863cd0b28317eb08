"""A desk for the tests: one account folded through `react`, what it was asked and what it answered.

It sends events in the words of `contracts.md` and keeps every effect. Monday, 2 March 2026, is an ordinary session of
the exchange: 14:30 to 21:00 UTC, the trading window 14:45 to 20:45.
"""

import datetime as dt
import json
from decimal import Decimal
from typing import Any, TypeVar

from trading.effects import Decision, Effect, LevelsRemoved, Notification, Order, OrderCancel, StopLevels
from trading.engine import react
from trading.events import (
    EVENT,
    AccountOpened,
    BarClosed,
    Clock,
    EarningsChanged,
    Event,
    Mark,
    RecommendationReceived,
    TrendReceived,
)
from trading.holdings import Entry, LiveOrder, Position
from trading.inputs import AccountSnapshot, Recommendation, TrendSummary
from trading.market import CandidateFacts, Closes
from trading.policy import POLICY, TradingPolicy
from trading.portfolio import Portfolio, row_bytes, row_hash
from trading.records import RECORD

T = TypeVar("T")
ACCOUNT = "paper"
MONDAY = dt.date(2026, 3, 2)


def at(clock: str, *, on: dt.date = MONDAY) -> dt.datetime:
    """Return the instant of a clock time in UTC: `at("15:00")`, `at("15:00:30.5")`."""
    return dt.datetime.combine(on, dt.time.fromisoformat(clock), tzinfo=dt.UTC)


def days(count: int) -> dt.timedelta:
    return dt.timedelta(days=count)


def minutes(count: float) -> dt.timedelta:
    return dt.timedelta(minutes=count)


def policy(**changes: Any) -> TradingPolicy:
    """Return the default policy with some fields changed; a tier's fields as `moderate={"min_confidence": "0.5"}`."""
    fields = json.loads(TradingPolicy().model_dump_json())
    for name, value in changes.items():
        if name in fields["tiers"]:
            fields["tiers"][name] |= value
        else:
            fields[name] = value
    return POLICY.validate_json(json.dumps(fields, default=str))


def flat_closes(price: str = "10", *, count: int = 20) -> Closes:
    """Return closes that never move: a pair with them has no variance and counts as 0.5."""
    first = MONDAY - days(count)
    return tuple((first + days(each), Decimal(price)) for each in range(count))


def facts_of(
    price: Any, *, atr: Any, sector: str | None, price_at: dt.datetime, closes: Closes | None, others: dict[str, Any]
) -> CandidateFacts:
    """Return what is known of a symbol; one without a sector is not known at all."""
    known: dict[str, Any] = {
        "known": sector is not None,
        "sector": sector,
        "last_price": None if price is None else Decimal(str(price)),
        "last_price_at": None if price is None else price_at,
        "atr": None if atr is None else Decimal(str(atr)),
        "closes": closes if closes is not None else flat_closes(),
    }
    return CandidateFacts(**(known | others))


DIRECTIONS = {"buy": "bullish", "sell": "bearish", "hold": "neutral"}


class Desk:
    """One account; `now` is when the next thing happens unless it says when."""

    def __init__(self, *, now: dt.datetime | None = None, cash: str | None = "500", **changes: Any) -> None:
        self.portfolio: Portfolio | None = None
        self.effects: list[Effect] = []
        self.log: list[tuple[int, Event]] = []
        self.seq = -1
        self.now = now or at("15:00")
        self._names = 0
        mode = changes.get("mode", "paper")
        self.send(AccountOpened(account_id=ACCOUNT, at=self.now, policy=policy(**changes), mode=mode, build="test"))
        if cash is not None:
            self.snapshot(cash=cash)

    @property
    def row(self) -> Portfolio:
        assert self.portfolio is not None
        return self.portfolio

    def send(self, event: Event) -> list[Effect]:
        """Fold an event, as the log would bring it, and return its effects; a second run must give the same bytes."""
        self.seq += 1
        event = EVENT.validate_json(event.model_dump_json())
        self.log.append((self.seq, event))
        self.portfolio, effects = react(self.portfolio, event, seq=self.seq)
        self.effects.extend(effects)
        self.now = max(self.now, self.row.now)
        return list(effects)

    def restart(self) -> None:
        """Write the row as JSON and read it back, as a restart does."""
        self.portfolio = Portfolio.model_validate_json(row_bytes(self.row))

    def name(self, prefix: str) -> str:
        self._names += 1
        return f"{prefix}-{self._names}"

    def clock(self, instant: dt.datetime) -> list[Effect]:
        """Let time pass until an instant in one jump."""
        return self.send(Clock(account_id=ACCOUNT, at=instant))

    def live_to(self, instant: dt.datetime) -> list[Effect]:
        """Let time pass until an instant with a living feed: each holding has a price a minute before it."""
        for position in self.row.positions:
            self.mark(position.symbol, position.last_price, at=instant - minutes(1))
        return self.clock(instant)

    def mark(self, symbol: str, price: Any, *, at: dt.datetime | None = None, **fields: Any) -> list[Effect]:
        """Send the price of a symbol."""
        instant = at or self.now
        last = Decimal(str(price))
        fields = {"low": last, "high": last, "price_at": instant} | fields
        return self.send(Mark(account_id=ACCOUNT, at=instant, symbol=symbol, last=last, **fields))

    def bar(
        self, symbol: str, close: Any, *, on: dt.date, atr: Any = None, at: dt.datetime | None = None
    ) -> list[Effect]:
        atr = None if atr is None else Decimal(str(atr))
        instant = at or self.now
        return self.send(
            BarClosed(account_id=ACCOUNT, at=instant, symbol=symbol, on=on, close=Decimal(str(close)), atr=atr)
        )

    def earnings(self, symbol: str, on: dt.date | None, *, session: Any = "unknown", **fields: Any) -> list[Effect]:
        event = EarningsChanged(
            account_id=ACCOUNT, at=self.now, symbol=symbol, earnings_on=on, session=session if on else None, **fields
        )
        return self.send(event)

    def recommend(
        self,
        symbol: str = "AAPL",
        action: Any = "buy",
        *,
        confidence: Any = "0.8",
        price: Any = "10",
        atr: Any = "0.5",
        sector: str | None = "technology",
        at: dt.datetime | None = None,
        closes: Closes | None = None,
        price_at: dt.datetime | None = None,
        facts: dict[str, Any] | None = None,
        **fields: Any,
    ) -> list[Effect]:
        """Send a recommendation with its symbol's facts; by default 0.8 for AAPL at 10 dollars, ATR 0.50."""
        instant = at or self.now
        fields = {"recommendation_id": self.name("rec"), "mode": "paper_eligible", "generated_at": instant} | fields
        recommendation = Recommendation(symbol=symbol, action=action, confidence=Decimal(str(confidence)), **fields)
        known = facts_of(price, atr=atr, sector=sector, price_at=price_at or instant, closes=closes, others=facts or {})
        return self.send(
            RecommendationReceived(account_id=ACCOUNT, at=instant, recommendation=recommendation, facts=known)
        )

    def trend(
        self,
        symbol: str = "AAPL",
        action: str = "buy",
        *,
        confidence: Any = "0.8",
        price: Any = "10",
        atr: Any = "0.5",
        sector: str | None = "technology",
        generated_at: dt.datetime | None = None,
        closes: Closes | None = None,
        price_at: dt.datetime | None = None,
        facts: dict[str, Any] | None = None,
        **fields: Any,
    ) -> list[Effect]:
        """Send a trend summary that asks for an action; the rest is as with a recommendation."""
        fields = {"trend_id": self.name("trend"), "window": "intraday", "interval": "5m"} | fields
        trend = TrendSummary(
            symbol=symbol,
            direction=DIRECTIONS[action],  # type: ignore[arg-type]
            confidence=Decimal(str(confidence)),
            at=generated_at or self.now,
            **fields,
        )
        known = facts_of(
            price, atr=atr, sector=sector, price_at=price_at or self.now, closes=closes, others=facts or {}
        )
        return self.send(TrendReceived(account_id=ACCOUNT, at=self.now, trend=trend, facts=known))

    def snapshot(
        self,
        *,
        cash: Any = None,
        positions: dict[str, Any] | None = None,
        equity: Any = None,
        buying_power: Any = None,
        **fields: Any,
    ) -> list[Effect]:
        """Send the broker's account; without figures one that agrees with the row."""
        if positions is None:
            positions = {}
            for position in (*self.row.positions, *self.row.foreign):
                positions[position.symbol] = positions.get(position.symbol, 0) + position.quantity
        cash = Decimal(str(self.row.cash if cash is None else cash))
        fields = {"event_id": self.name("event"), "account_id": ACCOUNT, "at": self.now, "open_orders": []} | fields
        body = fields | {
            "kind": "account_snapshot",
            "cash": str(cash),
            "buying_power": str(max(Decimal(0), cash) if buying_power is None else buying_power),
            "equity": str(cash if equity is None else equity),
            "positions": [
                {"symbol": symbol, "quantity": str(quantity), "avg_entry_price": "10"}
                for symbol, quantity in positions.items()
                if Decimal(str(quantity)) != 0
            ],
        }
        return self.send(AccountSnapshot.model_validate_json(json.dumps(body, default=str)))

    def broker(self, kind: str, order: Any, **fields: Any) -> list[Effect]:
        """Send what the broker says of an order."""
        body = {
            "kind": kind,
            "event_id": self.name("event"),
            "account_id": ACCOUNT,
            "at": self.now.isoformat(),
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
        }
        return self.send(EVENT.validate_json(json.dumps(body | fields, default=str)))

    def accept(self, order: Any) -> list[Effect]:
        return self.broker("order_accepted", order)

    def reject(self, order: Any, reason: str = "no") -> list[Effect]:
        return self.broker("order_rejected", order, reason=reason)

    def cancelled(self, order: Any, cumulative: Any = "0") -> list[Effect]:
        return self.broker("order_cancelled", order, cumulative_quantity=str(cumulative))

    def unknown(self, order: Any, reason: str = "timeout") -> list[Effect]:
        return self.broker("order_unknown", order, reason=reason)

    def fill(
        self,
        order: Any,
        price: Any = None,
        *,
        cumulative: Any = None,
        quantity: Any = None,
        fee: Any = "0",
        **fields: Any,
    ) -> list[Effect]:
        """Send a fill; by default the whole order at the symbol's last price."""
        cumulative = Decimal(str(order.quantity if cumulative is None else cumulative))
        known = self.row.live_order(order.client_order_id)
        before = known.filled if known is not None else Decimal(0)
        quantity = max(Decimal(1), cumulative - before) if quantity is None else quantity
        if price is None:
            holder: Position | Entry | None = self.row.position(order.symbol) or self.row.entry(order.symbol)
            assert holder is not None
            price = holder.last_price if isinstance(holder, Position) else holder.price
        body = {
            "fill_id": f"{order.client_order_id}:{cumulative:f}",
            "quantity": str(quantity),
            "price": str(price),
            "cumulative_quantity": str(cumulative),
            "leaves_quantity": str(max(Decimal(0), order.quantity - cumulative)),
            "fee": str(fee),
        }
        return self.broker("order_fill", order, **(body | fields))

    def command(self, kind: str, **fields: Any) -> Any:
        """Send a command and return its result, None where it has none."""
        body = {
            "kind": kind,
            "command_id": self.name("command"),
            "account_id": ACCOUNT,
            "issued_by": "operator",
            "at": self.now.isoformat(),
        }
        effects = self.send(EVENT.validate_json(json.dumps(body | fields, default=str)))
        return next((each for each in effects if getattr(each, "kind", None) == "command_result"), None)

    def configure(self, **changes: Any) -> Any:
        """Change the policy, confirmed where it must be, and return the last result."""
        result = self.command("update_config", version=self.row.policy.version, changes=changes)
        if result.confirmation_token is not None:
            result = self.command(
                "update_config",
                version=self.row.policy.version,
                changes=changes,
                confirmation_token=result.confirmation_token,
            )
        return result

    def stress(
        self, value: Any, *, name: str = "vix", at: dt.datetime | None = None, symbol: str | None = None
    ) -> list[Effect]:
        instant = (at or self.now).isoformat()
        reading = {"name": name, "value": str(value), "at": instant, "symbol": symbol}
        body = {"kind": "market_stress", "account_id": ACCOUNT, "at": self.now.isoformat(), "reading": reading}
        return self.send(EVENT.validate_json(json.dumps(body)))

    def macro(
        self,
        event_id: str = "macro",
        *,
        severity: str = "high",
        started_at: dt.datetime | None = None,
        seconds: int = 3600,
        **fields: Any,
    ) -> list[Effect]:
        """Send a classified macro event, by default of high severity and an hour from now on."""
        event = {"event_id": event_id, "severity": severity, "headline": "x", "estimated_duration_seconds": seconds}
        event |= {"started_at": (started_at or self.now).isoformat()} | fields
        body = {"kind": "macro_event", "account_id": ACCOUNT, "at": self.now.isoformat(), "event": event}
        return self.send(EVENT.validate_json(json.dumps(body)))

    def hold(
        self,
        symbol: str = "AAPL",
        quantity: int = 4,
        price: Any = "10",
        *,
        sector: str = "technology",
        atr: Any = "0.5",
        confidence: Any = "0.8",
        **fields: Any,
    ) -> Position:
        """Buy and hold at least one share and `quantity` at most; raise when the engine would not buy."""
        self.recommend(symbol, price=price, sector=sector, atr=atr, confidence=confidence, **fields)
        while (entry := self.row.entry(symbol)) is not None:
            live = self.row.live(symbol, side="buy")
            if live:
                self.fill(live[0], price)
            else:
                due = entry.first_sent_at + minutes(15 * entry.sent)
                self.mark(symbol, price, at=max(self.now, due - minutes(1)))
                self.live_to(max(self.now + minutes(1), due))
        position = self.row.position(symbol)
        assert position is not None, self.reason
        return position

    def of(self, kind: type[T], effects: list[Effect] | None = None) -> list[T]:
        return [each for each in (self.effects if effects is None else effects) if isinstance(each, kind)]

    def last(self, kind: type[T]) -> T:
        return self.of(kind)[-1]

    def records(self, kind: str, effects: list[Effect] | None = None) -> list[Any]:
        """Return the records of a kind, as `contracts.md` calls it."""
        return [each for each in (self.effects if effects is None else effects) if getattr(each, "kind", None) == kind]

    def orders(self, side: str | None = None, symbol: str | None = None) -> list[Order]:
        return [
            each
            for each in self.of(Order)
            if (side is None or each.side == side) and (symbol is None or each.symbol == symbol)
        ]

    @property
    def decisions(self) -> list[Decision]:
        return self.of(Decision)

    @property
    def cancels(self) -> list[OrderCancel]:
        return self.of(OrderCancel)

    @property
    def notifications(self) -> list[Notification]:
        return self.of(Notification)

    def levels(self, symbol: str) -> StopLevels | LevelsRemoved:
        return [
            each for each in self.effects if isinstance(each, StopLevels | LevelsRemoved) and each.symbol == symbol
        ][-1]

    def gate(self, name: str, decision: Decision | None = None) -> Any:
        decision = decision or self.decisions[-1]
        return next(gate for gate in decision.gates if gate.name == name)

    @property
    def reason(self) -> str | None:
        return self.decisions[-1].skip_reason


def as_bytes(effects: list[Effect]) -> list[bytes]:
    """Return the effects as they would be sent."""
    return [effect.model_dump_json().encode() for effect in effects]


__all__ = [
    "ACCOUNT",
    "MONDAY",
    "RECORD",
    "Desk",
    "LiveOrder",
    "as_bytes",
    "at",
    "days",
    "minutes",
    "policy",
    "row_hash",
]
