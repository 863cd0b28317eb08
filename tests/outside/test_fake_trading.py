"""The fake Alpaca speaks to the real trading client: orders, positions, the account, and what it refuses."""

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.models import Order
from alpaca.trading.requests import (
    GetCalendarRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    StopOrderRequest,
)

from tests.fakes.alpaca import FakeAlpaca, Fault
from tests.outside.clients import trading_client, trading_stream

IN_SESSION = dt.datetime(2026, 11, 24, 15, 30, tzinfo=dt.UTC)  # a Tuesday, 10:30 in New York
PRICES = {"AAPL": Decimal("190.00"), "F": Decimal("11.00")}


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeAlpaca]:
    async with FakeAlpaca(at=IN_SESSION, prices=PRICES, cash=Decimal(500)) as server:
        yield server


@pytest.fixture
def client(fake: FakeAlpaca) -> TradingClient:
    return trading_client(fake)


def market(symbol: str, qty: float, side: str = "buy", name: str = "", tif: str = "day") -> MarketOrderRequest:
    return MarketOrderRequest(
        symbol=symbol,
        qty=qty,
        side=OrderSide(side),
        time_in_force=TimeInForce(tif),
        client_order_id=name or str(uuid.uuid4()),
    )


async def ask(call: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.to_thread(call, *arguments)


async def refused(call: Callable[..., Any], *arguments: Any) -> APIError:
    with pytest.raises(APIError) as caught:
        await ask(call, *arguments)
    return caught.value


async def settled(client: TradingClient, name: str, status: str = "filled") -> Order:
    for _ in range(200):
        order = await ask(client.get_order_by_client_id, name)
        if order.status == status:
            return order
        await asyncio.sleep(0.02)
    raise AssertionError(f"{name} is {order.status}, not {status}")


async def test_a_market_order_fills_and_becomes_a_position(fake: FakeAlpaca, client: TradingClient) -> None:
    placed = await ask(client.submit_order, market("F", 3, name="entry-1"))
    assert (placed.status, placed.filled_qty) == (OrderStatus.PENDING_NEW, "0")
    done = await settled(client, "entry-1")
    assert (done.filled_qty, done.filled_avg_price, done.id) == ("3", "11", placed.id)
    position = await ask(client.get_open_position, "F")
    assert (position.qty, position.qty_available, position.avg_entry_price) == ("3", "3", "11")
    account = await ask(client.get_account)
    assert (account.cash, account.equity, account.buying_power) == ("467", "500", "467")  # 500 - 3 x 11
    assert (await ask(client.get_order_by_id, placed.id)).client_order_id == "entry-1"


async def test_an_id_is_used_once_for_ever_also_by_an_order_that_was_cancelled(
    fake: FakeAlpaca, client: TradingClient
) -> None:
    fake.faults.add(Fault("rests"))
    placed = await ask(client.submit_order, market("F", 1, name="twice"))
    await ask(client.cancel_order_by_id, placed.id)
    assert (await settled(client, "twice", "canceled")).canceled_at is not None
    error = await refused(client.submit_order, market("F", 1, name="twice"))
    assert (error.status_code, error.code, error.message) == (422, 40010001, "client_order_id must be unique")
    assert [one["client_order_id"] for one in fake.log.of("created")] == ["twice"]


async def test_a_buy_beyond_the_buying_power_is_refused(client: TradingClient) -> None:
    error = await refused(client.submit_order, market("AAPL", 3))  # 570 of 500 dollars
    assert (error.status_code, error.code, error.message) == (403, 40310000, "insufficient buying power")


async def test_an_open_buy_holds_buying_power(fake: FakeAlpaca, client: TradingClient) -> None:
    fake.faults.add(Fault("rests"))
    await ask(client.submit_order, market("AAPL", 2))  # holds 380
    assert (await ask(client.get_account)).buying_power == "120"
    assert (await refused(client.submit_order, market("AAPL", 1))).status_code == 403


async def test_shares_that_an_order_holds_cannot_be_sold_again(fake: FakeAlpaca, client: TradingClient) -> None:
    await ask(client.submit_order, market("F", 3, name="entry"))
    await settled(client, "entry")
    stop = StopOrderRequest(symbol="F", qty=2, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, stop_price=5)
    resting = await ask(client.submit_order, stop)
    assert (await ask(client.get_open_position, "F")).qty_available == "1"
    error = await refused(client.submit_order, market("F", 3, "sell"))
    body = error.response.json()
    assert (error.status_code, error.code) == (403, 40310000)
    assert (body["available"], body["existing_qty"], body["held_for_orders"]) == ("1", "3", "2")
    assert body["related_orders"] == [str(resting.id)]
    await ask(client.cancel_order_by_id, resting.id)
    await ask(client.submit_order, market("F", 3, "sell", "exit"))
    await settled(client, "exit")
    assert await ask(client.get_all_positions) == []


async def test_a_market_buy_against_a_resting_sell_is_a_wash_trade(client: TradingClient) -> None:
    await ask(client.submit_order, market("F", 2, name="entry"))
    await settled(client, "entry")
    stop = StopOrderRequest(symbol="F", qty=2, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, stop_price=5)
    await ask(client.submit_order, stop)
    error = await refused(client.submit_order, market("F", 1))
    assert (error.status_code, error.message) == (403, "potential wash trade detected. use complex orders")


async def test_nobody_sells_what_he_does_not_have(client: TradingClient) -> None:
    assert (await refused(client.submit_order, market("F", 1, "sell"))).status_code == 403


async def test_fractions_are_day_orders_of_symbols_that_allow_them(fake: FakeAlpaca, client: TradingClient) -> None:
    assert (await refused(client.submit_order, market("F", 0.5, tif="gtc"))).status_code == 422
    fake.market.listings["F"].fractionable = False
    assert (await refused(client.submit_order, market("F", 0.5))).message == 'asset "F" is not fractionable'
    await ask(client.submit_order, market("AAPL", 0.5, name="half"))
    assert (await settled(client, "half")).filled_qty == "0.5"


async def test_an_unknown_symbol_and_an_unknown_order_are_refused(client: TradingClient) -> None:
    assert (await refused(client.submit_order, market("ZZZZ", 1))).status_code == 422
    assert (await refused(client.get_order_by_client_id, "never")).status_code == 404
    assert (await refused(client.get_open_position, "F")).status_code == 404


async def test_a_filled_order_cannot_be_cancelled(client: TradingClient) -> None:
    placed = await ask(client.submit_order, market("F", 1, name="gone"))
    await settled(client, "gone")
    error = await refused(client.cancel_order_by_id, placed.id)
    assert (error.status_code, error.message) == (422, 'order is already in "filled" state')


async def test_a_stop_sells_when_the_price_falls_to_it(fake: FakeAlpaca, client: TradingClient) -> None:
    await ask(client.submit_order, market("F", 2, name="entry"))
    await settled(client, "entry")
    stop = StopOrderRequest(
        symbol="F", qty=2, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, stop_price=10, client_order_id="stop"
    )
    await ask(client.submit_order, stop)
    fake.market.set_price("F", Decimal("10.01"))
    await settled(client, "stop", "new")
    fake.market.set_price("F", Decimal("9.90"))
    assert (await settled(client, "stop")).filled_avg_price == "9.9"


async def test_a_day_order_expires_at_the_close_and_a_late_one_waits_for_the_open(
    fake: FakeAlpaca, client: TradingClient
) -> None:
    limit = LimitOrderRequest(
        symbol="F", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=5, client_order_id="low"
    )
    await ask(client.submit_order, limit)
    fake.clock.set(dt.datetime(2026, 11, 24, 21, 0, tzinfo=dt.UTC))  # 16:00 in New York
    assert (await settled(client, "low", "expired")).expired_at is not None
    assert (await ask(client.submit_order, market("F", 1, name="late"))).status == OrderStatus.ACCEPTED
    assert not (await ask(client.get_clock)).is_open
    fake.clock.set(dt.datetime(2026, 11, 25, 14, 30, tzinfo=dt.UTC))
    await settled(client, "late")


async def test_orders_are_listed_by_status_side_symbol_and_time(fake: FakeAlpaca, client: TradingClient) -> None:
    fake.faults.add(Fault("rests", times=0, symbol="AAPL"))
    for name, symbol in (("a", "F"), ("b", "AAPL"), ("c", "F")):
        await ask(client.submit_order, market(symbol, 1, name=name))
    await settled(client, "c")

    async def listed(**asked: Any) -> list[str]:
        return [one.client_order_id for one in await ask(client.get_orders, GetOrdersRequest(**asked))]

    assert await listed() == ["b"]  # open ones by default
    assert await listed(status=QueryOrderStatus.CLOSED) == ["c", "a"]
    assert await listed(status=QueryOrderStatus.ALL, direction="asc") == ["a", "b", "c"]
    assert await listed(status=QueryOrderStatus.ALL, symbols=["F"], limit=1) == ["c"]
    first = (await ask(client.get_order_by_client_id, "a")).submitted_at
    assert await listed(status=QueryOrderStatus.ALL, after=first) == ["c", "b"]
    assert await listed(status=QueryOrderStatus.ALL, side=OrderSide.SELL) == []
    cancelled = await ask(client.cancel_orders)
    assert [one.status for one in cancelled] == [200]


async def test_the_calendar_knows_the_half_day_after_thanksgiving(client: TradingClient) -> None:
    asked = GetCalendarRequest(start=dt.date(2026, 11, 25), end=dt.date(2026, 11, 30))
    days = await ask(client.get_calendar, asked)
    assert [(f"{one.date:%m-%d}", f"{one.close:%H:%M}") for one in days] == [
        ("11-25", "16:00"),
        ("11-27", "13:00"),
        ("11-30", "16:00"),
    ]


async def test_assets_are_found_by_symbol(client: TradingClient) -> None:
    assert (await ask(client.get_asset, "F")).tradable
    assert {one.symbol for one in await ask(client.get_all_assets)} == set(PRICES)


async def test_wrong_keys_open_nothing(fake: FakeAlpaca) -> None:
    stranger = TradingClient("PKSTRANGER", "wrong", url_override=fake.url)
    assert (await refused(stranger.get_account)).status_code == 401
    assert fake.log.of("created") == []


async def test_fills_are_activities_page_after_page(fake: FakeAlpaca, client: TradingClient) -> None:
    fake.faults.add(Fault("partial_fills", parts=3))
    await ask(client.submit_order, market("F", 6, name="in-three"))
    await settled(client, "in-three")
    first = await ask(client.get, "/account/activities/FILL", {"page_size": 2, "direction": "asc"})
    assert [(one["qty"], one["cum_qty"], one["leaves_qty"]) for one in first] == [("2", "2", "4"), ("2", "4", "2")]
    rest = await ask(
        client.get, "/account/activities", {"activity_types": "FILL", "direction": "asc", "page_token": first[-1]["id"]}
    )
    assert [(one["type"], one["cum_qty"]) for one in rest] == [("fill", "6")]


async def test_the_stream_tells_every_step_of_an_order(fake: FakeAlpaca, client: TradingClient) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    stream = trading_stream(fake)
    stream.subscribe_trade_updates(heard.put)
    running = asyncio.create_task(stream._run_forever())
    try:
        for _ in range(200):
            if any(one.is_listening for one in fake.updates.connections):
                break
            await asyncio.sleep(0.02)
        fake.faults.add(Fault("partial_fills", parts=2))
        await ask(client.submit_order, market("F", 2, name="told"))
        updates = [await asyncio.wait_for(heard.get(), 5) for _ in range(3)]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await stream.close()
    assert [one.event for one in updates] == ["new", "partial_fill", "fill"]
    assert [(one.qty, one.price, one.position_qty) for one in updates[1:]] == [(1.0, 11.0, 1.0), (1.0, 11.0, 2.0)]
    assert {one.order.client_order_id for one in updates} == {"told"}
    assert updates[2].execution_id != updates[1].execution_id
