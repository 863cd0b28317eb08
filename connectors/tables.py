"""The tables that the projection writes: their columns, their id, and what a repeated id means. One line a table.

Most columns are named as the fields of the record that fills them. Money goes into NUMERIC as the Decimal it is.
"""

import functools
from typing import Literal, NamedTuple

OnRepeat = Literal["keep", "replace", "newer"]


class Table(NamedTuple):
    """A table and how it is written.

    A row whose id is there already is kept as it is (`keep`: append only), replaced (`replace`: the last one counts),
    or replaced unless the new one is older by `cause`, the inbox offset (`newer`).
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    on_repeat: OnRepeat = "keep"

    @functools.cache  # noqa: B019 - tables are constants
    def upsert(self) -> str:
        """Return the statement that writes one row, its columns in order."""
        names = ", ".join(f'"{column}"' for column in self.columns)
        values = ", ".join(f"${number}" for number in range(1, len(self.columns) + 1))
        key = ", ".join(f'"{column}"' for column in self.key)
        changes = ", ".join(f'"{column}" = EXCLUDED."{column}"' for column in self.columns if column not in self.key)
        action = "DO NOTHING" if self.on_repeat == "keep" else f"DO UPDATE SET {changes}"
        if self.on_repeat == "newer":
            action += f" WHERE EXCLUDED.cause >= {self.name}.cause"
        return f"INSERT INTO {self.name} ({names}) VALUES ({values}) ON CONFLICT ({key}) {action}"  # noqa: S608

    @functools.cache  # noqa: B019
    def delete(self) -> str:
        """Return the statement that removes the row of an id."""
        condition = " AND ".join(f'"{column}" = ${number}' for number, column in enumerate(self.key, 1))
        return f"DELETE FROM {self.name} WHERE {condition}"  # noqa: S608


def _table(name: str, key: str, columns: str, on_repeat: OnRepeat = "keep") -> Table:
    return Table(name, tuple(key.split()), tuple(columns.split()), on_repeat)


RECOMMENDATIONS = _table(
    "recommendations",
    "recommendation_id",
    "recommendation_id at symbol action mode confidence generated_at expires_at thesis reference_price",
)
COMPANIES = _table("companies", "symbol", "symbol at name sector", "replace")
PRICE_BARS = _table("price_bars", "symbol interval at", "symbol interval at open high low close volume", "replace")
MACRO_EVENTS = _table(
    "macro_events",
    "event_id",
    "event_id at severity headline started_at estimated_duration_seconds sectors",
    "replace",
)
EARNINGS_CALENDAR = _table("earnings_calendar", "symbol", "symbol at earnings_on session source reported_at", "replace")
TRADING_DECISIONS = _table(
    "trading_decisions",
    "decision_id",
    "decision_id account_id at cause source_type source_id recommendation_id symbol decision skip_reason gates "
    "computed_position_size quantity risk_tier_at_decision portfolio_heat_at_decision max_portfolio_heat_at_decision "
    "active_pool_at_decision reserve_pool_at_decision circuit_breaker_status correlation_check_result "
    "sector_exposure_check_result earnings_proximity_flag policy_version decided_at confidence purpose sizing source",
)
ORDERS = _table(
    "orders",
    "client_order_id",
    "client_order_id account_id at decision_id symbol side quantity order_type limit_price time_in_force purpose "
    "tranche of_tranches valid_until created_at",
)
NOTIFICATIONS = _table(
    "notifications",
    "delivery_id",
    "notification_id account_id at channel event_type severity subject body delivery_status attempts detail changed_at",
)
NEW_MESSAGE = """
INSERT INTO notifications (notification_id, account_id, at, channel, event_type, severity, subject, body)
SELECT $1::text, $2::text, $3::timestamptz, $4::text, $5::text, $6::text, $7::text, $8::text
WHERE NOT EXISTS (SELECT FROM notifications WHERE notification_id = $1)
"""
"""A message that nobody has begun to deliver; once a channel has a row of it, there is none of the message alone."""
CHANNEL_OF_MESSAGE = "UPDATE notifications SET channel = $2 WHERE notification_id = $1 AND channel IS NULL"
"""The first channel's row is the message's own."""
DELIVERY = NOTIFICATIONS.upsert().replace("DO NOTHING", "DO UPDATE SET ") + (
    "delivery_status = EXCLUDED.delivery_status, attempts = EXCLUDED.attempts, detail = EXCLUDED.detail, "
    "changed_at = EXCLUDED.changed_at WHERE notifications.delivery_status = 'pending'"
)
"""How a message stands on a channel; what is final stays."""
LEDGER = _table(
    "reserve_pool_ledger",
    "entry_id",
    "entry_id account_id at cause seq amount balance_after trigger trade_id fill_id reason",
)
RISK_TIER_HISTORY = _table(
    "risk_tier_history", "change_id", "change_id account_id at cause previous_tier new_tier source metrics"
)
BREAKER_EVENTS = _table(
    "circuit_breaker_events",
    "event_id",
    "event_id account_id at cause event trigger symbol threshold actual_value until",
)
STOP_LEVELS = _table(
    "position_stop_levels",
    "level_id",
    "level_id account_id at cause position_id symbol revision stop_price target_price entry_price atr multiplier "
    "reward_risk_ratio signal_confidence reason last_price factor",
)
TAX_LOTS = _table(
    "tax_lots",
    "lot_id",
    "lot_id account_id at cause position_id symbol acquired_at quantity open_quantity cost_basis_per_share status "
    "closed_at disallowed_loss decision_id",
    "newer",
)
FILLS = _table(
    "fills",
    "fill_id",
    "fill_id account_id at cause client_order_id symbol side quantity price fee cumulative_quantity",
)
TRADES = _table(
    "trades",
    "trade_id",
    "trade_id account_id at cause client_order_id position_id symbol entry_price exit_price quantity opened_at "
    "closed_at realized_pnl realized_pnl_pct tax_adjusted_pnl wash_sale disallowed_loss exit_purpose "
    "recommendation_id is_micro",
    "newer",
)
ORDER_STATUSES = _table(
    "order_statuses", "record_id", "record_id account_id at cause client_order_id status filled_quantity reason"
)
PORTFOLIO_HEAT = _table("portfolio_heat", "record_id", "record_id account_id at cause heat max_heat active_pool")
PERFORMANCE_METRICS = _table("performance_metrics", "record_id", "record_id account_id at cause metrics")
PORTFOLIO_SNAPSHOTS = _table(
    "portfolio_snapshots",
    "account_id session_on",
    "account_id session_on at cause portfolio_value active_pool reserve_pool daily_return cumulative_return "
    "positions metrics",
)
CONFIG_AUDIT = _table(
    "config_audit", "record_id", "record_id account_id at cause version before after source issued_by"
)
ALERTS = _table("alerts", "record_id", "record_id account_id at cause severity subject body symbol")
ACCOUNT_RECORDS = _table("account_records", "record_id", "record_id account_id at cause kind symbol decision_id record")
POSITIONS = _table(
    "positions",
    "position_id",
    "position_id account_id at symbol sector quantity avg_entry_price last_price market_value unrealized_pnl "
    "stop_price target_price confidence is_micro opened_at",
    "replace",
)

ACCOUNT_STATE = """
WITH before AS (
    SELECT jsonb_build_object('policy', state -> 'policy', 'risk_tier', state -> 'risk_tier') AS config
    FROM account_states WHERE account_id = $1
)
INSERT INTO account_states (account_id, at, seq, state, hash, log_id)
VALUES ($1, $2, $3, $4, $5, (SELECT max(topic_id) FROM projection_offsets WHERE topic = 'records'))
ON CONFLICT (account_id) DO UPDATE
    SET at = EXCLUDED.at, seq = EXCLUDED.seq, state = EXCLUDED.state, hash = EXCLUDED.hash, log_id = EXCLUDED.log_id
    WHERE EXCLUDED.seq > account_states.seq
