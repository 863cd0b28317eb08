"""Every fault of the broker, met by an entry, a stop exit and a cancel: one order for an intent, exact cash and shares.

The fake's own log is the oracle. The same table without the client order id is red: so it can see a second order.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import pytest

from tests.connectors.alpaca_desk import Desk, Oracle, desk_of, exchange
from tests.connectors.examples import cancel_of, order
from tests.fakes.alpaca import FakeAlpaca, Fault
from trading.effects import Order

ORDERS, ANY_ORDER, BY_ID = "/v2/orders", "/v2/orders/*", "/v2/orders:by_client_order_id"


def posting(kind: str, **changes: Any) -> Fault:
    return Fault(kind=kind, method="POST", path=ORDERS, **changes)  # type: ignore[arg-type]


def asking(kind: str, **changes: Any) -> Fault:
    return Fault(kind=kind, method="GET", path=BY_ID, **changes)  # type: ignore[arg-type]


def streaming(kind: str, **changes: Any) -> Fault:
    return Fault(kind=kind, path="/stream", times=0, **changes)  # type: ignore[arg-type]


PLACING: Mapping[str, list[Fault]] = {
    "nothing": [],
    "504 before": [posting("504_before")],
    "504 after acceptance": [posting("504_after")],
    "timeout before": [posting("hang_before", seconds=0.4)],
    "timeout after acceptance": [posting("hang_after", seconds=0.4)],
    "reset before": [posting("reset_before")],
    "reset in the body": [posting("reset_in_body")],
    "garbage": [posting("garbage")],
    "429 twice": [posting("429", times=2)],
    "403 held": [posting("403_held")],
    "422": [posting("422", message="asset is not tradable")],
    "slow": [posting("slow", seconds=0.15)],
    "partial fills": [posting("partial_fills", parts=3, seconds=0.05)],
    "filled before it is accepted": [posting("fill_first")],
    "filled before it is accepted, answer lost": [posting("fill_first"), asking("504_before")],
    "504 after acceptance, reads lag": [posting("504_after"), asking("lag", seconds=9, times=2), streaming("mute")],
    "504 after acceptance, reads lag long": [
        posting("504_after"),
        asking("lag", seconds=9, times=4),
        streaming("mute"),
    ],
    "504 after acceptance, look-ups fail": [posting("504_after"), asking("504_before", times=2), streaming("mute")],
    "504 again and again": [posting("504_before", times=2), posting("504_after")],
    "updates twice": [streaming("duplicate_updates"), posting("partial_fills", parts=3)],
    "updates reordered": [streaming("reorder_updates"), posting("partial_fills", parts=3, seconds=0.05)],
    "updates dropped": [streaming("drop_updates", event="fill"), posting("partial_fills", parts=3)],
    "updates unreadable": [streaming("garbage_updates"), posting("partial_fills", parts=3, seconds=0.05)],
    "stream mute": [streaming("mute"), posting("partial_fills", parts=3, seconds=0.1)],
}

CANCELLING: Mapping[str, list[Fault]] = {
    "nothing": [],
    **{
        kind.replace("_", " "): [Fault(kind=kind, method="DELETE", path=ANY_ORDER, seconds=0.4)]  # type: ignore[arg-type]
        for kind in ("504_before", "504_after", "hang_before", "hang_after", "reset_before", "reset_in_body", "429")
    },
    "422": [Fault(kind="422", method="DELETE", path=ANY_ORDER)],
    "slow": [Fault(kind="slow", method="DELETE", path=ANY_ORDER, seconds=0.15)],
    "stream mute": [streaming("mute")],
    "updates twice": [streaming("duplicate_updates")],
    "updates reordered": [streaming("reorder_updates")],
    "updates dropped": [streaming("drop_updates", event="canceled")],
    "reads lag": [asking("lag", seconds=9, times=2), streaming("mute")],
    "look-ups fail": [asking("504_before", times=2), streaming("mute")],
}
NOT_PLACED = {("403 held", "buy"), ("422", "buy"), ("422", "sell")}


async def placed(fake: FakeAlpaca, desk: Desk, sent: Order, faults: list[Fault]) -> list[str]:
    """Send an order through some faults, and return what is wrong once it has ended and the dust has settled."""
    for fault in faults:
        fake.faults.add(dataclasses.replace(fault))
    await desk.look()
    await desk.turn(sent)
    await desk.until(lambda: desk.has_ended(sent) or len(fake.log.of("created")) > 1)
    await desk.rest(0.1)
    return Oracle(fake, desk, {sent.client_order_id: sent}).wrong()


@pytest.mark.parametrize("side", ["buy", "sell"], ids=["entry", "stop exit"])
@pytest.mark.parametrize("fault", PLACING)
async def test_an_order_that_meets_a_fault_is_placed_once(fault: str, side: str, tmp_path: pathlib.Path) -> None:
    sent = order(side, "5", purpose="entry" if side == "buy" else "stop_loss")
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        assert await placed(fake, desk, sent, PLACING[fault]) == []
        told = desk.kinds("order-1")
        if (fault, side) in NOT_PLACED:
            assert told == ["order_rejected"]
            assert len(fake.log.of("created")) == 0
        else:
            assert len(fake.log.of("created", client_order_id="order-1")) == 1
            assert told[-1] == "order_fill"
            assert desk.fills("order-1")[-1].leaves_quantity == 0


@pytest.mark.parametrize("fault", CANCELLING)
async def test_a_cancel_that_meets_a_fault_is_answered_once(fault: str, tmp_path: pathlib.Path) -> None:
    sent = order("buy", "5")
    async with exchange() as fake, desk_of(fake, tmp_path) as desk:
        await desk.look()
        fake.faults.add(posting("partial_fills", parts=5, filled_parts=2))
        await desk.turn(sent)
        await desk.until(lambda: len(fake.log.of("fill")) == 2)
        for each in CANCELLING[fault]:
            fake.faults.add(dataclasses.replace(each))
        await desk.turn(cancel_of(1))
        await desk.until(lambda: desk.has_ended(sent))
        await desk.rest(0.1)
        assert Oracle(fake, desk, {"order-1": sent}).wrong() == []
        ends = [event for event in desk.events if event.kind == "order_cancelled"]
        assert [(end.cumulative_quantity, end.reason) for end in ends] == [(2, "no longer wanted")]
        assert len(fake.log.of("canceled")) == 1


@pytest.mark.parametrize("fault", ["504 after acceptance", "reset in the body", "504 after acceptance, reads lag long"])
async def test_without_the_client_order_id_the_same_table_is_red(fault: str, tmp_path: pathlib.Path) -> None:
    def without_the_id(sent: Order) -> Mapping[str, str]:
        from connectors.alpaca_rest import order_fields  # noqa: PLC0415 - the control alone

        return {name: value for name, value in order_fields(sent).items() if name != "client_order_id"}

    sent = order("buy", "5")
    async with exchange() as fake, desk_of(fake, tmp_path, fields=without_the_id) as desk:
        wrong = await placed(fake, desk, sent, PLACING[fault])
        assert wrong[0] == "buy AAPL: 1 too many"
        assert wrong[-2].startswith("cash: ")
        assert wrong[-1].startswith("positions: ")
