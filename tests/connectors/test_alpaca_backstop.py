"""The backstop: it rests beside a position, goes before anything of ours does, and nothing is ever sold twice."""

import dataclasses
import pathlib
from decimal import Decimal
from typing import Any

import pytest

from tests.connectors.alpaca_desk import HELD, Desk, desk_of, exchange
from tests.connectors.examples import order
from tests.connectors.test_alpaca_faults import CANCELLING, streaming
from tests.fakes.alpaca import FakeAlpaca
from tests.trading import desk as trading_desk
from trading.effects import Order
from trading.events import EVENT

WIDTH = Decimal("0.25")


def resting(fake: FakeAlpaca) -> list[tuple[str, str, Decimal, Decimal | None]]:
    """Return the stop orders that rest: type, time in force, shares, price."""
    return [
        (one.request.type, one.request.time_in_force, one.request.qty, one.request.stop_price)
        for one in fake.exchange.state.open_orders()
    ]


async def bought(fake: FakeAlpaca, desk: Desk, sent: Order) -> None:
    """Buy, and wait for the backstop."""
    await desk.look()
    await desk.turn(sent)
    await desk.until(lambda: desk.has_ended(sent) and resting(fake))


def told(desk: Desk) -> list[Any]:
    """Return the shares of each fill, in order, by whether it is a backstop's."""
    return [(fill.client_order_id.startswith("backstop-"), fill.quantity) for fill in desk.fills()]


@pytest.mark.parametrize("pct", [None, WIDTH], ids=["none", "stop"])
async def test_it_rests_beside_what_we_bought_a_quarter_under_its_cost_and_only_when_asked_for(
    tmp_path: pathlib.Path, pct: Decimal | None
) -> None:
    async with exchange() as fake, desk_of(fake, tmp_path, backstop_pct=pct) as desk:
        sent = order(symbol="KO", quantity="5")
        await desk.look()
        await desk.turn(sent)
        await desk.until(lambda: desk.has_ended(sent))
        await desk.rest(0.4)
        # 10.01 x 0.75 = 7.5075, to the cent below
        assert resting(fake) == ([("stop", "gtc", 5, Decimal("7.50"))] if pct else [])
        assert desk.kinds("order-1") == ["order_accepted", "order_fill"]
        assert (await desk.look()).open_orders == ()  # the engine hears nothing of it


async def test_shares_that_are_not_ours_are_not_protected_nor_sold(tmp_path: pathlib.Path) -> None:
    async with exchange() as fake, desk_of(fake, tmp_path, backstop_pct=WIDTH) as desk:
        await bought(fake, desk, order(quantity="5"))
        assert [quantity for _, _, quantity, _ in resting(fake)] == [5]  # of 11 in the account


@pytest.mark.parametrize("fault", CANCELLING)
async def test_it_is_off_the_book_before_an_exit_goes_whatever_its_cancel_meets(
    tmp_path: pathlib.Path, fault: str
) -> None:
    stop = order("sell", "5", symbol="KO", number=2, purpose="stop_loss")
    async with exchange() as fake, desk_of(fake, tmp_path, backstop_pct=WIDTH) as desk:
        await bought(fake, desk, order(symbol="KO", quantity="5"))
        for each in CANCELLING[fault]:
            fake.faults.add(dataclasses.replace(each))
        await desk.turn(stop)
        await desk.until(lambda: desk.has_ended(stop))
        await desk.rest(0.2)
        assert told(desk) == [(False, 5), (False, 5)]
        assert resting(fake) == []
        done = [(entry["what"], entry.get("side")) for entry in fake.log.entries if entry.get("symbol") == "KO"]
        done = [each for each in done if each[0] in ("created", "canceled", "fill")]
        assert done == [
            ("created", "buy"),
            ("fill", "buy"),
            ("created", "sell"),
            ("canceled", "sell"),
            ("created", "sell"),
            ("fill", "sell"),
        ]
        assert fake.log.of("refused") == []


async def test_the_next_tranche_makes_it_larger(tmp_path: pathlib.Path) -> None:
    second = order(symbol="KO", quantity="2", number=2)
    async with exchange() as fake, desk_of(fake, tmp_path, backstop_pct=WIDTH) as desk:
        await bought(fake, desk, order(symbol="KO", quantity="5"))
        await desk.turn(second)
        await desk.until(lambda: desk.has_ended(second) and [each[2] for each in resting(fake)] == [7])
        assert fake.log.of("refused") == []


