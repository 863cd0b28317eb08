"""Live arming: no live entry without it, never past the session's close, and no exit that waits for it."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.desk import ACCOUNT, Desk, at, days, minutes
from trading import arming
from trading.circuit_breaker import trading_state
from trading.events import WorkerStarted
from trading.status import status_of

MONDAY_CLOSE = at("21:00")
TUESDAY_CLOSE = MONDAY_CLOSE + days(1)


def live_desk(**changes: Any) -> Desk:
    return Desk(mode="live", **changes)


def buy(desk: Desk, symbol: str = "AAPL", **fields: Any) -> str | None:
    """Recommend a purchase, and return why it was skipped."""
    desk.recommend(symbol, mode="live_eligible", **fields)
    return desk.reason


def start_in(desk: Desk, mode: Any) -> None:
    desk.send(WorkerStarted(account_id=ACCOUNT, at=desk.now, mode=mode, build="test"))


def test_live_trading_enters_nothing_until_it_is_armed() -> None:
    desk = live_desk()
    assert trading_state(desk.row) == "reducing"
    assert buy(desk) == "engine_paused"
    gate = desk.gate("engine_paused")
    assert (gate.passed, gate.value, gate.limit) == (False, "not armed", "running")
    assert "arm_live" in gate.detail
    assert desk.command("arm_live", until=MONDAY_CLOSE).accepted
    assert trading_state(desk.row) == "active"
    assert buy(desk) is None


def test_on_paper_nothing_needs_arming_and_arming_is_refused() -> None:
    desk = Desk()
    desk.recommend()
    assert desk.reason is None
    result = desk.command("arm_live", until=MONDAY_CLOSE)
    assert (result.accepted, result.error.split(":")[0]) == (False, "not_live")
    assert "STONKS_MODE=live" in result.error
    assert desk.row.armed_until is None


@pytest.mark.parametrize(
    ("now", "asked", "until"),
    [
        ("2026-03-02T15:00Z", "2026-03-02T18:00Z", "2026-03-02T18:00Z"),  # as asked
        ("2026-03-02T15:00Z", "2026-12-31T21:00Z", "2026-03-02T21:00Z"),  # Monday's close
        ("2026-03-02T21:00Z", "2026-12-31T21:00Z", "2026-03-03T21:00Z"),  # at the close the next session is meant
        ("2026-03-06T23:00Z", "2026-12-31T21:00Z", "2026-03-09T20:00Z"),  # a Friday evening: Monday, in summer time
        ("2026-11-27T15:00Z", "2026-12-31T21:00Z", "2026-11-27T18:00Z"),  # the half day after Thanksgiving
        ("2026-04-02T21:00Z", "2026-12-31T21:00Z", "2026-04-06T20:00Z"),  # before Good Friday
    ],
)
def test_arming_ends_with_the_session_whatever_was_asked(now: str, asked: str, until: str) -> None:
    desk = live_desk(now=dt.datetime.fromisoformat(now))
    assert desk.command("arm_live", until=asked).accepted
    assert desk.row.armed_until == dt.datetime.fromisoformat(until)


def test_arming_is_told_to_the_operator_and_so_is_its_end() -> None:
    desk = live_desk()
    desk.command("arm_live", until=at("18:00"), issued_by="api:armer")
    [armed] = desk.records("alert")
    assert (armed.severity, armed.subject) == ("warning", "Live trading is armed")
    assert armed.body == "Until 2026-03-02T18:00:00Z, by api:armer."
    assert desk.notifications[-1].severity == "warning"
    desk.clock(at("17:59:59"))
    assert status_of(desk.row, as_of=at("17:59:59"))["armed_until"] == "2026-03-02T18:00:00Z"
    desk.clock(at("20:00"))
    ended = desk.records("alert")[-1]
    assert (ended.severity, ended.subject) == ("warning", "Live trading is not armed any more")
    assert ended.at == at("18:00")  # its own instant, not the one at which time was noticed to have passed
    assert desk.notifications[-1].subject == ended.subject
    assert desk.row.armed_until is None


def test_the_status_stops_saying_armed_before_the_timer_has_fired() -> None:
    desk = live_desk()
    desk.command("arm_live", until=at("18:00"))
    assert status_of(desk.row, as_of=at("18:00"))["armed_until"] is None
    assert status_of(desk.row, as_of=at("18:00"))["trading_state"] == "reducing"


def test_an_arming_command_that_lay_over_the_weekend_arms_nothing() -> None:
    desk = live_desk(now=at("15:00") + days(7))
    result = desk.command("arm_live", until=at("21:00") + days(7), at=at("15:00") + days(4))  # Friday's
    assert (result.accepted, result.error.split(":")[0]) == (False, "invalid_field")
    assert desk.row.armed_until is None


@pytest.mark.parametrize("until", [at("14:59"), at("15:00")])
def test_an_instant_that_has_passed_is_refused(until: dt.datetime) -> None:
    desk = live_desk()
    assert desk.command("arm_live", until=until).error.startswith("invalid_field: until")


def test_arming_again_with_an_earlier_instant_shortens_it() -> None:
    desk = live_desk()
    desk.command("arm_live", until=MONDAY_CLOSE)
    desk.command("arm_live", until=at("16:00"))
    assert desk.row.armed_until == at("16:00")


def test_arming_survives_a_restart_in_live_mode_and_ends_on_time() -> None:
    desk = live_desk()
    desk.command("arm_live", until=MONDAY_CLOSE)
    desk.restart()
    start_in(desk, "live")
    assert desk.row.armed_until == MONDAY_CLOSE
    assert buy(desk) is None
    desk.restart()
    desk.clock(MONDAY_CLOSE)
    assert desk.row.armed_until is None


def test_a_stop_is_sold_on_live_money_that_is_not_armed() -> None:
    desk = live_desk()
    desk.command("arm_live", until=at("16:00"))
    position = desk.hold(mode="live_eligible")
    desk.clock(max(desk.now, at("16:00")))
    assert trading_state(desk.row) == "reducing"
    desk.mark("AAPL", position.stop_price, reason="stop")
    assert [(order.purpose, order.quantity) for order in desk.orders("sell")] == [("stop_loss", position.quantity)]


def test_a_sell_signal_passes_on_live_money_that_is_not_armed() -> None:
    desk = live_desk()
    desk.command("arm_live", until=at("16:00"))
    desk.hold(mode="live_eligible")
    desk.clock(max(desk.now, at("16:00")))
    desk.recommend("AAPL", "sell", mode="live_eligible")
    assert desk.orders("sell")[-1].purpose == "signal"


def test_tranches_that_are_not_sent_yet_end_with_arming() -> None:
    desk = live_desk(gradual_entry_threshold_usd="1", gradual_entry_threshold_pct="0.0001")
    desk.command("arm_live", until=at("15:10"))
    buy(desk)
    first = desk.orders("buy")[0]
    assert first.of_tranches > 1
    desk.fill(first)
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.live_to(at("15:40"))
    assert desk.orders("buy") == [first]


def test_a_signal_of_the_night_waits_for_arming_and_is_skipped_without_it() -> None:
    for armed, reason in ((True, None), (False, "engine_paused")):
        desk = live_desk(now=at("22:00"))
        assert desk.recommend(mode="live_eligible", generated_at=at("22:00"))
        assert [waiting.recommendation.symbol for waiting in desk.row.queue] == ["AAPL"]
        desk.clock(at("14:00") + days(1))
        if armed:
            desk.command("arm_live", until=TUESDAY_CLOSE, at=at("14:00") + days(1))
        desk.mark("AAPL", "10", at=at("14:44") + days(1))
        desk.clock(at("14:45") + days(1))
        assert desk.reason == reason


def test_a_change_to_live_carries_nothing_that_was_armed() -> None:
    desk = live_desk()
    desk.command("arm_live", until=MONDAY_CLOSE)
    start_in(desk, "paper")
    start_in(desk, "live")
    assert desk.row.armed_until is None
    assert desk.row.paused is False
    assert buy(desk) == "engine_paused"
    assert [alert.severity for alert in desk.records("alert")] == ["warning"] * 3


@pytest.mark.parametrize(("before", "after"), [("live", "paper"), ("paper", "live")])
def test_a_book_of_the_other_mode_pauses_entries_and_is_told_of_at_once(before: str, after: str) -> None:
    desk = Desk(mode=before)
    if before == "live":
        desk.command("arm_live", until=MONDAY_CLOSE)
    position = desk.hold(mode="live_eligible")
    start_in(desk, after)
    alert = desk.records("alert")[-1]
    assert (alert.severity, "AAPL" in alert.body) == ("critical", True)
    assert f"STONKS_MODE={before}" in alert.body
    assert (desk.row.mode, desk.row.paused, desk.row.reconciled) == (after, True, False)
    desk.mark("AAPL", position.stop_price, reason="stop")
    assert desk.orders("sell") == []  # this account may not have what the other one bought
    desk.snapshot()  # it may be the other's last, read late
    assert desk.orders("sell") == []
    assert desk.row.reconciled is False
    desk.snapshot()
    [sell] = desk.orders("sell")
    assert (sell.symbol, sell.purpose, sell.quantity) == ("AAPL", "stop_loss", position.quantity)
    assert desk.row.reconciled is True


def test_what_the_account_of_the_new_mode_does_not_hold_is_never_sold_there() -> None:
    desk = Desk()
    position, kept = desk.hold(), desk.hold("MSFT", sector="other")
    start_in(desk, "live")
    for symbol, stop in (("AAPL", position.stop_price), ("MSFT", kept.stop_price)):
        desk.mark(symbol, stop, reason="stop")
    desk.snapshot()  # the paper account's last, read late
    for _ in range(2):
        assert desk.orders("sell") == []
        desk.snapshot(cash="500", positions={"MSFT": 1})
    assert [(each.symbol, each.quantity) for each in desk.orders("sell")] == [("MSFT", 1)]
    assert [(each.symbol, each.quantity) for each in desk.row.positions] == [("MSFT", 1)]


def test_an_order_that_lived_through_the_change_is_settled_before_anything_is_sold() -> None:
    desk = Desk()
    position = desk.hold()
    desk.mark("AAPL", position.stop_price, reason="stop")
    [sell] = desk.orders("sell")
    desk.accept(sell)
    start_in(desk, "live")
    for _ in range(5):  # two show that the order is gone, two that the shares are
        desk.snapshot(cash="500", positions={})
    assert desk.orders("sell") == [sell]
    assert desk.row.positions == ()
    assert desk.row.awaited_snapshots == 0


def test_shares_behind_an_order_that_nobody_answered_are_not_sold_when_it_ends() -> None:
    desk = Desk()
    desk.recommend()
    desk.fill(desk.orders()[0])  # the first of three tranches
    for moment in ("15:14", "15:15"):
        desk.mark("AAPL", "10", at=at(moment))
        desk.clock(at(moment))
    second = desk.orders("buy")[1]
    start_in(desk, "live")
    desk.mark("AAPL", desk.row.positions[0].stop_price, reason="stop")
    for _ in range(3):  # the order hides from them that the shares are not there
        desk.snapshot(positions={})
    desk.cancelled(second)
    for _ in range(3):
        assert desk.orders("sell") == []
        desk.snapshot(cash="500", positions={})
    assert desk.row.positions == ()


def test_the_way_back_sells_what_was_to_be_sold() -> None:
    desk = Desk()
    position = desk.hold()
    start_in(desk, "live")
    desk.mark("AAPL", position.stop_price, reason="stop")
    start_in(desk, "paper")
    desk.snapshot()
    desk.snapshot()
    assert [each.purpose for each in desk.orders("sell")] == ["stop_loss"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), st.integers(-60, 6000)),
        st.tuples(st.just("wait"), st.integers(1, 3000)),
        st.tuples(st.just("restart"), st.sampled_from(["live", "live", "live", "paper"])),
        st.tuples(st.just("buy"), st.integers(0, 9)),
        st.tuples(st.just("stop"), st.integers(0, 9)),
    ),
    max_size=25,
)
FIRST_DAYS = st.sampled_from(
    [at("15:00"), at("20:00") + days(4), dt.datetime(2026, 11, 25, 15, tzinfo=dt.UTC), at("20:30")]
)


@given(first=FIRST_DAYS, steps=STEPS)
def test_nothing_is_bought_unarmed_nothing_is_armed_past_a_close_and_every_stop_is_sold(
    first: dt.datetime, steps: list[tuple[str, Any]]
) -> None:
    desk = live_desk(now=first)
    for word, value in steps:
        now, before = desk.now, len(desk.orders())
        mode, armed_until = desk.row.mode, arming.armed_until(desk.row)
        if word == "arm":
            desk.command("arm_live", until=now + minutes(value))
        elif word == "wait":
            desk.clock(now + minutes(value))
        elif word == "restart":
            desk.restart()
            start_in(desk, value)
        elif word == "buy":
            desk.recommend(f"S{value}", sector=f"sector {value}", mode="live_eligible")
        else:
            for position in desk.row.positions:
                desk.mark(position.symbol, position.stop_price, reason="stop")
        bought = [order for order in desk.orders()[before:] if order.side == "buy"]
        if mode == "live" and desk.row.mode == "live":
            for order in bought:
                assert armed_until is not None
                assert order.created_at < armed_until
        for order in bought:
            desk.fill(order, "10")
        until = desk.row.armed_until
        if until is not None:
            last = arming.last_instant(desk.now)
            assert desk.row.mode == "live"
            assert last is not None
            assert desk.now < until <= last
        for position in desk.row.positions if word == "stop" else ():
            assert position.exit is not None  # sent in the session, else wanted for its first mark
