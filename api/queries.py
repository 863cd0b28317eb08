"""Lists of rows, newest first, a page at a time; a cursor says where the page before ended, not how many it had.

So that rows which arrive meanwhile move nothing, and the last page is as quick as the first.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from api import rows
from api.database import Database, Row
from api.problems import Problem
from trading.inputs import Day
from trading.money import Id, Instant

BigInt = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Condition = tuple[str, object]
"""An SQL comparison that ends before its right side, and that side's value."""


@dataclass(frozen=True)
class Listing:
    """A table as a list: which model its rows become, and the columns that order it, the last one an id.

    `shared` rows concern every account.
    """

    table: str
    model: type[BaseModel]
    key: dict[str, Any]
    shared: bool = False

    async def page(
        self, database: Database, account_id: str, *, limit: int, cursor: str | None, where: Sequence[Condition] = ()
    ) -> dict[str, Any]:
        """Return `items` and `next_cursor`; raise `Problem` 422 for a cursor that is not ours."""
        tests = [f"{comparison} ${number}" for number, (comparison, _) in enumerate(where, 2)]
        values = [account_id, *(value for _, value in where)]
        if cursor is not None:
            after = self._after(cursor)
            places = ", ".join(f"${number}" for number, _ in enumerate(after, len(values) + 1))
            tests.append(f"({', '.join(self.key)}) < ({places})")
            values += after
        order = ", ".join(f"{column} DESC" for column in self.key)
        conditions = "".join(f" AND {test}" for test in tests)
        whose = "$1::text IS NOT NULL" if self.shared else "account_id = $1"
        sql = f"{self.select} WHERE {whose}{conditions} ORDER BY {order} LIMIT {limit + 1:d}"
        found = await database.rows(sql, *values)
        more = len(found) > limit
        return {"items": found[:limit], "next_cursor": self._cursor(found[limit - 1]) if more else None}

    @property
    def select(self) -> str:
        """Return `SELECT columns FROM table`, with the columns that the model or the order needs."""
        columns = dict.fromkeys((*_columns(self.model), *self.key))
        return f"SELECT {', '.join(_quoted(column) for column in columns)} FROM {self.table}"  # noqa: S608 - ours alone

    @property
    def _places(self) -> TypeAdapter[tuple[Any, ...]]:
        kinds: Any = tuple[tuple(self.key.values())]  # type: ignore[misc]  # a tuple type made at run time
        return TypeAdapter(kinds)

    def _cursor(self, row: Row) -> str:
        place = self._places.dump_json(tuple(row[column] for column in self.key))
        return base64.urlsafe_b64encode(place).decode().rstrip("=")

    def _after(self, cursor: str) -> list[Any]:
        try:
            place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            return list(self._places.validate_json(place))
        except (binascii.Error, ValidationError, ValueError) as error:
            raise Problem(422, "invalid_cursor", "take `cursor` from the `next_cursor` of this list") from error


def _columns(model: type[BaseModel]) -> list[str]:
    """Return the model's columns: its required fields, as the others come from elsewhere."""
    return [name for name, field in model.model_fields.items() if field.is_required()]


def _quoted(column: str) -> str:
    return f'"{column}"'


DECISIONS: Final = Listing(
    "trading_decisions", rows.Decision, {"decided_at": Instant, "cause": BigInt, "decision_id": Id}
)
POSITIONS: Final = Listing("positions", rows.Position, {"opened_at": Instant, "position_id": Id})
ORDERS: Final = Listing("orders", rows.Order, {"created_at": Instant, "client_order_id": Id})
TRADES: Final = Listing("trades", rows.Trade, {"closed_at": Instant, "trade_id": Id})
TAX_LOTS: Final = Listing("tax_lots", rows.TaxLot, {"acquired_at": Instant, "lot_id": Id})
STOPS: Final = Listing(
    "position_stop_levels", rows.StopLevel, {"at": Instant, "cause": BigInt, "revision": BigInt, "level_id": Id}
)
LEDGER: Final = Listing("reserve_pool_ledger", rows.LedgerEntry, {"seq": BigInt, "entry_id": Id})
TIER_CHANGES: Final = Listing("risk_tier_history", rows.TierChange, {"at": Instant, "cause": BigInt, "change_id": Id})
BREAKER_EVENTS: Final = Listing(
    "circuit_breaker_events", rows.BreakerEvent, {"at": Instant, "cause": BigInt, "event_id": Id}
)
ALERTS: Final = Listing("alerts", rows.Alert, {"at": Instant, "cause": BigInt, "record_id": Id})
FILLS: Final = Listing("fills", rows.Fill, {"at": Instant, "fill_id": Id})
METRICS: Final = Listing("performance_metrics", rows.Metrics, {"at": Instant, "cause": BigInt, "record_id": Id})
SNAPSHOTS: Final = Listing("portfolio_snapshots", rows.Snapshot, {"session_on": Day})
EARNINGS: Final = Listing("earnings_calendar", rows.EarningsDate, {"earnings_on": Day, "symbol": Id}, shared=True)
NOTIFICATIONS: Final = Listing("notifications", rows.Notification, {"at": Instant, "delivery_id": Id})
CHAINS: Final = Listing("trading_decisions", rows.DecisionChain, DECISIONS.key)


async def chain(database: Database, account_id: str, decision_id: str) -> Row | None:
    """Return a decision with its source, sizing, orders, fills and wash sales; None when there is no such decision."""
    decision = await database.row(
        f"{CHAINS.select} WHERE account_id = $1 AND decision_id = $2", account_id, decision_id
    )
    if decision is None:
        return None
    orders = await database.rows(
        f"{ORDERS.select} WHERE account_id = $1 AND decision_id = $2 ORDER BY created_at, tranche, client_order_id",
        account_id,
        decision_id,
    )
    fills = await database.rows(
        f"{FILLS.select} WHERE account_id = $1 AND client_order_id = ANY($2) ORDER BY at, fill_id",
        account_id,
        [order["client_order_id"] for order in orders],
    )
    wash_sales = await database.rows(
        "SELECT record FROM account_records WHERE account_id = $1 AND decision_id = $2 AND kind = 'wash_sale'"
        " ORDER BY at, record_id",
        account_id,
        decision_id,
    )
    return decision | {"orders": orders, "fills": fills, "wash_sales": [row["record"] for row in wash_sales]}
