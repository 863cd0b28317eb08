"""Wash sales (R12.2 to R12.4, decision 30): the regulations' worked examples, both orders of events, each share once.

The examples of 26 CFR 1.1091-1 (h) and 1.1091-2 stand here fifty and sixty years later, leap years kept.
"""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import cents
from tests.trading.desk import ACCOUNT, MONDAY, Desk, at, days
from trading import loss_sales, tax_lots
from trading.holdings import Sale, SoldLot, TaxLot
from trading.records import Trade, WashSale
from trading.tax_lots import Closed
from trading.wash_sales import Washed, is_within, wash

D = Decimal


def noon(day: dt.date) -> dt.datetime:
    """Return noon in New York, in winter."""
    return dt.datetime.combine(day, dt.time(17), tzinfo=dt.UTC)


def lot(name: str, day: dt.date, quantity: int, paid: Any) -> TaxLot:
    """Return a lot of so many shares for which so many dollars were paid."""
    return TaxLot(
        lot_id=name,
        position_id="p",
        symbol="M",
        acquired_at=noon(day),
        quantity=D(quantity),
        open_quantity=D(quantity),
        cost_basis_per_share=D(paid) / quantity,
        decision_id="d",
    )


def closing(closed: Closed, proceeds: Any, day: dt.date) -> Sale:
    """Return the sale of the shares that were closed."""
    profit = D(proceeds) - closed.cost
    trade = Trade(
        record_id="r",
        account_id=ACCOUNT,
        at=noon(day),
        cause=0,
        trade_id="t",
        client_order_id="o",
        position_id="p",
        symbol="M",
        entry_price=D(1),
        exit_price=D(1),
        quantity=sum(closed.sold, D(0)),
        opened_at=noon(day),
        closed_at=noon(day),
        realized_pnl=profit,
        realized_pnl_pct=D(0),
        tax_adjusted_pnl=profit,
        wash_sale=False,
        disallowed_loss=D(0),
        exit_purpose="signal",
        is_micro=False,
    )
    return Sale(
        trade=trade,
        decision_id="d",
        unmatched=sum(closed.sold, D(0)),
        loss=closed.basis - D(proceeds),
        lots=tuple(
            SoldLot(lot_id=changed.lot_id, unmatched=sold)
            for changed, sold in zip(closed.changed, closed.sold, strict=True)
        ),
    )


def sell(lots: tuple[TaxLot, ...], quantity: int, proceeds: Any, day: dt.date) -> Washed:
    """Sell the oldest shares and match the loss."""
    closed = tax_lots.close_fifo(lots, symbol="M", quantity=D(quantity), at=noon(day))
    return wash(closing(closed, proceeds, day), closed.lots)


def basis(lots: tuple[TaxLot, ...], name: str) -> Decimal:
    """Return the tax basis of what is open of a lot."""
    return next(each.open_quantity * each.cost_basis_per_share for each in lots if each.lot_id == name)


@pytest.mark.covers("R12.2")
def test_example_1_all_of_a_loss_is_disallowed_where_as_many_shares_were_bought_nineteen_days_before() -> None:
    first, second = lot("1", dt.date(2004, 12, 1), 100, 10_000), lot("2", dt.date(2004, 12, 15), 100, 9_000)
    washed = sell((first, second), 100, 9_000, dt.date(2005, 1, 3))
    assert [tuple(match) for match in washed.matches] == [("2", 100, 1_000)]
    assert (washed.sale.loss, washed.sale.unmatched) == (0, 0)
    assert basis(washed.lots, "2") == 10_000  # 9,000 and the 1,000 that is not deducted


