"""A start without the log (R18.5): the row as it was, exits at once, entries when reconciled and resumed."""

import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading import recorded
from tests.trading.desk import ACCOUNT, Desk, as_bytes, at, days, minutes
from trading.effects import LevelsRemoved, Order, OrderCancel, StopLevels
from trading.engine import react
from trading.events import EVENT, AccountRestored, Clock, Void, WorkerStarted
from trading.portfolio import Portfolio, row_bytes, row_hash

pytestmark = pytest.mark.covers("R18.5")

EVENTS = 600
WAITS = {"seq", "now", "build", "paused", "reconciled", "unmatched", "moved_since_snapshot"}
MAY_FOLLOW = {"orders", "entries", "positions"}  # a cancel that is asked for, tranches that are dropped
BEYOND = 100_000


@functools.cache
def rows() -> tuple[Portfolio, ...]:
    """Return the row after each event of a long log."""
    found: list[Portfolio] = []
    row: Portfolio | None = None
    for seq, event in recorded.log(events=EVENTS):
        row, _ = react(row, event, seq=seq)
        assert row is not None
        found.append(row)
    return tuple(found)


def restored(row: Portfolio, **changes: Any) -> AccountRestored:
    event = AccountRestored(
        account_id=row.account_id, state=row, hash=row_hash(row), mode="paper", build="next", **changes
    )
    read = EVENT.validate_json(event.model_dump_json())  # as the inbox has it
    assert isinstance(read, AccountRestored)
    return read


def lose_the_log(desk: Desk, **changes: Any) -> list[Any]:
    """Let a desk go on in a new log; return what it is asked for."""
    desk.seq += BEYOND
    return desk.send(restored(desk.row, **changes))


@given(place=st.integers(0, EVENTS - 1))
def test_the_row_is_what_it_was_but_for_what_has_to_wait(place: int) -> None:
    row = rows()[place]
    after, effects = react(None, restored(row), seq=row.seq + BEYOND)
    assert after is not None
    assert (after.paused, after.reconciled, after.unmatched, after.seq) == (True, False, "", row.seq + BEYOND)
    assert after.now == row.now
    apart = WAITS | (MAY_FOLLOW if row.orders or row.entries else set())
    assert after.model_dump(exclude=apart) == row.model_dump(exclude=apart)
    lots = {lot.symbol: lot.open_quantity for lot in after.lots if lot.open_quantity}
    assert lots.keys() == {position.symbol for position in after.positions}
    told = {effect.symbol for effect in effects if isinstance(effect, StopLevels)}
    assert told >= {position.symbol for position in after.positions}
    assert [effect for effect in effects if isinstance(effect, LevelsRemoved)] == []
    assert all(order.side == "sell" for order in effects if isinstance(order, Order))


@given(place=st.integers(0, EVENTS - 1), later=st.integers(1, 40))
def test_from_then_on_a_restart_changes_nothing(place: int, later: int) -> None:
    """Fold what comes from the row and from the row as it is read again; the log alone gives the same row (20, 21)."""
    row, log = rows()[place], recorded.log(events=EVENTS)
    first = restored(row)
    ours = react(None, first, seq=row.seq + BEYOND).portfolio
    assert ours == react(row, first, seq=row.seq + BEYOND).portfolio  # the changelog was not lost: the same row
    assert ours is not None
    for seq, event in log[place + 1 : place + 1 + later]:
        offset = seq + BEYOND
        read = Portfolio.model_validate_json(row_bytes(ours))
        after, effects = react(ours, event, seq=offset)
        again, repeated = react(read, event, seq=offset)
        assert after is not None
        assert again is not None
        assert row_bytes(after) == row_bytes(again)
        assert as_bytes(list(effects)) == as_bytes(list(repeated))
        assert react(after, first, seq=offset + 1) == (after, ())  # told twice, it has gone on since
        ours = after


def test_entries_wait_for_a_clean_pass_and_for_the_operators_word_whichever_comes_first() -> None:
    for first, then in (("snapshot", "resume"), ("resume", "snapshot")):
        desk = Desk()
        desk.hold("AAPL")
        lose_the_log(desk)
        for number, step in enumerate((None, first)):
            if step is not None:
                desk.command("resume") if step == "resume" else desk.snapshot()
            desk.recommend("KO", sector="staples", recommendation_id=f"early-{number}-{first}")
            assert desk.reason in ("not_ready", "engine_paused"), step
        desk.command("resume") if then == "resume" else desk.snapshot()
        desk.recommend("KO", sector="staples", recommendation_id=f"late-{first}")
        assert desk.reason is None


def test_a_stop_is_answered_before_anybody_has_said_anything() -> None:
    desk = Desk()
    desk.hold("AAPL")
    lose_the_log(desk)
    desk.mark("AAPL", "1.00")
    assert desk.orders("sell", "AAPL") == desk.of(Order)[-1:]
    assert desk.orders("sell", "AAPL")[0].purpose in ("stop_loss", "breaker")


def test_the_operator_is_told_once_and_with_the_mend() -> None:
    desk = Desk()
    desk.hold("AAPL")
    effects = lose_the_log(desk)
    [alert] = desk.records("alert", effects)
    [message] = [each for each in effects if getattr(each, "event_type", "") == "alert"]
    assert (alert.severity, message.severity) == ("critical", "critical")
    assert "resume" in alert.body
    assert "reconciliation" in alert.body


