"""What happened, read from a real PostgreSQL with the project's own migrations."""

import base64
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pytest

from api.database import Database
from tests.api import rows
from tests.api.conftest import api_on, settings_for
from tests.api.rows import insert, later

pytestmark = pytest.mark.integration
TRADING = "/api/trading"


@pytest.fixture
async def api(migrated: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an API that has PostgreSQL and nothing else; it knows two accounts."""
    async with api_on(settings_for(database_url=migrated, accounts=("paper", "other"))) as client:
        yield client


async def read(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    answer = await client.get(TRADING + path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_empty_list_has_no_items_and_no_next_page(api: httpx.AsyncClient) -> None:
    for path in ("/decisions", "/positions", "/orders", "/trades", "/tax-lots", "/stops", "/alerts"):
        assert await read(api, path) == {"items": [], "next_cursor": None}, path


@pytest.mark.covers("R17.1", "R17.3")
async def test_a_decision_is_shown_with_the_names_of_the_requirement(api: httpx.AsyncClient, migrated: str) -> None:
    await insert(migrated, "trading_decisions", rows.decision(1))
    (shown,) = (await read(api, "/decisions"))["items"]
    assert shown["decision_id"] == "decision-1"
    assert shown["computed_position_size"] == "25.00"
    assert shown["portfolio_heat_at_decision"] == "0.0"
    assert shown["reserve_pool_at_decision"] == "0"
    assert shown["gates"] == [{"name": "expired", "passed": True, "value": "x", "limit": "y"}]
    assert shown["decided_at"] == shown["timestamp"] == "2026-03-02T17:01:00Z"
    assert shown["skip_reason"] is None


@pytest.mark.covers("R17.3")
async def test_decisions_are_filtered_by_ticker_kind_and_instant(api: httpx.AsyncClient, migrated: str) -> None:
    skipped = {"decision": "skip", "skip_reason": "expired"}
    await insert(
        migrated,
        "trading_decisions",
        rows.decision(1),
        rows.decision(2, symbol="MSFT"),
        rows.decision(3, **skipped),
        rows.decision(4, symbol="MSFT", **skipped),
    )

    async def found(**params: str) -> list[str]:
        return [item["decision_id"][-1] for item in (await read(api, "/decisions", **params))["items"]]

    assert await found() == ["4", "3", "2", "1"]
    assert await found(ticker="MSFT") == ["4", "2"]
    assert await found(decision="skip") == ["4", "3"]
    assert await found(ticker="MSFT", decision="act") == ["2"]
    assert await found(**{"from": later(2).isoformat(), "to": later(3).isoformat()}) == ["3", "2"]
    assert await found(**{"from": "2026-03-02T12:03:00-05:00"}) == ["4", "3"]


async def test_an_offset_whose_plus_was_not_escaped_is_understood(api: httpx.AsyncClient) -> None:
    answer = await api.get(f"{TRADING}/decisions?from=2026-03-02T17:00:00+00:00")
    assert answer.status_code == 200


OUT_OF_RANGE = [
    {"limit": "0"},
    {"limit": "201"},
    {"limit": "many"},
    {"cursor": "nonsense"},
    {"cursor": "AAAA"},
    {"cursor": "WyJ4Il0"},
    {"ticker": "aapl"},
    {"ticker": ""},
    {"decision": "maybe"},
    {"from": "2026-03-02"},
    {"from": "2026-03-02T17:00:00"},
    {"to": "1772470800"},
]


async def test_a_query_out_of_its_range_is_refused(api: httpx.AsyncClient) -> None:
    for params in OUT_OF_RANGE:
        answer = await api.get(f"{TRADING}/decisions", params=params)
        assert answer.status_code == 422, params
        assert answer.headers["content-type"] == "application/problem+json"


LISTS: list[tuple[str, str, Any, str]] = [
    ("/decisions", "trading_decisions", rows.decision, "decision_id"),
    ("/orders", "orders", rows.order, "client_order_id"),
    ("/trades", "trades", rows.trade, "trade_id"),
    ("/tax-lots", "tax_lots", rows.lot, "lot_id"),
    ("/stops", "position_stop_levels", rows.stop, "level_id"),
    ("/reserve", "reserve_pool_ledger", rows.ledger_entry, "entry_id"),
    ("/metrics", "performance_metrics", rows.metrics, "record_id"),
    ("/notifications", "notifications", rows.notification, "notification_id"),
    ("/earnings", "earnings_calendar", rows.earnings_date, "symbol"),
]


@pytest.mark.covers("R17.3")
async def test_pages_give_every_row_once_newest_first_while_rows_arrive(api: httpx.AsyncClient, migrated: str) -> None:
    for path, table, make, name in LISTS:
        await insert(migrated, table, *(make(number) for number in range(1, 8)))
        page = await read(api, path, limit=3)
        await insert(migrated, table, make(99))
        seen = page["items"]
        while page["next_cursor"] is not None:
            page = await read(api, path, limit=3, cursor=page["next_cursor"])
            seen += page["items"]
        assert [item[name] for item in seen] == [make(number)[name] for number in range(7, 0, -1)], path
        assert (await read(api, path, limit=1))["items"][0][name] == make(99)[name]


async def test_rows_of_one_instant_keep_the_order_of_the_log_over_pages(api: httpx.AsyncClient, migrated: str) -> None:
    at = later(0)
    await insert(migrated, "trading_decisions", *(rows.decision(n, decided_at=at) for n in (3, 1, 4, 2)))
    first = await read(api, "/decisions", limit=3)
    second = await read(api, "/decisions", limit=3, cursor=first["next_cursor"])
    causes = [item["cause"] for item in first["items"] + second["items"]]
    assert causes == [4, 3, 2, 1]


async def test_a_full_last_page_is_the_last(api: httpx.AsyncClient, migrated: str) -> None:
    await insert(migrated, "orders", rows.order(1), rows.order(2))
    assert (await read(api, "/orders", limit=2))["next_cursor"] is None


async def test_each_account_sees_its_own_rows_alone(api: httpx.AsyncClient, migrated: str) -> None:
    await insert(migrated, "orders", rows.order(1), rows.order(2, account_id="other"))
    await insert(migrated, "trading_decisions", rows.decision(2, account_id="other"))
    assert [item["client_order_id"] for item in (await read(api, "/orders"))["items"]] == ["order-1"]
    others = await read(api, "/orders", account_id="other")
    assert [item["client_order_id"] for item in others["items"]] == ["order-2"]
    assert (await api.get(f"{TRADING}/decisions/decision-2")).status_code == 404
    assert (await read(api, "/decisions/decision-2", account_id="other"))["decision_id"] == "decision-2"


@pytest.mark.covers("R17.2", "R11.5")
async def test_a_decision_has_its_whole_chain(api: httpx.AsyncClient, migrated: str) -> None:
    await insert(migrated, "trading_decisions", rows.decision(1, wash_sale=True), rows.decision(2))
    await insert(
        migrated,
        "orders",
        rows.order(1, of_tranches=2, status="filled", filled_quantity=Decimal(1)),
        rows.order(3, decision_id="decision-1", tranche=2, of_tranches=2),
        rows.order(2),
    )
    await insert(migrated, "fills", rows.fill(1), rows.fill(2))
    record = '{"trade_id": "trade-0", "disallowed_loss": "1.10"}'
    await insert(
        migrated,
        "account_records",
        {
            "record_id": "r",
            "account_id": "paper",
            "at": later(1),
            "cause": 1,
            "kind": "wash_sale",
            "decision_id": "decision-1",
            "record": record,
        },
    )
    chain = await read(api, "/decisions/decision-1")
    assert chain["source"]["thesis"] == "<b>up</b>"
    assert chain["sizing"] == {"formula": "25.00", "quantity": "1"}
    assert [(order["tranche"], order["status"]) for order in chain["orders"]] == [(1, "filled"), (2, "new")]
    assert [(each["client_order_id"], each["price"]) for each in chain["fills"]] == [("order-1", "187.10")]
    assert chain["wash_sale"] is True
    assert chain["wash_sales"] == [{"trade_id": "trade-0", "disallowed_loss": "1.10"}]


async def test_a_decision_that_is_not_there_is_not_found_or_refused(api: httpx.AsyncClient) -> None:
    for name in ("nothing", "%00", "a%2Fb", "'; DROP TABLE orders; --", "%FF"):
        answer = await api.get(f"{TRADING}/decisions/{name}")
        assert answer.status_code in {404, 422}, name
        assert answer.headers["content-type"] == "application/problem+json"


async def test_money_is_shown_digit_by_digit_as_it_is_stored(api: httpx.AsyncClient, migrated: str) -> None:
    exact = "1234567890123456.123456789012345678901234567890"
    await insert(migrated, "positions", rows.position(last_price=Decimal(exact), market_value=Decimal("0E-9")))
    await insert(migrated, "tax_lots", rows.lot(1))
    (shown,) = (await read(api, "/positions"))["items"]
    assert shown["last_price"] == exact
    assert shown["market_value"] == "0.000000000"
    assert shown["avg_entry_price"] == "187.10"
    assert shown["is_micro"] is False
    (shown,) = (await read(api, "/tax-lots"))["items"]
    assert shown["cost_basis_per_share"] == "187.123456789012"


async def test_a_number_inside_json_passes_through_no_float(api: httpx.AsyncClient, migrated: str) -> None:
    await insert(migrated, "trading_decisions", rows.decision(1, sizing='{"cash": 0.1000000000000000055511151231}'))
    assert (await read(api, "/decisions/decision-1"))["sizing"] == {"cash": "0.1000000000000000055511151231"}


@pytest.mark.covers("R3.2", "R18.2")
async def test_the_reserve_has_its_balance_and_its_ledger(api: httpx.AsyncClient, migrated: str) -> None:
    assert await read(api, "/reserve") == {"items": [], "next_cursor": None, "balance": "0"}
    await insert(migrated, "reserve_pool_ledger", *(rows.ledger_entry(number) for number in (1, 2, 3)))
    first = await read(api, "/reserve", limit=2)
    assert first["balance"] == "1.53"
    assert [entry["balance_after"] for entry in first["items"]] == ["1.53", "1.02"]
    second = await read(api, "/reserve", limit=2, cursor=first["next_cursor"])
    assert second["balance"] == "1.53"
    assert [entry["seq"] for entry in second["items"]] == [1]


@pytest.mark.covers("R14.1")
async def test_the_latest_metrics_stand_apart_on_every_page(api: httpx.AsyncClient, migrated: str) -> None:
    assert await read(api, "/metrics") == {"items": [], "next_cursor": None, "latest": None}
    await insert(migrated, "performance_metrics", rows.metrics(1), rows.metrics(2), rows.metrics(9, account_id="other"))
    first = await read(api, "/metrics", limit=1)
    second = await read(api, "/metrics", limit=1, cursor=first["next_cursor"])
    assert first["latest"] == first["items"][0] == second["latest"]
    assert first["latest"]["metrics"] == {"total_value": "500.10", "sharpe_ratio": None, "win_count": 2}
    assert [item["record_id"] for item in second["items"]] == ["metrics-1"]


@pytest.mark.covers("R14.3")
async def test_the_ends_of_sessions_are_read_page_by_page(api: httpx.AsyncClient, migrated: str) -> None:
    await insert(migrated, "portfolio_snapshots", *(rows.snapshot(number) for number in range(4)))
    await insert(migrated, "portfolio_snapshots", rows.snapshot(9, account_id="other"))
    first = await read(api, "/snapshots", limit=3)
    second = await read(api, "/snapshots", limit=3, cursor=first["next_cursor"])
    days = [item["session_on"] for item in first["items"] + second["items"]]
    assert days == ["2026-03-05", "2026-03-04", "2026-03-03", "2026-03-02"]
    assert second["next_cursor"] is None
    newest = first["items"][0]
    assert (newest["portfolio_value"], newest["daily_return"]) == ("500.10", None)
    assert newest["positions"] == [{"symbol": "AAPL", "unrealized_pnl": "0.10"}]
    wrong = base64.urlsafe_b64encode(b'["yesterday"]').decode()
    assert (await api.get(f"{TRADING}/snapshots", params={"cursor": wrong})).status_code == 422


@pytest.mark.covers("R10.1")
async def test_the_earnings_calendar_is_every_accounts(api: httpx.AsyncClient, migrated: str) -> None:
    await insert(migrated, "earnings_calendar", rows.earnings_date(1), rows.earnings_date(2, session="unknown"))
    page = await read(api, "/earnings")
    assert page == await read(api, "/earnings", account_id="other")
    assert page["items"][1] == {
        "symbol": "S1",
        "earnings_on": "2026-03-03",
        "session": "amc",
        "source": "operator",
        "reported_at": None,
        "at": "2026-03-02T17:01:00Z",
    }
    assert [item["symbol"] for item in (await read(api, "/earnings", symbol="S2"))["items"]] == ["S2"]


@pytest.mark.covers("R19.8")
async def test_a_notification_is_shown_with_its_delivery(api: httpx.AsyncClient, migrated: str) -> None:
    await insert(
        migrated,
        "notifications",
        rows.notification(1, channel="sms", delivery_status="failed", attempts=3),
        rows.notification(2),
    )
    newest, oldest = (await read(api, "/notifications"))["items"]
    assert (newest["channel"], newest["delivery_status"], newest["attempts"]) == (None, "pending", 0)
    assert (oldest["channel"], oldest["delivery_status"], oldest["attempts"]) == ("sms", "failed", 3)
    assert oldest["event_type"] == "tier_changed"


async def test_a_list_may_be_of_one_symbol(api: httpx.AsyncClient, migrated: str) -> None:
    for path, table, make, _ in LISTS[1:5]:
        await insert(migrated, table, make(1), make(2, symbol="MSFT"))
        assert [item["symbol"] for item in (await read(api, path, symbol="MSFT"))["items"]] == ["MSFT"]


async def test_a_cursor_far_out_of_range_is_refused(api: httpx.AsyncClient) -> None:
    for place in ('["9999-12-31T23:59:59Z",1,"x"]', '["2026-03-02T17:00:00Z",9223372036854775808,"x"]'):
        cursor = base64.urlsafe_b64encode(place.encode()).decode()
        answer = await api.get(f"{TRADING}/decisions", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


async def test_a_database_without_tables_says_so(database: str) -> None:
    async with api_on(settings_for(database_url=database)) as client:
        answer = await client.get(f"{TRADING}/orders")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")


async def test_the_api_cannot_write(migrated: str) -> None:
    database = Database(migrated)
    await database.start()
    for _ in range(2):  # on a new connection, and on one that the pool has reset
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await database.rows("DELETE FROM orders")
    await database.stop()
