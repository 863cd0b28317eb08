"""The codec: every kind of poison on every topic, named as the contract names it; everything else passes."""

import base64
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec import LARGEST_KEPT, Deletion, Poison, dead_letter, encode, parse
from streams.topics import LARGEST_LETTER, TOPICS, partition_for
from tests.streams.examples import EXAMPLES, INPUTS, KEYS, partitions_of, place

PRICES = {"price-ticks": "price", "price-bars": "close", "recommendations": "reference_price", "broker-events": "price"}
INSTANTS = {
    "recommendations": "generated_at",
    "price-ticks": "at",
    "price-bars": "at",
    "macro-events": "started_at",
    "trend-summaries": "at",
    "market-stress": "at",
    "commands": "at",
    "broker-events": "at",
}
REQUIRED = {
    "recommendations": "confidence",
    "price-ticks": "price",
    "price-bars": "high",
    "macro-events": "severity",
    "trend-summaries": "direction",
    "market-stress": "value",
    "companies": "sector",
    "earnings-dates": "source",
    "commands": "issued_by",
    "broker-events": "cumulative_quantity",
}
CHOICES = {
    "recommendations": "action",
    "price-bars": "interval",
    "macro-events": "severity",
    "trend-summaries": "window",
    "market-stress": "name",
    "earnings-dates": "session",
}


def read(name: str, value: Any, *, key: str | None = "", partition: int | None = None, **how: Any) -> Any:
    raw = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return parse(
        TOPICS[name],
        None if key is None else (key or KEYS[name]).encode(),
        raw,
        partition=place(name) if partition is None else partition,
        partitions=partitions_of(name),
        **how,
    )


def error(name: str, value: Any, **how: Any) -> str:
    found = read(name, value, **how)
    assert isinstance(found, Poison), found
    return found.error


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_right_record_is_read(name: str) -> None:
    assert not isinstance(read(name, EXAMPLES[name]), Poison)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b"[]", b'"x"', b"1", b"null", b'{"a": NaN}', b"[" * 300])
def test_what_is_not_a_json_object_is_unreadable(name: str, value: bytes) -> None:
    assert error(name, value).startswith("unreadable: ")


@pytest.mark.parametrize("name", INPUTS)
def test_a_null_deletes_in_compacted_topics_and_is_unreadable_elsewhere(name: str) -> None:
    if name in {"companies", "earnings-dates"}:
        assert read(name, None) == Deletion("AAPL")
    else:
        assert error(name, None).startswith("unreadable: ")


@pytest.mark.parametrize("name", ["companies", "earnings-dates"])
@pytest.mark.parametrize("key", ["aapl", "AAPL/paper", "AAPL/", "A B"])
def test_a_null_deletes_under_a_symbol_alone(name: str, key: str) -> None:
    partition = partition_for(key.encode(), partitions_of(name))
    assert error(name, None, key=key, partition=partition) == "wrong_key: must be a symbol"


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_field_is_named(name: str) -> None:
    value = {field: held for field, held in EXAMPLES[name].items() if field != REQUIRED[name]}
    assert error(name, value) == f"missing_field: {REQUIRED[name]}"


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("wrong", [True, [], {}, None])
def test_a_field_of_a_wrong_type_is_named(name: str, wrong: Any) -> None:
    expected = "missing_field: " if name == "price-ticks" and wrong is None else "invalid_field: "
    assert error(name, EXAMPLES[name] | {REQUIRED[name]: wrong}).startswith(expected + REQUIRED[name])


@pytest.mark.parametrize("name", PRICES)
@pytest.mark.parametrize("wrong", ["0", "-1", "NaN", "Infinity", 0, -1, "abc", "1e40"])
def test_a_price_that_is_none_is_an_invalid_field(name: str, wrong: Any) -> None:
    assert error(name, EXAMPLES[name] | {PRICES[name]: wrong}).startswith(f"invalid_field: {PRICES[name]}")


@pytest.mark.parametrize("name", PRICES)
@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity"])
def test_a_number_that_json_does_not_have_is_unreadable(name: str, literal: bytes) -> None:
    value = json.dumps(EXAMPLES[name] | {PRICES[name]: "@"}).encode().replace(b'"@"', literal)
    assert error(name, value).startswith("unreadable: ")


