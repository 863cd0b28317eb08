"""A recommendation is decided once: inside the window at once, otherwise when it opens (R1.5, R11.2, decision 25)."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.desk import MONDAY, Desk, at, days, minutes
from trading import dedupe

EVENING = at("22:00")
TUESDAY = MONDAY + days(1)
MISSED = "outside_trading_window"


def on_tuesday(clock: str) -> dt.datetime:
    return at(clock, on=TUESDAY)


@pytest.mark.covers("R1.3")
@pytest.mark.covers("R17.2")
def test_a_recommendation_that_passes_every_gate_becomes_one_order() -> None:
    desk = Desk()
    desk.recommend(confidence="0.55", price="10", recommendation_id="r-1")  # 30 dollars: over 25, two tranches of 3
    order = desk.orders()[0]
    decision = desk.decisions[0]
    assert (order.side, order.purpose, order.order_type, order.time_in_force) == ("buy", "entry", "market", "day")
    assert (order.symbol, order.account_id, order.decision_id) == ("AAPL", "paper", decision.decision_id)
    assert order.created_at == at("15:00")
    assert order.valid_until == at("20:45")
    assert len(desk.decisions) == len(desk.orders()) == 1


@pytest.mark.covers("R1.5")
def test_a_repeated_id_yields_a_duplicate_and_nothing_else() -> None:
    desk = Desk()
    desk.recommend(recommendation_id="r-1")
    before = desk.row
    effects = desk.recommend("KO", "sell", confidence="1", recommendation_id="r-1", sector="staples")
    assert [record.kind for record in desk.records("duplicate")] == ["duplicate"]
    assert len(effects) == 1
    assert desk.row == before.model_copy(update={"seq": desk.row.seq})


def test_a_repeat_after_the_ids_have_lapsed_is_older_than_what_is_kept() -> None:
    desk = Desk()
    desk.recommend(recommendation_id="r-1", confidence="0.1")
    desk.clock(at("17:00") + days(1))
    assert dedupe.count(desk.row.seen) == 0
    desk.recommend(recommendation_id="r-1", generated_at=at("15:00"), expires_at=at("15:00") + days(9))
    assert len(desk.records("duplicate")) == 1
    assert len(desk.decisions) == 1


def test_an_id_is_kept_until_its_recommendation_expires() -> None:
    desk = Desk()
    for _ in range(2):
        desk.recommend(recommendation_id="r-1", confidence="0.1", expires_at=at("15:00") + days(5))
        desk.clock(at("14:00") + days(4))
    assert len(desk.decisions) == 1


def test_no_id_is_kept_for_more_than_seven_days() -> None:
    desk = Desk()
    desk.recommend(recommendation_id="r-1", confidence="0.1", expires_at=at("15:00") + days(90))
    desk.clock(at("17:00") + days(7))
    assert dedupe.count(desk.row.seen) == 0


def test_a_recommendation_from_the_future_does_not_make_all_later_ones_duplicates() -> None:
    desk = Desk()
    desk.recommend(recommendation_id="r-1", generated_at=at("15:00") + days(900))
    desk.clock(at("17:00") + days(8))
    desk.recommend(recommendation_id="r-2", at=at("15:00") + days(9))
    assert len(desk.decisions) == 2


def test_the_alert_of_too_many_ids_comes_once() -> None:
    desk = Desk()
    seen = desk.row.seen
    for place in range(dedupe.MOST_IDS):
        seen = dedupe.remember(seen, key=f"{place}", until=desk.now + days(1), now=desk.now, newest=desk.now)
    desk.portfolio = desk.row.model_copy(update={"seen": seen})
    for symbol in ("AAPL", "KO", "JPM"):
        desk.recommend(symbol)
    assert [alert.subject for alert in desk.records("alert")] == ["Too many recommendations"]
    assert [decision.skip_reason for decision in desk.decisions] == ["not_ready"] * 3


@given(st.lists(st.integers(0, 40), max_size=60))
def test_each_id_is_decided_once_however_often_it_comes(names: list[int]) -> None:
    desk = Desk()
    for name in names:
        desk.recommend(recommendation_id=f"r-{name}", confidence="0.1")
    assert [decision.source_id for decision in desk.decisions] == [f"r-{name}" for name in dict.fromkeys(names)]
    assert len(desk.records("duplicate")) == len(names) - len(set(names))


@pytest.mark.covers("R11.2")
def test_outside_the_window_a_recommendation_waits_and_has_no_decision_yet() -> None:
    desk = Desk(now=EVENING)
    desk.recommend()
    queued = desk.records("queued")[0]
    assert (queued.source_type, queued.symbol, queued.until) == ("recommendation", "AAPL", on_tuesday("21:00"))
    assert desk.decisions == []
    assert desk.levels("AAPL").watched is True  # type: ignore[union-attr]


@pytest.mark.covers("R11.2")
def test_what_waits_is_decided_when_the_window_opens_on_a_price_of_that_session() -> None:
    desk = Desk(now=EVENING)
    desk.recommend(price="10")
    desk.mark("AAPL", "10.20", at=on_tuesday("14:31"))
    assert desk.decisions == []
    desk.clock(on_tuesday("14:45"))
    decision = desk.decisions[0]
    assert (decision.decision, decision.decided_at) == ("act", on_tuesday("14:45"))
    assert decision.sizing is not None
    assert decision.sizing.price == Decimal("10.20")
    assert desk.row.queue == ()


def test_what_waits_without_a_price_of_the_session_goes_on_waiting() -> None:
    desk = Desk(now=EVENING)
    desk.recommend()
    desk.clock(on_tuesday("15:30"))
    assert desk.decisions == []
    desk.mark("AAPL", "10", at=on_tuesday("15:31"))
    assert desk.decisions[0].decision == "act"


def test_the_best_confidence_is_decided_first() -> None:
    desk = Desk(now=EVENING, max_open_positions=1)
    for symbol, confidence in (("KO", "0.6"), ("AAPL", "0.9"), ("JPM", "0.7")):
        desk.recommend(symbol, confidence=confidence, sector=symbol)
        desk.mark(symbol, "10", at=on_tuesday("14:31"))
    desk.clock(on_tuesday("14:45"))
    assert [decision.symbol for decision in desk.decisions] == ["AAPL", "JPM", "KO"]
    assert [decision.skip_reason for decision in desk.decisions] == [None, *["position_limit_reached"] * 2]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"action": "hold"}, "not_actionable"),
        ({"mode": "informational"}, "not_actionable"),
        ({"sector": None}, "unknown_symbol"),
        ({"expires_at": EVENING}, "expired"),
        ({"confidence": "0.54"}, "outside_trading_window"),  # the first gate that fails, but decided at once
    ],
)
def test_what_could_never_run_is_decided_at_once(fields: dict[str, object], reason: str) -> None:
    desk = Desk(now=EVENING)
    desk.recommend(**{"generated_at": at("21:00"), **fields})  # type: ignore[arg-type]
    assert desk.reason == reason
    assert desk.row.queue == ()


def test_while_paused_nothing_is_queued() -> None:
    desk = Desk(now=EVENING)
    desk.command("pause")
    desk.recommend()
    assert desk.reason == "engine_paused"


def test_a_sell_of_what_is_not_held_waits_too() -> None:
    desk = Desk(now=EVENING)
    desk.recommend(action="sell")
    desk.mark("AAPL", "10", at=on_tuesday("14:45"))
    assert desk.reason == "no_position_to_sell"
    assert len(desk.records("queued")) == 1


def test_what_expires_while_it_waits_is_decided_at_that_instant() -> None:
    desk = Desk(now=EVENING)
    desk.recommend(expires_at=on_tuesday("03:00"))
    desk.clock(on_tuesday("15:00"))
    assert desk.reason == "expired"
    assert desk.decisions[0].decided_at == on_tuesday("03:00")


def test_what_waits_longer_than_one_session_has_missed_its_window() -> None:
    desk = Desk(now=EVENING)
    desk.recommend(expires_at=at("22:00") + days(9))
    desk.clock(on_tuesday("20:59"))
    assert desk.decisions == []
    desk.clock(on_tuesday("22:00"))
    assert desk.reason == "outside_trading_window"
    assert desk.decisions[0].decided_at == on_tuesday("21:00")
    assert desk.gate("outside_trading_window").detail == "older than one session"


@pytest.mark.parametrize(
    ("price", "reason"), [("10.50", None), ("10.51", "outside_trading_window"), ("9.49", "outside_trading_window")]
)
def test_a_price_that_moved_by_more_than_one_atr_misses_the_window(price: str, reason: str | None) -> None:
    desk = Desk(now=EVENING)
    desk.recommend(price="10", atr="0.5")
    desk.mark("AAPL", price, at=on_tuesday("14:45"))
    assert desk.reason == reason


def test_the_one_atr_is_counted_from_the_reference_price_where_there_is_one() -> None:
    desk = Desk(now=EVENING)
    desk.recommend(price="10", atr="0.5", reference_price=Decimal("10.40"))
    desk.mark("AAPL", "10.80", at=on_tuesday("14:45"))
    assert desk.reason is None


def test_the_newer_of_two_that_wait_supersedes_the_older() -> None:
    desk = Desk(now=EVENING)
    desk.recommend(recommendation_id="old", generated_at=at("21:30"))
    desk.recommend(recommendation_id="new", generated_at=at("21:40"))
    desk.recommend(recommendation_id="late", generated_at=at("21:35"))
    assert [(each.source_id, each.skip_reason) for each in desk.decisions] == [
        ("old", "superseded"),
        ("late", "superseded"),
    ]
    assert desk.gate("superseded", desk.decisions[0]).value == "new"
    desk.mark("AAPL", "10", at=on_tuesday("14:45"))
    assert desk.decisions[-1].source_id == "new"


def test_another_symbol_supersedes_nothing() -> None:
    desk = Desk(now=EVENING)
    desk.recommend("AAPL")
    desk.recommend("KO")
    assert desk.decisions == []


def test_after_the_window_of_today_the_next_session_is_waited_for() -> None:
    desk = Desk(now=at("20:50"))
    desk.recommend()
    assert desk.records("queued")[0].until == on_tuesday("20:50")  # it lives a day
    assert desk.row.queue[0].session_close_at == on_tuesday("21:00")


def test_before_the_window_of_today_that_window_is_waited_for() -> None:
    desk = Desk(now=at("14:30"))
    desk.recommend()
    assert desk.row.queue[0].session_close_at == at("21:00")
    desk.clock(at("14:45"))
    assert desk.decisions[0].decided_at == at("14:45")


def test_every_gate_is_asked_again_when_the_window_opens() -> None:
    desk = Desk(now=EVENING)
    desk.recommend()
    desk.command("pause")
    desk.mark("AAPL", "10", at=on_tuesday("14:45"))
    assert desk.reason == "engine_paused"


def test_when_too_many_wait_the_weakest_leaves() -> None:
    desk = Desk(now=EVENING)
    for place in range(21):
        desk.recommend(f"S{place}", confidence="0.6" if place == 20 else "0.8")
    assert [(each.symbol, each.skip_reason) for each in desk.decisions] == [("S20", "outside_trading_window")]
    assert len(desk.row.queue) == 20


def test_a_queued_symbol_is_kept_fresh_and_dropped_when_it_is_decided() -> None:
    desk = Desk(now=EVENING)
    desk.recommend(confidence="0.8")
    desk.bar("AAPL", "10.1", on=MONDAY, atr="0.6")
    assert desk.row.queue[0].atr == Decimal("0.6")
    assert desk.row.queue[0].closes[-1] == (MONDAY, Decimal("10.1"))
    desk.command("pause")
    desk.mark("AAPL", "10", at=on_tuesday("14:45"))
    assert type(desk.levels("AAPL")).__name__ == "LevelsRemoved"


@pytest.mark.covers("R1.2")
def test_one_session_of_waiting_spans_a_weekend() -> None:
    friday = dt.date(2026, 3, 6)
    desk = Desk(now=at("22:00", on=friday))
    desk.recommend(expires_at=at("22:00", on=friday) + days(9))
    monday = dt.date(2026, 3, 9)  # the clocks went forward: the session opens at 13:30
    assert desk.row.queue[0].session_close_at == at("20:00", on=monday)
    desk.mark("AAPL", "10", at=at("13:31", on=monday))
    desk.clock(at("13:44", on=monday))
    assert desk.decisions == []
    desk.clock(at("13:44", on=monday) + minutes(1))
    assert desk.reason is None
