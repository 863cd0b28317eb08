"""What Alpaca's word on an order means: whatever is seen, how often and in which order, each share is told once."""

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.alpaca_orders import Execution, Told, Work, doubt, is_same, number, observe, seen
from connectors.ports import OrderEvent
from tests.connectors.examples import NOON, order
from trading.inputs import OrderCancelled, OrderFill

CLOSED_LIST = [
    "new",
    "partially_filled",
    "filled",
    "done_for_day",
    "canceled",
    "expired",
    "replaced",
    "pending_cancel",
    "pending_replace",
    "pending_review",
    "accepted",
    "pending_new",
    "accepted_for_bidding",
    "stopped",
    "rejected",
    "suspended",
    "calculated",
    "held",
]
"""Alpaca's order statuses: https://docs.alpaca.markets/docs/orders-at-alpaca#order-lifecycle."""


def shown(filled: str = "0", average: str | None = None, status: str = "new", **changes: Any) -> dict[str, Any]:
    """Return an order of five shares as Alpaca's JSON has it."""
    fields: dict[str, Any] = {
        "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
        "client_order_id": "order-1",
        "symbol": "AAPL",
        "side": "buy",
        "qty": "5",
        "type": "market",
        "limit_price": None,
        "filled_qty": filled,
        "filled_avg_price": average,
        "status": status,
        "updated_at": "2024-03-14T16:00:00.123456789Z",
    }
    return {**fields, **changes}


def told_of(work: Work, *raws: dict[str, Any], execution: Execution | None = None) -> tuple[Work, list[OrderEvent]]:
    """Fold what is shown."""
    events: list[OrderEvent] = []
    for raw in raws:
        found = seen(raw, execution=execution)
        assert found is not None
        work, told = observe(work, found, at=found.at)
        events += told
    return work, events


def test_fills_of_the_average_add_up_to_what_the_broker_booked() -> None:
    # 2 shares at 10.00, then 3 that cost 30.01 together: no one price gives that to the cent, two do.
    # 20.00 + 30.01 = 50.01, an average of 10.002 for 5
    _, events = told_of(Work(order=order(quantity="5")), shown("2", "10"), shown("5", "10.002", "filled"))
    fills = [event for event in events if isinstance(event, OrderFill)]
    assert [(fill.quantity, fill.price, fill.cumulative_quantity) for fill in fills] == [
        (Decimal(2), Decimal("10.0000"), Decimal(2)),
        (Decimal(2), Decimal("10.0033"), Decimal(4)),
        (Decimal(1), Decimal("10.0034"), Decimal(5)),
    ]
    assert sum(fill.quantity * fill.price for fill in fills) == Decimal("50.01")
    assert [fill.fill_id for fill in fills] == ["order-1:2", "order-1:4", "order-1:5"]
    assert [fill.leaves_quantity for fill in fills] == [3, 1, 0]


def test_an_average_that_was_rounded_gives_the_same_dollars() -> None:
    # 3 shares for 10.00, 10.00 and 10.01: an average of 10.00333..., shown to nine places
    _, events = told_of(Work(order=order(quantity="3")), shown("3", "10.003333333", "filled", qty="3"))
    fills = [event for event in events if isinstance(event, OrderFill)]
    assert sum(fill.quantity * fill.price for fill in fills) == Decimal("30.01")


