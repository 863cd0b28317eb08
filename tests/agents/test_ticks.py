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
    instants, prices = [tick.at for tick in each], [tick.price for tick in each]
    return Ticks.of(model.symbol, instants, prices, is_quote=model.source == "quote")


def shown(found: Ticks | Poison | None) -> Any:
    """Return all that is in ticks, with their prices' digits, or the error."""
    if not isinstance(found, Ticks):
        return found
    return found.symbol, list(found.instants), [str(price) for price in found.prices], found.is_quote


def batch(*ticks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"symbol": "AAPL", "ticks": list(ticks), **more}


def tick(second: int = 0, price: Any = "187.10", **more: Any) -> dict[str, Any]:
    return {"at": f"2026-03-02T15:00:{second:02d}Z", "price": price, **more}


def test_the_usual_batch_goes_the_quick_way() -> None:
    usual = record(batch(tick(0, "187.10", size="100"), tick(1, "187.2"), source="iex"))
    assert usual.value is not None
    assert shown(_quickly(usual.value)) == (
        "AAPL",
        [dt.datetime(2026, 3, 2, 15, 0, second, tzinfo=dt.UTC) for second in (0, 1)],
        ["187.10", "187.2"],
        False,
    )


@pytest.mark.parametrize(
    "value",
    [
        tick(symbol="AAPL"),
        tick(symbol="AAPL", source="quote", size="0"),
        batch(tick(0, 187.1), tick(1, 187), tick(2, 187.0, size=100)),
        batch(tick(), exchange="N", size="5"),
        batch(tick(venue={"a": [1]})),
    ],
)
def test_single_ticks_jsons_own_numbers_and_fields_that_are_not_ours_go_the_quick_way_too(value: Any) -> None:
    found = record(value)
    assert found.value is not None
    assert shown(_quickly(found.value)) == shown(by_the_model(found))


