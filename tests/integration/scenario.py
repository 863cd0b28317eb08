"""One scenario of a requirement: an account and days of its own on a stack that all scenarios share.

500 dollars, the moderate tier, and prices that may be up to a day of sessions old, so that a scenario says only the
prices that it is about; what is to be seen of stale prices sets its own limit.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from tests.integration import market
from tests.integration.desk import Desk
from tests.integration.harness import Json, Stack

ACCOUNTS = tuple(f"law-{number:02d}" for number in range(1, 42))
PATIENCE = 1440  # session minutes, the longest that the policy takes
NEAR = Decimal("0.000001")  # what divisions may differ by
BOUGHT_AT = Decimal("40.02")  # 40.00 and five basis points of slippage, to the cent


class Calendar:
    """The sessions that no scenario has had; time never goes back on a stack."""

    def __init__(self) -> None:
        self._left: Iterator[dt.date] = market.sessions()

    def take(self) -> dt.date:
        """Return the next session."""
        return next(self._left)

    def take_weekday(self, weekday: int) -> dt.date:
        """Return the next session on a weekday, 0 is Monday, of a week without a holiday."""
        return next(day for day in self._left if day.weekday() == weekday and not _has_holiday(day))


def _has_holiday(day: dt.date) -> bool:
    monday = day - dt.timedelta(days=day.weekday())
    return any(monday + dt.timedelta(days=number) in market.CLOSED for number in range(5))


@dataclasses.dataclass
class Scenario(Desk):
    """A desk whose days go on; what its account saw before, paused, is none of its business."""

    calendar: Calendar = dataclasses.field(default_factory=Calendar)

    def __post_init__(self) -> None:
        self.began_at = self.at("00:00")

    def next_day(self) -> None:
        """Go to the next session."""
        self.day = self.calendar.take()

    def begin_on(self, *, weekday: int) -> None:
        """Begin on the next weekday, 0 is Monday, of a week without a holiday instead."""
        self.day = self.calendar.take_weekday(weekday)
        self.began_at = self.at("00:00")
        self.wait_until("09:00")

    def enlist(self, symbol: str, close: str, *, sector: str = "technology", half_range: str = "0.5") -> None:
        """Make a company known, with 20 sessions behind it, before whatever is sent and waited for next."""
        self.stack.produce("companies", [market.company(symbol, sector=sector)])
        self.stack.produce("price-bars", market.bars_before(symbol, self.day, close, half_range=half_range))

    def wait_until(self, clock: str) -> None:
        """Let time pass without a price of anything that is held."""
        self.tick(self.symbol("Z"), "5.00", clock)

    def configure(self, **changes: Any) -> Json:
        """Change the policy over HTTP, confirming what loosens a limit; return the new one."""
        body = {"version": self.get("/config")["version"], **changes}
        answer = self.request("PUT", "/config", json=body)
        if answer.status_code == 202:
            body["confirmation_token"] = answer.json()["confirmation_token"]
            answer = self.request("PUT", "/config", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def buy(self, symbol: str, clock: str, price: str = "40.00", **changes: Any) -> Json:
        """Send a price and a recommendation to buy at it; return this account's decision on it."""
        self.tick(symbol, price, clock)
        source_id = self.recommend(symbol, clock, **changes)
        [decision] = self.decisions(source_id=source_id)
        return decision

    def hold(self, letter: str, clock: str, *, sector: str = "technology", confidence: str = "0.9") -> str:
        """Own one share: 40.02 paid, ATR 1, so a stop at 38.02 and a target at 43.02; return its symbol."""
        symbol = self.symbol(letter)
        self.enlist(symbol, "40.00", sector=sector)
        decision = self.buy(symbol, clock, confidence=confidence)
        assert (decision["decision"], decision["quantity"]) == ("act", "1"), decision
        return symbol

    def records(self, kind: str, **where: Any) -> list[Json]:
        """Return this account's records of a kind since the scenario began."""
        return [record for record in super().records(kind, **where) if record["at"] >= self.began_at]

    def rows(self, table: str) -> list[Json]:
        """Return this account's rows of a table since the scenario began, once all that happened is in it."""
        began_at = dt.datetime.fromisoformat(self.began_at)
        return [row for row in super().rows(table) if row["at"] >= began_at]

    def told(self, event_type: str) -> list[Json]:
        """Return this account's notifications of a kind since the scenario began."""
        told = self.stack.bodies("notifications", account_id=self.account, event_type=event_type)
        return [each for each in told if each["created_at"] >= self.began_at]

    def sells(self) -> list[tuple[str, str, str]]:
        """Return purpose, symbol and quantity of this account's sells."""
        return [(order["purpose"], order["symbol"], order["quantity"]) for order in self.orders(side="sell")]

    def levels(self, symbol: str) -> list[tuple[str, Decimal]]:
        """Return reason and stop of every level that a symbol has had."""
        return [(each["reason"], Decimal(each["stop_price"])) for each in self.records("stop_level", symbol=symbol)]


def gate(decision: Json, name: str) -> Json:
    """Return one gate of a decision."""
    return next(dict(each) for each in decision["gates"] if each["name"] == name)


def size(decision: Json) -> Decimal:
    """Return the dollars of a decision, to the millionth."""
    return Decimal(decision["computed_position_size"]).quantize(NEAR)


def formula(decision: Json, *, times: str) -> Decimal:
    """Return the dollars for a confidence of 0.9, times the factors that a scenario is about.

    They are a percentage of the active pool, of 500 at most.
    """
    pool = min(Decimal(500), Decimal(decision["active_pool"]))
    return (pool * Decimal("0.05") * Decimal("0.9") / Decimal("0.55") * Decimal(times)).quantize(NEAR)


def begin(stack: Stack, account: str, calendar: Calendar) -> Scenario:
    """Resume an account before the session of a new day."""
    scenario = Scenario(stack, account, calendar.take(), prefix=f"L{account[-2:]}", calendar=calendar)
    scenario.command("resume", at=scenario.at("09:00"))
    scenario.configure(stale_price_minutes=PATIENCE)
    return scenario
