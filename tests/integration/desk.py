"""What one test has of a stack that many share: an account and symbols of its own, and a day."""

import dataclasses
import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any

from tests.integration import market
from tests.integration.harness import Json, Stack

GATES = [
    "not_actionable",
    "expired",
    "superseded",
    "unknown_symbol",
    "not_ready",
    "engine_paused",
    "circuit_breaker_active",
    "market_stress",
    "broad_decline",
    "active_pool_minimum",
    "outside_trading_window",
    "price_unavailable",
    "ticker_cooldown",
    "earnings_blackout",
    "insufficient_confidence",
    "no_position_to_sell",
    "already_held",
    "position_limit_reached",
    "correlation_too_high",
    "sector_limit",
    "portfolio_heat",
    "reserve_not_backed",
    "insufficient_active_pool",
    "below_one_share",
    "micro_daily_limit",
    "micro_too_late",
]
"""Every gate of a decision, in the contract's order."""


@dataclasses.dataclass
class Desk:
    """What one test has of the shared stack: all other accounts are paused, and its day is later than all before it."""

    stack: Stack
    account: str
    day: dt.date
    prefix: str
    numbers: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))

    def at(self, clock: str) -> str:
        """Return an instant of this day."""
        return market.instant(self.day, clock)

    def symbol(self, letter: str = "A") -> str:
        """Return a symbol that no other test has."""
        return self.prefix + letter

    def send(self, topic: str, *records: Json) -> None:
        """Produce records and wait until they have had their effect."""
        self.stack.produce(topic, records)
        self.stack.until_lag_zero()

    def enlist(self, symbol: str, close: str, *, sector: str = "technology", half_range: str = "0.5") -> None:
        """Make a company known, with 20 sessions behind it."""
        self.stack.produce("companies", [market.company(symbol, sector=sector)])
        self.send("price-bars", *market.bars_before(symbol, self.day, close, half_range=half_range))

    def tick(self, symbol: str, price: str, clock: str) -> None:
        """Send one price."""
        self.send("price-ticks", market.tick(symbol, price, self.at(clock)))

    def recommend(self, symbol: str, clock: str, **changes: Any) -> str:
        """Send a recommendation and return its id."""
        recommendation_id = changes.pop("recommendation_id", f"{self.account}-{symbol}-{next(self.numbers)}")
        self.send("recommendations", market.recommendation(symbol, recommendation_id, self.at(clock), **changes))
        return str(recommendation_id)

    def command(self, kind: str, **fields: Any) -> None:
        """Send a command for this account."""
        command_id = f"{self.account}-{kind}-{next(self.numbers)}"
        self.send("commands", market.command(kind, command_id, self.account, **fields))

    def orders(self, **where: Any) -> list[Json]:
        """Return this account's orders."""
        return self.stack.bodies("orders", account_id=self.account, **where)

    def decisions(self, **where: Any) -> list[Json]:
        """Return this account's decisions on this test's symbols; on those of other tests it was paused."""
        decisions = self.stack.bodies("decisions", account_id=self.account, **where)
        return [decision for decision in decisions if decision["symbol"].startswith(self.prefix)]

    def records(self, kind: str, **where: Any) -> list[Json]:
        """Return this account's records of a kind."""
        return self.stack.bodies("records", account_id=self.account, kind=kind, **where)

    def rows(self, table: str) -> list[Json]:
        """Return this account's rows of a table, once all that happened is in it."""
        self.stack.until_lag_zero(projected=True)
        return self.stack.sql(f'SELECT * FROM "{table}" WHERE account_id = $1 ORDER BY at', self.account)  # noqa: S608

    def decision_rows(self) -> list[Json]:
        """Return the rows of `decisions`."""
        return [row for row in self.rows("trading_decisions") if row["symbol"].startswith(self.prefix)]

    def status(self) -> Json:
        """Return this account's status."""
        return self.stack.status(self.account)

    def get(self, path: str, **query: Any) -> Json:
        """Return the JSON of a GET for this account."""
        return self.stack.get(f"/api/trading{path}", account_id=self.account, **query)

    def request(self, method: str, path: str, **more: Any) -> Any:
        """Send one HTTP request for this account."""
        return self.stack.request(method, f"/api/trading{path}", params={"account_id": self.account}, **more)