@pytest.mark.parametrize(
    "value",
    [
        batch(),
        batch(tick(0, "0")),
        batch(tick(0, "-1")),
        batch(tick(0, "NaN")),
        batch(tick(0, "1_0")),
        batch(tick(0, "１")),
        batch(tick(0, "²")),
        batch(tick(0, "1 2")),
        batch(tick(0, " 1")),
        batch(tick(0, "1e2")),
        batch(tick(0, ".")),
        batch(tick(0, "")),
        batch(tick(0, "9999999999999")),
        batch(tick(0, "0.0000000000001")),
        batch(tick(0, 1e-7)),
        batch(tick(0, 1e22)),
        batch(tick(0, 100.1234567890123)),
        batch(tick(0, True)),
        batch(tick(0, None)),
        batch(tick(0, [])),
        batch(tick(0, "1", size="-1")),
        batch(tick(0, "1", size="x")),
        batch(tick(0, "1", size="9999999999999")),
        batch(tick(0, "1", size=10**13)),
        batch(tick(0, "1", size=-1)),
        batch(tick(0, "1"), size="-1"),
        batch(tick(0, "1"), size="x"),
        batch(tick(0, "1"), size=""),
        batch(tick(0, "1", size="")),
        batch(tick(1), tick(0)),
        batch({"at": "2026-03-02T15:00:00", "price": "1"}),
        batch(tick(), {"at": "2026-03-02T15:00:00", "price": "1"}),
        batch({"at": "2026-03-02T16:00:00+01:00", "price": "1"}),
        batch({"at": "2026-03-02T15:00:00-00:00", "price": "1"}),
        batch({"at": "2026-03-02T15:00:00+00:00:30", "price": "1"}),
        batch({"at": "2026-03-02T15:00:00,5Z", "price": "1"}),
        batch({"at": "2026-03-02 15:00:00Z", "price": "1"}),
        batch({"at": "2026-03-02T15:00:61Z", "price": "1"}),
        batch({"at": "2026-02-30T15:00:00Z", "price": "1"}),
        batch({"at": "20260302T150000.000Z", "price": "1"}),
        batch({"at": "2026-W10-1T15:00:00Z", "price": "1"}),
        batch({"at": "1969-03-02T15:00:00Z", "price": "1"}),
        batch({"at": "2100-03-02T15:00:00Z", "price": "1"}),
        batch({"at": "2026-03-02T15:00:00.123456789Z", "price": "1"}),
        batch({"at": 1772463600, "price": "1"}),
        batch({"price": "1"}),
        batch("x"),  # type: ignore[arg-type]
        batch(tick(), price="1"),
        batch(tick(), at="2026-03-02T15:00:00Z"),
        batch(tick(), source=""),
        batch(tick(), source="a\0b"),
        batch(tick(), source="é"),
        batch(tick(), source=5),
        batch(tick(), symbol="aapl"),
        batch(tick(), symbol="AAPL\n"),
        batch(*[tick()] * 10_001)["ticks"],
        {"symbol": "AAPL", "ticks": None},
        {"symbol": "AAPL", "ticks": {"0": tick()}},
        {"symbol": "AAPL", "price": "1", "at": None},
        {"symbol": "AAPL", "price": None, "at": "2026-03-02T15:00:00Z"},
        b'{"symbol": "AAPL", "price": "1", "price": "2", "at": "2026-03-02T15:00:00Z"}',
        b'{"symbol": "AAPL", "price": "x", "price": "2", "at": "2026-03-02T15:00:00Z"}',
        b'{"symbol": "AAPL", "price": -0.0, "at": "2026-03-02T15:00:00Z"}',
        b'{"symbol": "AAPL", "price": 1E2, "at": "2026-03-02T15:00:00Z"}',
        b'{"symbol": "AAPL", "price": 01, "at": "2026-03-02T15:00:00Z"}',
        b'{"symbol": "AAPL", "price": 1, "at": "2026-03-02T15:00:00Z", "x": NaN}',
        b'{"symbol": "AAPL", "price": 1, "at": "2026-03-02T15:00:00Z", "x": "\xff"}',
        b'{"symbol": "AAPL", "price": 1, "at": "2026-03-02T15:00:00Z", "x": "\\ud800"}',
        b'{"symbol": "AAPL", "price": 1, "at": "2026-03-02T15:00:00Z", "source": "\\ud800"}',
        b'{"symbol": "AAPL", "price": 1, "at": "2026-03-02T15:00:00Z", "source": "\xff"}',
        b'{"symbol": "AAPL", "price": 1, "at": "2026-03-02T15:00:00Z", "x": ' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"symbol": "AAPL", "price": 1, "at": "2026-03-02T15:00:00Z"} x',
        b'\xef\xbb\xbf{"symbol": "AAPL", "price": 1, "at": "2026-03-02T15:00:00Z"}',
        b"[]",
        b"{",
        b"\xff",
        None,
        b"x" * (256 * 1024 + 1),
    ],
)
def test_everything_else_is_judged_by_the_model(value: Any) -> None:
    assert shown(read_ticks(record(value), partitions=4, wall_now=None)) == shown(by_the_model(record(value)))


def test_a_batch_on_a_wrong_key_or_partition_is_poison() -> None:
    for wrong in (record(batch(tick()), key=b"MSFT"), record(batch(tick()), partition=(PLACE + 1) % 4)):
        assert isinstance(read_ticks(wrong, partitions=4, wall_now=None), Poison)


def test_with_the_system_clock_a_batch_from_the_future_is_poison() -> None:
    now = dt.datetime(2026, 3, 2, 14, 54, tzinfo=dt.UTC)
    assert isinstance(read_ticks(record(batch(tick())), partitions=4, wall_now=now), Poison)


PLAIN = st.decimals(min_value="0.0001", max_value="99999", places=4).map(str)
NUMBERS = st.one_of(
    PLAIN,
    PLAIN.map(float),
    st.integers(0, 10**13),
    st.floats(1e-9, 1e13),
    st.decimals(min_value="0", max_value="2e12", places=9).map(str),
    st.text("0123456789.", max_size=14),
    st.sampled_from(["1", "01", "1.", ".5", "0", "0.000", "1e3", "-1", " 1", "1_0", None, True, [], "x"]),
)
FIRST, LAST = dt.datetime(1969, 1, 1, tzinfo=dt.UTC), dt.datetime(2101, 1, 1, tzinfo=dt.UTC)
DAY = dt.datetime(2026, 3, 2, 14, 59, 58, tzinfo=dt.UTC)