@pytest.mark.parametrize("name", ["recommendations", "trend-summaries"])
@pytest.mark.parametrize("wrong", ["1.01", "-0.01"])
def test_confidence_lies_between_0_and_1(name: str, wrong: str) -> None:
    assert error(name, EXAMPLES[name] | {"confidence": wrong}).startswith("invalid_field: confidence")


@pytest.mark.parametrize("name", CHOICES)
def test_a_word_outside_its_list_is_an_invalid_field(name: str) -> None:
    assert error(name, EXAMPLES[name] | {CHOICES[name]: "other"}).startswith(f"invalid_field: {CHOICES[name]}")


@pytest.mark.parametrize("name", INSTANTS)
@pytest.mark.parametrize("wrong", ["2026-03-02T15:00:00", "2026-03-02", "soon", 1772463600, "2026-13-02T15:00:00Z"])
def test_a_naive_or_unreadable_instant_is_an_invalid_field(name: str, wrong: Any) -> None:
    assert error(name, EXAMPLES[name] | {INSTANTS[name]: wrong}).startswith(f"invalid_field: {INSTANTS[name]}")


@pytest.mark.parametrize("name", [name for name in INPUTS if "symbol" in EXAMPLES[name]])
@pytest.mark.parametrize("wrong", ["aapl", "", "AAPL TOO LONG", "1A", "AAPL\n"])
def test_a_malformed_symbol_is_an_invalid_field(name: str, wrong: str) -> None:
    assert error(name, EXAMPLES[name] | {"symbol": wrong}).startswith("invalid_field: symbol")


def test_fields_that_contradict_each_other_are_named() -> None:
    bar = EXAMPLES["price-bars"]
    assert error("price-bars", bar | {"high": "184"}).startswith("invalid_field: high: ")
    late = EXAMPLES["recommendations"] | {"expires_at": "2026-03-02T14:00:00Z"}
    assert error("recommendations", late).startswith("invalid_field: expires_at: ")
    ticks = [{"at": "2026-03-02T15:00:01Z", "price": "1"}, {"at": "2026-03-02T15:00:00Z", "price": "1"}]
    assert error("price-ticks", {"symbol": "AAPL", "ticks": ticks}).startswith("invalid_field: ticks: ")


def test_a_mistake_inside_a_list_has_its_path() -> None:
    ticks = {"symbol": "AAPL", "ticks": [{"at": "2026-03-02T15:00:00Z", "price": "-1"}]}
    assert error("price-ticks", ticks).startswith("invalid_field: ticks.0.price")
    snapshot = {
        "kind": "account_snapshot",
        "event_id": "e",
        "cash": "1",
        "buying_power": "1",
        "equity": "1",
        "positions": [{"symbol": "AAPL", "quantity": "1"}],
    }
    assert error("broker-events", snapshot) == "missing_field: positions.0.avg_entry_price"


@pytest.mark.parametrize("name", ["cash", "buying_power", "equity", "positions", "open_orders"])
def test_a_snapshot_that_leaves_something_out_says_nothing(name: str) -> None:
    money = {"cash": "1", "buying_power": "1", "equity": "1"}
    snapshot = {"kind": "account_snapshot", "event_id": "e", **money, "positions": [], "open_orders": []}
    assert not isinstance(read("broker-events", snapshot), Poison)
    del snapshot[name]
    assert error("broker-events", snapshot) == f"missing_field: {name}"


def test_unknown_fields_and_kinds_are_refused_in_commands_and_ignored_elsewhere() -> None:
    assert error("commands", EXAMPLES["commands"] | {"colour": "red"}) == "unknown_field: colour"
    assert error("commands", EXAMPLES["commands"] | {"kind": "dance"}).startswith("invalid_field: kind")
    assert error("commands", {"command_id": "c"}) == "missing_field: kind"
    for name in set(INPUTS) - {"commands"}:
        assert not isinstance(read(name, EXAMPLES[name] | {"colour": "red"}), Poison)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("key", ["OTHER", None])
def test_a_key_that_the_topic_does_not_name_is_wrong(name: str, key: str | None) -> None:
    assert error(name, EXAMPLES[name], key=key) == f"wrong_key: must be {KEYS[name]}"


@pytest.mark.parametrize("name", [name for name in INPUTS if partitions_of(name) > 1])
def test_a_partition_that_is_not_murmur2s_is_wrong(name: str) -> None:
    elsewhere = (place(name) + 1) % partitions_of(name)
    assert error(name, EXAMPLES[name], partition=elsewhere).startswith("wrong_partition: ")