@pytest.mark.covers("R12.2")
def test_example_2_of_a_hundred_shares_seventy_five_are_replaced() -> None:
    lots = (
        lot("sold", dt.date(2004, 9, 21), 100, 5_000),
        lot("fifty", dt.date(2004, 12, 21), 50, 2_750),
        lot("twenty-five", dt.date(2004, 12, 26), 25, 1_125),
    )
    washed = sell(lots, 100, 4_000, dt.date(2005, 1, 3))
    assert sum(match.disallowed for match in washed.matches) == 750  # 3,750 - 3,000
    assert washed.sale.loss == 250  # 1,250 - 1,000 stay deductible
    assert basis(washed.lots, "fifty") == 3_250  # 2,500 + (2,750 - 2,000)
    assert basis(washed.lots, "twenty-five") == 1_375  # 1,250 + (1,125 - 1,000)
    assert [each.cost_per_share for each in washed.lots] == [50, 55, 45]
    sold = washed.lots[0]
    assert (sold.status, sold.disallowed_loss) == ("washed", 750)


@pytest.mark.covers("R12.2")
def test_example_3_the_first_hundred_of_two_hundred_shares_bought_replace_the_hundred_sold() -> None:
    washed = sell((lot("sold", dt.date(2014, 9, 15), 100, 5_000),), 100, 4_000, dt.date(2016, 2, 1))
    assert washed.matches == ()
    matched = []
    for day in (15, 16, 17, 18):
        lots = (*washed.lots, lot(f"{day}", dt.date(2016, 2, day), 50, 2_000))
        washed = wash(washed.sale, lots)
        matched += [tuple(match) for match in washed.matches]
    assert matched == [("15", 50, 500), ("16", 50, 500)]
    assert [basis(washed.lots, f"{day}") for day in (15, 16, 17, 18)] == [2_500, 2_500, 2_000, 2_000]
    first, last = dt.date(2016, 1, 2), dt.date(2016, 3, 2)  # the 61 days, as the example names them
    around = [first - days(1), first, last, last + days(1)]
    assert [is_within(noon(day), sold_at=noon(dt.date(2016, 2, 1))) for day in around] == [False, True, True, False]


@pytest.mark.covers("R12.2")
@pytest.mark.parametrize(("paid", "expected"), [(90, 110), (70, 90)])
def test_the_examples_of_1_1091_2_move_the_difference_of_both_prices(paid: int, expected: int) -> None:
    washed = sell((lot("old", dt.date(1985, 5, 2), 1, 100),), 1, 80, dt.date(2005, 1, 15))
    after = wash(washed.sale, (*washed.lots, lot("new", dt.date(2005, 2, 1), 1, paid)))
    assert basis(after.lots, "new") == expected  # 100 + 90 - 80, and 100 - (80 - 70)


@pytest.mark.parametrize(
    ("bought", "counts"),
    [
        ("2026-01-31T04:59:59", False),  # 30 January in New York, 31 days before
        ("2026-01-31T05:00:00", True),
        ("2026-04-02T03:59:59", True),  # 1 April in New York, 30 days after
        ("2026-04-02T04:00:00", False),
    ],
)
def test_thirty_days_are_dates_of_new_york_and_both_ends_count(bought: str, counts: bool) -> None:
    acquired = dt.datetime.fromisoformat(bought).replace(tzinfo=dt.UTC)
    assert is_within(acquired, sold_at=at("15:00")) == counts  # sold on 2 March


def test_the_rest_of_the_very_lot_that_was_sold_replaces_nothing() -> None:
    washed = sell((lot("1", dt.date(2026, 2, 20), 100, 1_000),), 40, 200, dt.date(2026, 3, 2))
    assert washed.matches == ()  # Revenue Ruling 56-602
    assert washed.lots[0].status == "open"


def test_a_lot_that_is_sold_in_part_stays_open_and_is_washed_when_the_rest_goes() -> None:
    lots = (lot("1", dt.date(2026, 2, 20), 100, 1_000), lot("2", dt.date(2026, 2, 21), 40, 400))
    washed = sell(lots, 40, 200, dt.date(2026, 3, 2))
    assert (washed.lots[0].status, washed.lots[0].disallowed_loss) == ("open", 200)
    gone = tax_lots.close_fifo(washed.lots, symbol="M", quantity=D(60), at=noon(dt.date(2026, 3, 3)))
    assert gone.lots[0].status == "washed"


