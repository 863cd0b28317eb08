-- The trading engine's tables: a projection of its topics for audit, queries and a cold start (R18).
-- Every row has its id (unique, so that projecting twice changes nothing), its account and `at`, the event time.
-- `cause` is the offset in `account-inbox` of the event that made the row. Nothing refers to another table by a foreign
-- key: the topics are projected independently of each other, in any order.
-- Lists are read newest first: their indexes hold every column of the order, and are read backwards.

-- R18.1

CREATE TABLE trading_engine_config (
    account_id text PRIMARY KEY,
    at timestamptz NOT NULL,
    version bigint NOT NULL,
    enabled boolean NOT NULL,
    risk_tier text NOT NULL CHECK (risk_tier IN ('conservative', 'moderate', 'aggressive')),
    reserve_siphon_pct numeric NOT NULL,
    polling_interval_seconds integer NOT NULL,
    gradual_entry_tranches integer NOT NULL,
    daily_loss_pct numeric NOT NULL,
    position_loss_pct numeric NOT NULL,
    ticker_cooldown_hours integer NOT NULL,
    market_stress_threshold numeric NOT NULL,
    stop_cluster_count integer NOT NULL,
    stop_cluster_minutes integer NOT NULL,
    breaker_pause_minutes integer NOT NULL,
    micro_trading_enabled boolean NOT NULL,
    policy jsonb NOT NULL
);

CREATE TABLE reserve_pool_ledger (
    entry_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    seq bigint NOT NULL,
    amount numeric NOT NULL CHECK (amount <> 0),
    balance_after numeric NOT NULL,
    trigger text NOT NULL CHECK (trigger IN ('profit_siphon', 'emergency_liquidation', 'manual_adjustment')),
    trade_id text,
    fill_id text,
    reason text,
    UNIQUE (account_id, seq)
);

CREATE TABLE risk_tier_history (
    change_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    previous_tier text NOT NULL CHECK (previous_tier IN ('conservative', 'moderate', 'aggressive')),
    new_tier text NOT NULL CHECK (new_tier IN ('conservative', 'moderate', 'aggressive')),
    source text NOT NULL CHECK (source IN ('auto', 'operator', 'emergency')),
    metrics jsonb NOT NULL
);
CREATE INDEX risk_tier_history_newest ON risk_tier_history (account_id, at, cause, change_id);

CREATE TABLE circuit_breaker_events (
    event_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    event text NOT NULL CHECK (event IN ('triggered', 'resumed')),
    trigger text NOT NULL CHECK (trigger IN ('daily_loss', 'position_loss', 'market_stress', 'stop_cluster')),
    symbol text,
    threshold numeric NOT NULL,
    actual_value numeric,
    until timestamptz
);
CREATE INDEX circuit_breaker_events_newest ON circuit_breaker_events (account_id, at, cause, event_id);

CREATE TABLE trading_decisions (
    decision_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    source_type text NOT NULL CHECK (source_type IN ('recommendation', 'trend', 'exit', 'rebalance', 'kill')),
    source_id text NOT NULL,
    recommendation_id text,
    symbol text NOT NULL,
    decision text NOT NULL CHECK (decision IN ('act', 'skip')),
    skip_reason text CHECK (skip_reason IN (
        'not_actionable', 'expired', 'superseded', 'unknown_symbol', 'not_ready', 'engine_paused',
        'circuit_breaker_active', 'market_stress', 'broad_decline', 'active_pool_minimum', 'outside_trading_window',
        'price_unavailable', 'ticker_cooldown', 'earnings_blackout', 'insufficient_confidence',
        'no_position_to_sell', 'already_held', 'position_limit_reached', 'correlation_too_high', 'sector_limit',
        'portfolio_heat', 'reserve_not_backed', 'insufficient_active_pool', 'below_one_share', 'micro_daily_limit',
        'micro_too_late'
    )),
    gates jsonb NOT NULL,
    computed_position_size numeric NOT NULL,
    quantity numeric NOT NULL,
    risk_tier_at_decision text NOT NULL CHECK (risk_tier_at_decision IN ('conservative', 'moderate', 'aggressive')),
    portfolio_heat_at_decision numeric NOT NULL,
    max_portfolio_heat_at_decision numeric,
    active_pool_at_decision numeric NOT NULL,
    reserve_pool_at_decision numeric NOT NULL,
    circuit_breaker_status text NOT NULL CHECK (circuit_breaker_status IN ('inactive', 'active')),
    correlation_check_result jsonb NOT NULL,
    sector_exposure_check_result jsonb NOT NULL,
    earnings_proximity_flag text NOT NULL CHECK (earnings_proximity_flag IN (
        'none', 'unknown', 'within_3_days', 'within_1_day', 'post_earnings'
    )),
    policy_version bigint NOT NULL,
    decided_at timestamptz NOT NULL,
    "timestamp" timestamptz NOT NULL GENERATED ALWAYS AS (decided_at) STORED,
    confidence numeric,
    purpose text CHECK (purpose IN (
        'entry', 'kill', 'breaker', 'stop_loss', 'event', 'take_profit', 'micro_timeout', 'stale_price', 'signal',
        'rebalance'
    )),
    sizing jsonb,
    source jsonb,
    wash_sale boolean NOT NULL DEFAULT false,
    UNIQUE (account_id, source_type, source_id),
    CHECK ((decision = 'skip') = (skip_reason IS NOT NULL))
);
CREATE INDEX trading_decisions_newest ON trading_decisions (account_id, decided_at, cause, decision_id);
CREATE INDEX trading_decisions_of_symbol ON trading_decisions (account_id, symbol, decided_at, cause, decision_id);
CREATE INDEX trading_decisions_of_kind ON trading_decisions (account_id, decision, decided_at, cause, decision_id);

