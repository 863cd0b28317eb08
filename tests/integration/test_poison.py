"""Every kind of poison of `contracts.md` on every input topic: it becomes a dead letter that says why, and the record
after it is processed within a second.
"""

import dataclasses
import itertools
import json
import time
from collections.abc import Iterator

import pytest

from tests.integration import market
from tests.integration.harness import KEYED_BY, PARTITIONS, Json, Raw, Stack, key_of, payload

pytestmark = pytest.mark.integration

DAY = next(market.sessions())
ACCOUNT = "paper"
SECONDS = 1.0
PARTS = ("agents.worker", "connectors", "api")


def at(clock: str) -> str:
    return market.instant(DAY, clock)


def order_event(kind: str, **fields: object) -> Json:
    """Return what a broker says of an order that nobody sent."""
    return {
        "kind": kind,
        "event_id": f"event-{kind}",
        "account_id": ACCOUNT,
        "client_order_id": "of-nobody",
        "symbol": "GOOD",
        **fields,
    }


FILL = order_event(
    "order_fill",
    fill_id="of-nobody:1",
    quantity="1",
    price="10.00",
    cumulative_quantity="1",
    leaves_quantity="0",
    fee="0",
)
SNAPSHOT = {
    "kind": "account_snapshot",
    "event_id": "event-account_snapshot",
    "account_id": ACCOUNT,
    "cash": "500",
    "buying_power": "500",
    "equity": "500",
    "positions": [{"symbol": "GOOD", "quantity": "1", "avg_entry_price": "10"}],
    "open_orders": [],
}


@dataclasses.dataclass(frozen=True)
class Form:
    """A good record of a topic, and which of its fields are what."""

    topic: str
    record: Json
    required: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    enums: tuple[str, ...] = ()
    instants: tuple[str, ...] = ()
    deletes: bool = False
    closed: bool = False


RECOMMENDATION = {
    **market.recommendation("GOOD", "good", at("14:00")),
    "expires_at": at("15:00"),
    "reference_price": "10.00",
}
TREND = {
    "trend_id": "good",
    "symbol": "GOOD",
    "window": "intraday",
    "interval": "5m",
    "direction": "bullish",
    "confidence": "0.7",
    "at": at("14:00"),
    "expires_at": at("15:00"),
}
MACRO = {
    "event_id": "good",
    "severity": "low",
    "headline": "Nothing happened",
    "started_at": at("14:00"),
    "estimated_duration_seconds": 60,
}
EARNINGS = {"symbol": "GOOD", "earnings_on": "2026-05-05", "session": "amc", "source": "test"}
BATCH = {"symbol": "GOOD", "ticks": [{"at": at("14:00"), "price": "10"}, {"at": at("14:01"), "price": "11"}]}
COMMAND = {"command_id", "account_id", "issued_by"}
FORMS = (
    Form(
        "recommendations",
        RECOMMENDATION,
        required=("recommendation_id", "symbol", "action", "mode", "confidence", "generated_at"),
        numbers=("confidence", "reference_price"),
        positive=("reference_price",),
        enums=("action", "mode"),
        instants=("generated_at", "expires_at"),
    ),
    Form(
        "price-ticks",
        {**market.tick("GOOD", "10.00", at("14:00")), "size": "100"},
        required=("symbol", "price", "at"),
        numbers=("price", "size"),
        positive=("price",),
        instants=("at",),
    ),
    Form(
        "price-bars",
        market.bar("GOOD", DAY, "10.00"),
        required=("symbol", "interval", "open", "high", "low", "close", "volume", "at"),
        numbers=("open", "high", "low", "close", "volume"),
        positive=("open", "high", "low", "close"),
        enums=("interval",),
        instants=("at",),
    ),
    Form(
        "macro-events",
        MACRO,
        required=("event_id", "severity", "headline", "started_at", "estimated_duration_seconds"),
        enums=("severity",),
        instants=("started_at",),
    ),
    Form(
        "trend-summaries",
        TREND,
        required=("trend_id", "symbol", "window", "interval", "direction", "confidence", "at"),
        numbers=("confidence",),
        enums=("window", "interval", "direction"),
        instants=("at", "expires_at"),
    ),
    Form(
        "market-stress",
        {"name": "vix", "value": "20.5", "at": at("14:00")},
        required=("name", "value", "at"),
        numbers=("value",),
        enums=("name",),
        instants=("at",),
    ),
    Form("companies", market.company("GOOD"), required=("symbol", "name", "sector"), deletes=True),
    Form(
        "earnings-dates",
        {**EARNINGS, "reported_at": at("14:00")},
        required=("symbol", "earnings_on", "session", "source"),
        enums=("session",),
        instants=("reported_at",),
        deletes=True,
    ),
    Form(
        "commands",
        market.command("adjust_reserve", "good", ACCOUNT, amount="1.00", reason="test", at=at("14:00")),
        required=("kind", "command_id", "issued_by", "amount", "reason"),
        numbers=("amount",),
        enums=("kind",),
        instants=("at",),
        closed=True,
    ),
    Form(
        "broker-events",
        {**FILL, "at": at("14:00")},
        required=(
            "kind",
            "event_id",
            "client_order_id",
            "symbol",
            "fill_id",
            "quantity",
            "price",
            "cumulative_quantity",
            "leaves_quantity",
            "fee",
        ),
        numbers=("quantity", "price", "cumulative_quantity", "leaves_quantity", "fee"),
        positive=("quantity", "price", "cumulative_quantity"),
        enums=("kind",),
        instants=("at",),
    ),
)
Poison = tuple[str, str, Raw]
"""What is wrong, the word that its error begins with, and the record."""