@pytest.mark.parametrize("name", INPUTS)
def test_more_than_256_kib_is_too_large(name: str) -> None:
    padding = 256 * 1024 - len(json.dumps(EXAMPLES[name])) - len(', "pad": ""')
    assert error(name, EXAMPLES[name] | {"pad": "x" * (padding + 1)}).startswith("too_large: ")
    if name != "commands":
        assert not isinstance(read(name, EXAMPLES[name] | {"pad": "x" * padding}), Poison)


@pytest.mark.parametrize("name", INSTANTS)
def test_with_the_system_clock_a_record_from_the_future_is_poison(name: str) -> None:
    now = dt.datetime(2026, 3, 2, 14, 54, 59, tzinfo=dt.UTC)
    value = EXAMPLES[name] | {INSTANTS[name]: "2026-03-02T15:00:00Z"}
    assert error(name, value, wall_now=now).startswith(f"invalid_field: {INSTANTS[name]}")
    assert not isinstance(read(name, value, wall_now=now + dt.timedelta(seconds=1)), Poison)


def test_a_deletion_needs_the_key_of_a_symbol() -> None:
    assert error("companies", None, key="apple").startswith("wrong_key: ")
    assert error("companies", None, key=None).startswith("wrong_key: ")
    assert read("stop-levels", None) == Deletion("AAPL/paper")


def test_what_is_late_unknown_or_repeated_is_no_poison() -> None:
    old = EXAMPLES["recommendations"] | {"symbol": "ZZZZ", "generated_at": "1999-01-01T00:00:00+05:30"}
    del old["expires_at"]
    where = {"key": "ZZZZ", "partition": partition_for(b"ZZZZ", 4)}
    assert not isinstance(read("recommendations", old, wall_now=dt.datetime.now(dt.UTC), **where), Poison)


@pytest.mark.parametrize("name", INPUTS)
def test_what_is_encoded_again_reads_the_same(name: str) -> None:
    model = read(name, EXAMPLES[name])
    assert read(name, encode(model)) == model


@given(st.sampled_from(INPUTS), st.binary(max_size=300), st.binary(max_size=20) | st.none())
def test_no_bytes_whatever_raise(name: str, value: bytes, key: bytes | None) -> None:
    parse(TOPICS[name], key, value, partition=0, partitions=partitions_of(name))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_no_field_whatever_raises_and_every_error_begins_with_its_kind(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(INPUTS))
    field = data.draw(st.sampled_from(sorted(EXAMPLES[name])))
    found = read(name, EXAMPLES[name] | {field: data.draw(_JSON)})
    if isinstance(found, Poison):
        kinds = ("unreadable", "invalid_field", "missing_field", "unknown_field", "wrong_key", "wrong_partition")
        assert found.error.startswith(tuple(f"{kind}: " for kind in kinds))
        assert len(found.error) <= 500


def test_a_dead_letter_keeps_the_untouched_bytes() -> None:
    at = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
    where = {"partition": 1, "offset": 7, "error": "unreadable: x", "at": at}
    letter = dead_letter(TOPICS["commands"], key=b"\xffkey", value=b"\x00\xff", **where)
    assert (letter.topic, letter.partition, letter.offset, letter.key) == ("commands", 1, 7, "\ufffdkey")
    assert base64.b64decode(letter.payload or "") == b"\x00\xff"
    assert dead_letter(TOPICS["commands"], key=None, value=None, **where).payload is None


@pytest.mark.parametrize(("size", "is_kept"), [(LARGEST_KEPT, True), (LARGEST_KEPT + 1, False)])
@pytest.mark.parametrize("key", [b"\x00", b"\xff", "\U0001f4c8".encode()])
def test_a_letter_of_the_largest_record_is_one_that_the_topic_takes(key: bytes, size: int, *, is_kept: bool) -> None:
    where = {"partition": 1, "offset": 7, "error": "e" * 500, "at": dt.datetime(2026, 3, 2, tzinfo=dt.UTC)}
    letter = dead_letter(TOPICS["recommendations"], key=key * 100_000, value=b"\xff" * size, **where)
    assert len(encode(letter)) < LARGEST_LETTER
    assert (letter.payload is not None) is is_kept
    assert letter.error.endswith("the payload is in recommendations alone") is not is_kept