@given(
    trades=st.lists(st.tuples(st.integers(1, 400), st.integers(1, 5_000_000)), min_size=1, max_size=6),
    seed=st.randoms(use_true_random=False),
    is_cancelled=st.booleans(),
    is_lost=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_whatever_is_lost_repeated_or_reordered_shares_and_dollars_are_told_once(
    trades: list[tuple[int, int]], seed: Any, is_cancelled: bool, is_lost: list[bool]
) -> None:
    quantities = [Decimal(quantity) for quantity, _ in trades]
    prices = [Decimal(price) / 10_000 for _, price in trades]
    wanted = sum(quantities) + (1 if is_cancelled else 0)
    cumulative = list(itertools.accumulate(quantities))
    dollars = list(itertools.accumulate(quantity * price for quantity, price in zip(quantities, prices, strict=True)))

    def at(number_of: int, status: str) -> dict[str, Any]:
        average = f"{dollars[number_of] / cumulative[number_of]:.9f}"
        return shown(f"{cumulative[number_of]}", average, status, qty=f"{wanted}")

    updates = [
        (at(index, "partially_filled"), Execution(quantities[index], prices[index]))
        for index in range(len(trades))
        if not is_lost[index]
    ]
    updates += [(raw, None) for raw, _ in updates]
    seed.shuffle(updates)
    work, events = Work(order=order(quantity=f"{wanted}")), []
    last = at(len(trades) - 1, "canceled" if is_cancelled else "filled")
    for raw, execution in [*updates, (last, None), *updates, (last, None)]:
        work, told = told_of(work, raw, execution=execution)
        events += told
    fills = [event for event in events if isinstance(event, OrderFill)]
    assert sum(fill.quantity * fill.price for fill in fills) == dollars[-1]
    told_so_far = [fill.cumulative_quantity for fill in fills]
    assert told_so_far == list(itertools.accumulate(fill.quantity for fill in fills))
    assert told_so_far[-1] == cumulative[-1]
    assert len({event.event_id for event in events}) == len(events)
    ends = [event for event in events if isinstance(event, OrderCancelled)]
    assert [(end.cumulative_quantity, end is events[-1]) for end in ends] == [(cumulative[-1], True)] * is_cancelled
    assert work.is_over


@pytest.mark.parametrize("status", [*CLOSED_LIST, "a_word_of_tomorrow"])
def test_every_status_is_live_an_end_or_a_fill(status: str) -> None:
    work, events = told_of(Work(order=order(quantity="5")), shown("2", "10", status))
    expected = {
        "canceled": ["order_accepted", "order_fill", "order_cancelled"],
        "expired": ["order_accepted", "order_fill", "order_cancelled"],
        "replaced": ["order_accepted", "order_fill", "order_cancelled"],
        "rejected": ["order_fill", "order_cancelled"],
    }
    assert [event.kind for event in events] == expected.get(status, ["order_accepted", "order_fill"])
    assert work.is_over == (status in expected)


def test_an_end_waits_for_the_price_of_the_shares_that_it_counts() -> None:
    work, events = told_of(Work(order=order(quantity="5")), shown("2", None, "canceled"))
    assert [event.kind for event in events] == ["order_accepted"]
    assert not work.is_over
    _, events = told_of(work, shown("2", "10", "canceled"))
    assert [event.kind for event in events] == ["order_fill", "order_cancelled"]


def test_a_refusal_carries_the_brokers_reason_and_no_acceptance() -> None:
    _, events = told_of(Work(order=order()), shown(status="rejected", reject_reason="halted"))
    assert [(event.kind, getattr(event, "reason", "")) for event in events] == [
        ("order_rejected", "rejected by the broker: halted")
    ]


def test_an_order_that_was_given_up_and_is_there_after_all_is_to_be_cancelled() -> None:
    given_up = Work(order=order(quantity="5"), ended="cancelled", is_over=True)
    work, _ = told_of(given_up, shown("0", None, "new"))
    assert (work.is_over, work.cancel_reason) == (False, "it was given up before it came")
    work, events = told_of(work, shown("2", "10", "canceled"))
    assert [event.kind for event in events] == ["order_fill", "order_cancelled"]  # the end that counts the fill
    assert work.is_over
    _, events = told_of(given_up, shown("0", None, "canceled"))
    assert [event.kind for event in events] == ["order_accepted"]  # its end was told before


def test_doubt_is_told_once_and_not_of_an_order_that_was_seen() -> None:
    work, events = doubt(Work(order=order()), reason="504", at=NOON)
    assert [(event.kind, event.at) for event in events] == [("order_unknown", NOON)]
    assert doubt(work, reason="504", at=NOON) == Told(work)
    known, _ = told_of(Work(order=order(quantity="5")), shown())
    assert doubt(known, reason="504", at=NOON) == Told(known)


@pytest.mark.parametrize("raw", [None, [], "order", {}, {"id": 1, "status": "new"}, shown("NaN"), shown("-1")])
def test_what_is_no_order_is_none(raw: Any) -> None:
    assert seen(raw) is None


def test_an_order_is_the_same_when_all_that_moves_money_is() -> None:
    meant = order(quantity="5")
    assert is_same(meant, seen(shown(qty="5.000")))  # type: ignore[arg-type]
    for changes in ({"qty": "6"}, {"side": "sell"}, {"symbol": "KO"}, {"type": "limit"}, {"limit_price": "7"}):
        found = seen(shown(**changes))
        assert found is not None
        assert not is_same(meant, found)


def test_numbers_have_one_form_and_instants_an_offset() -> None:
    assert [str(number(text)) for text in ("5.000", "1E+2", "0.10", "33.33333333333333333")] == [
        "5",
        "100",
        "0.1",
        "33.333333333333",
    ]
    assert [number(value) for value in (None, True, "NaN", "Infinity", "x", "1e40")] == [None] * 6
    found = seen(shown())
    assert found is not None
    assert found.at == dt.datetime(2024, 3, 14, 16, 0, 0, 123456, tzinfo=dt.UTC)
    assert seen(shown(updated_at="2024-03-14T16:00:00"))._replace(at=None) == found._replace(at=None)  # type: ignore[union-attr]
