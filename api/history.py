"""What happened: decisions, orders, trades, lots, stops, the reserve's ledger, figures, dates, read from PostgreSQL."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BeforeValidator

from api import queries, rows
from api.parts import Account, Here, Parts
from api.problems import answers, not_found
from api.queries import Condition, Listing
from trading.money import Id, Instant, Symbol
from trading.status import status_of

router = APIRouter(prefix="/api/trading", tags=["history"], responses=answers(404, 422, 503))


def _with_its_plus(value: Any) -> Any:
    """Give an offset its `+` back, which an unescaped query turns into a space."""
    return re.sub(r" (?=\d\d:\d\d$)", "+", value) if isinstance(value, str) else value


QueryInstant = Annotated[Instant, BeforeValidator(_with_its_plus)]


@dataclass(frozen=True)
class Paging:
    """Which page of a list."""

    limit: Annotated[int, Query(ge=1, le=200)] = 50
    cursor: Annotated[str | None, Query(max_length=1024, description="`next_cursor` of the page before")] = None


Paged = Annotated[Paging, Depends()]
SymbolFilter = Annotated[Symbol | None, Query(description="this symbol alone")]


@router.get("/decisions", response_model=rows.Page[rows.Decision])
async def decisions(
    here: Here,
    account_id: Account,
    paging: Paged,
    *,
    ticker: SymbolFilter = None,
    decision: Literal["act", "skip"] | None = None,
    since: Annotated[QueryInstant | None, Query(alias="from", description="decided at or after")] = None,
    until: Annotated[QueryInstant | None, Query(alias="to", description="decided at or before")] = None,
) -> dict[str, Any]:
    """Return the decisions of an account."""
    wanted: list[tuple[str, str | dt.datetime | None]] = [
        ("symbol =", ticker),
        ("decision =", decision),
        ("decided_at >=", since),
        ("decided_at <=", until),
    ]
    where = [(comparison, value) for comparison, value in wanted if value is not None]
    return await _page(here, queries.DECISIONS, account_id, paging, where)


@router.get("/decisions/{decision_id}", response_model=rows.DecisionChain)
async def decision_chain(here: Here, account_id: Account, decision_id: Annotated[Id, Path()]) -> dict[str, Any]:
    """Return a decision with the whole chain from its source to its fills."""
    found = await queries.chain(here.database, account_id, decision_id)
    if found is None:
        raise not_found("decision")
    return found


@router.get("/positions", response_model=rows.Page[rows.Position])
async def positions(here: Here, account_id: Account, paging: Paged) -> dict[str, Any]:
    """Return the open positions."""
    return await _page(here, queries.POSITIONS, account_id, paging)


@router.get("/orders", response_model=rows.Page[rows.Order])
async def orders(here: Here, account_id: Account, paging: Paged, symbol: SymbolFilter = None) -> dict[str, Any]:
    """Return the orders and what became of them."""
    return await _page(here, queries.ORDERS, account_id, paging, _only(symbol))


@router.get("/trades", response_model=rows.Page[rows.Trade])
async def trades(here: Here, account_id: Account, paging: Paged, symbol: SymbolFilter = None) -> dict[str, Any]:
    """Return the closing orders and what they realized."""
    return await _page(here, queries.TRADES, account_id, paging, _only(symbol))


@router.get("/tax-lots", response_model=rows.Page[rows.TaxLot])
async def tax_lots(here: Here, account_id: Account, paging: Paged, symbol: SymbolFilter = None) -> dict[str, Any]:
    """Return the tax lots, open and closed."""
    return await _page(here, queries.TAX_LOTS, account_id, paging, _only(symbol))


@router.get("/stops", response_model=rows.Page[rows.StopLevel])
async def stops(here: Here, account_id: Account, paging: Paged, symbol: SymbolFilter = None) -> dict[str, Any]:
    """Return every stop and target that was set."""
    return await _page(here, queries.STOPS, account_id, paging, _only(symbol))


@router.get("/alerts", response_model=rows.Page[rows.Alert])
async def alerts(here: Here, account_id: Account, paging: Paged) -> dict[str, Any]:
    """Return what a person should look at."""
    return await _page(here, queries.ALERTS, account_id, paging)


@router.get("/reserve", response_model=rows.Reserve)
async def reserve(here: Here, account_id: Account, paging: Paged) -> dict[str, Any]:
    """Return the reserve pool's balance and its ledger."""
    page = await _page(here, queries.LEDGER, account_id, paging)
    newest = page if paging.cursor is None else await _page(here, queries.LEDGER, account_id, Paging(limit=1))
    return page | {"balance": newest["items"][0]["balance_after"] if newest["items"] else "0"}


@router.get("/metrics", response_model=rows.MetricsPage)
async def metrics(here: Here, account_id: Account, paging: Paged) -> dict[str, Any]:
    """Return the performance metrics, the latest and their history."""
    page = await _page(here, queries.METRICS, account_id, paging)
    newest = page if paging.cursor is None else await _page(here, queries.METRICS, account_id, Paging(limit=1))
    return page | {"latest": newest["items"][0] if newest["items"] else None}


@router.get("/snapshots", response_model=rows.Page[rows.Snapshot])
async def snapshots(here: Here, account_id: Account, paging: Paged) -> dict[str, Any]:
    """Return how the account stood at the end of each session."""
    return await _page(here, queries.SNAPSHOTS, account_id, paging)


@router.get("/earnings", response_model=rows.Page[rows.EarningsDate])
async def earnings(here: Here, account_id: Account, paging: Paged, symbol: SymbolFilter = None) -> dict[str, Any]:
    """Return the earnings calendar, the latest dates first; it concerns every account."""
    return await _page(here, queries.EARNINGS, account_id, paging, _only(symbol))


@router.get("/risk-tier", response_model=rows.RiskTier)
async def risk_tier(here: Here, account_id: Account, paging: Paged) -> dict[str, Any]:
    """Return the risk tier that is in force and the history of its changes."""
    row = await here.engine.row(account_id)
    page = await _page(here, queries.TIER_CHANGES, account_id, paging)
    return page | {"risk_tier": row.risk_tier, "held": row.tier_held}


@router.get("/circuit-breakers", response_model=rows.CircuitBreakers)
async def circuit_breakers(here: Here, account_id: Account, paging: Paged) -> dict[str, Any]:
    """Return the circuit breaker's state and its events."""
    view = await here.engine.view(account_id)
    page = await _page(here, queries.BREAKER_EVENTS, account_id, paging)
    return page | {"circuit_breaker": status_of(view.row, as_of=view.as_of)["circuit_breaker"]}


async def _page(
    here: Parts, listing: Listing, account_id: str, paging: Paging, where: Sequence[Condition] = ()
) -> dict[str, Any]:
    return await listing.page(here.database, account_id, limit=paging.limit, cursor=paging.cursor, where=where)


def _only(symbol: str | None) -> list[Condition]:
    return [("symbol =", symbol)] if symbol is not None else []