CREATE TABLE position_stop_levels (
    level_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    position_id text NOT NULL,
    symbol text NOT NULL,
    revision bigint NOT NULL,
    stop_price numeric NOT NULL,
    target_price numeric NOT NULL,
    entry_price numeric NOT NULL,
    atr numeric,
    multiplier numeric NOT NULL,
    reward_risk_ratio numeric NOT NULL,
    signal_confidence numeric NOT NULL,
    reason text NOT NULL CHECK (reason IN (
        'opened', 'tranche', 'breakeven', 'event', 'earnings', 'heat', 're_evaluated', 'closed'
    )),
    last_price numeric,
    factor numeric
);
CREATE INDEX position_stop_levels_newest ON position_stop_levels (account_id, at, cause, revision, level_id);
CREATE INDEX position_stop_levels_of_position ON position_stop_levels (position_id, revision);
CREATE INDEX position_stop_levels_of_symbol ON position_stop_levels (account_id, symbol, at, cause, revision, level_id);

CREATE TABLE portfolio_snapshots (
    account_id text NOT NULL,
    session_on date NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    portfolio_value numeric NOT NULL,
    active_pool numeric NOT NULL,
    reserve_pool numeric NOT NULL,
    daily_return numeric,
    cumulative_return numeric,
    positions jsonb NOT NULL,
    metrics jsonb NOT NULL,
    PRIMARY KEY (account_id, session_on)
);

CREATE TABLE backtest_runs (
    backtest_id text PRIMARY KEY,
    account_id text NOT NULL DEFAULT 'paper',
    at timestamptz NOT NULL,
    status text NOT NULL CHECK (status IN ('queued', 'running', 'done', 'failed')),
    start_on date NOT NULL,
    end_on date NOT NULL,
    initial_capital numeric NOT NULL,
    risk_tier text NOT NULL CHECK (risk_tier IN ('conservative', 'moderate', 'aggressive')),
    config jsonb NOT NULL,
    metrics jsonb,
    equity_curve jsonb,
    error text,
    finished_at timestamptz
);
CREATE INDEX backtest_runs_newest ON backtest_runs (account_id, at, backtest_id);

CREATE TABLE backtest_trades (
    backtest_id text NOT NULL,
    trade_id text NOT NULL,
    account_id text NOT NULL DEFAULT 'paper',
    at timestamptz NOT NULL,
    symbol text NOT NULL,
    entry_price numeric NOT NULL,
    exit_price numeric NOT NULL,
    quantity numeric NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz NOT NULL,
    realized_pnl numeric NOT NULL,
    realized_pnl_pct numeric NOT NULL,
    tax_adjusted_pnl numeric NOT NULL,
    wash_sale boolean NOT NULL,
    disallowed_loss numeric NOT NULL,
    exit_purpose text NOT NULL,
    recommendation_id text,
    is_micro boolean NOT NULL,
    PRIMARY KEY (backtest_id, trade_id)
);

