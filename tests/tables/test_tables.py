"""The tables: decoded once, absolute, written at a bounded rate, and where each key's changelog lies."""

import datetime as dt
from decimal import Decimal

from streams.topics import partition_for
from tables import cursors, positions
from tables.circuit import circuit, circuit_of
from tables.decoded import Decoded
from tables.facts import Facts
from tables.levels import levels
from trading.market import Price, SymbolFacts, with_ticks
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio, row_bytes

ACCOUNT = "paper"
PLACE = partition_for(ACCOUNT.encode(), 4)


def row(account: str = ACCOUNT, seq: int = 7) -> Portfolio:
    return Portfolio(account_id=account, seq=seq, build="b", mode="paper", policy=TradingPolicy())


def test_a_row_is_decoded_once_and_again_when_its_bytes_change() -> None:
    decoded: list[bytes] = []

    def decode(raw: bytes) -> str:
        decoded.append(raw)
        return raw.decode()

    rows = {b"k": b"one"}
    table = Decoded(rows, encode=str.encode, decode=decode)
    assert [table["k"], table["k"]] == ["one", "one"]
    rows[b"k"] = b"two"  # as a recovery does
    assert table["k"] == "two"
    assert decoded == [b"one", b"two"]


def test_a_written_row_is_read_without_decoding_and_can_be_removed() -> None:
    rows: dict[bytes, bytes] = {}
    table = Decoded(rows, encode=str.encode, decode=bytes.decode)
    table["k"] = "value"
    assert (rows, table["k"], list(table), len(table)) == ({b"k": b"value"}, "value", ["k"], 1)
    del table["k"]
    assert (rows, "k" in table) == ({}, False)


def test_a_portfolio_comes_back_as_it_was() -> None:
    rows: dict[bytes, bytes] = {}
    positions.positions(rows)[ACCOUNT] = row()
    assert rows == {ACCOUNT.encode(): row_bytes(row())}
    assert positions.positions(rows)[ACCOUNT] == row()


def begin(rows: dict[str, Portfolio], cursor: int | None, *accounts: str) -> int | None:
    return positions.begin(rows, accounts, cursor=cursor, partition=PLACE, partitions=4)


def test_the_inbox_begins_at_the_lowest_of_the_rows_and_the_cursor() -> None:
    other = next(name for name in map(str, range(99)) if partition_for(name.encode(), 4) == PLACE)
    both = {ACCOUNT: row(seq=7), other: row(other, seq=4)}
    assert begin(both, 9, ACCOUNT, other) == 5
    assert begin(both, 9, ACCOUNT) == 8  # rows of accounts that are not configured do not count
    assert begin(both, 3, ACCOUNT, other) == 3
    assert begin({}, 9) == 9


def test_an_account_without_a_row_or_a_partition_without_a_cursor_begins_at_the_logs_start() -> None:
    assert begin({}, 9, ACCOUNT) is None
    assert begin({ACCOUNT: row()}, None, ACCOUNT) is None


def test_accounts_of_other_partitions_do_not_count() -> None:
    elsewhere = next(name for name in map(str, range(99)) if partition_for(name.encode(), 4) != PLACE)
    assert begin({}, 9, elsewhere) == 9


def test_the_circuit_projects_the_row() -> None:
    rows: dict[bytes, bytes] = {}
    circuit(rows)[ACCOUNT] = circuit_of(row())
    found = circuit(rows)[ACCOUNT]
    assert (found.trading_state, found.paused, found.breakers) == ("reducing", False, ())  # not reconciled yet


def test_facts_are_in_memory_until_they_are_flushed_and_can_be_forgotten() -> None:
    rows: dict[bytes, bytes] = {}
    facts, known = Facts(rows), SymbolFacts(symbol="AAPL", last_price=Decimal(1))
    facts.put("AAPL", known)
    assert (facts.get("AAPL"), rows) == (known, {})
    facts.forget()
    assert facts.get("AAPL") is None
    facts.put("AAPL", known)
    facts.flush()
    assert Facts(rows).get("AAPL") == known


def test_levels_are_one_row_a_symbol() -> None:
    rows: dict[bytes, bytes] = {}
    levels(rows)["AAPL"] = ()
    assert (rows, levels(rows)["AAPL"]) == ({b"AAPL": b"[]"}, ())


def test_prices_are_folded_when_somebody_asks_and_written_folded() -> None:
    rows: dict[bytes, bytes] = {}
    facts, noon = Facts(rows), dt.datetime(2026, 3, 2, 17, tzinfo=dt.UTC)
    prices = [Price(noon + dt.timedelta(seconds=number), Decimal(100 + number % 7)) for number in range(200)]
    for begin in range(0, 200, 3):
        facts.see("AAPL", prices[begin : begin + 3])
        assert facts.last_price_at("AAPL") == prices[min(begin + 2, 199)].at
    assert facts.get("AAPL") == with_ticks(SymbolFacts(symbol="AAPL"), prices)
    facts.see("MSFT", prices[:1])
    assert facts.flush()
    assert Facts(rows).get("AAPL") == with_ticks(SymbolFacts(symbol="AAPL"), prices)
    assert Facts(rows).last_price_at("MSFT") == noon
    facts.see("MSFT", prices[1:])
    facts.forget()
    assert facts.last_price_at("MSFT") == noon
    assert facts.last_price_at("NOBODY") is None


def test_facts_that_are_held_back_are_not_written_nor_are_the_cursors_behind_them() -> None:
    rows: dict[bytes, bytes] = {}
    facts, table = Facts(rows), cursors.CursorTable(rows)
    facts.put("AAPL", SymbolFacts(symbol="AAPL"))
    cursor = cursors.Cursor(table, "price-bars", before=facts.flush)
    with facts.held_back():
        cursor.advance(0, 1)
        assert rows == {}
    cursor.flush()
    assert sorted(rows) == [b"AAPL", b"price-bars:0"]


def test_a_cursor_lies_on_the_partition_it_is_about() -> None:
    rows: dict[bytes, bytes] = {}
    cursors.CursorTable(rows).put("price-ticks", 3, 42)
    assert [cursors.place(key) for key in rows] == [3]
    assert cursors.CursorTable(rows).get("price-ticks", 3) == 42
    assert cursors.CursorTable(rows).get("price-ticks", 2) is None


def test_a_cursor_is_written_at_most_once_an_interval_and_after_what_must_be_written_first() -> None:
    rows: dict[bytes, bytes] = {}
    now, order = [0.0], []
    table = cursors.CursorTable(rows)

    def before() -> bool:
        order.append(dict(rows))
        return True

    cursor = cursors.Cursor(table, "t", seconds=1, before=before, clock=lambda: now[0])
    cursor.advance(0, 1)
    now[0] = 0.9
    cursor.advance(0, 2)
    assert table.get("t", 0) == 1
    now[0] = 1.0
    cursor.advance(0, 3)
    assert table.get("t", 0) == 3
    assert order == [{}, {b"t:0": b"1"}]


def test_what_waits_is_written_when_there_is_nothing_else_to_do_or_forgotten_with_the_partitions() -> None:
    rows: dict[bytes, bytes] = {}
    table = cursors.CursorTable(rows)
    cursor = cursors.Cursor(table, "t", seconds=60, clock=lambda: 0.0)
    cursor.advance(0, 1)
    cursor.advance(0, 2)
    cursor.advance(0, 3)
    cursor.flush()
    assert table.get("t", 0) == 3
    cursor.advance(0, 4)
    cursor.forget()
    cursor.flush()
    assert table.get("t", 0) == 3
