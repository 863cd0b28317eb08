"""`order-cancels` through Kafka and the simulated broker: what is live when it is to go is asked back first.

A market order fills at once there, so the connectors hang while it is to be live, and answer when they go on.
"""

from decimal import Decimal

import pytest

from tests.integration import market
from tests.integration.desk import Desk
from tests.integration.harness import Json, eventually, frozen

pytestmark = pytest.mark.integration


def asked_back(desk: Desk) -> list[Json]:
    return desk.stack.bodies("order-cancels", account_id=desk.account)


@pytest.mark.covers("R16.4")
def test_a_kill_asks_a_live_entry_back_and_sells_what_fills_all_the_same(desk: Desk) -> None:
    symbol, stack = desk.symbol(), desk.stack
    desk.enlist(symbol, "40.00")
    desk.tick(symbol, "40.00", "14:00")
    with frozen(stack.child("connectors")):
        stack.produce("recommendations", [market.recommendation(symbol, f"{desk.account}-k", desk.at("14:00"))])
        eventually(lambda: len(desk.orders()) == 1, seconds=20, what="the entry is sent")
        kill = market.command("kill", f"{desk.account}-kill", desk.account, reason="a scenario")
        stack.produce("commands", [kill])
        eventually(lambda: len(asked_back(desk)) == 1, seconds=20, what="its cancel is sent")
        assert desk.orders(side="sell") == []
    stack.until_ready(seconds=30)
    stack.until_lag_zero()
    [entry, sell] = desk.orders()
    [cancel] = asked_back(desk)
    assert (cancel["client_order_id"], cancel["symbol"], cancel["reason"]) == (entry["client_order_id"], symbol, "kill")
    assert (sell["purpose"], sell["quantity"]) == ("kill", entry["quantity"])
    assert [row["status"] for row in desk.rows("orders")] == ["filled", "filled"]
    assert desk.rows("positions") == []
    assert Decimal(desk.status()["open_buy_holds"]) == 0


@pytest.mark.covers("R4.4", "R11.5")
def test_a_stop_while_a_tranche_is_live_asks_it_back_and_sells_all_that_filled_once(desk: Desk) -> None:
    symbol, stack = desk.symbol(), desk.stack
    desk.enlist(symbol, "20.00")  # 40.91 x 1.2 = 49.09 dollars, over the threshold: two tranches of a share
    desk.tick(symbol, "20.00", "14:00")
    desk.recommend(symbol, "14:00")
    with frozen(stack.child("connectors")):
        stack.produce("price-ticks", [market.tick(symbol, "20.00", desk.at("14:15"))])
        eventually(lambda: len(desk.orders(side="buy")) == 2, seconds=20, what="the second tranche is sent")
        stack.produce("price-ticks", [market.tick(symbol, "17.90", desk.at("14:15:30"))])  # the stop is 20.01 - 2 ATR
        eventually(lambda: len(asked_back(desk)) == 1, seconds=20, what="its cancel is sent")
        assert desk.orders(side="sell") == []
    stack.until_ready(seconds=30)
    stack.until_lag_zero()
    assert asked_back(desk)[0]["client_order_id"] == desk.orders(side="buy")[1]["client_order_id"]
    assert [(sell["purpose"], sell["quantity"]) for sell in desk.orders(side="sell")] == [("stop_loss", "2")]
    assert [row["status"] for row in desk.rows("orders")] == ["filled"] * 3
    assert desk.rows("positions") == []
