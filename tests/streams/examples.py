"""One right record for every topic that is read, and how to place it."""

from typing import Any

from streams.topics import TOPICS, partition_for

PARTITIONS = 4

EXAMPLES: dict[str, dict[str, Any]] = {
    "recommendations": {
        "recommendation_id": "r1",
        "symbol": "AAPL",
        "action": "buy",
        "mode": "paper_eligible",
        "confidence": "0.7",
        "generated_at": "2026-03-02T15:00:00Z",
        "expires_at": "2026-03-02T16:00:00Z",
        "reference_price": "187.10",
    },
    "price-ticks": {"symbol": "AAPL", "price": "187.10", "at": "2026-03-02T15:00:00Z", "size": "100"},
    "price-bars": {
        "symbol": "AAPL",
        "interval": "1d",
        "open": "187",
        "high": "190",
        "low": "185",
        "close": "188",
        "volume": "1000",
        "at": "2026-03-02T21:00:00Z",
    },
    "macro-events": {
        "event_id": "m1",
        "severity": "high",
        "headline": "rates",
        "started_at": "2026-03-02T15:00:00Z",
        "estimated_duration_seconds": 3600,
    },
    "trend-summaries": {
        "trend_id": "t1",
        "symbol": "AAPL",
        "window": "intraday",
        "interval": "5m",
        "direction": "bullish",
        "confidence": "0.7",
        "at": "2026-03-02T15:00:00Z",
    },
    "market-stress": {"name": "vix", "value": "20", "at": "2026-03-02T15:00:00Z"},
    "companies": {"symbol": "AAPL", "name": "Apple", "sector": "Technology"},
    "earnings-dates": {"symbol": "AAPL", "earnings_on": "2026-04-30", "session": "amc", "source": "x"},
    "commands": {
        "kind": "pause",
        "command_id": "c1",
        "account_id": "paper",
        "issued_by": "me",
        "at": "2026-03-02T15:00:00Z",
    },
    "broker-events": {
        "kind": "order_fill",
        "event_id": "e1",
        "account_id": "paper",
        "client_order_id": "o1",
        "symbol": "AAPL",
        "fill_id": "o1:1",
        "quantity": "1",
        "price": "187.10",
        "cumulative_quantity": "1",
        "leaves_quantity": "0",
        "fee": "0",
        "at": "2026-03-02T15:00:00Z",
    },
    "account-inbox": {"kind": "clock", "account_id": "paper", "at": "2026-03-02T15:00:00Z"},
    "stop-levels": {
        "account_id": "paper",
        "symbol": "AAPL",
        "revision": 1,
        "set_at": "2026-03-02T15:00:00Z",
        "stop": "180",
        "target": "200",
    },
}
INPUTS = tuple(name for name in EXAMPLES if TOPICS[name].direction == "in")
KEYS = {
    "recommendations": "AAPL",
    "price-ticks": "AAPL",
    "price-bars": "AAPL",
    "macro-events": "m1",
    "trend-summaries": "AAPL",
    "market-stress": "market",
    "companies": "AAPL",
    "earnings-dates": "AAPL",
    "commands": "paper",
    "broker-events": "paper",
    "account-inbox": "paper",
    "stop-levels": "AAPL/paper",
}


def partitions_of(name: str) -> int:
    return TOPICS[name].partitions or PARTITIONS


def place(name: str) -> int:
    return partition_for(KEYS[name].partition("/")[0].encode(), partitions_of(name))
