"""What each record becomes in PostgreSQL: the rows to write, and what has to be worked out anew afterwards."""

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import pydantic_core
from pydantic import BaseModel

from connectors import tables
from connectors.tables import Table
from streams.codec import Deletion
from streams.topics import Topic
from trading import inputs, records
from trading.deliveries import Delivery
from trading.effects import Decision, Notification, Order
from trading.portfolio import Position, hash_of
from trading.preferences import TARGETS, mask
from trading.records import AccountState

_PLAIN = (str, int, bool, Decimal, dt.datetime, dt.date, type(None))


class Write(NamedTuple):
    """One row for one statement."""

    table: str
    statement: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Change:
    """What one record asks of the database; `orders` and `decisions` name rows that others may have to follow."""

    writes: tuple[Write, ...] = ()
    orders: frozenset[str] = frozenset()
    decisions: frozenset[str] = frozenset()
    state: AccountState | None = None


def change_of(topic: Topic, model: Any, recorded_at: dt.datetime) -> Change:
    """Return what a record of a projected topic becomes; `recorded_at` stands in where it has no instant of its own."""
    if isinstance(model, Deletion):
        table = _DELETED_FROM[topic.name]
        return Change((Write(table.name, table.delete(), (model.key,)),))
    return _CHANGES[type(model)](model, recorded_at)


def row(table: Table, model: BaseModel, **others: Any) -> Write:
    """Return the row that a model makes in a table: its fields by name, `others` before them."""
    values = (others[name] if name in others else getattr(model, name) for name in table.columns)
    return Write(table.name, table.upsert(), tuple(map(_value, values)))


def position_rows(state: AccountState) -> list[Write]:
    """Return the rows of an account's open positions; raises `pydantic.ValidationError` for a row of another build."""
    held = [Position.model_validate_json(json.dumps(position)) for position in state.state["positions"]]
    return [row(tables.POSITIONS, position, account_id=state.account_id, at=state.at) for position in held]