def test_an_exit_under_way_is_said_again_in_the_same_words_and_an_entry_is_asked_back() -> None:
    desk = Desk()
    desk.hold("AAPL")
    desk.recommend("KO", sector="staples")
    desk.mark("AAPL", "8.95")
    [sell], [buy] = desk.orders("sell", "AAPL"), desk.orders("buy", "KO")
    effects = lose_the_log(desk)
    assert desk.of(Order, effects) == [sell]
    assert [cancel.client_order_id for cancel in desk.of(OrderCancel, effects)] == [buy.client_order_id]
    desk.fill(sell, "0.99")  # the broker knows both, and answers in the same words
    desk.cancelled(buy)
    assert (desk.row.positions, desk.row.orders, desk.row.entries) == ((), (), ())
    assert desk.row.open_buy_holds == 0


def test_an_exit_that_was_made_after_the_row_was_recorded_is_made_again_under_its_own_id() -> None:
    """So the broker knows it, sells nothing twice, and its answer makes the row catch up."""
    desk = Desk()
    desk.hold("AAPL")
    recorded_row = desk.row
    desk.mark("AAPL", "8.95")
    [sold] = desk.orders("sell", "AAPL")
    desk.fill(sold, "8.94")
    cash = desk.row.cash

    late = Desk()
    late.seq = recorded_row.seq + BEYOND
    late.send(restored(recorded_row, at=desk.now))
    late.mark("AAPL", "8.95")
    [again] = late.orders("sell", "AAPL")
    assert again.client_order_id == sold.client_order_id
    assert again.decision_id == sold.decision_id
    late.fill(again, "8.94")
    assert (late.row.positions, late.row.cash) == ((), cash)


def test_what_the_broker_bought_after_the_row_was_recorded_is_kept_apart_and_told() -> None:
    desk = Desk()
    lose_the_log(desk)
    for _ in range(2):
        desk.snapshot(cash="480", positions={"KO": "2"})
    assert [(each.symbol, each.quantity) for each in desk.row.foreign] == [("KO", 2)]
    assert desk.row.cash == 480
    assert "differs" in desk.records("alert")[-1].subject
    desk.snapshot(cash="480", positions={"KO": "2"})
    assert desk.row.reconciled


def test_what_fell_due_meanwhile_adds_no_risk() -> None:
    """The second tranche was due while nobody was there; the breaker that has ended meanwhile has ended."""
    desk = Desk(gradual_entry_threshold_usd="1", gradual_entry_threshold_pct="0.001")
    desk.recommend("AAPL", price="5", confidence="0.95")
    [first] = desk.orders("buy", "AAPL")
    assert first.of_tranches > 1
    desk.fill(first, "5.00")
    desk.stress("90")
    [breaker] = desk.row.breakers
    effects = lose_the_log(desk, at=desk.now + days(1))
    assert [order for order in desk.of(Order, effects) if order.side == "buy"] == []
    assert desk.row.entries == () or desk.row.entries[0].unsent == 0
    assert desk.row.breakers == ()
    assert [each.event for each in desk.records("breaker_event", effects)] == ["resumed"]
    assert breaker.until < desk.now


def test_a_breaker_that_lasts_keeps_its_end() -> None:
    desk = Desk()
    desk.stress("90")
    before = desk.row.breakers
    lose_the_log(desk, at=desk.now + minutes(1))
    assert desk.row.breakers == before
    assert before[0].until > desk.now


def test_a_row_behind_the_restored_one_is_replaced_and_one_ahead_is_left() -> None:
    desk = Desk()
    desk.hold("AAPL")
    event = restored(desk.row)
    behind = desk.row.model_copy(update={"seq": desk.row.seq - 1, "positions": ()})
    after, _ = react(behind, event, seq=BEYOND)
    assert after is not None
    assert [position.symbol for position in after.positions] == ["AAPL"]
    ahead = desk.row.model_copy(update={"seq": desk.row.seq + 1})
    assert react(ahead, event, seq=BEYOND) == (ahead, ())


def test_a_void_is_nothing_with_or_without_a_row() -> None:
    desk = Desk()
    void = Void(account_id=ACCOUNT)
    assert react(None, void, seq=7) == (None, ())
    assert react(desk.row, void, seq=99) == (desk.row, ())


def test_a_worker_that_took_the_row_from_postgresql_has_unaccepted_orders_and_all_levels_said_again() -> None:
    desk = Desk()
    desk.hold("AAPL")
    desk.recommend("KO", sector="staples")
    desk.mark("AAPL", "8.95")
    [sell] = desk.orders("sell", "AAPL")
    desk.accept(desk.orders("buy", "KO")[0])
    before = desk.row
    started: dict[str, Any] = {"account_id": ACCOUNT, "mode": "paper", "build": "test"}
    effects = desk.send(WorkerStarted(**started, again=True))
    assert (desk.of(Order, effects), desk.of(OrderCancel, effects)) == ([sell], [])
    assert {levels.symbol for levels in desk.of(StopLevels, effects)} == {"AAPL", "KO"}
    assert desk.row.model_copy(update={"seq": before.seq}) == before
    assert desk.of(Order, desk.send(WorkerStarted(**started))) == []


def test_time_goes_on_from_the_rows_now() -> None:
    desk = Desk(now=at("15:00"))
    lose_the_log(desk, at=at("14:59"))
    assert desk.now == at("15:00")
    desk.send(Clock(account_id=ACCOUNT, at=at("15:02")))
    assert desk.row.now == at("15:02")
