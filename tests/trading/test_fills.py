"""Fills: counted once in any order; lots, cash, trades and the reserve follow (R3, R12, R14.2)."""

from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import amounts, cents
from tests.trading.desk import Desk, at, days, policy
from trading import tax_lots
from trading.holdings import TaxLot
from trading.reserve_pool import siphon

D = Decimal


def buying(price: str = "10", **fields: object) -> Desk:
    """Return a desk with a live buy of three shares at 10 dollars, in one tranche."""
    desk = Desk(gradual_entry_tranches=1, base_allocation_pct="0.035", **fields)
    desk.recommend(price=price)  # 500 x 0.035 x 0.8 / 0.55 x 1.2 = 30.55 dollars
    assert desk.orders()[0].quantity == 3
    return desk


def held(**fields: object) -> Desk:
    """Return a desk that holds those three shares, and sells them on `sell`."""
    desk = buying(**fields)
    desk.fill(desk.orders()[0], "10")
    return desk


def sell(desk: Desk, price: str, *, fee: str = "0") -> None:
    desk.recommend(action="sell")
    desk.fill(desk.orders("sell")[-1], price, fee=fee)


def lots(desk: Desk) -> list[tuple[int, int]]:
    return [(int(lot.quantity), int(lot.open_quantity)) for lot in desk.row.lots]


@pytest.mark.covers("R12.1")
def test_a_fill_opens_a_lot_with_its_date_quantity_and_basis() -> None:
    desk = buying()
    desk.fill(desk.orders()[0], "10.02", fee="0.30")
    lot = desk.records("lot")[0]
    assert (lot.symbol, lot.acquired_at, lot.quantity, lot.open_quantity) == ("AAPL", at("15:00"), 3, 3)
    assert lot.cost_basis_per_share == D("10.12")  # (3 x 10.02 + 0.30) / 3
    assert (lot.status, lot.decision_id) == ("open", desk.decisions[0].decision_id)
    assert desk.row.cash == D("469.64")  # 500 - 30.06 - 0.30
    position = desk.row.positions[0]
    assert (position.quantity, position.avg_entry_price) == (3, D("10.02"))
    assert position.recommendation_id == desk.decisions[0].recommendation_id


def test_partial_fills_are_one_lot_each() -> None:
    desk = buying()
    for cumulative, price in ((1, "10"), (3, "10.30")):
        desk.fill(desk.orders()[0], price, cumulative=cumulative)
    assert lots(desk) == [(1, 1), (2, 2)]
    assert desk.row.positions[0].avg_entry_price == D("10.2")  # (10 + 2 x 10.30) / 3
    assert desk.row.orders == ()
    assert [record.quantity for record in desk.records("fill")] == [1, 2]


def test_a_repeated_fill_counts_once() -> None:
    desk = buying()
    order = desk.orders()[0]
    desk.fill(order, "10", cumulative=2)
    before = desk.row
    assert desk.fill(order, "10", cumulative=2) == []
    assert desk.row == before.model_copy(update={"seq": desk.row.seq})
    desk.fill(order, "10", cumulative=3)
    after = desk.row
    desk.fill(order, "10", cumulative=3)
    desk.fill(order, "10", cumulative=1)
    assert desk.row == after.model_copy(update={"seq": desk.row.seq})


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_fills_in_any_order_end_in_the_same_quantity(order: tuple[int, ...]) -> None:
    desk = buying()
    for cumulative in order:
        desk.fill(desk.orders()[0], "10", cumulative=cumulative)
    assert desk.row.positions[0].quantity == 3
    assert desk.row.cash == D(470)
    assert sum(lot.open_quantity for lot in desk.row.lots) == 3


def test_a_fill_before_its_acceptance_is_a_fill() -> None:
    desk = buying()
    order = desk.orders()[0]
    desk.fill(order, "10")
    assert desk.accept(order) == []
    assert desk.row.position("AAPL") is not None


