"""Micro-trading over HTTP: figures from the tables, by arithmetic that is shown."""

import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.api import rows
from tests.api.conftest import api_on, settings_for
from tests.api.engine_double import NOON, EngineDouble
from tests.api.rows import insert
from trading.policy import TradingPolicy

pytestmark = pytest.mark.integration
DAY = dt.timedelta(days=1)


@pytest.fixture
async def api(migrated: str, engine: EngineDouble) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an API that has PostgreSQL and an engine at noon of a Monday."""
    settings = settings_for(database_url=migrated, worker_urls=(engine.url,), internal_token=engine.token)
    async with api_on(settings) as client:
        yield client


async def micro(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/api/trading/micro")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def entered(number: int, **changes: Any) -> dict[str, Any]:
    """Return the decision of a micro entry."""
    return rows.decision(number, **({"source_type": "trend", "recommendation_id": None} | changes))


def closed(number: int, pnl: str, *, ago: dt.timedelta = dt.timedelta(), **changes: Any) -> dict[str, Any]:
    """Return a micro trade that was closed so long before noon."""
    fields = {"is_micro": True, "realized_pnl": Decimal(pnl), "closed_at": NOON - ago, "recommendation_id": None}
    return rows.trade(number, **(fields | changes))


@pytest.mark.covers("R20.7")
async def test_without_micro_trades_what_is_undefined_is_null(api: httpx.AsyncClient) -> None:
    found = await micro(api)
    assert found == {
        "enabled": False,
        "as_of": "2026-03-02T17:00:00Z",
        "today": {
            "on": "2026-03-02",
            "entries": 0,
            "max_entries": 10,
            "closed": 0,
            "realized_pnl": "0",
            "unrealized_pnl": "0",
            "pnl": "0",
        },
        "positions": [],
        "trailing_7_days": {
            "since": "2026-02-24",
            "until": "2026-03-02",
            "sessions": 5,
            "count": 0,
            "win_rate": None,
            "average_pnl": None,
            "count_per_day": "0.000000000",
            "pnl": "0",
            "total_pnl": "0",
            "contribution": None,
            "per_day": [],
        },
    }


@pytest.mark.covers("R20.7")
async def test_the_last_seven_days_stand_apart_from_the_other_trades(api: httpx.AsyncClient, migrated: str) -> None:
    """Micro trades of 3.00, -1.00, 1.00 and 0.00, and 5.00 by other means: 2 of 3 won, 3/4 on average, 3/8 of all."""
    await insert(
        migrated,
        "trades",
        closed(1, "3.00"),
        closed(2, "-1.00", ago=3 * DAY),
        closed(3, "1.00", ago=6 * DAY),
        closed(4, "100.00", ago=7 * DAY),
        closed(5, "5.00", is_micro=False),
        closed(6, "100.00", account_id="other"),
        closed(7, "0.00", ago=6 * DAY),
    )
    week = (await micro(api))["trailing_7_days"]
    assert (week["count"], week["sessions"], week["count_per_day"]) == (4, 5, "0.800000000")
    assert (week["win_rate"], week["average_pnl"]) == ("0.666666667", "0.750000000")
    assert (week["pnl"], week["total_pnl"], week["contribution"]) == ("3.00", "8.00", "0.375000000")
    assert week["per_day"] == [
        {"on": "2026-03-02", "count": 1, "pnl": "3.00"},
        {"on": "2026-02-27", "count": 1, "pnl": "-1.00"},
        {"on": "2026-02-24", "count": 2, "pnl": "1.00"},
    ]


@pytest.mark.covers("R20.9")
async def test_today_counts_entries_and_what_they_stand_at(api: httpx.AsyncClient, migrated: str) -> None:
    skipped = {"decision": "skip", "skip_reason": "expired"}
    await insert(
        migrated,
        "trading_decisions",
        entered(1),
        entered(2),
        entered(3, **skipped),
        entered(4, purpose="signal"),
        entered(5, decided_at=NOON - DAY),
        entered(6, account_id="other"),
        rows.decision(7),
    )
    await insert(migrated, "trades", closed(1, "-0.40"), closed(2, "9.00", ago=DAY), closed(3, "9.00", is_micro=False))
    await insert(
        migrated,
        "positions",
        rows.position(position_id="p1", is_micro=True, unrealized_pnl=Decimal("0.15")),
        rows.position(position_id="p2", symbol="MSFT", unrealized_pnl=Decimal("7.00")),
        rows.position(position_id="p3", account_id="other", is_micro=True, unrealized_pnl=Decimal("7.00")),
    )
    found = await micro(api)
    today = found["today"]
    assert (today["entries"], today["max_entries"], today["closed"]) == (2, 10, 1)
    assert (today["realized_pnl"], today["unrealized_pnl"], today["pnl"]) == ("-0.40", "0.15", "-0.25")
    assert [position["position_id"] for position in found["positions"]] == ["p1"]


async def test_in_the_evening_it_is_still_new_yorks_day(
    api: httpx.AsyncClient, migrated: str, engine: EngineDouble
) -> None:
    await insert(migrated, "trades", closed(1, "1.00"))
    engine.event_time = NOON + dt.timedelta(hours=11)  # 4 in the morning, UTC
    found = await micro(api)
    assert (found["today"]["on"], found["today"]["closed"]) == ("2026-03-02", 1)


@pytest.mark.covers("R20.8")
async def test_whether_it_is_on_is_the_policys_word(api: httpx.AsyncClient, engine: EngineDouble) -> None:
    assert engine.portfolio is not None
    policy = TradingPolicy(micro_trading_enabled=True, micro_max_trades_per_day=4)
    engine.portfolio = engine.portfolio.model_copy(update={"policy": policy})
    found = await micro(api)
    assert (found["enabled"], found["today"]["max_entries"]) == (True, 4)