def test_a_share_that_has_replaced_one_replaces_no_other() -> None:
    old = (lot("1", dt.date(2025, 1, 2), 10, 100), lot("2", dt.date(2025, 1, 3), 10, 100))
    lots = (*old, lot("new", dt.date(2026, 2, 20), 12, 60))
    first = sell(lots, 10, 50, dt.date(2026, 3, 2))
    second = sell(first.lots, 10, 80, dt.date(2026, 3, 2))
    assert [tuple(match) for match in first.matches] == [("new", 10, 50)]
    assert [tuple(match) for match in second.matches] == [("new", 2, 4)]  # of 20 dollars on ten shares
    assert basis(second.lots, "new") == 60 + 50 + 4


def test_a_gain_and_another_symbol_wash_nothing() -> None:
    other = lot("x", dt.date(2026, 2, 20), 10, 100).model_copy(update={"symbol": "N"})
    lots = (lot("1", dt.date(2025, 1, 2), 10, 100), other)
    assert sell(lots, 10, 50, dt.date(2026, 3, 2)).matches == ()
    lots = (lot("1", dt.date(2025, 1, 2), 10, 100), lot("2", dt.date(2026, 2, 20), 10, 100))
    for proceeds in (100, 101):
        assert sell(lots, 10, proceeds, dt.date(2026, 3, 2)).matches == ()


def test_a_loss_that_moved_into_a_lot_moves_on_with_it() -> None:
    lots = (lot("1", dt.date(2026, 1, 5), 10, 100), lot("2", dt.date(2026, 1, 20), 10, 90))
    washed = sell(lots, 10, 80, dt.date(2026, 1, 21))  # 20 dollars into lot 2: 110
    lots = (*washed.lots, lot("3", dt.date(2026, 1, 22), 10, 70))
    again = sell(lots, 10, 85, dt.date(2026, 1, 23))  # 110 - 85, though 90 were paid
    assert [tuple(match) for match in again.matches] == [("3", 10, 25)]
    assert basis(again.lots, "3") == 95  # 100 + 90 + 70 paid - 80 - 85 received


@given(sold=st.integers(1, 60), bought=st.integers(1, 60), apart=st.integers(0, 40), price=cents("0.01", "99.99"))
def test_a_purchase_is_flagged_whether_it_comes_before_or_after_the_sale(
    sold: int, bought: int, apart: int, price: Decimal
) -> None:
    old = lot("old", MONDAY - days(300), sold, 100 * sold)
    found = []
    for day in (MONDAY - days(apart), MONDAY + days(apart)):
        new = lot("new", day, bought, 50 * bought)
        if day <= MONDAY:
            washed = sell((old, new), sold, price * sold, MONDAY)
        else:
            alone = sell((old,), sold, price * sold, MONDAY)
            washed = wash(alone.sale, (*alone.lots, new))
        found.append(sum((match.disallowed for match in washed.matches), D(0)))
    expected = (100 - price) * min(sold, bought) if apart <= 30 else 0
    assert found == [expected, expected]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int, int, Decimal]]:
    """Buys, and sales of what is held: what, days later, how many shares, at which price."""
    held, made = 0, []
    for later, wanted, price, buys in draw(
        st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), cents("1", "20"), st.booleans()), max_size=14)
    ):
        quantity = wanted if buys or not held else min(wanted, held)
        sells = not buys and held > 0
        held += -quantity if sells else quantity
        made.append(("sell" if sells else "buy", later, quantity, price))
    return made


