"""A recommendation through the whole engine to Alpaca's own client and a local Alpaca, and back out at its stop."""

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal

import httpx
import pytest

from tests.integration import market
from tests.integration.harness import Json, Stack, eventually

pytestmark = pytest.mark.integration

SYMBOL, PRICE = "ZZZ", "40.00"


class Fake:
    """The fake Alpaca that `stonks up` has started, by its control calls."""

    def __init__(self, stack: Stack) -> None:
        port = json.loads((stack.data_dir / "ports.json").read_text())["fake-alpaca"]
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)

    def trade_at(self, price: str) -> None:
        """Have the symbol trade at a price."""
        assert self._http.post("/fake/prices", json={SYMBOL: price}).status_code == 204

    def log(self, what: str) -> list[Json]:
        """Return what the broker did of a kind with the symbol."""
        return [one for one in self._http.get("/fake/log", params={"what": what}).json() if one["symbol"] == SYMBOL]

    def now(self) -> str:
        """Return the exchange's time."""
        return str(self._http.get("/fake/health").json()["now"])


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give a stack that trades with the fake Alpaca."""
    with Stack(STONKS_BROKER="fake-alpaca") as stack:
        yield stack.start()


@pytest.mark.covers("R1.3")
def test_a_recommendation_becomes_one_order_a_position_and_at_its_stop_one_sell(stack: Stack) -> None:
    fake = Fake(stack)
    fake.trade_at(PRICE)
    stack.produce("companies", [market.company(SYMBOL)])
    stack.produce("price-bars", market.bars_before(SYMBOL, dt.date.fromisoformat(fake.now()[:10]), PRICE))
    stack.produce("price-ticks", [market.tick(SYMBOL, PRICE, fake.now())])
    stack.until_lag_zero()
    stack.produce("recommendations", [market.recommendation(SYMBOL, "r-1", fake.now())])
    query = "SELECT quantity, avg_entry_price, stop_price FROM positions WHERE symbol = $1"
    eventually(lambda: bool(stack.sql(query, SYMBOL)), seconds=30, what="a position")
    (position,) = stack.sql(query, SYMBOL)
    (entry,) = fake.log("created")
    assert entry["client_order_id"] == stack.bodies("orders", symbol=SYMBOL)[0]["client_order_id"]
    assert [Decimal(fill["price"]) for fill in fake.log("fill")] == [position["avg_entry_price"]]
    assert [fill["qty"] for fill in fake.log("fill")] == [f"{position['quantity']:.0f}"]

    fallen = f"{position['stop_price'] - Decimal('0.01'):.2f}"
    fake.trade_at(fallen)
    stack.produce("price-ticks", [market.tick(SYMBOL, fallen, fake.now())])
    eventually(lambda: not stack.sql(query, SYMBOL), seconds=30, what="the position sold")
    assert [one["side"] for one in fake.log("created")] == ["buy", "sell"]
    (trade,) = stack.sql("SELECT * FROM trades WHERE symbol = $1", SYMBOL)
    assert trade["exit_purpose"] == "stop_loss"
    bought, sold = fake.log("fill")
    profit = Decimal(sold["qty"]) * Decimal(sold["price"]) - Decimal(bought["qty"]) * Decimal(bought["price"])
    assert trade["realized_pnl"] == profit
