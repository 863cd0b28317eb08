"""The schema is the contract: R18.1's tables, the columns of `contracts.md`, one id a row, closed vocabularies."""

from typing import Any, get_args

import asyncpg
import pytest
from pydantic import BaseModel

from migrations.runner import migrate
from trading import effects, inputs, records

pytestmark = pytest.mark.integration

R18_1 = {
    "trading_engine_config",
    "reserve_pool_ledger",
    "risk_tier_history",
    "circuit_breaker_events",
    "trading_decisions",
    "position_stop_levels",
    "portfolio_snapshots",
    "backtest_runs",
    "backtest_trades",
    "tax_lots",
    "earnings_calendar",
    "correlation_matrix_cache",
}

# Copied from the table "PostgreSQL" of `contracts.md`, and R17.1's and R16.1's names.
CONTRACT = {
    "trading_decisions": "recommendation_id decision skip_reason computed_position_size risk_tier_at_decision "
    "portfolio_heat_at_decision active_pool_at_decision reserve_pool_at_decision circuit_breaker_status "
    "correlation_check_result sector_exposure_check_result earnings_proximity_flag timestamp "
    "decision_id source_type source_id symbol gates quantity policy_version decided_at wash_sale",
    "orders": "client_order_id decision_id account_id symbol side quantity order_type limit_price time_in_force "
    "purpose tranche of_tranches valid_until created_at filled_quantity status",
    "fills": "fill_id client_order_id symbol side quantity price fee",
    "positions": "position_id symbol sector quantity avg_entry_price last_price market_value unrealized_pnl stop_price "
    "target_price confidence is_micro opened_at",
    "tax_lots": "lot_id symbol acquired_at quantity open_quantity cost_basis_per_share status closed_at "
    "disallowed_loss decision_id",
    "trades": "trade_id symbol entry_price exit_price quantity opened_at closed_at realized_pnl realized_pnl_pct "
    "tax_adjusted_pnl wash_sale disallowed_loss exit_purpose recommendation_id is_micro",
    "position_stop_levels": "level_id position_id symbol revision stop_price target_price entry_price atr multiplier "
    "reward_risk_ratio signal_confidence reason",
    "reserve_pool_ledger": "entry_id seq amount balance_after trigger trade_id fill_id",
    "circuit_breaker_events": "event_id event trigger symbol threshold actual_value until",
    "risk_tier_history": "change_id previous_tier new_tier source metrics",
    "trading_engine_config": "version enabled risk_tier reserve_siphon_pct polling_interval_seconds "
    "gradual_entry_tranches policy",
    "config_audit": "version before after source issued_by",
    "portfolio_heat": "heat max_heat active_pool",
    "portfolio_snapshots": "session_on portfolio_value active_pool reserve_pool daily_return cumulative_return "
    "positions metrics",
    "earnings_calendar": "symbol earnings_on session source reported_at",
    "correlation_matrix_cache": "computed_on symbol_a symbol_b correlation observations",
    "notifications": "notification_id channel event_type severity subject body delivery_status attempts",
    "notification_preferences": "version channels sms_target email_target event_types sms_per_hour emails_per_hour "
    "summary_minutes_after_close",
    "account_states": "account_id seq state hash",
    "backtest_runs": "backtest_id",
    "backtest_trades": "backtest_id",
    "recommendations": "recommendation_id",
    "companies": "symbol",
    "price_bars": "symbol",
    "macro_events": "event_id",
    "performance_metrics": "metrics",
    "alerts": "severity",
    "projection_offsets": "topic partition next_offset",
}

VOCABULARIES: list[tuple[str, str, type[BaseModel], str]] = [
    ("recommendations", "action", inputs.Recommendation, "action"),
    ("recommendations", "mode", inputs.Recommendation, "mode"),
    ("price_bars", "interval", inputs.PriceBar, "interval"),
    ("macro_events", "severity", inputs.MacroEvent, "severity"),
    ("earnings_calendar", "session", inputs.EarningsDate, "session"),
    ("trading_decisions", "decision", effects.Decision, "decision"),
    ("trading_decisions", "source_type", effects.Decision, "source_type"),
    ("trading_decisions", "skip_reason", effects.Gate, "name"),
    ("trading_decisions", "risk_tier_at_decision", effects.Decision, "risk_tier"),
    ("trading_decisions", "circuit_breaker_status", effects.Decision, "circuit_breaker_status"),
    ("trading_decisions", "earnings_proximity_flag", effects.Decision, "earnings_proximity_flag"),
    ("trading_decisions", "purpose", effects.Order, "purpose"),
    ("orders", "side", effects.Order, "side"),
    ("orders", "order_type", effects.Order, "order_type"),
    ("orders", "time_in_force", effects.Order, "time_in_force"),
    ("orders", "purpose", effects.Order, "purpose"),
    ("orders", "status", records.OrderStatus, "status"),
    ("order_statuses", "status", records.OrderStatus, "status"),
    ("fills", "side", records.Fill, "side"),
    ("tax_lots", "status", records.Lot, "status"),
    ("position_stop_levels", "reason", records.StopLevelSet, "reason"),
    ("reserve_pool_ledger", "trigger", records.LedgerEntry, "trigger"),
    ("circuit_breaker_events", "event", records.BreakerEvent, "event"),
    ("circuit_breaker_events", "trigger", records.BreakerEvent, "trigger"),
    ("risk_tier_history", "source", records.TierChange, "source"),
    ("risk_tier_history", "new_tier", records.TierChange, "new_tier"),
    ("config_audit", "source", records.ConfigChange, "source"),
    ("alerts", "severity", records.Alert, "severity"),
    ("notifications", "event_type", effects.Notification, "event_type"),
    ("notifications", "severity", effects.Notification, "severity"),
]


