"""The journal: what is committed is sent, again if need be and in the same words; what is not committed never was."""

import contextlib
import pathlib
import sqlite3
from decimal import Decimal

import pytest

from connectors.journal import Journal
from connectors.simulated_events import accepted, rejected
from tests.connectors.examples import order
from trading.inputs import AccountSnapshot


def opened(folder: pathlib.Path) -> Journal:
    return Journal(folder / "journal.sqlite")


def test_events_wait_in_order_until_they_are_marked_and_survive_a_restart(tmp_path: pathlib.Path) -> None:
    journal = opened(tmp_path)
    with journal.transaction():
        journal.add([accepted(order(number=number), at=None) for number in (1, 2)])
    journal.close()
    journal = opened(tmp_path)
    waiting = journal.unsent()
    assert [event.client_order_id for event in waiting] == ["order-1", "order-2"]
    journal.mark_sent(waiting[:1])
    assert journal.unsent() == waiting[1:]


def test_what_was_said_is_said_again_in_the_same_words(tmp_path: pathlib.Path) -> None:
    journal = opened(tmp_path)
    journal.add([accepted(order(), at=None), rejected(order(), reason="no", at=None)])
    first = journal.unsent()
    journal.mark_sent(first)
    journal.send_again("order-1")
    assert journal.unsent() == first


def test_a_transaction_that_fails_leaves_nothing(tmp_path: pathlib.Path) -> None:
    journal = opened(tmp_path)
    with contextlib.suppress(ZeroDivisionError), journal.transaction():
        journal.add([accepted(order(), at=None)])
        journal.move("orders", 0, next_offset=7)
        journal.save_book("paper", "{}")
        1 / 0  # noqa: B018 - in the middle
    assert (journal.unsent(), journal.positions(), journal.book("paper")) == ([], {}, None)
    assert not journal.knows("order-1")


def test_positions_and_books_survive_a_restart(tmp_path: pathlib.Path) -> None:
    journal = opened(tmp_path)
    journal.move("orders", 0, next_offset=7)
    journal.move("orders", 0, next_offset=8)
    journal.save_book("paper", '{"cash": "1"}')
    journal.close()
    journal = opened(tmp_path)
    assert journal.positions() == {("orders", 0): 8}
    assert (journal.book("paper"), journal.accounts()) == ('{"cash": "1"}', ["paper"])


def test_one_event_is_never_there_twice(tmp_path: pathlib.Path) -> None:
    journal = opened(tmp_path)
    journal.add([accepted(order(), at=None)])
    with pytest.raises(sqlite3.IntegrityError):
        journal.add([accepted(order(), at=None)])


def test_a_snapshot_belongs_to_no_order_and_absent_fields_are_not_written(tmp_path: pathlib.Path) -> None:
    journal = opened(tmp_path)
    cash = Decimal(500)
    journal.add(
        [
            AccountSnapshot(
                event_id="s",
                account_id="paper",
                cash=cash,
                buying_power=cash,
                equity=cash,
                positions=(),
                open_orders=(),
            )
        ]
    )
    (event,) = journal.unsent()
    assert event.client_order_id is None
    assert b'"at"' not in event.value


def test_a_second_process_is_kept_out_and_the_file_is_ours_alone(tmp_path: pathlib.Path) -> None:
    journal = opened(tmp_path / "data")
    journal.save_book("paper", "{}")
    other = sqlite3.connect(tmp_path / "data" / "journal.sqlite", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM books")
    other.close()
    assert (tmp_path / "data" / "journal.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.covers("R18.5")
def test_how_far_a_topic_was_read_is_forgotten_when_another_one_has_its_name(tmp_path: pathlib.Path) -> None:
    journal = opened(tmp_path)
    journal.move("orders", 0, next_offset=7)  # from before identities were kept
    journal.move("order-cancels", 0, next_offset=3)
    journal.meet({"orders": "first", "order-cancels": "other"})
    journal.close()
    journal = opened(tmp_path)
    assert journal.positions() == {("orders", 0): 7, ("order-cancels", 0): 3}
    journal.meet({"orders": "second", "order-cancels": "other"})
    assert journal.positions() == {("order-cancels", 0): 3}