def written(moment: dt.datetime, form: int) -> str:
    """Return an instant as producers write them: some in ways of their own."""
    zone = moment.astimezone(dt.timezone(dt.timedelta(hours=1)))
    return [
        moment.isoformat().replace("+00:00", "Z"),
        moment.isoformat(),
        moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        moment.isoformat(timespec="microseconds"),
        zone.isoformat(),
        moment.isoformat(sep=" "),
        moment.replace(tzinfo=None).isoformat(),
        moment.isoformat().replace("+00:00", "0001Z"),
        moment.strftime("%Y%m%dT%H%M%SZ"),
    ][form]


MOMENTS = st.one_of(
    st.integers(0, 4_000_000).map(lambda microseconds: DAY + dt.timedelta(microseconds=microseconds)),
    st.integers(0, 40).map(lambda tenths: DAY + dt.timedelta(seconds=tenths / 10)),
    st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None)).map(lambda each: each.replace(tzinfo=dt.UTC)),
)
FORMS = st.lists(st.integers(0, 3), min_size=1, max_size=2) | st.lists(st.integers(0, 8), min_size=1, max_size=3)


@given(st.lists(st.tuples(MOMENTS, NUMBERS, st.none() | NUMBERS), min_size=1, max_size=6), FORMS, st.booleans())
def test_both_ways_read_the_same(drawn: list[tuple[dt.datetime, Any, Any]], forms: list[int], ordered: bool) -> None:
    chosen = sorted(drawn, key=lambda one: one[0]) if ordered else drawn
    ticks = [
        {"at": written(at, forms[place % len(forms)]), "price": price} | ({} if size is None else {"size": size})
        for place, (at, price, size) in enumerate(chosen)
    ]
    for value in (batch(*ticks), {"symbol": "AAPL", **ticks[0]}, batch(*ticks, ours="no")):
        found = record(value)
        assert shown(read_ticks(found, partitions=4, wall_now=None)) == shown(by_the_model(found))


@given(st.lists(PLAIN | PLAIN.map(float) | st.integers(1, 10**12 - 1), min_size=1, max_size=8))
def test_prices_come_in_their_order(numbers: list[Any]) -> None:
    found = read_ticks(record(batch(*[tick(0, number) for number in numbers])), partitions=4, wall_now=None)
    assert isinstance(found, Ticks)
    prices = [Decimal(str(number)) for number in numbers]
    assert (found.lowest(), found.highest()) == (min(prices), max(prices))


@given(st.integers(1, 10**12 - 2), st.integers(0, 12))
def test_neighbours_of_twelve_digits_are_told_apart(number: int, places: int) -> None:
    """What the order of floats rests on: with 12 digits no two decimals share a double."""
    lower, higher = Decimal(number).scaleb(-places), Decimal(number + 1).scaleb(-places)
    assert float(lower) < float(higher)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 50)), min_size=1, max_size=60))
def test_the_outline_folds_into_the_same_facts_as_all_ticks(drawn: list[tuple[int, int]]) -> None:
    begin = dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC)
    each = sorted((begin + dt.timedelta(seconds=second), Decimal(price)) for second, price in drawn)
    ticks = Ticks.of("AAPL", [at for at, _ in each], [price for _, price in each], is_quote=False)
    everything = tuple(Tick(at=at, price=price) for at, price in each)
    facts = SymbolFacts(symbol="AAPL")
    assert with_ticks(facts, ticks.outline()) == with_ticks(facts, everything)


def test_ticks_before_an_instant_are_left_out() -> None:
    ticks = _quickly(json.dumps(batch(tick(0), tick(1), tick(1), tick(2))).encode())
    assert ticks is not None
    assert len(ticks.since(ticks.instants[1]).prices) == 3
    assert len(ticks.since(None).prices) == 4
    assert len(ticks.since(ticks.instants[3] + dt.timedelta(seconds=1)).prices) == 0
    assert ticks.newest().instants == ticks.instants[3:]


def test_both_ways_of_writing_utc_are_read_at_one_pass() -> None:
    """Python writes +00:00, others Z."""
    written = [
        b'{"symbol": "AAPL", "ticks": [{"at": "2026-03-02T15:00:00%s", "price": "1.5"}]}' % utc
        for utc in (b"Z", b"+00:00")
    ]
    first, second = map(_quickly, written)
    assert shown(first) == shown(second)
    assert first is not None
    assert first.instants == [dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC)]
