"""Ticks off the wire: the quick way reads what the model reads, and leaves everything else to it."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ticks import Ticks, _quickly, read_ticks
from streams.codec import Poison, parse
from streams.log import Record
from streams.topics import TOPICS, partition_for
from trading.inputs import Tick
from trading.market import SymbolFacts, with_ticks

PLACE = partition_for(b"AAPL", 4)


def record(value: Any, key: bytes | None = b"AAPL", partition: int = PLACE) -> Record:
    raw = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return Record("price-ticks", partition, 0, key, raw, 0)


def by_the_model(found: Record) -> Ticks | Poison:
    model = parse(TOPICS["price-ticks"], found.key, found.value, partition=found.partition, partitions=4)
    if isinstance(model, Poison):
        return model
    each = model.each
    return Ticks(model.symbol, [tick.at for tick in each], [tick.price for tick in each], model.source == "quote")


def batch(*ticks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"symbol": "AAPL", "ticks": list(ticks), **more}


def tick(second: int = 0, price: Any = "187.10", **more: Any) -> dict[str, Any]:
    return {"at": f"2026-03-02T15:00:{second:02d}Z", "price": price, **more}


def test_the_usual_batch_goes_the_quick_way() -> None:
    usual = record(batch(tick(0, "187.10", size="100"), tick(1, "187.2"), source="iex"))
    assert usual.value is not None
    assert _quickly(usual.value) == Ticks(
        "AAPL",
        [dt.datetime(2026, 3, 2, 15, 0, second, tzinfo=dt.UTC) for second in (0, 1)],
        [Decimal("187.10"), Decimal("187.2")],
        is_quote=False,
    )


@pytest.mark.parametrize(
    "value",
    [
        batch(),
        batch(tick(0, "0")),
        batch(tick(0, "-1")),
        batch(tick(0, "NaN")),
        batch(tick(0, "1_0")),
        batch(tick(0, "１")),
        batch(tick(0, "1 2")),
        batch(tick(0, 187.1)),
        batch(tick(0, True)),
        batch(tick(0, "1", size="-1")),
        batch(tick(0, "1", size="x")),
        batch(tick(0, "1", size=100)),
        batch(tick(1), tick(0)),
        batch({"at": "2026-03-02T15:00:00", "price": "1"}),
        batch({"at": "2026-03-02T16:00:00+01:00", "price": "1"}),
        batch({"at": "2026-03-02T15:00:61Z", "price": "1"}),
        batch({"at": "1969-03-02T15:00:00Z", "price": "1"}),
        batch({"at": "2100-03-02T15:00:00Z", "price": "1"}),
        batch({"at": "2026-03-02T15:00:00.123456789Z", "price": "1"}),
        batch({"price": "1"}),
        batch("x"),  # type: ignore[arg-type]
        batch(tick(), price="1"),
        batch(tick(), at="2026-03-02T15:00:00Z"),
        batch(tick(), source=""),
        batch(tick(), source="a\0b"),
        batch(tick(), source=5),
        batch(tick(), symbol="aapl"),
        {"symbol": "AAPL", "ticks": None},
        {"symbol": "AAPL", "ticks": {"0": tick()}},
        {"symbol": "AAPL", "price": "1", "at": "2026-03-02T15:00:00Z"},
        {"symbol": "AAPL", "price": "1", "at": "2026-03-02T15:00:00Z", "source": "quote"},
        b"[]",
        b"{",
        b"\xff",
        None,
        b"x" * (256 * 1024 + 1),
    ],
)
def test_everything_else_is_judged_by_the_model(value: Any) -> None:
    assert read_ticks(record(value), partitions=4, wall_now=None) == by_the_model(record(value))


def test_a_batch_on_a_wrong_key_or_partition_is_poison() -> None:
    for wrong in (record(batch(tick()), key=b"MSFT"), record(batch(tick()), partition=(PLACE + 1) % 4)):
        assert isinstance(read_ticks(wrong, partitions=4, wall_now=None), Poison)


def test_with_the_system_clock_a_batch_from_the_future_is_poison() -> None:
    now = dt.datetime(2026, 3, 2, 14, 54, tzinfo=dt.UTC)
    assert isinstance(read_ticks(record(batch(tick())), partitions=4, wall_now=now), Poison)


NUMBERS = st.decimals(min_value="0.0001", max_value="99999", places=4).map(str) | st.sampled_from(
    ["1", "01", "1.", ".5"]
)
FIRST, LAST = dt.datetime(1969, 1, 1, tzinfo=dt.UTC), dt.datetime(2101, 1, 1, tzinfo=dt.UTC)
MOMENTS = st.integers(int(FIRST.timestamp()) * 1000, int(LAST.timestamp()) * 1000).map(
    lambda milliseconds: (FIRST + dt.timedelta(milliseconds=milliseconds)).isoformat().replace("+00:00", "Z")
)


@given(st.lists(st.tuples(MOMENTS, NUMBERS, st.none() | NUMBERS), min_size=1, max_size=5), st.booleans())
def test_both_ways_read_the_same(drawn: list[tuple[str, str, str | None]], ordered: bool) -> None:
    chosen = sorted(drawn, key=lambda one: one[0]) if ordered else drawn
    ticks = [{"at": at, "price": price} | ({"size": size} if size else {}) for at, price, size in chosen]
    found = record(batch(*ticks))
    assert read_ticks(found, partitions=4, wall_now=None) == by_the_model(found)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 50)), min_size=1, max_size=60))
def test_the_outline_folds_into_the_same_facts_as_all_ticks(drawn: list[tuple[int, int]]) -> None:
    begin = dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC)
    each = sorted((begin + dt.timedelta(seconds=second), Decimal(price)) for second, price in drawn)
    ticks = Ticks("AAPL", [at for at, _ in each], [price for _, price in each], is_quote=False)
    everything = tuple(Tick(at=at, price=price) for at, price in each)
    facts = SymbolFacts(symbol="AAPL")
    assert with_ticks(facts, ticks.outline()) == with_ticks(facts, everything)


def test_ticks_before_an_instant_are_left_out() -> None:
    ticks = _quickly(json.dumps(batch(tick(0), tick(1), tick(1), tick(2))).encode())
    assert ticks is not None
    assert len(ticks.since(ticks.instants[1]).prices) == 3
    assert len(ticks.since(None).prices) == 4
    assert ticks.since(ticks.instants[3] + dt.timedelta(seconds=1)).prices == []
    assert ticks.newest().instants == ticks.instants[3:]


def test_both_ways_of_writing_utc_are_read_at_one_pass() -> None:
    """Python writes +00:00, others Z."""
    written = [
        b'{"symbol": "AAPL", "ticks": [{"at": "2026-03-02T15:00:00%s", "price": "1.5"}]}' % utc
        for utc in (b"Z", b"+00:00")
    ]
    first, second = map(_quickly, written)
    assert first == second
    assert first is not None
    assert first.instants == [dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC)]