def test_a_repeated_fill_of_a_position_that_is_gone_changes_nothing() -> None:
    desk = held()
    sell(desk, "10")
    before = desk.row
    for order in desk.orders():
        assert desk.fill(order, "10") == []
    assert desk.row.model_copy(update={"seq": before.seq}) == before


def test_a_fill_of_an_order_that_nobody_placed_is_told_and_changes_no_money() -> None:
    desk = held()
    before = desk.row.cash
    stranger = desk.orders()[0].model_copy(update={"client_order_id": "someone-elses"})
    desk.fill(stranger, "10")
    assert desk.row.cash == before
    assert desk.records("alert")[-1].severity == "critical"


def test_a_cancel_that_counts_fills_that_have_not_come_waits_for_them() -> None:
    desk = buying()
    order = desk.orders()[0]
    desk.cancelled(order, cumulative=2)
    assert [(live.status, live.remaining) for live in desk.row.orders] == [("new", 2)]
    assert desk.row.open_buy_holds == 20
    desk.fill(order, "10", cumulative=2)
    assert desk.row.positions[0].quantity == 2
    assert desk.row.orders == ()
    assert desk.row.done[-1].status == "cancelled"


def test_a_cancelled_exit_is_not_sold_again_before_its_fills_have_come() -> None:
    desk = held()
    desk.recommend(action="sell")
    order = desk.orders("sell")[0]
    desk.cancelled(order, cumulative=2)
    desk.mark("AAPL", "10")
    assert len(desk.orders("sell")) == 1
    desk.fill(order, "10", cumulative=2)
    desk.mark("AAPL", "10")
    assert [sale.quantity for sale in desk.orders("sell")] == [3, 1]


def test_fills_that_never_come_are_taken_from_two_snapshots() -> None:
    desk = buying()
    order = desk.orders()[0]
    desk.cancelled(order, cumulative=2)
    desk.clock(at("15:01"))
    desk.snapshot(cash="480", positions={"AAPL": 2})
    assert len(desk.row.orders) == 1  # one snapshot may be older than the cancel
    desk.clock(at("15:02"))
    desk.snapshot(cash="480", positions={"AAPL": 2})
    assert desk.row.orders == ()
    assert desk.row.entries == ()
    assert [(held.symbol, held.quantity, held.avg_entry_price) for held in desk.row.positions] == [("AAPL", 2, 10)]
    assert desk.row.cash == 480
    desk.snapshot(cash="480", positions={"AAPL": 2})
    assert desk.row.reconciled


def test_fills_that_never_come_and_that_no_snapshot_shows_are_given_up() -> None:
    desk = buying()
    desk.cancelled(desk.orders()[0], cumulative=2)
    for _ in range(2):
        desk.snapshot(cash="500", positions={})
    assert (desk.row.orders, desk.row.entries, desk.row.positions) == ((), (), ())
    assert desk.row.open_buy_holds == 0


def test_more_filled_than_ordered_is_taken_as_the_broker_says() -> None:
    desk = buying()
    desk.fill(desk.orders()[0], "10", cumulative=5)
    assert desk.row.positions[0].quantity == 5
    assert desk.row.cash == 450


def test_more_sold_than_held_sells_what_is_held_and_alarms() -> None:
    desk = held()
    desk.recommend(action="sell")
    desk.fill(desk.orders("sell")[0], "10", cumulative=7)
    assert desk.row.positions == ()
    assert desk.row.cash == 500
    trade = desk.records("trade")[-1]
    assert (trade.quantity, trade.entry_price, trade.exit_price) == (3, D(10), D(10))
    assert "More sold than held" in [alert.subject for alert in desk.records("alert")]


@pytest.mark.covers("R12.4")
def test_the_oldest_lot_is_sold_first() -> None:
    desk = buying()
    for cumulative, price in ((1, "10"), (3, "10.30")):
        desk.fill(desk.orders()[0], price, cumulative=cumulative)
    desk.recommend(action="sell")
    order = desk.orders("sell")[0]
    desk.fill(order, "11", cumulative=2)
    assert lots(desk) == [(1, 0), (2, 1)]
    assert [lot.status for lot in desk.row.lots] == ["closed", "open"]
    assert desk.row.realized_pnl == D("1.70")  # 22 - 10 - 10.30
    desk.fill(order, "11", cumulative=3)
    assert desk.row.realized_pnl == D("2.40")
    assert lots(desk) == [(1, 0), (2, 0)]