CREATE TABLE tax_lots (
    lot_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    position_id text NOT NULL,
    symbol text NOT NULL,
    acquired_at timestamptz NOT NULL,
    quantity numeric NOT NULL,
    open_quantity numeric NOT NULL CHECK (open_quantity BETWEEN 0 AND quantity),
    cost_basis_per_share numeric NOT NULL,
    status text NOT NULL CHECK (status IN ('open', 'closed', 'washed')),
    closed_at timestamptz,
    disallowed_loss numeric NOT NULL,
    decision_id text NOT NULL
);
CREATE INDEX tax_lots_newest ON tax_lots (account_id, acquired_at, lot_id);
CREATE INDEX tax_lots_of_symbol ON tax_lots (account_id, symbol, acquired_at, lot_id);

CREATE TABLE earnings_calendar (
    symbol text PRIMARY KEY,
    account_id text NOT NULL DEFAULT 'paper',
    at timestamptz NOT NULL,
    earnings_on date NOT NULL,
    session text NOT NULL CHECK (session IN ('bmo', 'amc', 'unknown')),
    source text NOT NULL,
    reported_at timestamptz
);
CREATE INDEX earnings_calendar_next ON earnings_calendar (earnings_on, symbol);

CREATE TABLE correlation_matrix_cache (
    computed_on date NOT NULL,
    symbol_a text NOT NULL,
    symbol_b text NOT NULL,
    account_id text NOT NULL DEFAULT 'paper',
    at timestamptz NOT NULL,
    correlation numeric NOT NULL CHECK (correlation BETWEEN -1 AND 1),
    observations integer NOT NULL,
    PRIMARY KEY (computed_on, symbol_a, symbol_b),
    CHECK (symbol_a COLLATE "C" < symbol_b COLLATE "C")
);
-- Which sessions have closed since the last matrix.
CREATE INDEX price_bars_daily ON price_bars (at) WHERE "interval" = '1d';

-- What the rest needs.

CREATE TABLE orders (
    client_order_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    decision_id text NOT NULL,
    symbol text NOT NULL,
    side text NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity numeric NOT NULL,
    order_type text NOT NULL CHECK (order_type IN ('market', 'limit')),
    limit_price numeric,
    time_in_force text NOT NULL CHECK (time_in_force IN ('day')),
    purpose text NOT NULL CHECK (purpose IN (
        'entry', 'kill', 'breaker', 'stop_loss', 'event', 'take_profit', 'micro_timeout', 'stale_price', 'signal',
        'rebalance'
    )),
    tranche integer NOT NULL,
    of_tranches integer NOT NULL,
    valid_until timestamptz,
    created_at timestamptz NOT NULL,
    filled_quantity numeric NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'new' CHECK (status IN (
        'new', 'accepted', 'partially_filled', 'filled', 'cancelled', 'rejected', 'unknown'
    )),
    status_reason text
);
CREATE INDEX orders_newest ON orders (account_id, created_at, client_order_id);
CREATE INDEX orders_of_symbol ON orders (account_id, symbol, created_at, client_order_id);
CREATE INDEX orders_of_decision ON orders (decision_id);

-- Each change of an order's status, append only: `orders.status` is the newest of these and of the fills, whichever of
-- the two topics is projected first.
CREATE TABLE order_statuses (
    record_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    client_order_id text NOT NULL,
    status text NOT NULL CHECK (status IN (
        'new', 'accepted', 'partially_filled', 'filled', 'cancelled', 'rejected', 'unknown'
    )),
    filled_quantity numeric NOT NULL,
    reason text
);
CREATE INDEX order_statuses_of_order ON order_statuses (client_order_id, cause);

CREATE TABLE fills (
    fill_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    client_order_id text NOT NULL,
    symbol text NOT NULL,
    side text NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity numeric NOT NULL,
    price numeric NOT NULL,
    fee numeric NOT NULL,
    cumulative_quantity numeric NOT NULL
);
CREATE INDEX fills_newest ON fills (account_id, at, fill_id);
CREATE INDEX fills_of_order ON fills (client_order_id, cumulative_quantity);

CREATE TABLE positions (
    position_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    symbol text NOT NULL,
    sector text NOT NULL,
    quantity numeric NOT NULL,
    avg_entry_price numeric NOT NULL,
    last_price numeric NOT NULL,
    market_value numeric NOT NULL,
    unrealized_pnl numeric NOT NULL,
    stop_price numeric NOT NULL,
    target_price numeric NOT NULL,
    confidence numeric NOT NULL,
    is_micro boolean NOT NULL,
    opened_at timestamptz NOT NULL,
    UNIQUE (account_id, symbol)
);