@pytest.mark.parametrize("is_dead", [False, True], ids=["alive", "dead"])
async def test_when_it_has_sold_the_engine_hears_of_it_and_nothing_is_sold_again(
    tmp_path: pathlib.Path, is_dead: bool
) -> None:
    stop = order("sell", "5", number=2, purpose="stop_loss")
    async with exchange() as fake:
        async with desk_of(fake, tmp_path, backstop_pct=WIDTH) as desk:
            await bought(fake, desk, order(quantity="5"))
            if not is_dead:
                fake.market.set_price("AAPL", Decimal(7))
                await desk.until(lambda: len(desk.fills()) == 2 and len(desk.snapshots) == 3)  # two come by themselves
                assert [event.kind for event in desk.events[-3:]] == ["order_fill", *["account_snapshot"] * 2]
                assert [each.positions[0].quantity for each in desk.snapshots[-2:]] == [HELD] * 2
        if is_dead:
            fake.market.set_price("AAPL", Decimal(7))
        async with desk_of(fake, tmp_path, backstop_pct=WIDTH) as again:
            await again.look()
            await again.turn(stop)  # the engine does not know yet
            await again.until(lambda: again.has_ended(stop) or len(again.fills("order-2")) > 0)
            assert (told(again) if is_dead else told(desk)[1:]) == [(True, 5)]
            assert again.kinds("order-2") == ["order_rejected"]  # what is left is not ours


async def test_a_restart_keeps_it_and_one_without_the_journal_finds_it(tmp_path: pathlib.Path) -> None:
    sent = order(symbol="KO", quantity="5")
    async with exchange() as fake:
        async with desk_of(fake, tmp_path / "kept", backstop_pct=WIDTH) as desk:
            await bought(fake, desk, sent)
            await desk.rest(0.1)
        before = fake.exchange.state.open_orders()
        for folder in ("kept", "lost"):
            async with desk_of(fake, tmp_path / folder, backstop_pct=WIDTH) as again:
                await again.turn(sent)
                await again.look()
                await again.rest(0.4)
                assert resting(fake) == [("stop", "gtc", 5, Decimal("7.50"))]
            if folder == "kept":
                assert [one.id for one in fake.exchange.state.open_orders()] == [one.id for one in before]


async def test_a_mute_stream_does_not_hide_that_it_has_sold(tmp_path: pathlib.Path) -> None:
    async with exchange() as fake, desk_of(fake, tmp_path, backstop_pct=WIDTH) as desk:
        await bought(fake, desk, order(symbol="KO", quantity="5"))
        fake.faults.add(streaming("mute"))
        fake.market.set_price("KO", Decimal(7))
        snapshot = await desk.look()
        assert told(desk) == [(False, 5), (True, 5)]
        assert [each.symbol for each in snapshot.positions] == ["AAPL"]


async def test_the_engine_takes_its_sale_over_from_two_snapshots_and_tells_of_it(tmp_path: pathlib.Path) -> None:
    engine = trading_desk.Desk()
    engine.hold("AAPL", 4, "10")
    async with exchange() as fake, desk_of(fake, tmp_path, backstop_pct=WIDTH) as desk:
        fake.exchange.set_position("AAPL", Decimal(0), avg_entry_price=Decimal(9))
        fake.exchange.set_cash(Decimal(500))
        fake.market.set_price("AAPL", Decimal(10))
        await bought(fake, desk, order(quantity="4"))
        fake.market.set_price("AAPL", Decimal(7))
        await desk.until(lambda: len(desk.snapshots) == 3)
        sold = desk.events.index(desk.fills()[-1])
        for event in desk.events[sold:]:
            engine.send(EVENT.validate_json(event.model_copy(update={"at": engine.now}).model_dump_json()))
    assert engine.row.position("AAPL") is None
    assert engine.row.cash == fake.exchange.state.cash == 500 - 4 * 10 + 4 * 7
    assert engine.orders("sell") == []
    assert "A fill that nothing here wants" in [alert.subject for alert in engine.records("alert")]
    assert engine.records("reconciliation")[-1].adjusted
