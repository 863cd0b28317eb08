"""Rows as the projection writes them, for the tests to read back through the API."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import asyncpg

from tests.api.engine_double import NOON

CHECK = json.dumps({"result": "passed", "value": "0.10", "limit": "0.30", "factor": "1"})


def later(minutes: float) -> dt.datetime:
    """Return an instant so many minutes after noon."""
    return NOON + dt.timedelta(minutes=minutes)


def decision(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of `trading_decisions`."""
    at = changes.pop("decided_at", later(number))
    return {
        "decision_id": f"decision-{number}",
        "account_id": "paper",
        "at": at,
        "cause": number,
        "source_type": "recommendation",
        "source_id": f"recommendation-{number}",
        "recommendation_id": f"recommendation-{number}",
        "symbol": "AAPL",
        "decision": "act",
        "skip_reason": None,
        "gates": json.dumps([{"name": "expired", "passed": True, "value": "x", "limit": "y"}]),
        "computed_position_size": Decimal("25.00"),
        "quantity": Decimal(1),
        "risk_tier_at_decision": "moderate",
        "portfolio_heat_at_decision": Decimal("0.0"),
        "max_portfolio_heat_at_decision": Decimal("100.00"),
        "active_pool_at_decision": Decimal("500.00"),
        "reserve_pool_at_decision": Decimal(0),
        "circuit_breaker_status": "inactive",
        "correlation_check_result": CHECK,
        "sector_exposure_check_result": CHECK,
        "earnings_proximity_flag": "none",
        "policy_version": 1,
        "decided_at": at,
        "confidence": Decimal("0.80"),
        "purpose": "entry",
        "sizing": json.dumps({"formula": "25.00", "quantity": "1"}),
        "source": json.dumps({"recommendation_id": f"recommendation-{number}", "thesis": "<b>up</b>"}),
    } | changes


