"""The simulated broker on a journal and given prices: accounts, fills, resting orders, snapshots, restarts."""

import datetime as dt
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from connectors.journal import Journal
from connectors.ports import Broker, Quote
from connectors.simulated_book import Terms
from connectors.simulated_broker import SimulatedBroker
from tests.connectors.examples import NOON, cancel_of, minutes, order, tick
from trading.effects import Order
from trading.inputs import Tick


class GivenPrices:
    """A `PriceSource` that has the ticks of one symbol in a list; a tick's offset is its place."""

    def __init__(self, *ticks: Tick) -> None:
        self.ticks = list(ticks)

    async def last(self, symbol: str, *, at: dt.datetime) -> Quote:
        known = [(place, each) for place, each in enumerate(self.ticks) if each.at <= at]
        place, best = max(known, key=lambda each: (each[1].at, each[0]), default=(0, None))
        return Quote(best, place)

    async def newest(self, symbols: Iterable[str]) -> Mapping[str, Tick]:
        return {symbol: max(self.ticks, key=lambda each: each.at) for symbol in symbols if self.ticks}

    async def since(self, symbol: str, *, offset: int) -> tuple[Sequence[Tick], int]:
        return self.ticks[offset:], len(self.ticks)


class Desk:
    """A broker with a journal that can be closed and opened again."""

    def __init__(self, folder: pathlib.Path, *ticks: Tick, now: dt.datetime | None = None) -> None:
        self._path = folder / "journal.sqlite"
        self.prices = GivenPrices(*ticks)
        self.now = now
        self.journal = Journal(self._path)
        self.broker = self._broker()
        self.broker.open("paper", cash=Decimal(500))

    def restart(self) -> None:
        self.journal.close()
        self.journal = Journal(self._path)
        self.broker = self._broker()

    def _broker(self) -> SimulatedBroker:
        return SimulatedBroker(self.journal, self.prices, Terms(slippage_bps=0), now=lambda: self.now)


def limit_buy(number: int = 1, **changes: Any) -> Order:
    return order(number=number, order_type="limit", limit_price=Decimal(90), **changes)


def test_it_is_a_broker(tmp_path: pathlib.Path) -> None:
    broker: Broker = Desk(tmp_path).broker
    assert broker


async def test_an_account_gets_its_cash_once_for_ever(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    assert not desk.broker.open("paper", cash=Decimal(900))
    desk.restart()
    assert not desk.broker.open("paper", cash=Decimal(900))
    assert desk.broker.open("other", cash=Decimal(900))
    assert (await desk.broker.snapshot("paper")).cash == Decimal(500)


async def test_a_market_order_fills_at_the_last_tick_up_to_its_creation(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path, tick("100", at=NOON), tick("90", at=NOON - minutes(1)), tick("200", at=NOON + minutes(1)))
    _, fill = await desk.broker.submit(order())
    assert fill.kind == "order_fill"
    assert fill.price == Decimal(100)


async def test_cash_and_positions_survive_a_restart(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path, tick("100"))
    await desk.broker.submit(order(quantity="2"))
    desk.restart()
    shown = await desk.broker.snapshot("paper")
    assert (shown.cash, shown.positions[0].symbol, shown.positions[0].quantity) == (Decimal(300), "AAPL", Decimal(2))
    assert shown.equity == Decimal(500)


async def test_an_order_of_an_unknown_account_is_rejected(tmp_path: pathlib.Path) -> None:
    (event,) = await Desk(tmp_path, tick("100")).broker.submit(order(account_id="stranger"))
    assert event.kind == "order_rejected"
    assert event.reason == "unknown account stranger"


async def test_a_snapshot_of_an_unknown_account_is_a_mistake(tmp_path: pathlib.Path) -> None:
    with pytest.raises(LookupError):
        await Desk(tmp_path).broker.snapshot("stranger")


async def test_each_snapshot_has_an_id_of_its_own_over_restarts(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    first = await desk.broker.snapshot("paper")
    desk.restart()
    assert (await desk.broker.snapshot("paper")).event_id != first.event_id
    again = Desk(tmp_path / "another data directory")
    assert (await again.broker.snapshot("paper")).event_id == first.event_id


async def test_without_a_clock_nothing_carries_an_instant(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path, tick("100"))
    assert [event.at for event in await desk.broker.submit(order())] == [None, None]
    desk.now = NOON + minutes(1)
    assert (await desk.broker.snapshot("paper")).at == NOON + minutes(1)


async def test_a_resting_order_meets_the_ticks_that_come_after_it_and_over_a_restart(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path, tick("100"))
    (event,) = await desk.broker.submit(limit_buy())
    assert event.kind == "order_accepted"
    desk.prices.ticks.append(tick("95", at=NOON + minutes(1)))
    assert await desk.broker.advance() == []
    desk.restart()
    assert await desk.broker.advance() == []
    desk.prices.ticks.append(tick("89", at=NOON + minutes(2)))
    (fill,) = await desk.broker.advance()
    assert fill.kind == "order_fill"
    assert fill.price == Decimal(89)
    assert await desk.broker.advance() == []


async def test_a_resting_order_meets_ticks_that_had_run_ahead_of_it(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path, tick("100"), tick("80", at=NOON + minutes(5)))
    await desk.broker.submit(limit_buy())
    assert [event.kind for event in await desk.broker.advance()] == ["order_fill"]


async def test_a_limit_order_may_come_before_the_days_first_tick(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    assert [event.kind for event in await desk.broker.submit(limit_buy())] == ["order_accepted"]
    desk.prices.ticks.append(tick("80", at=NOON + minutes(5)))
    assert [event.kind for event in await desk.broker.advance()] == ["order_fill"]


async def test_a_resting_order_can_be_cancelled_and_a_filled_one_cannot(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path, tick("100"))
    await desk.broker.submit(limit_buy(1))
    await desk.broker.submit(order(number=2))
    (event,) = await desk.broker.cancel(cancel_of(1))
    assert event.kind == "order_cancelled"
    assert (event.cumulative_quantity, event.reason) == (Decimal(0), "no longer wanted")
    assert await desk.broker.cancel(cancel_of(2)) == ()
    assert await desk.broker.cancel(cancel_of(3)) == ()


async def test_the_wall_clock_ends_a_resting_order_where_there_is_one(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path, tick("100"), now=NOON)
    await desk.broker.submit(limit_buy(valid_until=NOON + minutes(10)))
    assert await desk.broker.advance() == []
    desk.now = NOON + minutes(10)
    (event,) = await desk.broker.advance()
    assert event.kind == "order_cancelled"
    assert event.reason == "expired"
