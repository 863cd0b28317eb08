"""The fake's book keeps its laws over random orders, fills, cancels and closes: nothing is lost or named twice."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.fakes.alpaca.book import State
from tests.fakes.alpaca.clock import MarketClock
from tests.fakes.alpaca.exchange import Exchange, part
from tests.fakes.alpaca.market import Market
from tests.fakes.alpaca.order_log import OrderLog
from tests.fakes.alpaca.orders import OPEN, Refusal, Terms, read_request

OPENS = dt.datetime(2026, 11, 24, 14, 30, tzinfo=dt.UTC)
SYMBOLS = ("A", "B")
CASH = Decimal(1000)


class BookMachine(RuleBasedStateMachine):
    """Trade two symbols with 1,000 dollars and look at the laws after every step."""

    @initialize()
    def begin(self) -> None:
        self.clock = MarketClock(OPENS, rate=0)
        self.market = Market(self.clock)
        for symbol in SYMBOLS:
            self.market.set_price(symbol, Decimal(10))
        self.heard: list[tuple[str, str, Decimal | None]] = []
        self.log = OrderLog()
        self.exchange = Exchange(self.market, self.log, State(CASH), publish=self.hear)
        self.used: set[str] = set()

    def hear(self, event: str, order: Any, fill: Any, position_qty: Decimal) -> None:
        self.heard.append((event, order.id, fill.cum_qty if fill else None))

    @rule(
        name=st.sampled_from([f"id-{number}" for number in range(12)]),
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from(["buy", "sell"]),
        qty=st.sampled_from(["1", "2", "7", "0.5", "30", "200"]),
        kind=st.sampled_from(["market", "limit", "stop"]),
        price=st.integers(5, 15),
        time_in_force=st.sampled_from(["day", "gtc"]),
        terms=st.builds(Terms, parts=st.integers(1, 4), filled_parts=st.sampled_from([None, 0, 1])),
    )
    def submit(  # noqa: PLR0917 - Hypothesis calls it by name
        self, name: str, symbol: str, side: str, qty: str, kind: str, price: int, time_in_force: str, terms: Terms
    ) -> None:
        body = {"client_order_id": name, "symbol": symbol, "side": side, "qty": qty, "type": kind}
        prices = {"limit": {"limit_price": price}, "stop": {"stop_price": price}}.get(kind, {})
        power = self.exchange.state.buying_power(self.market.prices())
        available = self.exchange.state.available(symbol)
        try:
            order = self.exchange.submit({**body, **prices, "time_in_force": time_in_force}, terms)
        except Refusal:
            assert name in self.used or side == "sell" or Decimal(qty) != 1 or power < 15 or _crosses(self, symbol)
            return
        assert name not in self.used
        self.used.add(name)
        assert order.hold_price * order.request.qty <= power if side == "buy" else order.request.qty <= available

    @rule(symbol=st.sampled_from(SYMBOLS), price=st.integers(4, 16))
    def trade(self, symbol: str, price: int) -> None:
        self.market.set_price(symbol, Decimal(price))

    @rule(place=st.integers(0, 11))
    def cancel(self, place: int) -> None:
        orders = list(self.exchange.state.orders.values())
        if orders:
            order = orders[place % len(orders)]
            if order.is_open:
                self.exchange.cancel(order.id)
            else:
                with pytest.raises(Refusal):
                    self.exchange.cancel(order.id)

    @rule(hours=st.sampled_from([1, 7, 24]))
    def wait(self, hours: int) -> None:
        self.clock.set(self.clock.now() + dt.timedelta(hours=hours), rate=0)
        self.exchange.step()

    @invariant()
    def nothing_is_made_or_lost(self) -> None:
        state = self.exchange.state
        signs = {"buy": 1, "sell": -1}
        spent = sum((signs[one.side] * one.qty * one.price for one in state.fills), Decimal(0))
        assert state.cash == CASH - spent
        for symbol in SYMBOLS:
            held = sum((signs[one.side] * one.qty for one in state.fills if one.symbol == symbol), Decimal(0))
            position = state.positions.get(symbol)
            assert (position.qty if position else Decimal(0)) == held
            assert held >= state.held(symbol) >= 0

    @invariant()
    def every_id_is_used_once_and_every_fill_counts_on(self) -> None:
        state = self.exchange.state
        assert len({one.request.client_order_id for one in state.orders.values()}) == len(state.orders)
        assert len({one.id for one in state.fills}) == len(state.fills)
        for order in state.orders.values():
            fills = [one for one in state.fills if one.order_id == order.id]
            assert order.filled_qty == sum((one.qty for one in fills), Decimal(0)) <= order.request.qty
            assert [one.cum_qty for one in fills] == sorted({one.cum_qty for one in fills})
            assert (order.status == "filled") == (order.leaves_qty == 0)
            assert (order.status in OPEN) == order.is_open

    @invariant()
    def the_log_and_the_stream_tell_every_fill_once(self) -> None:
        fills = [(one.order_id, one.cum_qty) for one in self.exchange.state.fills]
        assert [(one["order_id"], Decimal(one["cum_qty"])) for one in self.log.of("fill")] == fills
        assert [(order_id, cum_qty) for event, order_id, cum_qty in self.heard if "fill" in event] == fills

    @invariant()
    def nothing_of_a_day_outlives_its_close(self) -> None:
        now = self.clock.now()
        for order in self.exchange.state.open_orders():
            assert order.expires_at is None or order.expires_at > now


def _crosses(machine: BookMachine, symbol: str) -> bool:
    return any(one.request.side == "sell" for one in machine.exchange.state.open_orders(symbol))


TestBook = BookMachine.TestCase
TestBook.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_parts_are_whole_shares_where_there_is_one_for_each() -> None:
    ten = read_request(
        {"symbol": "A", "side": "buy", "type": "market", "time_in_force": "day", "qty": "10"}, default_id="x"
    )
    assert [part(ten, parts=3, number_of=number) for number in (1, 2, 3)] == [3, 6, 10]
    assert part(ten, parts=16, number_of=1) == Decimal("0.625")