def order(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of `orders`."""
    return {
        "client_order_id": f"order-{number}",
        "account_id": "paper",
        "at": later(number),
        "decision_id": f"decision-{number}",
        "symbol": "AAPL",
        "side": "buy",
        "quantity": Decimal(1),
        "order_type": "market",
        "time_in_force": "day",
        "purpose": "entry",
        "tranche": 1,
        "of_tranches": 1,
        "created_at": later(number),
    } | changes


def fill(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of `fills`."""
    return {
        "fill_id": f"order-{number}:1",
        "account_id": "paper",
        "at": later(number),
        "cause": number,
        "client_order_id": f"order-{number}",
        "symbol": "AAPL",
        "side": "buy",
        "quantity": Decimal(1),
        "price": Decimal("187.10"),
        "fee": Decimal("0.00"),
        "cumulative_quantity": Decimal(1),
    } | changes


def position(**changes: Any) -> dict[str, Any]:
    """Return a row of `positions`."""
    return {
        "position_id": "position-1",
        "account_id": "paper",
        "at": NOON,
        "symbol": "AAPL",
        "sector": "Technology",
        "quantity": Decimal(1),
        "avg_entry_price": Decimal("187.10"),
        "last_price": Decimal("187.1000"),
        "market_value": Decimal("187.1000"),
        "unrealized_pnl": Decimal("0.0000"),
        "stop_price": Decimal("180.01"),
        "target_price": Decimal("199.99"),
        "confidence": Decimal("0.8"),
        "is_micro": False,
        "opened_at": NOON,
    } | changes


def lot(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of `tax_lots`."""
    return {
        "lot_id": f"lot-{number}",
        "account_id": "paper",
        "at": later(number),
        "cause": number,
        "position_id": "position-1",
        "symbol": "AAPL",
        "acquired_at": later(number),
        "quantity": Decimal(2),
        "open_quantity": Decimal(1),
        "cost_basis_per_share": Decimal("187.123456789012"),
        "status": "open",
        "disallowed_loss": Decimal("0.00"),
        "decision_id": "decision-1",
    } | changes


def trade(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of `trades`."""
    return {
        "trade_id": f"trade-{number}",
        "account_id": "paper",
        "at": later(number),
        "cause": number,
        "client_order_id": f"order-{number}",
        "position_id": "position-1",
        "symbol": "AAPL",
        "entry_price": Decimal("100.00"),
        "exit_price": Decimal("99.99"),
        "quantity": Decimal(1),
        "opened_at": NOON,
        "closed_at": later(number),
        "realized_pnl": Decimal("-0.01"),
        "realized_pnl_pct": Decimal("-0.000100000"),
        "tax_adjusted_pnl": Decimal("0.00"),
        "wash_sale": True,
        "disallowed_loss": Decimal("0.01"),
        "exit_purpose": "stop_loss",
        "recommendation_id": "recommendation-1",
        "is_micro": False,
    } | changes


def stop(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of `position_stop_levels`."""
    return {
        "level_id": f"level-{number}",
        "account_id": "paper",
        "at": later(number),
        "cause": number,
        "position_id": "position-1",
        "symbol": "AAPL",
        "revision": number,
        "stop_price": Decimal("180.01"),
        "target_price": Decimal("199.99"),
        "entry_price": Decimal("187.10"),
        "atr": Decimal("3.543210000"),
        "multiplier": Decimal("2.0"),
        "reward_risk_ratio": Decimal("1.5"),
        "signal_confidence": Decimal("0.8"),
        "reason": "opened",
        "last_price": Decimal("187.10"),
        "factor": None,
    } | changes


def ledger_entry(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of `reserve_pool_ledger`: each adds a cent and a half dollar."""
    return {
        "entry_id": f"entry-{number}",
        "account_id": "paper",
        "at": later(number),
        "cause": number,
        "seq": number,
        "amount": Decimal("0.51"),
        "balance_after": Decimal("0.51") * number,
        "trigger": "profit_siphon",
        "trade_id": f"trade-{number}",
        "fill_id": f"order-{number}:1",
    } | changes


def metrics(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of `performance_metrics`."""
    return {
        "record_id": f"metrics-{number}",
        "account_id": "paper",
        "at": later(number),
        "cause": number,
        "metrics": json.dumps({"total_value": "500.10", "sharpe_ratio": None, "win_count": number}),
    } | changes


def snapshot(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of `portfolio_snapshots`, a day each."""
    return {
        "account_id": "paper",
        "session_on": NOON.date() + dt.timedelta(days=number),
        "at": later(number),
        "cause": number,
        "portfolio_value": Decimal("500.10"),
        "active_pool": Decimal("480.10"),
        "reserve_pool": Decimal("20.00"),
        "daily_return": None,
        "cumulative_return": Decimal("0.000200000"),
        "positions": json.dumps([{"symbol": "AAPL", "unrealized_pnl": "0.10"}]),
        "metrics": json.dumps({"win_rate": "0.5"}),
    } | changes


def notification(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of `notifications`."""
    return {
        "notification_id": f"notification-{number}",
        "account_id": "paper",
        "at": later(number),
        "event_type": "tier_changed",
        "severity": "info",
        "subject": "Risk tier",
        "body": "moderate to conservative",
    } | changes


def earnings_date(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of `earnings_calendar`, a day each."""
    return {
        "symbol": f"S{number}",
        "at": later(number),
        "earnings_on": NOON.date() + dt.timedelta(days=number),
        "session": "amc",
        "source": "operator",
    } | changes


async def insert(database: str, table: str, *rows: dict[str, Any]) -> None:
    """Write rows into a table."""
    connection = await asyncpg.connect(database)
    try:
        for row in rows:
            columns = ", ".join(f'"{column}"' for column in row)
            places = ", ".join(f"${number}" for number, _ in enumerate(row, 1))
            await connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", *row.values())  # noqa: S608
    finally:
        await connection.close()