@pytest.mark.covers("R12.4")
@given(histories())
def test_basis_is_conserved_and_no_more_than_the_loss_is_disallowed(
    history: list[tuple[str, int, int, Decimal]],
) -> None:
    lots: tuple[TaxLot, ...] = ()
    sales: list[Sale] = []
    day, paid, received, taxed = MONDAY, D(0), D(0), D(0)
    for place, (what, later, quantity, price) in enumerate(history):
        day += days(later)
        if what == "buy":
            lots = (*lots, lot(f"{place}", day, quantity, quantity * price))
            paid += quantity * price
        else:
            closed = tax_lots.close_fifo(lots, symbol="M", quantity=D(quantity), at=noon(day))
            lots = closed.lots
            received += quantity * price
            taxed += quantity * price - closed.basis
            sales.append(closing(closed, quantity * price, day))
        for number, sale in enumerate(sales):
            washed = wash(sale, lots)
            moved = sum((match.disallowed for match in washed.matches), D(0))
            assert 0 <= moved <= max(D(0), sale.loss)
            assert washed.sale.loss == sale.loss - moved
            lots, sales[number], taxed = washed.lots, washed.sale, taxed + moved
        assert all(max(each.quantity - each.open_quantity, each.matched_up_to) <= each.quantity for each in lots)
        still_open = sum(each.open_quantity * each.cost_basis_per_share for each in lots)
        assert abs(taxed - (received - paid + still_open)) < D("1e-9")  # what is put off waits in the open lots


def holding(price: str = "10", **fields: Any) -> Desk:
    """Return a desk that holds three shares at 10 dollars, bought in one tranche."""
    desk = Desk(gradual_entry_tranches=1, base_allocation_pct="0.035", **fields)
    buy(desk, price)
    return desk


def buy(desk: Desk, price: str, **fields: Any) -> None:
    desk.recommend(price=price, **fields)
    desk.fill(desk.orders("buy")[-1], price)


def leave(desk: Desk, price: str, **fields: Any) -> None:
    desk.recommend(action="sell")
    desk.fill(desk.orders("sell")[-1], price, **fields)


def washes(desk: Desk) -> list[tuple[int, Decimal]]:
    return [(int(each.quantity), each.disallowed_loss) for each in desk.records("wash_sale")]


@pytest.mark.covers("R12.2")
@pytest.mark.covers("R12.3")
def test_a_losing_exit_and_a_purchase_within_thirty_days_are_a_wash_sale() -> None:
    """Publication 550, a share: bought for 10.00, sold for 7.50, bought again for 8.00; the new basis is 10.50."""
    desk = holding()
    leave(desk, "7.50")
    exit_decision = desk.decisions[-1].decision_id
    assert (desk.records("trade")[-1].wash_sale, desk.records("wash_sale")) == (False, [])
    desk.restart()
    desk.clock(at("15:00") + days(30))
    first = len(desk.effects)
    buy(desk, "8")
    trade, record = desk.records("trade")[-1], desk.last(WashSale)
    assert trade in desk.effects[first:]
    assert (trade.wash_sale, trade.disallowed_loss, trade.tax_adjusted_pnl) == (True, D("7.50"), 0)
    assert (trade.realized_pnl, trade.quantity, trade.exit_price) == (D("-7.50"), 3, D("7.5"))
    assert trade.trade_id == desk.records("trade")[0].trade_id == record.trade_id
    assert (record.quantity, record.disallowed_loss, record.decision_id) == (3, D("7.50"), exit_decision)
    old, new = desk.row.lots
    assert (old.status, old.disallowed_loss) == ("washed", D("7.50"))
    assert (new.cost_basis_per_share, new.cost_per_share, new.lot_id) == (D("10.50"), 8, record.replacement_lot_id)
    told = {each.lot_id: each for each in desk.records("lot")}
    assert (told[old.lot_id].status, told[new.lot_id].cost_basis_per_share) == ("washed", D("10.50"))
    assert desk.row.sales == ()


