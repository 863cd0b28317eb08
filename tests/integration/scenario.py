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

ACCOUNTS = tuple(f"law-{number:02d}" for number in range(1, 31))
PATIENCE = 1440  # session minutes, the longest that the policy takes
BOUGHT_AT = Decimal("40.02")  # 40.00 and five basis points of slippage, to the cent


class Calendar:
    """The sessions that no scenario has had; time never goes back on a stack."""

    def __init__(self) -> None:
        self._left: Iterator[dt.date] = market.sessions()

    def take(self, *, weekday: int | None = None) -> dt.date:
        """Return the next session, of a weekday (0 is Monday) if one is asked for."""
        return next(day for day in self._left if weekday in (None, day.weekday()))


@dataclasses.dataclass
class Scenario(Desk):
    """A desk whose days go on."""

    calendar: Calendar = dataclasses.field(default_factory=Calendar)

    def next_day(self, *, weekday: int | None = None) -> None:
        """Go to the next session, of a weekday if one is asked for."""
        self.day = self.calendar.take(weekday=weekday)

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

    def sells(self) -> list[tuple[str, str, str]]:
        """Return purpose, symbol and quantity of this account's sells."""
        return [(order["purpose"], order["symbol"], order["quantity"]) for order in self.orders(side="sell")]

    def levels(self, symbol: str) -> list[tuple[str, Decimal]]:
        """Return reason and stop of every level that a symbol has had."""
        return [(each["reason"], Decimal(each["stop_price"])) for each in self.records("stop_level", symbol=symbol)]

    def told(self, event_type: str) -> list[Json]:
        """Return this account's notifications of a kind."""
        return self.stack.bodies("notifications", account_id=self.account, event_type=event_type)


def gate(decision: Json, name: str) -> Json:
    """Return one gate of a decision."""
    return next(dict(each) for each in decision["gates"] if each["name"] == name)


def begin(stack: Stack, account: str, calendar: Calendar) -> Scenario:
    """Resume an account before the session of a new day."""
    scenario = Scenario(stack, account, calendar.take(), prefix=f"L{account[-2:]}", calendar=calendar)
    scenario.command("resume", at=scenario.at("09:00"))
    scenario.configure(stale_price_minutes=PATIENCE)
    return scenario