CREATE TABLE trades (
    trade_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    client_order_id text NOT NULL,
    position_id text NOT NULL,
    symbol text NOT NULL,
    entry_price numeric NOT NULL,
    exit_price numeric NOT NULL,
    quantity numeric NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz NOT NULL,
    realized_pnl numeric NOT NULL,
    realized_pnl_pct numeric NOT NULL,
    tax_adjusted_pnl numeric NOT NULL,
    wash_sale boolean NOT NULL,
    disallowed_loss numeric NOT NULL,
    exit_purpose text NOT NULL,
    recommendation_id text,
    is_micro boolean NOT NULL
);
CREATE INDEX trades_newest ON trades (account_id, closed_at, trade_id);
CREATE INDEX trades_of_symbol ON trades (account_id, symbol, closed_at, trade_id);

CREATE TABLE config_audit (
    record_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    version bigint NOT NULL,
    before jsonb NOT NULL,
    after jsonb NOT NULL,
    source text NOT NULL CHECK (source IN ('operator', 'auto', 'start')),
    issued_by text NOT NULL
);
CREATE INDEX config_audit_newest ON config_audit (account_id, at, cause, record_id);

CREATE TABLE portfolio_heat (
    record_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    heat numeric NOT NULL,
    max_heat numeric NOT NULL,
    active_pool numeric NOT NULL
);
CREATE INDEX portfolio_heat_newest ON portfolio_heat (account_id, at, cause, record_id);

CREATE TABLE performance_metrics (
    record_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    metrics jsonb NOT NULL
);
CREATE INDEX performance_metrics_newest ON performance_metrics (account_id, at, cause, record_id);

CREATE TABLE alerts (
    record_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    severity text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    subject text NOT NULL,
    body text NOT NULL,
    symbol text
);
CREATE INDEX alerts_newest ON alerts (account_id, at, cause, record_id);

-- Records that have no table of their own: what became of a command, what a reconciliation found, why a rebalance sold,
-- which loss a wash sale disallowed, what waits for the trading window.
CREATE TABLE account_records (
    record_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    cause bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN (
        'command_result', 'queued', 'reconciliation', 'rebalance_rationale', 'wash_sale'
    )),
    symbol text,
    decision_id text,
    record jsonb NOT NULL
);
CREATE INDEX account_records_newest ON account_records (account_id, kind, at, cause, record_id);
CREATE INDEX account_records_of_decision ON account_records (decision_id) WHERE decision_id IS NOT NULL;

CREATE TABLE notifications (
    notification_id text PRIMARY KEY,
    account_id text NOT NULL,
    at timestamptz NOT NULL,
    channel text CHECK (channel IN ('sms', 'email')),
    event_type text NOT NULL CHECK (event_type IN (
        'breaker_triggered', 'breaker_resumed', 'tier_changed', 'emergency_liquidation', 'large_trade',
        'daily_summary', 'weekly_digest', 'alert', 'kill', 'test'
    )),
    severity text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    subject text NOT NULL,
    body text NOT NULL,
    delivery_status text NOT NULL DEFAULT 'pending' CHECK (delivery_status IN (
        'pending', 'sent', 'failed', 'dropped', 'merged'
    )),
    attempts integer NOT NULL DEFAULT 0
);
CREATE INDEX notifications_newest ON notifications (account_id, at, notification_id);

CREATE TABLE notification_preferences (
    account_id text PRIMARY KEY,
    at timestamptz NOT NULL,
    version bigint NOT NULL,
    channels jsonb NOT NULL,
    sms_target text,
    email_target text,
    event_types jsonb NOT NULL,
    sms_per_hour integer NOT NULL DEFAULT 10,
    emails_per_hour integer NOT NULL DEFAULT 20,
    summary_minutes_after_close integer NOT NULL DEFAULT 30
);

CREATE TABLE account_states (
    account_id text PRIMARY KEY,
    at timestamptz NOT NULL,
    seq bigint NOT NULL,
    state jsonb NOT NULL,
    hash text NOT NULL
);

CREATE TABLE projection_offsets (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'stonks_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO stonks_reader', current_schema());
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO stonks_reader', current_schema());
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO stonks_reader', current_schema());
    END IF;
END
$$;
