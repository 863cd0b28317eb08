"""A journal that comes to another account: what was made for the one before is never traded in this one."""

import pathlib
from decimal import Decimal

import pytest

from connectors.alpaca_identity import StrangeAccountError
from tests.connectors.alpaca_desk import desk_of, exchange
from tests.connectors.examples import NOON, order
from tests.connectors.test_alpaca_faults import posting
from tests.fakes.alpaca import Fault
from trading.money import Mode

ENTRY = order("buy", "3", symbol="KO")
EXIT = order("sell", "5", number=2, purpose="stop_loss")


@pytest.mark.parametrize(("before", "after"), [("paper", "live"), ("live", "paper")])
async def test_what_waits_when_the_mode_changes_is_not_sent_to_the_other_account(
    tmp_path: pathlib.Path, before: Mode, after: Mode
) -> None:
    unread = order("buy", "1", symbol="KO", number=3)
    async with exchange() as first, desk_of(first, tmp_path, mode=before, now=lambda: NOON) as desk:
        await desk.look()
        first.faults.add(posting("429", times=0))
        await desk.turn(ENTRY, EXIT)
        await desk.until(lambda: len(first.log.of("request")) > 1)
        first_orders = first.log.of("created")
    async with exchange() as second, desk_of(second, tmp_path, mode=after, now=lambda: NOON) as desk:
        await desk.turn(unread)  # written in the other mode too: it lay in the log
        await desk.until(lambda: all(desk.has_ended(each) for each in (ENTRY, EXIT, unread)))
        await desk.look()
        assert first_orders == second.log.of("created") == []
        ends = [event for event in desk.events if event.kind == "order_cancelled"]
        assert {end.reason for end in ends} == {"not sent: it was made before this account was traded"}
        later = order("buy", "1", symbol="KO", number=4)
        await desk.turn(later)
        await desk.until(lambda: desk.has_ended(later))
        assert [entry["client_order_id"] for entry in second.log.of("created")] == ["order-4"]


async def test_an_order_that_rests_in_the_account_before_ends_here_with_the_shares_that_it_brought(
    tmp_path: pathlib.Path,
) -> None:
    async with exchange() as paper, desk_of(paper, tmp_path) as desk:
        await desk.look()
        paper.faults.add(posting("partial_fills", parts=3, filled_parts=1))
        await desk.turn(ENTRY)
        await desk.until(lambda: desk.fills("order-1"))
    async with exchange() as live, desk_of(live, tmp_path, mode="live") as desk:
        await desk.until(lambda: desk.has_ended(ENTRY))
        (end,) = [event for event in desk.events if event.kind == "order_cancelled"]
        assert (end.cumulative_quantity, live.log.of("created")) == (1, [])


@pytest.mark.parametrize("is_there", [False, True])
async def test_a_new_journal_adopts_what_the_account_has_and_sends_nothing_that_another_broker_was_sent(
    tmp_path: pathlib.Path, is_there: bool
) -> None:
    async with exchange() as fake:
        if is_there:
            async with desk_of(fake, tmp_path / "lost") as desk:
                await desk.look()
                await desk.turn(ENTRY)
                await desk.until(lambda: desk.has_ended(ENTRY))
        async with desk_of(fake, tmp_path / "new") as desk:
            await desk.turn(ENTRY)
            await desk.until(lambda: desk.has_ended(ENTRY))
            assert len(fake.log.of("created")) == int(is_there)
            assert desk.kinds("order-1")[-1] == ("order_fill" if is_there else "order_cancelled")


async def test_the_backstop_of_live_money_guards_nothing_that_was_bought_on_paper(tmp_path: pathlib.Path) -> None:
    bought = order("buy", "5")
    async with exchange() as paper, desk_of(paper, tmp_path, backstop_pct=Decimal("0.25")) as desk:
        await desk.look()
        await desk.turn(bought)
        await desk.until(lambda: desk.has_ended(bought) and paper.exchange.state.open_orders())
    async with (  # it holds six shares of AAPL, which are somebody else's
        exchange() as live,
        desk_of(live, tmp_path, mode="live", backstop_pct=Decimal("0.25")) as desk,
    ):
        await desk.look()
        await desk.rest(0.4)
        assert live.log.of("created") == []


async def test_an_account_of_the_same_mode_that_this_journal_never_traded_is_sent_nothing(
    tmp_path: pathlib.Path,
) -> None:
    async with exchange() as first, desk_of(first, tmp_path) as desk:
        await desk.look()
        first.faults.add(posting("429", times=0))
        await desk.turn(ENTRY, EXIT)
        await desk.until(lambda: len(first.log.of("request")) > 1)
    async with exchange(number="PA0OTHER0042") as second:
        with pytest.raises(StrangeAccountError, match=r"the paper account …0042, .* trades …0001: nothing is sent"):
            async with desk_of(second, tmp_path) as desk:
                pass
        assert second.log.of("created") == []
        async with desk_of(second, tmp_path / "its own") as desk:
            await desk.look()
        async with desk_of(second, tmp_path, mode="live") as desk:  # in the other mode it may be another one
            await desk.look()


async def test_nothing_is_sent_before_alpaca_has_named_the_account(tmp_path: pathlib.Path) -> None:
    async with exchange() as fake:
        async with desk_of(fake, tmp_path) as desk:
            await desk.look()
        fake.faults.add(Fault(kind="429", method="GET", path="/v2/account", times=0))
        async with desk_of(fake, tmp_path, is_up=False) as desk:
            await desk.turn(ENTRY)
            await desk.until(lambda: "429" in desk.check.detail)
            await desk.rest(0.5)  # longer than it takes to look for an order and to send it
            assert fake.log.of("created") == []
            fake.faults.clear()
            await desk.until(lambda: desk.has_ended(ENTRY))
            assert len(fake.log.of("created")) == 1