RETURNING (SELECT config FROM before) AS before
"""
"""Gives a row back only where the state is newer than the one that is there; `before` is its policy and tier."""

CLOSED_POSITIONS = "DELETE FROM positions WHERE account_id = $1 AND position_id <> ALL ($2::text[])"

_CONFIG_COLUMNS = (
    "account_id at version enabled risk_tier reserve_siphon_pct polling_interval_seconds gradual_entry_tranches "
    "daily_loss_pct position_loss_pct ticker_cooldown_hours market_stress_threshold stop_cluster_count "
    "stop_cluster_minutes breaker_pause_minutes micro_trading_enabled policy"
)
CONFIG = _table("trading_engine_config", "account_id", _CONFIG_COLUMNS, "replace")
NEW_CONFIG = CONFIG._replace(on_repeat="keep")
CONFIG_ROW = "SELECT * FROM trading_engine_config WHERE account_id = $1"
EDITED_CONFIG = """
SELECT trading_engine_config.*, trading_engine_config.xmin::text AS edited_in, account_states.at AS state_at, seq,
    jsonb_build_object('policy', state -> 'policy', 'risk_tier', state -> 'risk_tier') AS config
FROM trading_engine_config JOIN account_states USING (account_id) WHERE account_id = $1
"""
"""The config as it is, the transaction that wrote it, and the policy and tier that were last projected."""
LOCKED_STATE = "SELECT FROM account_states WHERE account_id = $1 FOR SHARE"
LOCKED_CONFIG = "SELECT FROM trading_engine_config WHERE account_id = $1 FOR UPDATE"
COMMAND_RESULT = """
SELECT record FROM account_records
WHERE account_id = $1 AND kind = 'command_result' AND record ->> 'command_id' = $2 ORDER BY cause LIMIT 1
"""

PREFERENCES = _table(
    "notification_preferences",
    "account_id",
    "account_id at version channels sms_target email_target event_types sms_per_hour emails_per_hour "
    "summary_minutes_after_close",
    "replace",
)
PREFERENCES_UPSERT = PREFERENCES.upsert() + " WHERE notification_preferences.version <> EXCLUDED.version"

CORRELATIONS = _table(
    "correlation_matrix_cache",
    "computed_on symbol_a symbol_b",
    "computed_on symbol_a symbol_b at correlation observations",
    "replace",
)
CORRELATIONS_UPSERT = (
    CORRELATIONS.upsert()
    + " WHERE (correlation_matrix_cache.correlation, correlation_matrix_cache.observations)"
    + " IS DISTINCT FROM (EXCLUDED.correlation, EXCLUDED.observations)"
)
COMPUTED_LAST = "SELECT max(computed_on) FROM correlation_matrix_cache"
DAYS_OF_BARS = """
SELECT (at AT TIME ZONE 'UTC')::date AS day, max(at) AS at FROM price_bars
WHERE "interval" = '1d' AND at >= coalesce(
    $1::date::timestamp AT TIME ZONE 'UTC',
    (SELECT max(at) - interval '1 day' FROM price_bars WHERE "interval" = '1d')
)
GROUP BY 1 ORDER BY 1
"""
"""The days of daily bars, with the close of each, from a date on; without one those of the newest bar's last 24 h."""
CLOSES = """
SELECT symbol, day, close FROM companies CROSS JOIN LATERAL (
    SELECT (at AT TIME ZONE 'UTC')::date AS day, close FROM price_bars
    WHERE price_bars.symbol = companies.symbol AND "interval" = '1d' AND at <= $1 ORDER BY at DESC LIMIT $2
) AS bars ORDER BY symbol, day
"""

