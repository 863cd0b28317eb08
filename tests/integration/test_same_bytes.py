"""With the events' clock the inputs fix the log: the same inputs, each step applied before the next, give the same
bytes on two stacks that know nothing of each other.
"""

import itertools
from collections.abc import Iterator

import pytest

from tests.integration import market
from tests.integration.harness import Json, Stack

pytestmark = pytest.mark.integration

ACCOUNTS = ("alice", "bob", "carol")
TOPICS = ("account-inbox", "orders", "order-cancels", "decisions", "records", "notifications")

Step = tuple[str, list[Json]]
Bytes = dict[str, list[tuple[int, int, bytes | None, bytes | None]]]


def steps() -> Iterator[Step]:
    """Yield two sessions of inputs: entries in tranches, a queue, stops, a target, a pause, poison, a kill."""
    first, second = itertools.islice(market.sessions(), 2)
    symbols = {"AAA": "10.00", "BBB": "40.00", "CCC": "25.00"}
    yield "companies", [market.company(symbol, sector=f"sector {symbol}") for symbol in symbols]
    for symbol, price in symbols.items():
        yield "price-bars", market.bars_before(symbol, first, price)

    def at(clock: str) -> str:
        return market.instant(first, clock)

    yield "recommendations", [market.recommendation("CCC", "queued", at("12:00"))]
    for symbol, price in symbols.items():
        yield "price-ticks", [market.tick(symbol, price, at("13:50"))]
    yield "recommendations", [market.recommendation("AAA", "tranches", at("14:00"))]
    yield "recommendations", [market.recommendation("BBB", "one share", at("14:01"), thesis="naïve ünicode")]
    yield "recommendations", [market.recommendation("BBB", "one share", at("14:01"), action="sell")]
    yield "commands", [market.command("pause", "p1", "bob", at=at("14:02"))]
    yield "market-stress", [{"name": "vix", "value": "20.5", "at": at("14:03")}]
    yield "price-ticks", [{"symbol": "AAA", "price": "-1", "at": at("14:04")}]
    for minute in range(5, 50, 5):
        for symbol, price in (("AAA", f"10.{minute:02d}"), ("BBB", f"4{minute % 3}.{minute:02d}")):
            yield "price-ticks", [market.tick(symbol, price, at(f"14:{minute:02d}"))]
    yield "price-ticks", [{"symbol": "CCC", "ticks": [{"at": at("15:00"), "price": p} for p in ("24.00", "20.00")]}]
    yield "commands", [market.command("resume", "p2", "bob", at=at("15:01"))]
    yield "commands", [market.command("set_risk_tier", "p3", "carol", at=at("15:01"), risk_tier="aggressive")]
    yield "price-bars", [market.bar("AAA", first, "10.45")]
    yield "price-ticks", [market.tick("AAA", "10.45", market.instant(second, "13:31"))]
    yield "commands", [market.command("kill", "p4", "alice", reason="the end", at=market.instant(second, "14:00"))]
    yield "price-ticks", [market.tick("AAA", "10.40", market.instant(second, "14:01"))]


def played() -> Bytes:
    """Play the steps on a fresh stack and return what its topics hold then."""
    with Stack(accounts=ACCOUNTS) as stack:
        stack.start()
        stack.until_lag_zero()
        for topic, records in steps():
            stack.produce(topic, records)
            stack.until_lag_zero()
        return {
            topic: sorted((each.partition, each.offset, each.key, each.value) for each in stack.read(topic))
            for topic in TOPICS
        }


def test_the_same_inputs_give_the_same_bytes_twice() -> None:
    first, second = played(), played()
    assert len(first["orders"]) > 10  # the steps did lead to something
    assert len(first["decisions"]) > 10
    for topic in TOPICS:
        pairs = itertools.zip_longest(first[topic], second[topic])
        different = next(((one, other) for one, other in pairs if one != other), None)
        assert different is None, f"{topic}: {different}"
