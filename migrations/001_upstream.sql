-- What upstream programs own: recommendations, companies, price bars and macro events, as their topics bring them.
-- They concern every account; `account_id` stands for the reader who filters by it. `at` is the event time.

CREATE TABLE recommendations (
    recommendation_id text PRIMARY KEY,
    account_id text NOT NULL DEFAULT 'paper',
    at timestamptz NOT NULL,
    symbol text NOT NULL,
    action text NOT NULL CHECK (action IN ('buy', 'sell', 'hold', 'watch')),
    mode text NOT NULL CHECK (mode IN ('paper_eligible', 'live_eligible', 'informational')),
    confidence numeric NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    generated_at timestamptz NOT NULL,
    expires_at timestamptz,
    thesis text,
    reference_price numeric
);
CREATE INDEX recommendations_newest ON recommendations (generated_at, recommendation_id);
CREATE INDEX recommendations_of_symbol ON recommendations (symbol, generated_at);

CREATE TABLE companies (
    symbol text PRIMARY KEY,
    account_id text NOT NULL DEFAULT 'paper',
    at timestamptz NOT NULL,
    name text NOT NULL,
    sector text NOT NULL
);
CREATE INDEX companies_of_sector ON companies (sector, symbol);

CREATE TABLE price_bars (
    symbol text NOT NULL,
    "interval" text NOT NULL CHECK ("interval" IN ('1d', '1m', '5m', '15m')),
    at timestamptz NOT NULL,
    account_id text NOT NULL DEFAULT 'paper',
    open numeric NOT NULL,
    high numeric NOT NULL,
    low numeric NOT NULL,
    close numeric NOT NULL,
    volume numeric NOT NULL,
    PRIMARY KEY (symbol, "interval", at)
);

CREATE TABLE macro_events (
    event_id text PRIMARY KEY,
    account_id text NOT NULL DEFAULT 'paper',
    at timestamptz NOT NULL,
    severity text NOT NULL CHECK (severity IN ('low', 'moderate', 'high', 'critical')),
    headline text NOT NULL,
    started_at timestamptz NOT NULL,
    estimated_duration_seconds bigint NOT NULL,
    sectors text[]
);
CREATE INDEX macro_events_newest ON macro_events (started_at, event_id);