@pytest.mark.covers("R14.2")
def test_a_closing_order_is_one_trade_with_entry_exit_and_profit() -> None:
    desk = held()
    desk.clock(at("16:00"))
    desk.recommend(action="sell")
    desk.fill(desk.orders("sell")[0], "11", cumulative=1, fee="0.02")
    desk.fill(desk.orders("sell")[0], "11.30", cumulative=3, fee="0.01")
    trade = desk.records("trade")[-1]
    assert {record.trade_id for record in desk.records("trade")} == {trade.trade_id}
    assert (trade.entry_price, trade.exit_price, trade.quantity) == (D(10), D("11.2"), 3)  # (11 + 22.60) / 3
    assert trade.realized_pnl == D("3.57")  # 33.60 - 0.03 - 30
    assert trade.realized_pnl_pct == D("0.119")
    assert (trade.opened_at, trade.closed_at) == (at("15:00"), at("16:00"))
    assert (trade.exit_purpose, trade.symbol) == ("signal", "AAPL")
    assert trade.recommendation_id == desk.decisions[0].recommendation_id
    assert desk.row.positions == ()
    assert type(desk.levels("AAPL")).__name__ == "LevelsRemoved"
    assert desk.records("stop_level")[-1].reason == "closed"


@pytest.mark.covers("R3.1")
@pytest.mark.covers("R3.2")
@pytest.mark.covers("R18.2")
def test_a_fifth_of_a_realized_profit_goes_into_the_reserve() -> None:
    desk = held()
    sell(desk, "11.11")  # 3.33 dollars of profit, 0.666 of siphon
    entry = desk.records("ledger_entry")[0]
    assert (entry.amount, entry.balance_after, entry.seq, entry.trigger) == (D("0.66"), D("0.66"), 1, "profit_siphon")
    assert entry.trade_id == desk.records("trade")[0].trade_id
    assert entry.fill_id == desk.records("fill")[-1].fill_id
    assert desk.row.reserve == D("0.66")
    assert desk.row.total_value == D("503.33")
    assert desk.row.active_pool == D("502.67")


@pytest.mark.covers("R3.1")
def test_each_closing_fill_is_siphoned_by_itself() -> None:
    desk = held()
    desk.recommend(action="sell")
    for cumulative, price in ((1, "10.24"), (2, "9"), (3, "12")):
        desk.fill(desk.orders("sell")[0], price, cumulative=cumulative)
    # 0.24 x 0.2 = 0.048, a loss, 2 x 0.2
    assert [(entry.seq, entry.amount, entry.balance_after) for entry in desk.records("ledger_entry")] == [
        (1, D("0.04"), D("0.04")),
        (2, D("0.40"), D("0.44")),
    ]


@pytest.mark.parametrize("price", ["9.00", "10.00", "10.01"])
def test_a_loss_and_a_siphon_of_nothing_write_nothing(price: str) -> None:
    desk = held()
    sell(desk, price)  # at most 0.03 dollars of profit: 0.006
    assert desk.records("ledger_entry") == []
    assert desk.row.reserve == 0


def test_fees_lower_the_profit_that_is_siphoned_exactly() -> None:
    desk = buying()
    desk.fill(desk.orders()[0], "10", fee="0.01")  # a basis of 10.00333...
    sell(desk, "11.6700", fee="0")  # 35.01 - 30.01 = 5 dollars, 1 dollar of siphon and not 0.99
    assert desk.row.realized_pnl == 5
    assert desk.row.reserve == 1