def poison_of(form: Form, *, home: int) -> Iterator[Poison]:
    """Yield every kind of poison that a topic can be given; `home` is the partition of its good record."""
    key = key_of(form.topic, form.record)
    text = json.dumps(form.record)

    def raw(what: str, word: str, value: bytes | None) -> Poison:
        return what, word, Raw(value, key)

    def changed(what: str, word: str, **fields: object) -> Poison:
        record = {**form.record, **fields}
        still_keyed = KEYED_BY[form.topic] not in fields
        return raw(what, word, json.dumps(record).encode()) if still_keyed else rekeyed(what, word, record)

    def rekeyed(what: str, word: str, record: Json) -> Poison:
        wanted = str(record[KEYED_BY[form.topic] or ""]).encode()
        return what, word, Raw(json.dumps(record).encode(), wanted)

    for broken in (b"", b"\xff\xfe", b"{", b"not JSON", text.encode()[:-1], b"\x00\x01\x02", text.encode() + b"}"):
        yield raw(f"not JSON: {broken[:12]!r}", "unreadable", broken)
    hostile = (b"[" * 100_000, b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16"), b'{"x": ' + b"9" * 20_000 + b"}")
    for broken in (*hostile, text.replace("{", '{"x": "\\ud800", ', 1).encode()):
        yield raw(f"hostile: {broken[:12]!r}", "unreadable", broken)
    for other in (b"[]", b"1", b'"text"', b"null", b"true", f"[{text}]".encode()):
        yield raw(f"not an object: {other[:12]!r}", "unreadable", other)
    if not form.deletes:
        yield raw("null", "unreadable", None)

    for name in form.required:
        without = {field: value for field, value in form.record.items() if field != name}
        yield raw(f"without {name}", "missing_field", json.dumps(without).encode())
        if name != KEYED_BY[form.topic]:
            yield changed(f"{name} is null", "missing_field or invalid_field", **{name: None})
            yield changed(f"{name} is a list", "invalid_field", **{name: ["x"]})
            yield changed(f"{name} is an object", "invalid_field", **{name: {}})
    for name in form.numbers:
        for value in ("NaN", "Infinity", "-Infinity", "sNaN", "ten", "", True, "1e400"):
            yield changed(f"{name} is {value!r}", "invalid_field", **{name: value})
        for literal in ("NaN", "Infinity", "-Infinity"):
            bare = json.dumps({**form.record, name: "@"}).replace('"@"', literal)
            yield raw(f"{name} is the bare word {literal}", "unreadable", bare.encode())
    for name in form.positive:
        for value in ("0", "-1", 0, -0.01, "-0"):
            yield changed(f"{name} is {value!r}", "invalid_field", **{name: value})
    if "confidence" in form.record:
        for value in ("1.01", "-0.01", 2, -1):
            yield changed(f"confidence is {value!r}", "invalid_field", confidence=value)
    for name in form.enums:
        for value in ("nonsense", "", str(form.record[name]).upper(), 1):
            yield changed(f"{name} is {value!r}", "invalid_field", **{name: value})
    for name in form.instants:
        for value in ("2026-03-16T14:00:00", "2026-03-16", "yesterday", 1773669600):
            yield changed(f"{name} is {value!r}", "invalid_field", **{name: value})
    if {"high", "low"} <= form.record.keys():
        yield changed("high is below low", "invalid_field", high="9.00", low="9.50")
    if "expires_at" in form.record:
        yield changed("expires before it begins", "invalid_field", expires_at=at("13:59:59"))
    if KEYED_BY[form.topic] == "symbol":
        for symbol in ("good", "GO OD", "1GOOD", "GOODGOODGOO", ".A", "GOÖD"):
            yield changed(f"symbol is {symbol!r}", "invalid_field", symbol=symbol)

    if not form.deletes:  # on a compacted topic the broker itself refuses it
        yield "no key", "wrong_key", Raw(text.encode(), None)
    yield "an empty key", "wrong_key", Raw(text.encode(), b"", home)
    yield "another key", "wrong_key", Raw(text.encode(), b"OTHER", home)
    yield "a key that is not UTF-8", "wrong_key", Raw(text.encode(), b"\xff\xfe", home)
    if form.topic != "market-stress":
        for partition in sorted(set(range(PARTITIONS)) - {home}):
            yield f"on partition {partition}", "wrong_partition", Raw(text.encode(), key, partition)
    yield changed("over 256 KiB", "too_large", padding="x" * 256 * 1024)
    yield changed("whose letter is over Kafka's own limit", "too_large", padding="x" * 880_000)
    if form.closed:
        yield changed("an unknown field", "unknown_field", unexpected=1)