def config_row(account_id: str, at: dt.datetime, config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return an account's policy and tier as the values of `trading_engine_config`, in the order of its columns."""
    policy = config["policy"]
    known = {"account_id": account_id, "at": at, "risk_tier": config["risk_tier"], "policy": policy}
    return tuple(_value(known[name] if name in known else number(policy[name])) for name in tables.CONFIG.columns)


def preferences_row(state: AccountState) -> tuple[Any, ...]:
    """Return an account's notification preferences as a row, by R19.9's names, targets masked."""
    shown = {name: mask(value) if name in TARGETS else value for name, value in state.state["preferences"].items()}
    known = {"account_id": state.account_id, "at": state.at} | shown
    return tuple(_value(known[name]) for name in tables.PREFERENCES.columns)


def without_targets(state: AccountState) -> AccountState:
    """Return a state as the tables may hold it: without phone number and address, its hash that of what is left.

    They are secrets that the log alone keeps; an account that begins from the tables has to be told them again.
    """
    preferences = state.state["preferences"]
    if all(preferences[name] is None for name in TARGETS):
        return state
    shown = {**state.state, "preferences": {**preferences, **dict.fromkeys(TARGETS)}}
    return state.model_copy(update={"state": shown, "hash": hash_of(pydantic_core.to_json(shown))})


def number(value: Any) -> Any:
    """Return a decimal string of the policy as the number it is, everything else as it is."""
    return Decimal(value) if isinstance(value, str) else value


def _value(value: Any) -> Any:
    """Return a column's value; what has parts becomes JSON with decimals as strings."""
    return value if isinstance(value, _PLAIN) else pydantic_core.to_json(value).decode()


def _plain(table: Table) -> Callable[[Any, dt.datetime], Change]:
    return lambda model, recorded_at: Change((row(table, model),))


def _at(table: Table, field: str) -> Callable[[Any, dt.datetime], Change]:
    return lambda model, recorded_at: Change((row(table, model, at=getattr(model, field)),))


def _recorded(table: Table) -> Callable[[Any, dt.datetime], Change]:
    return lambda model, recorded_at: Change((row(table, model, at=recorded_at),))


def _macro_event(event: inputs.MacroEvent, recorded_at: dt.datetime) -> Change:
    write = row(tables.MACRO_EVENTS, event, at=event.started_at, sectors=None)
    place = tables.MACRO_EVENTS.columns.index("sectors")
    sectors = None if event.sectors is None else list(event.sectors)  # an array, not JSON
    return Change((write._replace(values=(*write.values[:place], sectors, *write.values[place + 1 :])),))


def _decision(decision: Decision, recorded_at: dt.datetime) -> Change:
    at_decision = {
        "risk_tier_at_decision": decision.risk_tier,
        "portfolio_heat_at_decision": decision.portfolio_heat,
        "max_portfolio_heat_at_decision": decision.max_portfolio_heat,
        "active_pool_at_decision": decision.active_pool,
        "reserve_pool_at_decision": decision.reserve_pool,
    }
    write = row(tables.TRADING_DECISIONS, decision, **at_decision)
    return Change((write,), decisions=frozenset({decision.decision_id}))


def _order(order: Order, recorded_at: dt.datetime) -> Change:
    write = row(tables.ORDERS, order, at=order.created_at)
    return Change((write,), orders=frozenset({order.client_order_id}))


def _notification(message: Notification, recorded_at: dt.datetime) -> Change:
    """Keep a message once; its channel is known where it is meant for one alone."""
    names = ["notification_id", "account_id", "created_at", "channel", "event_type", "severity", "subject", "body"]
    values = tuple(getattr(message, name) for name in names)
    return Change((Write(tables.NOTIFICATIONS.name, tables.NEW_MESSAGE, values),))


def _delivery(delivery: Delivery, recorded_at: dt.datetime) -> Change:
    """Keep how a message stands on a channel, in a row of that channel."""
    written = row(tables.NOTIFICATIONS, delivery, at=delivery.created_at, changed_at=delivery.at)
    writes = [written._replace(statement=tables.DELIVERY)]
    if delivery.channel is not None:
        whose = (delivery.notification_id, delivery.channel)
        writes.insert(0, Write(tables.NOTIFICATIONS.name, tables.CHANNEL_OF_MESSAGE, whose))
    return Change(tuple(writes))


def _order_status(status: records.OrderStatus, recorded_at: dt.datetime) -> Change:
    return Change((row(tables.ORDER_STATUSES, status),), orders=frozenset({status.client_order_id}))


def _fill(fill: records.Fill, recorded_at: dt.datetime) -> Change:
    return Change((row(tables.FILLS, fill),), orders=frozenset({fill.client_order_id}))


def _other(record: Any, recorded_at: dt.datetime) -> Change:
    decision_id = getattr(record, "decision_id", None)
    write = row(
        tables.ACCOUNT_RECORDS,
        record,
        symbol=getattr(record, "symbol", None),
        decision_id=decision_id,
        record=record,
    )
    return Change((write,), decisions=frozenset({decision_id} if decision_id else ()))


def _state(state: AccountState, recorded_at: dt.datetime) -> Change:
    return Change(state=state)


def _nothing(record: Any, recorded_at: dt.datetime) -> Change:
    """Keep no row: a repeated recommendation yields none, whatever else it says."""
    return Change()


_DELETED_FROM = {"companies": tables.COMPANIES, "earnings-dates": tables.EARNINGS_CALENDAR}

_CHANGES: dict[type, Callable[[Any, dt.datetime], Change]] = {
    inputs.Recommendation: _at(tables.RECOMMENDATIONS, "generated_at"),
    inputs.Company: _recorded(tables.COMPANIES),
    inputs.PriceBar: _plain(tables.PRICE_BARS),
    inputs.MacroEvent: _macro_event,
    inputs.EarningsDate: _recorded(tables.EARNINGS_CALENDAR),
    Decision: _decision,
    Order: _order,
    Notification: _notification,
    Delivery: _delivery,
    records.LedgerEntry: _plain(tables.LEDGER),
    records.TierChange: _plain(tables.RISK_TIER_HISTORY),
    records.BreakerEvent: _plain(tables.BREAKER_EVENTS),
    records.StopLevelSet: _plain(tables.STOP_LEVELS),
    records.Lot: _plain(tables.TAX_LOTS),
    records.Fill: _fill,
    records.Trade: _plain(tables.TRADES),
    records.OrderStatus: _order_status,
    records.HeatMeasured: _plain(tables.PORTFOLIO_HEAT),
    records.Metrics: _plain(tables.PERFORMANCE_METRICS),
    records.Snapshot: _plain(tables.PORTFOLIO_SNAPSHOTS),
    records.ConfigChange: _plain(tables.CONFIG_AUDIT),
    records.Alert: _plain(tables.ALERTS),
    records.CommandResult: _other,
    records.Queued: _other,
    records.Reconciliation: _other,
    records.RebalanceRationale: _other,
    records.WashSale: _other,
    records.AccountState: _state,
    records.Duplicate: _nothing,
}


def states(changes: Iterable[Change]) -> list[AccountState]:
    """Return the newest state of each account."""
    newest: dict[str, AccountState] = {}
    for change in changes:
        state = change.state
        if state is not None and (state.account_id not in newest or state.seq > newest[state.account_id].seq):
            newest[state.account_id] = state
    return list(newest.values())