@pytest.mark.covers("R3.1")
@given(amounts(), amounts(), st.booleans())
@example(D("5"), D("0"), True)
def test_a_siphon_is_the_percentage_of_the_profit_rounded_down(profit: Decimal, loss: Decimal, gain: bool) -> None:
    moved = profit if gain else -loss
    found = siphon(moved, realized_before=D(0), realized_peak=D(0), policy=policy())
    exact = max(D(0), moved) * D("0.2")
    assert found <= exact < found + D("0.01")
    assert found == found.quantize(D("0.01"))


@given(st.lists(st.tuples(cents("0.01", "50"), st.booleans()), max_size=20))
def test_a_high_water_mark_siphons_only_what_lifts_the_peak(moves: list[tuple[Decimal, bool]]) -> None:
    realized = peak = taken = D(0)
    for amount, gain in moves:
        profit = amount if gain else -amount
        taken += siphon(
            profit, realized_before=realized, realized_peak=peak, policy=policy(siphon_basis="high_water_mark")
        )
        realized += profit
        peak = max(peak, realized)
    assert taken <= peak * D("0.2")
    assert taken > peak * D("0.2") - D("0.01") * len(moves) or not moves


def test_profits_may_be_traded_beyond_the_capital_limit() -> None:
    desk = Desk(cash="100000", gradual_entry_tranches=1, base_allocation_pct="0.035")
    desk.recommend(price="10")
    desk.fill(desk.orders()[0], "10")
    sell(desk, "15")
    assert desk.row.total_value == 515  # 500 and 15 dollars of its own profit
    assert desk.row.reserve == 3


@pytest.mark.covers("R12.1", "R12.4")
@given(
    st.lists(st.tuples(st.integers(1, 20), amounts()), min_size=1, max_size=8),
    st.lists(st.integers(1, 20), max_size=12),
)
def test_basis_is_conserved_and_lots_are_never_oversold(bought: list[tuple[int, Decimal]], sold: list[int]) -> None:
    open_lots = tuple(
        TaxLot(
            lot_id=f"{place}",
            position_id="p",
            symbol="AAPL",
            acquired_at=at("15:00"),
            quantity=D(quantity),
            open_quantity=D(quantity),
            cost_basis_per_share=basis,
            decision_id="d",
        )
        for place, (quantity, basis) in enumerate(bought)
    )
    left, cost = D(sum(quantity for quantity, _ in bought)), D(0)
    total = sum(lot.quantity * lot.cost_basis_per_share for lot in open_lots)
    for quantity in sold:
        if quantity > left:
            with pytest.raises(ValueError, match="more than the open lots hold"):
                tax_lots.close_fifo(open_lots, symbol="AAPL", quantity=D(quantity), at=at("16:00"))
            continue
        closed = tax_lots.close_fifo(open_lots, symbol="AAPL", quantity=D(quantity), at=at("16:00"))
        open_lots, left, cost = closed.lots, left - quantity, cost + closed.cost
        opened = [lot.open_quantity for lot in open_lots]
        assert sum(opened) == left
        started = [place for place, lot in enumerate(open_lots) if lot.open_quantity < lot.quantity]
        assert all(opened[place] == 0 for place in started[:-1])  # the oldest go first, wholly
    assert cost + sum(lot.open_quantity * lot.cost_basis_per_share for lot in open_lots) == total


def test_another_symbols_lots_are_left_alone() -> None:
    desk = held()
    desk.recommend("KO", sector="staples")
    desk.fill(desk.orders("buy", "KO")[0], "10")
    sell(desk, "11")
    assert [(lot.symbol, lot.open_quantity) for lot in desk.row.lots] == [
        ("AAPL", 0),
        ("KO", desk.orders("buy", "KO")[0].quantity),
    ]


def test_closed_lots_are_forgotten_after_sixty_one_days() -> None:
    desk = held()
    sell(desk, "11")
    desk.clock(desk.now + days(61))
    desk.recommend("KO", sector="staples")
    assert len(desk.row.lots) == 1
    desk.clock(desk.now + days(3))
    desk.recommend("JPM", sector="financials", at=at("15:00") + days(64))
    desk.fill(desk.orders("buy", "JPM")[-1], "10")
    assert [lot.symbol for lot in desk.row.lots] == ["JPM"]
