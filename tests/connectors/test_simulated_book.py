"""The simulated broker's book: what a fill costs, what is refused, and that nothing appears or vanishes."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.ports import OrderEvent
from connectors.simulated_book import Book, Terms, fill_quantities, meet, place, snapshot, take_off
from tests.connectors.examples import NOON, minutes, order, tick
from trading.effects import Order
from trading.inputs import OrderAccepted, OrderCancelled, OrderFill, OrderRejected, Tick

FREE = Terms(slippage_bps=0)


def book(cash: str = "500") -> Book:
    return Book(account_id="paper", cash=Decimal(cash))


def placed(before: Book, wanted: Order, price: Tick | None, terms: Terms = FREE) -> tuple[Book, tuple[OrderEvent, ...]]:
    return place(before, wanted, tick=price, from_offset=0, terms=terms, at=None)


def kinds(events: tuple[OrderEvent, ...]) -> list[str]:
    return [event.kind for event in events]


def test_a_market_buy_moves_cash_into_shares() -> None:
    after, events = placed(book(), order("buy", "3"), tick("100"))
    assert kinds(events) == ["order_accepted", "order_fill"]
    assert (after.cash, after.held("AAPL")) == (Decimal(200), Decimal(3))


def test_a_market_sell_moves_shares_into_cash_and_leaves_no_empty_holding() -> None:
    held, _ = placed(book(), order("buy", "3"), tick("100"))
    after, _ = placed(held, order("sell", "3", number=2), tick("110"))
    assert (after.cash, after.holdings) == (Decimal(530), ())


@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [
        ("buy", "100.00", "100.05"),  # 100 x 1.0005
        ("sell", "100.00", "99.95"),  # 100 x 0.9995
        ("buy", "33.33", "33.35"),  # 33.346665, up
        ("sell", "33.33", "33.31"),  # 33.313335, down
        ("sell", "0.004", "0.004"),  # nothing would be left of it
    ],
)
def test_the_slippage_and_its_rounding_are_against_us(side: str, price: str, expected: str) -> None:
    held, _ = placed(book(), order("buy", "1"), tick("1"), FREE)
    _, events = placed(held, order(side, "1", number=2), tick(price), Terms(slippage_bps=5))
    fill = events[-1]
    assert isinstance(fill, OrderFill)
    assert fill.price == Decimal(expected)


@pytest.mark.parametrize(
    ("wanted", "price", "reason"),
    [
        (order("buy", "6"), tick("100"), "insufficient cash: 600.00 is needed, 500 is there"),
        (order("sell", "1"), tick("100"), "insufficient shares: 1 to sell, 0 are there"),
        (order("buy", "1"), None, "no price of AAPL on 2024-03-14"),
        (order("buy", "1"), tick("100", at=NOON - dt.timedelta(days=1)), "no price of AAPL on 2024-03-14"),
        (order("buy", "0"), tick("100"), "quantity 0 is not positive"),
        (order("buy", "0.0000000000001"), tick("100"), "quantity 1E-13 has more than 12 decimals"),
        (order("buy", "1", order_type="limit"), tick("100"), "a limit order needs a limit price"),
    ],
)
def test_what_cannot_be_done_is_rejected_with_the_reason(wanted: Order, price: Tick | None, reason: str) -> None:
    after, events = placed(book(), wanted, price)
    assert after == book()
    assert [(event.kind, event.reason) for event in events if isinstance(event, OrderRejected)] == [
        ("order_rejected", reason)
    ]
    assert len(events) == 1


def test_the_day_of_a_price_is_new_yorks() -> None:
    """A quarter to midnight in UTC and a quarter past it are one evening in New York."""
    before, after = dt.datetime(2024, 3, 14, 23, 45, tzinfo=dt.UTC), dt.datetime(2024, 3, 15, 0, 15, tzinfo=dt.UTC)
    _, events = placed(book(), order(created_at=after), tick("100", at=before))
    assert kinds(events) == ["order_accepted", "order_fill"]


def test_a_fill_is_named_by_its_order_and_the_shares_so_far() -> None:
    _, events = placed(book(), order("buy", "5"), tick("10"), Terms(slippage_bps=0, partial_pct=100, seed=SPLIT))
    fills = [event for event in events if isinstance(event, OrderFill)]
    assert [(fill.fill_id, fill.leaves_quantity) for fill in fills] == [
        ("order-1:2", Decimal(3)),
        ("order-1:5", Decimal(0)),
    ]


def test_a_partial_order_that_is_cut_short_ends_with_a_cancel_of_the_rest() -> None:
    after, events = placed(book(), order("buy", "5"), tick("10"), Terms(slippage_bps=0, partial_pct=100, seed=CUT))
    assert kinds(events) == ["order_accepted", "order_fill", "order_cancelled"]
    assert isinstance(events[-1], OrderCancelled)
    assert (events[-1].cumulative_quantity, after.held("AAPL")) == (Decimal(2), Decimal(2))


def test_a_single_share_is_never_partial() -> None:
    assert fill_quantities(order("buy", "1"), Terms(partial_pct=100)) == (Decimal(1),)


@pytest.mark.parametrize("percent", [0, 10, 50, 100])
def test_about_as_many_orders_are_rejected_as_the_terms_say(percent: int) -> None:
    terms = Terms(reject_pct=percent)
    outcomes = [placed(book(), order(number=number), tick("1"), terms)[1] for number in range(1000)]
    rejected = sum(kinds(events) == ["order_rejected"] for events in outcomes)
    assert abs(rejected - 10 * percent) <= 40  # more than two standard deviations of a fair coin


def test_a_marketable_limit_order_fills_at_once_and_never_beyond_its_limit() -> None:
    limited = order("buy", "1", order_type="limit", limit_price=Decimal("100.01"))
    _, events = placed(book(), limited, tick("100"), Terms(slippage_bps=5))
    assert isinstance(events[-1], OrderFill)
    assert events[-1].price == Decimal("100.01")


def test_a_limit_order_rests_until_a_tick_reaches_it() -> None:
    limited = order("buy", "2", order_type="limit", limit_price=Decimal(90))
    resting, events = placed(book(), limited, tick("100"))
    assert kinds(events) == ["order_accepted"]
    assert resting.buying_power == Decimal(320)  # 500 less 2 x 90
    assert snapshot(resting, {}, newest_order_id="", at=None).open_orders[0].client_order_id == "order-1"
    still, events = meet(resting, limited, tick=tick("95", at=NOON + minutes(1)), terms=FREE, at=None)
    assert (still, events) == (resting, ())
    after, events = meet(resting, limited, tick=tick("89", at=NOON + minutes(2)), terms=FREE, at=None)
    assert kinds(events) == ["order_fill"]
    assert (after.resting, after.cash) == ((), Decimal(322))


def test_a_tick_from_before_an_order_does_not_fill_it() -> None:
    limited = order("buy", "1", order_type="limit", limit_price=Decimal(90))
    resting, _ = placed(book(), limited, tick("100"))
    assert meet(resting, limited, tick=tick("80", at=NOON - minutes(1)), terms=FREE, at=None).events == ()


@pytest.mark.parametrize(
    ("valid_until", "tick_at"),
    [(NOON + minutes(5), NOON + minutes(5)), (None, NOON + dt.timedelta(hours=12, minutes=1))],
)
def test_a_resting_order_ends_at_its_time_or_with_its_day(
    valid_until: dt.datetime | None, tick_at: dt.datetime
) -> None:
    limited = order("sell", "1", order_type="limit", limit_price=Decimal(120), valid_until=valid_until)
    held, _ = placed(book(), order("buy", "1", number=2), tick("100"))
    resting, _ = placed(held, limited, tick("100"))
    after, events = meet(resting, limited, tick=tick("130", at=tick_at), terms=FREE, at=None)
    assert kinds(events) == ["order_cancelled"]
    assert after.resting == ()
    assert after.held("AAPL") == 1


def test_shares_that_a_resting_sell_keeps_cannot_be_sold_twice() -> None:
    held, _ = placed(book(), order("buy", "1"), tick("100"))
    limited = order("sell", "1", number=2, order_type="limit", limit_price=Decimal(120))
    resting, _ = placed(held, limited, tick("100"))
    _, events = placed(resting, order("sell", "1", number=3), tick("100"))
    assert kinds(events) == ["order_rejected"]
    freed, _ = take_off(resting, limited, reason="no longer wanted", at=None)
    assert kinds(placed(freed, order("sell", "1", number=3), tick("100"))[1]) == ["order_accepted", "order_fill"]


def test_a_snapshot_values_holdings_at_their_marks_and_at_cost_without() -> None:
    held, _ = placed(book(), order("buy", "2"), tick("100"))
    assert snapshot(held, {"AAPL": Decimal(110)}, newest_order_id="", at=None).equity == Decimal(520)
    assert snapshot(held, {}, newest_order_id="", at=None).equity == Decimal(500)


# Seeds under which order-1 is split and under which it is cut short, found by asking.
def _seed(fills: int) -> int:
    wanted = order("buy", "5")
    return next(seed for seed in range(100) if len(fill_quantities(wanted, Terms(partial_pct=100, seed=seed))) == fills)


SPLIT, CUT = _seed(2), _seed(1)

prices = st.decimals("0.01", "2000", places=2)
orders = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 20),
        st.sampled_from(["AAPL", "KO", "GE"]),
        st.sampled_from(["market", "limit"]),
        prices,
        prices,
    ),
    max_size=40,
)
terms_of_all_kinds = st.builds(
    Terms,
    slippage_bps=st.integers(0, 1000),
    partial_pct=st.sampled_from([0, 50, 100]),
    reject_pct=st.sampled_from([0, 20]),
    seed=st.integers(0, 10),
)


@given(orders, terms_of_all_kinds)
@example(
    [("buy", 5, "KO", "limit", Decimal(10), Decimal(11)), ("sell", 5, "KO", "market", Decimal(12), Decimal(1))], FREE
)
def test_cash_and_shares_are_the_opening_cash_and_the_fills_and_nothing_else(
    wanted: list[tuple[str, int, str, str, Decimal, Decimal]], terms: Terms
) -> None:
    """Conservation: cash = opening cash - bought + sold, shares = bought - sold; neither is ever negative."""

    def play() -> tuple[Book, list[OrderEvent]]:
        now, after = NOON, book()
        told: list[OrderEvent] = []
        for number, (side, quantity, symbol, order_type, price, limit) in enumerate(wanted):
            now += minutes(1)
            here = tick(str(price), at=now)
            for resting in [each.order for each in after.resting if each.order.symbol == symbol]:
                after, events = meet(after, resting, tick=here, terms=terms, at=None)
                told += events
            limits = {"order_type": order_type, "limit_price": limit if order_type == "limit" else None}
            submitted = order(side, str(quantity), number=number, symbol=symbol, created_at=now, **limits)
            after, events = placed(after, submitted, here, terms)
            told += events
            assert after.cash >= 0
            assert all(holding.quantity > 0 for holding in after.holdings)
        return after, told

    after, told = play()
    sides = {f"order-{number}": side for number, (side, *_) in enumerate(wanted)}
    cash, shares = Decimal(500), dict.fromkeys(["AAPL", "KO", "GE"], Decimal(0))
    for event in told:
        if isinstance(event, OrderFill):
            bought = event.quantity if sides[event.client_order_id] == "buy" else -event.quantity
            cash -= bought * event.price
            shares[event.symbol] += bought
    assert after.cash == cash
    assert {symbol: after.held(symbol) for symbol in shares} == shares
    assert play() == (after, told)  # the same orders and ticks, the same events
    ids = [event.event_id for event in told]
    assert len(ids) == len(set(ids))
    live = {each.order.client_order_id for each in after.resting}
    for name in sides:
        ended = [each for each in told if each.client_order_id == name and not isinstance(each, OrderAccepted)]
        done = any(
            isinstance(each, OrderRejected | OrderCancelled)
            or (isinstance(each, OrderFill) and not each.leaves_quantity)
            for each in ended
        )
        assert done != (name in live)
