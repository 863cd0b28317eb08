"""One test that is the broker itself: with `STONKS_BROKER=external` nobody else answers its account's orders."""

import dataclasses
import datetime as dt
import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from tests.integration import market
from tests.integration.desk import Desk
from tests.integration.harness import Json, Stack

ACCOUNTS = tuple(f"out-{number:02d}" for number in range(1, 25))
D = Decimal
CAPITAL = D(500)


@dataclasses.dataclass
class Outsider(Desk):
    """A desk with a day of its own that tells `broker-events` what becomes of its orders and of its account."""

    cash: Decimal = CAPITAL
    shares: dict[str, Decimal] = dataclasses.field(default_factory=dict)
    open_orders: list[Json] = dataclasses.field(default_factory=list)
    names: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))

    def tell(self, kind: str, **fields: Any) -> None:
        """Write one event and wait until it has had its effect."""
        event_id = fields.pop("event_id", f"{self.account}-{next(self.names)}")
        self.send("broker-events", {"kind": kind, "event_id": event_id, "account_id": self.account, **fields})

    def report(self, *, times: int = 1, **changes: Any) -> None:
        """Tell the account as this broker has it, some times."""
        for _ in range(times):
            money = {name: str(self.cash) for name in ("cash", "buying_power", "equity")}
            positions = [
                {"symbol": symbol, "quantity": str(held), "avg_entry_price": "40"}
                for symbol, held in self.shares.items()
                if held
            ]
            body = {**money, "positions": positions, "open_orders": self.open_orders, **changes}
            self.tell("account_snapshot", **body)

    def accept(self, order: Json) -> None:
        """Have the order, and list it as open from now on."""
        self.tell("order_accepted", **_about(order))
        self.open_orders.append(listing(order))

    def execute(self, order: Json, quantity: str | None = None, price: str = "40") -> Json:
        """Fill an order in this broker's own books and return what is to be told of it."""
        shares = D(quantity or order["quantity"])
        bought = shares if order["side"] == "buy" else -shares
        self.shares[order["symbol"]] = self.shares.get(order["symbol"], D(0)) + bought
        self.cash -= bought * D(price)
        self.open_orders = [each for each in self.open_orders if each["client_order_id"] != order["client_order_id"]]
        return fill_of(order, quantity=str(shares), price=price, cumulative=str(shares))

    def fill(self, order: Json, quantity: str | None = None, price: str = "40") -> None:
        """Fill an order and tell of it."""
        self.tell("order_fill", **self.execute(order, quantity, price))

    def cancel(self, order: Json, cumulative: str = "0") -> None:
        """Tell that an order is off the book."""
        self.open_orders = [each for each in self.open_orders if each["client_order_id"] != order["client_order_id"]]
        self.tell("order_cancelled", **_about(order), cumulative_quantity=cumulative)

    def buy(self, letter: str = "A", clock: str = "14:00", price: str = "40.00") -> Json:
        """Have the engine send a buy of one share, and return its order."""
        symbol = self.symbol(letter)
        self.enlist(symbol, price)
        self.tick(symbol, price, clock)
        self.recommend(symbol, clock)
        [order] = self.orders(symbol=symbol, side="buy")
        assert order["quantity"] == "1"
        return order

    def hold(self, letter: str = "A", clock: str = "14:00") -> str:
        """Own one share that cost 40: its stop lies at 38 (ATR 1, twice), its target at 43; return its symbol."""
        order = self.buy(letter, clock)
        self.accept(order)
        self.fill(order)
        return str(order["symbol"])

    def may_enter(self, clock: str, letter: str = "Y") -> bool:
        """Tell whether the engine would buy something else now; the order is refused at once."""
        symbol = f"{self.symbol(letter)}{next(self.names)}"
        self.enlist(symbol, "40.00", sector=f"sector {symbol}")
        self.tick(symbol, "40.00", clock)
        self.recommend(symbol, clock)
        [decision] = self.decisions(symbol=symbol)
        for order in self.orders(symbol=symbol):
            self.tell("order_rejected", **_about(order), reason="only asked")
        assert decision["skip_reason"] in {None, "not_ready"}, decision["skip_reason"]
        return decision["skip_reason"] is None

    def alerts(self, severity: str, about: str) -> list[str]:
        """Return the subjects of this account's alerts of a severity that name something."""
        found = self.records("alert", severity=severity)
        return [each["subject"] for each in found if about in each["body"] + each["subject"]]

    def differences(self) -> list[Json]:
        """Return everything that reconciliations found, in order."""
        return [each for record in self.records("reconciliation") for each in record["differences"]]

    def held(self) -> dict[str, Decimal]:
        """Return the positions in PostgreSQL; that they are the sum of their open lots is checked."""
        positions = {row["symbol"]: row["quantity"] for row in self.rows("positions")}
        lots: dict[str, Decimal] = {}
        for row in self.rows("tax_lots"):
            lots[row["symbol"]] = lots.get(row["symbol"], D(0)) + row["open_quantity"]
        assert positions == {symbol: quantity for symbol, quantity in lots.items() if quantity}
        return positions

    def order_states(self, symbol: str) -> list[tuple[str, str]]:
        """Return side and status of every order in a symbol, as PostgreSQL has them."""
        rows = [row for row in self.rows("orders") if row["symbol"] == symbol]
        return [(row["side"], row["status"]) for row in rows]


def listing(order: Json, *, filled: str = "0") -> Json:
    """Return an order as a snapshot lists it."""
    terms = {name: order[name] for name in ("client_order_id", "symbol", "side", "quantity")}
    return {**terms, "broker_order_id": f"b-{order['client_order_id']}", "filled_quantity": filled}


def fill_of(order: Json, *, quantity: str, price: str, cumulative: str) -> Json:
    """Return the fields of a fill."""
    amounts = {"quantity": quantity, "price": price, "cumulative_quantity": cumulative}
    leaves = str(max(D(0), D(order["quantity"]) - D(cumulative)))
    fill_id = f"{order['client_order_id']}:{cumulative}"
    return {**_about(order), "fill_id": fill_id, **amounts, "leaves_quantity": leaves, "fee": "0"}


def _about(order: Json) -> Json:
    return {"client_order_id": order["client_order_id"], "symbol": order["symbol"]}


def days() -> Iterator[tuple[str, dt.date]]:
    """Yield an account and a day each time."""
    return zip(ACCOUNTS, market.sessions(), strict=False)


def begin(stack: Stack, account: str, day: dt.date) -> Outsider:
    """Begin the day of an account, before its session; it has not been opened by a snapshot yet."""
    outsider = Outsider(stack, account, day, prefix=f"X{account[-2:]}")
    outsider.command("resume", at=outsider.at("09:00"))
    return outsider