@pytest.mark.covers("R12.4")
def test_raw_profit_siphon_and_position_do_not_know_of_a_wash_sale() -> None:
    desk = holding()
    leave(desk, "7.50")
    desk.clock(at("15:00") + days(1))
    buy(desk, "8")
    assert desk.row.positions[0].avg_entry_price == 8
    assert desk.row.history.deferred == D("7.50")  # the tax-adjusted total is -7.50 + 7.50
    leave(desk, "11")
    assert desk.row.history.deferred == 0  # and now that of all trades: 0 and 1.50
    trade = desk.records("trade")[-1]
    assert (trade.entry_price, trade.realized_pnl, trade.wash_sale) == (8, 9, False)
    assert trade.tax_adjusted_pnl == D("1.50")  # 33 - 31.50: the loss is deducted now
    assert desk.row.realized_pnl == D("1.50")  # -7.50 + 9
    assert desk.row.reserve == D("1.80")  # a fifth of 9


def test_thirty_one_days_later_nothing_is_washed_and_nothing_remembered() -> None:
    desk = holding()
    leave(desk, "7.50")
    assert len(desk.row.sales) == 1
    desk.clock(at("15:00") + days(31))
    buy(desk, "8")
    assert (washes(desk), desk.row.sales, desk.row.lots[-1].cost_basis_per_share) == ([], (), 8)


def test_each_purchase_takes_as_much_of_the_loss_as_it_has_shares() -> None:
    desk = holding()
    leave(desk, "7.50")
    desk.clock(at("15:00") + days(1))
    desk.recommend(price="8")
    order = desk.orders("buy")[-1]
    assert order.quantity == 3
    desk.fill(order, "8", cumulative=1)
    assert washes(desk) == [(1, D("2.50"))]
    assert desk.records("trade")[-1].tax_adjusted_pnl == -5
    desk.fill(order, "8", cumulative=3)
    assert washes(desk) == [(1, D("2.50")), (2, D(5))]
    assert desk.records("trade")[-1].disallowed_loss == D("7.50")
    assert [lot.disallowed_loss for lot in desk.row.lots] == [D("7.50"), 0, 0]


def test_the_losses_are_washed_in_the_order_of_the_sales() -> None:
    desk = holding()
    leave(desk, "9")
    desk.clock(at("15:00") + days(1))
    desk.recommend(price="10")
    desk.fill(desk.orders("buy")[-1], "10", cumulative=1)  # one share replaces one, 1 dollar
    desk.cancelled(desk.orders("buy")[-1], cumulative=1)
    leave(desk, "6")  # 10 paid and 1 moved: a loss of 5
    desk.clock(at("15:00") + days(2))
    buy(desk, "10")  # three shares: the two left of the first sale, then the one of the second
    assert washes(desk) == [(1, 1), (2, 2), (1, 5)]
    assert desk.row.lots[-1].cost_basis_per_share == D(37) / 3


@pytest.mark.covers("R12.2")
def test_lots_that_stay_after_a_part_of_the_exit_was_cancelled_replace_what_was_sold() -> None:
    desk = Desk()
    desk.hold()  # lots of 2, 1 and 1 at 10 dollars
    desk.recommend(action="sell")
    order = desk.orders("sell")[-1]
    desk.fill(order, "9", cumulative=2, fee="0.10")
    assert washes(desk) == []  # the order goes on
    desk.cancelled(order, cumulative=2)
    assert washes(desk) == [(1, D("1.05")), (1, D("1.05"))]  # (20 - 18 + 0.10) / 2
    trade = desk.records("trade")[-1]
    assert (trade.tax_adjusted_pnl, trade.realized_pnl) == (0, D("-2.10"))
    assert [lot.cost_basis_per_share for lot in desk.row.lots] == [10, D("11.05"), D("11.05")]
    desk.mark("AAPL", "9.50")
    desk.fill(desk.orders("sell")[-1], "9.50")
    assert desk.records("trade")[-1].tax_adjusted_pnl == D("-3.10")  # 19 - 22.10; nothing is left to replace them
    assert desk.row.realized_pnl == D("-3.10")