def of_commands() -> Iterator[Poison]:
    """Yield what is poison in one kind of command alone."""
    wrong = {
        "kill": {"reason": 1},
        "update_config": {"version": "one", "changes": {}},
        "set_risk_tier": {"risk_tier": "reckless"},
        "flag_earnings": {"symbol": "good", "earnings_on": "2026-05-05", "session": "amc"},
        "update_notifications": {"version": 1, "changes": []},
        "test_notification": {"channel": "pigeon"},
        "arm_live": {"until": "2026-03-16T14:00:00"},
    }
    for kind, fields in wrong.items():
        record = market.command(kind, "wrong", ACCOUNT, **fields)
        yield f"a wrong {kind}", "invalid_field", Raw(json.dumps(record).encode(), ACCOUNT.encode())
    for kind in ("pause", "resume", "release_risk_tier"):
        record = market.command(kind, "wrong", ACCOUNT, surplus=True)
        yield f"{kind} with an unknown field", "unknown_field", Raw(json.dumps(record).encode(), ACCOUNT.encode())
    stranger = market.command("pause", "wrong", "stranger")
    yield "an account that is not ours", "invalid_field", Raw(json.dumps(stranger).encode(), b"stranger")


def of_broker_events() -> Iterator[Poison]:
    """Yield what is poison in one kind of broker event alone."""
    wrong = (
        order_event("order_accepted", symbol="good"),
        order_event("order_rejected", reason=None),
        order_event("order_cancelled", cumulative_quantity="-1"),
        order_event("order_unknown", reason=7),
        {**SNAPSHOT, "cash": "NaN"},
        {**SNAPSHOT, "positions": [{"symbol": "GOOD", "quantity": "Infinity", "avg_entry_price": "10"}]},
        {**SNAPSHOT, "open_orders": [{"broker_order_id": "b", "symbol": "GOOD", "side": "hold", "quantity": "1"}]},
    )
    for name in ("cash", "buying_power", "equity", "positions", "open_orders"):
        record = {field: value for field, value in SNAPSHOT.items() if field != name}
        yield f"a snapshot without {name}", "missing_field", Raw(json.dumps(record).encode(), ACCOUNT.encode())
    for record in wrong:
        yield f"a wrong {record['kind']}", "invalid_field", Raw(json.dumps(record).encode(), ACCOUNT.encode())


