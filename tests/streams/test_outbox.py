"""What goes out goes where its readers look for it, and is delivered when the broker says so."""

import asyncio
from collections.abc import Awaitable
from decimal import Decimal

from streams.outbox import Outgoing, deliver, of_effect, to_inbox
from streams.topics import partition_for
from tests.agents.world import at, levels
from trading.effects import LevelsRemoved, Order, QuoteRequest
from trading.events import Clock
from trading.records import Alert


def test_levels_lie_on_the_partition_of_their_symbol_and_a_removal_is_a_null() -> None:
    place = partition_for(b"AAPL", 4)
    kept = of_effect(levels(), partitions=4)
    assert (kept.topic, kept.key, kept.partition) == ("stop-levels", b"AAPL/paper", place)
    removed = of_effect(LevelsRemoved(account_id="paper", symbol="AAPL"), partitions=4)
    assert removed == Outgoing("stop-levels", b"AAPL/paper", None, place)


def test_effects_are_keyed_by_account_and_quote_requests_by_symbol() -> None:
    order = Order(
        client_order_id="o",
        decision_id="d",
        account_id="paper",
        symbol="AAPL",
        side="buy",
        quantity=Decimal(1),
        purpose="entry",
        created_at=at(0),
    )
    assert of_effect(order, partitions=4)[:2] == ("orders", b"paper")
    alert = Alert(record_id="r", account_id="paper", at=at(0), cause=1, severity="info", subject="s", body="b")
    assert of_effect(alert, partitions=4)[:2] == ("records", b"paper")
    quote = QuoteRequest(symbol="AAPL", account_id="paper", at=at(0))
    assert of_effect(quote, partitions=4)[:2] == ("quote-requests", b"AAPL")
    assert to_inbox(Clock(account_id="paper"))[:2] == ("account-inbox", b"paper")


def test_money_leaves_as_plain_decimal_text() -> None:
    value = of_effect(levels("1E+2"), partitions=4).value or b""
    assert b'"stop":"100"' in value


async def test_delivery_ends_with_the_last_acknowledgement_and_keeps_the_order() -> None:
    sent: list[bytes] = []
    acknowledged = asyncio.Event()

    async def send(outgoing: Outgoing) -> Awaitable[object]:
        sent.append(outgoing.key)
        return acknowledged.wait()

    delivering = asyncio.create_task(deliver(send, [Outgoing("t", b"1", None), Outgoing("t", b"2", None)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sent == [b"1", b"2"]
    assert not delivering.done()
    acknowledged.set()
    await delivering