ORDER_PROGRESS = """
UPDATE orders SET
    filled_quantity = seen.filled,
    status = CASE WHEN seen.filled >= orders.quantity THEN 'filled' ELSE seen.status END,
    status_reason = seen.reason
FROM (
    SELECT
        (array_agg(status ORDER BY cause DESC, rank DESC))[1] AS status,
        (array_agg(reason ORDER BY cause DESC, rank DESC))[1] AS reason,
        max(filled) AS filled
    FROM (
        SELECT status, reason, filled_quantity AS filled, cause, array_position(
            ARRAY['new', 'unknown', 'accepted', 'partially_filled', 'filled', 'cancelled', 'rejected'], status
        ) AS rank
        FROM order_statuses WHERE client_order_id = $1
        UNION ALL
        SELECT 'partially_filled', NULL, cumulative_quantity, cause, 0 FROM fills WHERE client_order_id = $1
    ) AS events
) AS seen
WHERE orders.client_order_id = $1 AND seen.status IS NOT NULL
"""
"""Sets an order's status and filled quantity from everything that is known of it, whichever came first."""

DECISION_WASH_SALE = """
UPDATE trading_decisions SET wash_sale = true
WHERE decision_id = $1 AND NOT wash_sale
    AND EXISTS (SELECT FROM account_records WHERE decision_id = $1 AND kind = 'wash_sale')
"""

OFFSETS = "SELECT topic, partition, next_offset, topic_id FROM projection_offsets"
BEGIN_AT = """
INSERT INTO projection_offsets (topic, partition, next_offset, topic_id) VALUES ($1, $2, $3, $4)
ON CONFLICT (topic, partition) DO UPDATE
    SET next_offset = EXCLUDED.next_offset, topic_id = EXCLUDED.topic_id, updated_at = now()
"""
MOVE_OFFSET = """
INSERT INTO projection_offsets (topic, partition, next_offset) VALUES ($1, $2, $3)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset, updated_at = now()
"""

ALL_COMPANIES = "SELECT symbol, name, sector FROM companies ORDER BY symbol"
ALL_EARNINGS = "SELECT symbol, earnings_on, session, source, reported_at FROM earnings_calendar ORDER BY symbol"
NEWEST_BARS = """
SELECT bars.* FROM (SELECT DISTINCT symbol FROM price_bars WHERE "interval" = '1d') AS known CROSS JOIN LATERAL (
    SELECT symbol, "interval", at, open, high, low, close, volume FROM price_bars
    WHERE price_bars.symbol = known.symbol AND "interval" = '1d' ORDER BY at DESC LIMIT $1
) AS bars ORDER BY symbol, at
"""
"""What is known of the market, for a log that has lost it."""
