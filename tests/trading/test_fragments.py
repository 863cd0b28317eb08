"""The row is written from what has changed, and is to the byte what pydantic writes of all of it."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.desk import Desk, at, minutes
from trading.holdings import TaxLot
from trading.portfolio import Portfolio, SeenIds, hash_of, row_bytes
from trading.records import RECORD, AccountState, RowText

D = Decimal


def lot(name: str, quantity: str) -> TaxLot:
    return TaxLot(
        lot_id=name,
        position_id="position",
        symbol="AAPL",
        acquired_at=at("15:00"),
        quantity=D(quantity),
        open_quantity=D(quantity),
        cost_basis_per_share=D("10.50"),
        decision_id="décision",
    )


LOTS = st.sampled_from([lot(name, quantity) for name in ("a", "b", "c") for quantity in ("1", "1.0", "1.00", "2")])
SEEN = st.sampled_from([SeenIds(until=at("16:00"), newest=at("15:00"), ids=ids) for ids in ("", "0123456789")])
CHANGES = st.one_of(
    st.fixed_dictionaries({"lots": st.lists(LOTS, max_size=6).map(tuple)}),
    st.fixed_dictionaries({"lots": st.lists(LOTS.map(lambda each: each.model_copy()), max_size=3).map(tuple)}),
    st.fixed_dictionaries({"seen": st.lists(SEEN, max_size=3).map(tuple), "unmatched": st.text(max_size=3)}),
    st.fixed_dictionaries({"cash": st.sampled_from([D("1"), D("1.0"), D("1.00"), D("0.1")]), "seq": st.integers(0, 3)}),
    st.fixed_dictionaries({"stops_hit": st.lists(st.just(at("15:00")), max_size=2).map(tuple)}),
)
"""Changes of the row: items that are equal but written otherwise, items that come twice, in any order."""


@given(steps=st.lists(st.tuples(st.integers(0, 30), CHANGES), max_size=30))
def test_a_row_written_from_its_changes_is_the_row_written_whole(steps: list[tuple[int, dict[str, Any]]]) -> None:
    """Any row may be changed next, not only the newest: they all share what was written last."""
    rows = [Desk().row]
    for place, changes in steps:
        rows.append(rows[place % len(rows)].model_copy(update=changes))
        assert row_bytes(rows[-1]) == rows[-1].model_dump_json().encode()
    for row in rows:
        assert row_bytes(row) == row.model_dump_json().encode()


def test_a_day_of_trading_is_written_as_pydantic_writes_it() -> None:
    desk = Desk()
    for symbol in ("AAPL", "AMD", "BAC"):
        desk.hold(symbol, 1, sector=f"sector of {symbol}")
        desk.mark(symbol, "8.90")
        assert row_bytes(desk.row) == desk.row.model_dump_json().encode()
        [order] = desk.row.live(symbol, side="sell")
        desk.fill(order)
        assert row_bytes(desk.row) == desk.row.model_dump_json().encode()
        desk.clock(desk.now + minutes(3))
    assert row_bytes(desk.row) == desk.row.model_dump_json().encode()


def test_what_was_written_last_is_no_part_of_a_rows_value() -> None:
    row = Desk().row
    woken = Portfolio.model_validate_json(row_bytes(row))
    assert woken == row
    assert woken.model_copy(update={"seq": 9}) != row


def test_what_is_kept_beside_a_row_is_bounded_by_one_row() -> None:
    """A thousand rows on, nothing of those before is kept but what still stands in its place."""
    row = Desk().row
    for number in range(1_000):
        row = row.model_copy(update={"lots": (lot(f"lot {number}", "1"),), "seq": number})
        row_bytes(row)
    kept = row._fragments.kept
    assert kept.keys() <= Portfolio.model_fields.keys()
    assert [each.lot_id for each in kept["lots"].value] == ["lot 999"]
    assert len(kept["lots"].items) == 1


def test_the_state_goes_out_as_it_was_hashed() -> None:
    desk = Desk()
    [*_, state] = desk.clock(desk.now + minutes(2))
    assert isinstance(state, AccountState)
    sent = json.loads(state.model_dump_json())
    whole = AccountState(
        **{name: getattr(state, name) for name in AccountState.model_fields} | {"state": sent["state"]}
    )
    assert state.model_dump_json() == whole.model_dump_json()
    assert state.model_dump_json().encode() == RECORD.dump_json(state) == RECORD.dump_json(whole)
    assert hash_of(row_bytes(desk.row)) == state.hash
    assert f'"state":{row_bytes(desk.row).decode()},"hash":"' in state.model_dump_json()


def test_a_row_that_was_not_read_is_equal_to_the_same_row_read() -> None:
    desk = Desk()
    [*_, state] = desk.clock(desk.now + minutes(2))
    read = RECORD.validate_json(state.model_dump_json())
    assert read == state
    assert isinstance(state.state, RowText)
    assert dict(state.state) == read.state
    assert (len(state.state), state.state["seq"]) == (len(read.state), desk.seq)
    with pytest.raises(KeyError):
        state.state["nothing"]
