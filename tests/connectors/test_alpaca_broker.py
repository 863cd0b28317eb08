"""What the Alpaca broker does beside placing: waits for nobody, makes way, gives up in time, reports after fills."""

import asyncio
import dataclasses
import datetime as dt
import pathlib
from decimal import Decimal
from typing import Any

import pytest

from tests.connectors.alpaca_desk import CASH, HELD, PRICE, Oracle, desk_of, exchange
from tests.connectors.examples import NOON, cancel_of, minutes, order
from tests.connectors.test_alpaca_faults import ORDERS, asking, posting, streaming
from tests.fakes.alpaca import FakeAlpaca, Fault
from tests.fakes.alpaca.book import with_order
from tests.fakes.alpaca.orders import Terms
from trading.inputs import AccountSnapshot, OrderFill


def created(fake: FakeAlpaca) -> list[str]:
    """Return the ids of the orders that the broker took, in order."""
    return [entry["client_order_id"] for entry in fake.log.of("created")]


def by_hand(fake: FakeAlpaca, side: str, quantity: str, **changes: Any) -> str:
    """Place an order that is not ours, and return the broker's id."""
    body = {"symbol": "AAPL", "side": side, "qty": quantity, "type": "market", "time_in_force": "day", **changes}
    return fake.exchange.submit(body).id


async def test_a_hanging_entry_does_not_hold_up_the_stop_exit_of_another_symbol(tmp_path: pathlib.Path) -> None:
    entry, stop = order(symbol="KO", number=1), order("sell", "5", number=2, purpose="stop_loss")
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        fake.faults.add(posting("hang_before", seconds=5, symbol="KO", times=2))
        await desk.turn(entry, stop)
        await desk.until(lambda: desk.has_ended(stop))
        assert created(fake) == ["order-2"]
        await desk.until(lambda: desk.has_ended(entry))
        assert created(fake) == ["order-2", "order-1"]
        assert Oracle(fake, desk, {"1": entry, "2": stop}).wrong() == []


async def test_orders_of_one_symbol_are_placed_in_their_order(tmp_path: pathlib.Path) -> None:
    sent = [order(number=number) for number in (1, 2, 3)]
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        fake.faults.add(posting("504_before"))
        await desk.turn(*sent)
        await desk.until(lambda: all(desk.has_ended(each) for each in sent))
        assert created(fake) == ["order-1", "order-2", "order-3"]


async def test_a_sell_of_shares_that_our_own_order_holds_cancels_it_and_waits(tmp_path: pathlib.Path) -> None:
    partial, stop = order("sell", "4", number=1, purpose="rebalance"), order("sell", "6", number=2)
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        fake.faults.add(posting("slow_cancel", seconds=0.3))
        await desk.turn(partial)
        await desk.until(lambda: "order_accepted" in desk.kinds("order-1"))
        await desk.turn(stop)
        await desk.until(lambda: desk.has_ended(stop))
        assert desk.kinds("order-1") == ["order_accepted", "order_cancelled"]
        assert [fill.quantity for fill in desk.fills()] == [6]
        assert Oracle(fake, desk, {"1": partial, "2": stop}).wrong() == []


async def test_what_the_holding_order_sold_meanwhile_is_not_sold_again(tmp_path: pathlib.Path) -> None:
    partial, stop = order("sell", "4", number=1, purpose="rebalance"), order("sell", "6", number=2)
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        fake.faults.add(posting("slow_cancel", seconds=0.5))
        await desk.turn(partial)
        await desk.until(lambda: "order_accepted" in desk.kinds("order-1"))
        await desk.turn(stop)
        await desk.until(lambda: fake.log.of("request", method="DELETE"))
        (held,) = fake.exchange.state.open_orders("AAPL")
        fake.exchange.state = with_order(fake.exchange.state, dataclasses.replace(held, terms=Terms()))
        await desk.until(lambda: desk.has_ended(stop))
        assert desk.kinds("order-1")[-1] == "order_fill"  # a late fill wins over the cancel
        assert desk.kinds("order-2") == ["order_rejected"]
        assert Oracle(fake, desk, {"1": partial, "2": stop}).wrong() == []


async def test_shares_that_somebody_elses_order_holds_are_sold_as_soon_as_it_is_gone(tmp_path: pathlib.Path) -> None:
    stop = order("sell", "6", purpose="stop_loss")
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        theirs = by_hand(fake, "sell", "6", type="limit", limit_price="99")
        await desk.turn(stop)
        await desk.until(lambda: len(fake.log.of("refused", status=403)) > 2)
        assert desk.kinds("order-1") == []
        fake.exchange.cancel(theirs)
        await desk.until(lambda: desk.has_ended(stop))
        assert fake.exchange.state.positions == {}


async def test_a_buy_that_an_exit_stands_in_the_way_of_is_refused_and_the_exit_stays(tmp_path: pathlib.Path) -> None:
    leaving, entry = order("sell", "6", number=1), order("buy", "1", number=2)
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        fake.faults.add(posting("rests"))
        await desk.turn(leaving, entry)
        await desk.until(lambda: desk.has_ended(entry))
        assert desk.kinds("order-1") == ["order_accepted"]
        assert desk.kinds("order-2") == ["order_rejected"]