def test_an_exit_that_is_filled_in_parts_is_looked_at_when_it_has_ended() -> None:
    desk = holding()
    desk.recommend(action="sell")
    order = desk.orders("sell")[-1]
    desk.fill(order, "7", cumulative=1)
    desk.fill(order, "13", cumulative=3)  # 33 dollars in all: a gain
    assert (washes(desk), desk.row.sales) == ([], ())


def test_a_fill_after_the_end_of_its_order_is_counted_with_the_rest() -> None:
    desk = Desk()
    desk.hold()
    desk.recommend(action="sell")
    order = desk.orders("sell")[-1]
    desk.fill(order, "9", cumulative=1)
    desk.cancelled(order, cumulative=1)
    assert washes(desk) == [(1, 1)]
    desk.fill(order, "9", cumulative=2)
    trade = desk.records("trade")[-1]
    assert washes(desk) == [(1, 1), (1, 1)]
    assert (trade.quantity, trade.disallowed_loss, trade.tax_adjusted_pnl) == (2, 2, 0)


@pytest.mark.covers("R12.2")
@pytest.mark.covers("R12.3")
def test_a_pending_recommendation_to_buy_only_warns() -> None:
    desk = holding()
    desk.clock(at("20:50"))  # outside the window, inside the session
    desk.mark("AAPL", "8.90")
    sale = desk.orders("sell")[-1]
    desk.recommend(price="9")
    pending = desk.row.queue[0].recommendation.recommendation_id
    desk.fill(sale, "8.90")
    record = desk.last(WashSale)
    assert (record.pending_recommendation_id, record.quantity, record.disallowed_loss) == (pending, 0, 0)
    assert (record.replacement_lot_id, record.decision_id) == (None, None)
    assert desk.records("trade")[-1].wash_sale is False
    assert desk.records("alert")[-1].subject == "A wash sale is pending: AAPL"


def test_a_gain_with_a_pending_recommendation_warns_of_nothing() -> None:
    desk = holding()
    desk.recommend(action="sell")
    desk.clock(at("20:50"))
    desk.recommend(price="9")
    desk.fill(desk.orders("sell")[-1], "10")
    assert desk.records("wash_sale") == []


def test_only_so_many_losses_are_remembered_and_a_forgotten_one_is_told() -> None:
    desk = holding()
    leave(desk, "9")
    sale = desk.row.sales[0]
    many = tuple(
        sale.model_copy(update={"trade": sale.trade.model_copy(update={"client_order_id": f"o{place}"})})
        for place in range(loss_sales.MOST_SALES)
    )
    desk.portfolio = desk.row.model_copy(update={"sales": many})
    desk.recommend("KO", price="10", sector="staples")
    desk.fill(desk.orders("buy")[-1], "10")
    desk.recommend("KO", "sell")
    desk.fill(desk.orders("sell")[-1], "9")
    kept = [each.trade.client_order_id for each in desk.row.sales]
    assert kept == [
        *(f"o{place}" for place in range(1, loss_sales.MOST_SALES)),
        desk.orders("sell")[-1].client_order_id,
    ]
    assert desk.records("alert")[-1].subject == "A loss is no longer watched: AAPL"


def test_a_step_with_a_wash_sale_gives_the_same_bytes_after_a_restart() -> None:
    desk = holding()
    leave(desk, "7.49")
    desk.clock(at("15:00") + days(1))
    desk.recommend(price="8")
    before, order = desk.row, desk.orders("buy")[-1]
    desk.fill(order, "8.01", fee="0.01")
    first = desk.row
    desk.portfolio, desk.seq = before, before.seq
    desk.restart()
    desk.fill(order, "8.01", fee="0.01")
    assert desk.row == first