def of_ticks() -> Iterator[Poison]:
    """Yield what is poison in a batch of ticks alone."""
    first, second = BATCH["ticks"]
    wrong = (
        {**BATCH, "ticks": []},
        {**BATCH, "ticks": [second, first]},
        {**BATCH, "ticks": [first, {**second, "price": "0"}]},
        {**BATCH, "ticks": [first, {**second, "price": "NaN"}]},
        {**BATCH, "ticks": [first, {**second, "at": "2026-03-16T14:01:00"}]},
        {**BATCH, "ticks": "none"},
    )
    for record in wrong:
        yield f"a batch: {json.dumps(record)[:60]}", "invalid_field", Raw(json.dumps(record).encode(), b"GOOD")
    without = {**BATCH, "ticks": [first, {"at": at("14:01")}]}
    yield "a tick of a batch without a price", "missing_field", Raw(json.dumps(without).encode(), b"GOOD")


MORE = {"commands": of_commands, "broker-events": of_broker_events, "price-ticks": of_ticks}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give a stack whose account has no other visitors; whatever it was sent, none of its processes has ended."""
    with Stack(accounts=(ACCOUNT,)) as stack:
        stack.start()
        begun = [stack.child(part).pid for part in PARTS]
        yield stack
        assert [stack.child(part).pid for part in PARTS] == begun


def good(form: Form, number: int) -> Json:
    """Return a good record that no other test has sent, or the same one where a repeat is the point."""
    fresh = {"recommendation_id", "trend_id", "command_id"} & form.record.keys()
    return form.record | dict.fromkeys(fresh, f"good-{number}")


NUMBERS = itertools.count(1)


def is_said(error: str, word: str) -> bool:
    """Return whether an error begins with the word, or one of the words, and then names the path or the mend."""
    return any(error.startswith(f"{each}: ") and len(error) > len(each) + 2 for each in word.split(" or "))


@pytest.mark.parametrize("form", FORMS, ids=[form.topic for form in FORMS])
def test_every_kind_of_poison_is_dead_lettered_with_its_reason_and_nothing_else_is(stack: Stack, form: Form) -> None:
    [first] = stack.produce(form.topic, [good(form, next(NUMBERS))])
    stack.until_lag_zero()
    poison = [*poison_of(form, home=first.partition), *MORE.get(form.topic, tuple)()]
    before = stack.dead_letters()

    places = stack.produce(form.topic, [raw for _, _, raw in poison])
    assert len(places) == len(poison)
    stack.produce(form.topic, [good(form, next(NUMBERS))])
    began = time.monotonic()
    stack.until_lag_zero()
    took = time.monotonic() - began

    letters = {place: letter for place, letter in stack.dead_letters().items() if place not in before}
    by_bytes = {(place.partition, place.key, place.value): place for place in places}
    problems = []
    for what, word, raw in poison:
        matching = [
            place
            for (partition, key, value), place in by_bytes.items()
            if (key, value) == (raw.key, raw.value) and raw.partition in (None, partition)
        ]
        letter = letters.get((form.topic, matching[0].partition, matching[0].offset)) if matching else None
        if letter is None:
            problems.append(f"{what}: no dead letter")
        elif not is_said(letter["error"], word):
            problems.append(f"{what}: wanted {word}, got {letter['error']}")
        elif raw.value is not None and payload(letter) != raw.value:
            problems.append(f"{what}: the payload is not what was sent")
    assert not problems, "\n".join(problems)
    assert len(letters) == len(places)
    print(f"{form.topic}: {len(poison)} poison records, then the good one after {took:.2f} s")


def test_one_poison_record_holds_the_next_one_up_for_less_than_a_second(stack: Stack) -> None:
    slowest = 0.0
    for number, form in enumerate(FORMS):
        record = good(form, next(NUMBERS))
        key = key_of(form.topic, record)
        stack.produce(form.topic, [Raw(b"{", key), record])
        began = time.monotonic()
        stack.until_lag_zero()
        slowest = max(slowest, time.monotonic() - began)
        assert slowest <= SECONDS, f"{form.topic}, number {number}"
    print(f"the slowest good record came through after {slowest:.2f} s")


def test_a_decision_follows_within_a_second_of_poison_before_it(stack: Stack) -> None:
    record = market.recommendation("NOBODY", "after-poison", at("14:00"))
    stack.produce("recommendations", [Raw(b"\xff", b"NOBODY"), record])
    began = time.monotonic()
    while not stack.bodies("decisions", source_id="after-poison"):
        assert time.monotonic() - began < SECONDS
    [decision] = stack.bodies("decisions", source_id="after-poison")
    assert decision["skip_reason"] == "unknown_symbol"


def test_an_unknown_symbol_a_late_instant_a_repeated_id_and_unknown_fields_are_not_poison(stack: Stack) -> None:
    before = stack.dead_letters()
    late = "2020-01-02T15:00:00+01:00"
    stack.produce("price-ticks", [market.tick("NOBODY", "1.00", late), {**market.tick("NOBODY", "1", late), "new": 1}])
    stack.produce("price-bars", [market.bar("NOBODY", DAY.replace(year=2020), "1.00")])
    again = market.recommendation("NOBODY", "again", late)
    stack.produce("recommendations", [again, again, {**again, "action": "sell", "surplus": {"a": [1]}}])
    stack.produce("companies", [Raw(None, b"NOBODY")])
    stack.produce("earnings-dates", [Raw(None, b"NOBODY")])
    stack.produce("market-stress", [{"name": "vix", "value": 0, "at": late}])
    stack.produce("commands", [market.command("pause", "twice", ACCOUNT, at=late)] * 2)
    stack.until_lag_zero()
    assert stack.dead_letters() == before


def test_a_thesis_and_a_headline_may_fill_a_record(stack: Stack) -> None:
    """They go through inbox, decision and tables whole; only the record's bytes have a limit."""
    before = stack.dead_letters()
    longest = "ü" * 130_000
    record = market.recommendation("NOBODY", "long", at("14:00"), thesis=longest)
    assert 256 * 1024 - 3000 < len(json.dumps(record, ensure_ascii=False).encode()) < 256 * 1024
    stack.produce("recommendations", [Raw(json.dumps(record, ensure_ascii=False).encode(), b"NOBODY")])
    event = {**MACRO, "event_id": "long", "headline": longest}
    stack.produce("macro-events", [Raw(json.dumps(event, ensure_ascii=False).encode(), b"long")])
    stack.until_lag_zero(projected=True)
    assert stack.dead_letters() == before
    assert [one["skip_reason"] for one in stack.bodies("decisions", source_id="long")] == ["unknown_symbol"]
    [kept] = stack.sql("SELECT thesis FROM recommendations WHERE recommendation_id = 'long'")
    [macro] = stack.sql("SELECT headline FROM macro_events WHERE event_id = 'long'")
    assert kept["thesis"] == macro["headline"] == longest


def test_json_numbers_are_taken_where_decimal_strings_are(stack: Stack) -> None:
    before = stack.dead_letters()
    stack.produce("price-ticks", [{"symbol": "NUM", "price": 10.5, "at": at("14:30"), "size": 3}])
    stack.produce("recommendations", [market.recommendation("NUM", "number", at("14:30"), confidence=0.9)])
    stack.until_lag_zero()
    assert stack.dead_letters() == before
    [decision] = stack.bodies("decisions", source_id="number")
    assert decision["symbol"] == "NUM"


def test_dead_letters_are_keyed_by_their_source_topic(stack: Stack) -> None:
    for message in stack.read("dead-letters"):
        body = message.body
        assert body.keys() >= {"topic", "partition", "offset", "key", "payload", "error", "at"}
        assert message.key == body["topic"].encode()