@pytest.mark.parametrize(
    ("valid_until", "later"),
    [(NOON + minutes(5), NOON + minutes(5)), (None, NOON + dt.timedelta(days=1))],
    ids=["valid_until", "its day"],
)
async def test_an_order_whose_time_is_over_before_it_was_placed_is_not_sent(
    tmp_path: pathlib.Path, valid_until: dt.datetime | None, later: dt.datetime
) -> None:
    now, sent = [NOON], order("sell", "5", valid_until=valid_until)
    async with exchange() as fake, desk_of(fake, tmp_path, now=lambda: now[0]) as desk:
        await desk.look()
        fake.faults.add(posting("429", times=0))
        await desk.turn(sent)
        await desk.until(lambda: len(fake.log.of("request")) > 1)
        now[0] = later
        await desk.until(lambda: desk.has_ended(sent))
        asked = len(fake.log.of("request"))
        await desk.rest(0.3)
        assert len(fake.log.of("request")) == asked
        (end,) = [event for event in desk.events if event.kind == "order_cancelled"]
        assert (end.cumulative_quantity, end.at, created(fake)) == (0, later, [])
        assert (end.reason or "").startswith("not sent: its time was over at ")


async def test_a_cancel_before_the_order_was_placed_ends_it_there(tmp_path: pathlib.Path) -> None:
    sent = order()
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        fake.faults.add(posting("429", times=0))
        await desk.turn(sent)
        await desk.turn(cancel_of(1))
        await desk.until(lambda: desk.has_ended(sent))
        assert (desk.kinds("order-1"), created(fake)) == (["order_cancelled"], [])


async def test_an_order_that_was_given_up_and_came_is_cancelled_and_its_fills_are_told(tmp_path: pathlib.Path) -> None:
    sent = order("buy", "5", order_type="limit", limit_price=Decimal(9))
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        fake.faults.add(streaming("mute"))
        fake.faults.add(posting("504_after"))
        fake.faults.add(asking("lag", seconds=9, times=3))
        await desk.turn(sent)
        await desk.until(lambda: desk.kinds("order-1") == ["order_unknown"])
        await desk.turn(cancel_of(1))
        await desk.until(lambda: desk.has_ended(sent))
        assert (desk.kinds("order-1"), created(fake)) == (["order_unknown", "order_cancelled"], ["order-1"])
        await desk.look()
        await desk.until(lambda: not fake.exchange.state.open_orders())
        assert len(created(fake)) == 1


@pytest.mark.parametrize("quantity", ["5", "4"], ids=["equal", "unequal"])
async def test_an_id_that_is_there_is_adopted_or_refused_by_what_it_means(
    tmp_path: pathlib.Path, quantity: str
) -> None:
    sent = order("buy", "5")
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        by_hand(fake, "buy", quantity, client_order_id="order-1")
        await desk.turn(sent)  # before the first snapshot: an earlier run may have sent it
        await desk.until(lambda: desk.has_ended(sent))
        assert fake.log.of("request", method="POST") == []
        if quantity == "5":
            assert [fill.cumulative_quantity for fill in desk.fills()] == [5]
        else:
            assert desk.kinds("order-1") == ["order_rejected"]


@pytest.mark.parametrize("is_said_again", [False, True])
async def test_a_restart_in_doubt_finds_the_order_and_tells_its_fill_once(
    tmp_path: pathlib.Path, is_said_again: bool
) -> None:
    sent = order("buy", "5")
    async with exchange() as fake:
        async with desk_of(fake, tmp_path) as desk:
            await desk.look()
            fake.faults.add(streaming("mute"))
            fake.faults.add(posting("504_after"))
            fake.faults.add(asking("504_before", times=0))
            await desk.turn(sent)
            await desk.until(lambda: desk.kinds("order-1") == ["order_unknown"])
        fake.faults.clear()
        async with desk_of(fake, tmp_path) as again:
            await again.turn(*[sent] * is_said_again)
            await again.until(lambda: again.has_ended(sent))
            assert again.kinds("order-1") == ["order_accepted", "order_fill"]
            assert Oracle(fake, again, {"1": sent}).wrong() == []


async def test_without_its_journal_it_finds_its_orders_and_tells_the_same(tmp_path: pathlib.Path) -> None:
    sent = order("buy", "5")
    async with exchange() as fake:
        async with desk_of(fake, tmp_path / "lost") as desk:
            await desk.look()
            await desk.turn(sent)
            await desk.until(lambda: desk.has_ended(sent))
        async with desk_of(fake, tmp_path / "new") as again:
            await again.turn(sent)
            await again.until(lambda: again.has_ended(sent))
            assert again.fills() == desk.fills()
            assert created(fake) == ["order-1"]