@pytest.fixture
async def connection(database: str) -> Any:
    await migrate(database)
    connected = await asyncpg.connect(database)
    yield connected
    await connected.close()


async def columns(connection: asyncpg.Connection) -> dict[str, set[str]]:
    rows = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    )
    tables: dict[str, set[str]] = {}
    for table, column in rows:
        tables.setdefault(table, set()).add(column)
    return tables


async def test_our_own_migrations_apply_and_the_second_run_does_nothing(database: str) -> None:
    assert await migrate(database) == [
        "001_upstream",
        "018_trading_engine",
        "021_log_identity",
        "022_message_delivery",
    ]
    assert await migrate(database) == []


@pytest.mark.covers("R18.1")
async def test_every_table_has_the_columns_of_the_contract(connection: asyncpg.Connection) -> None:
    tables = await columns(connection)
    assert tables.keys() >= R18_1
    missing = {table: set(names.split()) - tables.get(table, set()) for table, names in CONTRACT.items()}
    assert {table: names for table, names in missing.items() if names} == {}


async def test_every_table_has_an_account_an_instant_and_a_unique_id(connection: asyncpg.Connection) -> None:
    tables = await columns(connection)
    for table in tables.keys() - {"schema_migrations", "projection_offsets"}:
        assert tables[table] >= {"account_id", "at"}, table
    unique = await connection.fetch("SELECT DISTINCT indrelid::regclass::text FROM pg_index WHERE indisunique")
    assert {row[0] for row in unique} >= tables.keys()


async def test_money_is_numeric_without_a_scale_and_instants_know_their_zone(connection: asyncpg.Connection) -> None:
    types = await connection.fetch(
        "SELECT table_name, column_name, data_type, numeric_scale FROM information_schema.columns"
        " WHERE table_schema = 'public'"
    )
    assert [
        row for row in types if row["data_type"] in {"real", "double precision", "timestamp without time zone"}
    ] == []
    assert [row for row in types if row["data_type"] == "numeric" and row["numeric_scale"] is not None] == []


async def test_a_closed_vocabulary_is_that_of_the_topic(connection: asyncpg.Connection) -> None:
    checks = await connection.fetch(
        """
        SELECT c.conrelid::regclass::text, a.attname, pg_get_constraintdef(c.oid) FROM pg_constraint c
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey)
        WHERE c.contype = 'c' AND cardinality(c.conkey) = 1
        """
    )
    words = {(table, column): set(definition.split("'")[1::2]) for table, column, definition in checks}
    for table, column, model, field in VOCABULARIES:
        assert words[table, column] == set(get_args(model.model_fields[field].annotation)), (table, column)


async def test_a_role_named_stonks_reader_may_read_every_table(database: str) -> None:
    owner = await asyncpg.connect(database)
    created = not await owner.fetchval("SELECT 1 FROM pg_roles WHERE rolname = 'stonks_reader'")
    if created:
        await owner.execute("CREATE ROLE stonks_reader")
    try:
        await migrate(database)
        unreadable = await owner.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            " AND NOT has_table_privilege('stonks_reader', oid, 'SELECT')"
        )
        assert unreadable == []
        assert not await owner.fetchval(
            "SELECT has_table_privilege('stonks_reader', 'orders', 'INSERT, UPDATE, DELETE')"
        )
    finally:
        if created:
            await owner.execute("DROP OWNED BY stonks_reader; DROP ROLE stonks_reader")
        await owner.close()


LISTS = [
    ("trading_decisions", "", "decided_at, cause, decision_id"),
    ("trading_decisions", "AND symbol = 'AAPL'", "decided_at, cause, decision_id"),
    ("trading_decisions", "AND decision = 'act'", "decided_at, cause, decision_id"),
    ("orders", "", "created_at, client_order_id"),
    ("orders", "AND symbol = 'AAPL'", "created_at, client_order_id"),
    ("trades", "", "closed_at, trade_id"),
    ("tax_lots", "", "acquired_at, lot_id"),
    ("position_stop_levels", "", "at, cause, revision, level_id"),
    ("reserve_pool_ledger", "", "seq"),
    ("risk_tier_history", "", "at, cause, change_id"),
    ("circuit_breaker_events", "", "at, cause, event_id"),
    ("alerts", "", "at, cause, record_id"),
    ("fills", "", "at, fill_id"),
    ("notifications", "", "at, delivery_id"),
    ("performance_metrics", "", "at, cause, record_id"),
    ("portfolio_snapshots", "", "session_on"),
]


async def test_a_page_of_a_list_is_read_from_an_index(connection: asyncpg.Connection) -> None:
    """Newest first, from any cursor on, without sorting what there is."""
    await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_incremental_sort = off")
    for table, where, order in LISTS:
        newest_first = order.replace(",", " DESC,") + " DESC"
        query = f"SELECT * FROM {table} WHERE account_id = 'paper' {where} ORDER BY {newest_first} LIMIT 51"  # noqa: S608
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {query}"))
        assert "Index Scan Backward" in plan, query
        assert "Sort" not in plan, query