async def test_a_mute_stream_is_noticed_and_joined_anew_while_answers_stand_in(tmp_path: pathlib.Path) -> None:
    sent = order("buy", "5")
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        first = set(fake.updates.connections)
        fake.faults.add(streaming("mute"))
        await desk.turn(sent)
        await desk.until(lambda: desk.has_ended(sent))
        await desk.until(lambda: not desk.updates.ok)
        assert desk.updates.detail == "trade updates are mute: orders are looked up instead"
        await desk.until(lambda: desk.updates.ok)
        assert not first & fake.updates.connections


async def test_what_happened_while_the_stream_was_cut_is_looked_up(tmp_path: pathlib.Path) -> None:
    sent = order("buy", "5", order_type="limit", limit_price=Decimal(9))
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        await desk.turn(sent)
        await desk.until(lambda: "order_accepted" in desk.kinds("order-1"))
        fake.updates.cut()
        fake.market.set_price("AAPL", Decimal(8))
        await desk.until(lambda: desk.has_ended(sent))
        assert [(fill.quantity, fill.price) for fill in desk.fills()] == [(5, 8)]


async def test_dollars_are_exact_when_the_stream_drops_fills_at_changing_prices(tmp_path: pathlib.Path) -> None:
    sent = order("buy", "7")
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        fake.faults.add(streaming("drop_updates"))
        fake.faults.add(posting("partial_fills", parts=7, seconds=0.08))
        await desk.turn(sent)
        for cents in range(1, 40):
            fake.market.set_price("AAPL", PRICE + Decimal(cents) / 100)
            await desk.rest(0.02)
        await desk.until(lambda: desk.has_ended(sent))
        assert len({entry["price"] for entry in fake.log.of("fill")}) > 3
        assert Oracle(fake, desk, {"1": sent}).wrong() == []


async def test_a_snapshot_comes_after_every_fill_that_it_contains(tmp_path: pathlib.Path) -> None:
    sent = order("buy", "5")
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        opened = await desk.look()
        assert (opened.cash, [(each.symbol, each.quantity) for each in opened.positions]) == (CASH, [("AAPL", HELD)])
        fake.faults.add(streaming("mute"))
        fake.faults.add(posting("partial_fills", parts=5, filled_parts=3, seconds=0.02))
        await desk.turn(sent)
        for _ in range(3):
            await desk.look()  # while the shares come, one by one
        await desk.until(lambda: sum(fill.quantity for fill in desk.fills()) == 3)
        await desk.look()
        held, cash = HELD, CASH
        for event in desk.events:
            if isinstance(event, OrderFill):
                held, cash = held + event.quantity, cash - event.quantity * event.price
            if isinstance(event, AccountSnapshot):
                assert (event.positions[0].quantity, event.cash) == (held, cash)
        assert len({event.event_id for event in desk.snapshots}) == 5
        (open_order,) = desk.snapshots[-1].open_orders
        assert (open_order.client_order_id, open_order.filled_quantity) == ("order-1", 3)
        assert desk.snapshots[-1].at is None
        assert (opened.newest_order_id, desk.snapshots[-1].newest_order_id) == ("", "order-1")


async def test_wrong_keys_are_said_and_nothing_is_sent_until_they_are_right(tmp_path: pathlib.Path) -> None:
    sent = order("buy", "5")
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        assert desk.check.ok
        fake.faults.add(Fault(kind="status", status=401, message="request is not authorized", path="/v2/*", times=0))
        await desk.turn(sent)
        await desk.broker.snapshot("paper")
        await desk.until(lambda: not desk.check.ok)
        assert "401: request is not authorized" in desk.check.detail
        assert (desk.kinds("order-1"), created(fake)) == ([], [])
        fake.faults.clear()
        await desk.until(lambda: desk.check.ok and desk.has_ended(sent))


async def test_every_call_ends_in_time_and_asks_once(tmp_path: pathlib.Path) -> None:
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        for kind in ("429", "504_before"):
            fake.faults.add(Fault(kind=kind, method="POST", path=ORDERS, times=1))  # type: ignore[arg-type]
        await desk.turn(order(number=1))
        await desk.until(lambda: "order_unknown" in desk.kinds("order-1"))
        assert [entry["fault"] for entry in fake.log.of("request")] == ["429", "504_before"]
        for _ in range(40):  # more than there are threads: each hangs as long as it may
            fake.faults.add(Fault(kind="hang_before", path="/v2/account"))
        rest = desk.broker._rest
        answers = await asyncio.gather(*(rest.account() for _ in range(40)))
        assert {answer.outcome for answer in answers} == {"unclear"}
        fake.faults.clear()
        assert (await rest.account()).outcome == "done"  # no thread hangs on


async def test_a_cancel_of_an_order_whose_fill_is_still_to_be_told_is_answered_by_that_fill(
    tmp_path: pathlib.Path,
) -> None:
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        await desk.turn(order("buy", "5"))
        async with asyncio.timeout(10):
            await next(iter(desk.broker._book)).is_over.wait()  # the stream has told it, no turn has collected it
        assert await desk.broker.cancel(cancel_of(1)) is None
        await desk.turn()
        assert desk.kinds("order-1") == ["order_accepted", "order_fill"]
        assert await desk.broker.cancel(cancel_of(1)) == ()  # told: the connector says it again
