"""Stale prices (R4.8, decision 15): quotes, the sale of what stays silent, and the hold while the feed is mute."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.desk import MONDAY, Desk, at, days, minutes
from trading import circuit_breaker, staleness
from trading.effects import QuoteRequest

D = Decimal
TUESDAY = MONDAY + days(1)
SECTORS = {"AAPL": "technology", "KO": "staples", "XOM": "energy"}


def held(*symbols: str, **changes: Any) -> Desk:
    """Return a desk with 4 shares at 10 dollars of each symbol, all heard last at 15:00, or when it is `now`."""
    one_part: dict[str, Any] = {"gradual_entry_tranches": 1}
    desk = Desk(**one_part, **changes)
    for symbol in symbols:
        desk.hold(symbol, sector=SECTORS[symbol], atr="0.5")
    return desk


def trade(desk: Desk, symbol: str, *, until: str, on: dt.date = MONDAY, every: float = 1) -> None:
    """Let a symbol trade at 10 dollars every minute until a clock time."""
    while desk.now + minutes(every) <= at(until, on=on):
        desk.mark(symbol, "10", at=desk.now + minutes(every))


def sold(desk: Desk) -> list[tuple[str, str, str]]:
    return [(order.symbol, order.purpose, f"{order.created_at:%H:%M}") for order in desk.orders("sell")]


def asked(desk: Desk) -> list[tuple[str, str]]:
    return [(request.symbol, f"{request.at:%H:%M}") for request in desk.of(QuoteRequest)]


def alerts(desk: Desk, severity: str) -> list[tuple[str, str]]:
    return [(f"{a.at:%H:%M}", a.subject) for a in desk.records("alert") if a.severity == severity]


@pytest.mark.covers("R4.8")
def test_a_silent_symbol_is_asked_for_and_then_sold_after_more_than_fifteen_minutes() -> None:
    desk = held("AAPL", "KO")
    trade(desk, "KO", until="15:04")
    assert asked(desk) == []
    trade(desk, "KO", until="15:15")
    assert asked(desk) == [("AAPL", f"15:{minute:02}") for minute in range(5, 16)]  # once a loop tick
    assert sold(desk) == []
    assert desk.row.positions[0].symbol in ("AAPL", "KO")
    trade(desk, "KO", until="15:16")
    assert sold(desk) == [("AAPL", "stale_price", "15:16")]
    decision = desk.decisions[-1]
    position = next(held for held in desk.row.positions if held.symbol == "AAPL")
    assert (decision.source_type, decision.source_id) == ("exit", f"{position.position_id}:stale_price:1")
    assert alerts(desk, "warning") == [("15:05", "No price of AAPL"), ("15:16", "AAPL is sold: its price is stale")]
    assert circuit_breaker.trading_state(desk.row) == "active"
    trade(desk, "KO", until="15:40")
    assert len(sold(desk)) == 1


@pytest.mark.covers("R4.8")
def test_the_last_known_price_is_used_meanwhile_and_warned_of_once_a_silence() -> None:
    desk = held("AAPL", "KO")
    trade(desk, "KO", until="15:12")
    assert next(p for p in desk.row.positions if p.symbol == "AAPL").last_price == 10
    assert alerts(desk, "warning") == [("15:05", "No price of AAPL")]
    assert [each for each in desk.notifications if "No price" in each.subject] == []  # recorded, nobody is woken
    desk.mark("AAPL", "10.10", at=at("15:12:30"), quoted=True)
    trade(desk, "KO", until="15:19")
    assert alerts(desk, "warning")[1:] == [("15:18", "No price of AAPL")]


@pytest.mark.covers("R4.8")
def test_a_direct_quote_keeps_a_position() -> None:
    desk = held("AAPL", "KO")
    for minute in (10, 20, 30, 40):
        trade(desk, "KO", until=f"15:{minute}")
        desk.mark("AAPL", "10", quoted=True)
    assert sold(desk) == []


@pytest.mark.covers("R4.8")
def test_the_minutes_are_configurable() -> None:
    desk = held("AAPL", "KO", quote_after_minutes=2, stale_price_minutes=4)
    trade(desk, "KO", until="15:05")
    assert asked(desk)[0] == ("AAPL", "15:02")
    assert sold(desk) == [("AAPL", "stale_price", "15:05")]


@pytest.mark.covers("R4.8")
def test_silence_is_counted_in_session_time() -> None:
    desk = held("AAPL", "KO", now=at("20:44"))
    for symbol in ("AAPL", "KO"):
        desk.mark(symbol, "10", at=at("20:58"))
    trade(desk, "KO", until="20:59")
    desk.effects.clear()
    desk.clock(at("14:30", on=TUESDAY))
    assert asked(desk) == []
    trade(desk, "KO", until="14:33", on=TUESDAY)
    assert asked(desk) == [("AAPL", "14:33")]  # 2 minutes on Monday and 3 on Tuesday
    trade(desk, "KO", until="14:43", on=TUESDAY)
    assert sold(desk) == []
    trade(desk, "KO", until="14:44", on=TUESDAY)
    assert sold(desk) == [("AAPL", "stale_price", "14:44")]


@pytest.mark.covers("R4.8")
def test_a_mute_feed_sells_nothing_and_stops_entries_until_a_price_comes() -> None:
    desk = held("AAPL", "KO")
    desk.clock(at("15:15"))
    assert circuit_breaker.trading_state(desk.row) == "active"
    desk.clock(at("15:16"))
    assert circuit_breaker.trading_state(desk.row) == "reducing"
    assert alerts(desk, "critical") == [("15:16", "The price feed is silent")]
    desk.recommend("XOM", sector="energy", at=at("15:20"))
    assert desk.reason == "price_unavailable"
    assert desk.gate("price_unavailable").value == "no price of any holding"
    desk.clock(at("17:00"))
    assert sold(desk) == []
    assert len(alerts(desk, "critical")) == 1
    desk.restart()
    desk.mark("KO", "10", at=at("17:01"))
    assert circuit_breaker.trading_state(desk.row) == "active"
    desk.hold("XOM", sector="energy")
    assert desk.reason is None


@pytest.mark.covers("R4.8")
def test_after_the_hold_each_symbol_has_its_fifteen_minutes_anew() -> None:
    desk = held("AAPL", "KO")
    desk.clock(at("16:00"))
    desk.mark("KO", "10", at=at("16:00:30"))
    trade(desk, "KO", until="16:15:30")
    assert sold(desk) == []
    trade(desk, "KO", until="16:16:30")
    assert sold(desk) == [("AAPL", "stale_price", "16:16")]


@pytest.mark.covers("R4.8")
def test_a_feed_that_dies_sells_none_for_having_been_the_first_to_be_silent() -> None:
    desk = held("AAPL", "KO", "XOM")
    for symbol, second in (("AAPL", 5), ("KO", 31), ("XOM", 59)):
        desk.mark(symbol, "10", at=at("15:10") + dt.timedelta(seconds=second))
    for minute in range(11, 40):
        desk.clock(at(f"15:{minute}"))
    assert sold(desk) == []
    assert alerts(desk, "critical") == [("15:26", "The price feed is silent")]  # XOM's 15:10:59 and 15 minutes


@pytest.mark.covers("R4.8")
def test_close_sells_everything_when_the_feed_is_silent() -> None:
    desk = held("AAPL", "KO", stale_feed_action="close")
    desk.clock(at("15:15"))
    assert sold(desk) == []
    desk.clock(at("15:16"))
    assert sorted(sold(desk)) == [("AAPL", "stale_price", "15:16"), ("KO", "stale_price", "15:16")]
    assert alerts(desk, "critical") == [("15:16", "The price feed is silent")]
    desk.clock(at("15:30"))
    assert len(sold(desk)) == 2


@pytest.mark.covers("R4.8")
def test_the_silence_of_a_single_holding_without_a_canary_is_the_feeds() -> None:
    desk = held("AAPL")
    desk.clock(at("15:40"))
    assert sold(desk) == []
    assert circuit_breaker.trading_state(desk.row) == "reducing"


@pytest.mark.covers("R4.8")
@pytest.mark.parametrize("canary", ["reading", "mark"])
def test_with_a_canary_that_is_heard_a_single_silent_holding_is_sold(canary: str) -> None:
    desk = held("AAPL")
    for minute in range(1, 17):
        desk.now = at(f"15:{minute:02}")
        desk.stress("12", name="realised_volatility") if canary == "reading" else desk.mark("SPY", "500")
        assert sold(desk) == ([] if minute < 16 else [("AAPL", "stale_price", "15:16")])
    assert circuit_breaker.trading_state(desk.row) == "active"


@pytest.mark.covers("R4.8")
def test_a_vix_is_no_canary_and_a_silent_canary_leaves_the_feed_silent() -> None:
    desk = held("AAPL")
    desk.stress("12", name="realised_volatility")
    for minute in range(1, 17):
        desk.now = at(f"15:{minute:02}")
        desk.stress("12", name="vix")
    assert sold(desk) == []
    assert circuit_breaker.trading_state(desk.row) == "reducing"
    desk.now = at("15:17")
    desk.stress("12", name="realised_volatility")
    assert circuit_breaker.trading_state(desk.row) == "active"


@pytest.mark.covers("R4.8")
def test_a_jump_over_a_whole_session_is_feed_silence_and_never_a_stale_symbol() -> None:
    desk = held("AAPL", "KO", now=at("20:44"))
    for symbol, clock in (("AAPL", "20:46"), ("KO", "20:59")):
        desk.mark(symbol, "10", at=at(clock))
    desk.clock(at("22:00", on=TUESDAY))  # at the window's open it was silent for 1 minute of Monday and 15 of Tuesday
    assert alerts(desk, "critical") == [("14:45", "The price feed is silent")]
    desk.mark("KO", "10", at=at("22:01", on=TUESDAY))
    wednesday = TUESDAY + days(1)
    desk.mark("KO", "10", at=at("14:31", on=wednesday))
    trade(desk, "KO", until="14:45", on=wednesday)
    assert sold(desk) == []
    trade(desk, "KO", until="14:46", on=wednesday)
    assert sold(desk) == [("AAPL", "stale_price", "14:46")]


@pytest.mark.covers("R4.8")
def test_a_night_and_a_weekend_are_no_silence() -> None:
    friday = MONDAY + days(4)
    desk = held("AAPL", "KO", now=at("20:44", on=friday))
    for symbol in ("AAPL", "KO"):
        desk.mark(symbol, "10", at=at("20:59", on=friday))
    desk.clock(at("13:44") + days(7))  # the clocks went forward: 14 minutes into the session
    assert circuit_breaker.trading_state(desk.row) == "active"
    assert sold(desk) == []


def test_a_price_that_is_itself_old_does_not_end_the_hold() -> None:
    desk = held("AAPL", "KO")
    desk.clock(at("16:00"))
    desk.mark("KO", "10", at=at("16:00"), price_at=at("15:30"))
    assert circuit_breaker.trading_state(desk.row) == "reducing"
    desk.mark("KO", "10", at=at("16:01"))
    assert circuit_breaker.trading_state(desk.row) == "active"


def test_the_hold_ends_with_the_last_holding() -> None:
    desk = held("AAPL")
    desk.clock(at("15:30"))
    assert circuit_breaker.trading_state(desk.row) == "reducing"
    desk.recommend("AAPL", "sell")
    desk.fill(desk.orders("sell")[0])
    assert desk.row.positions == ()
    assert circuit_breaker.trading_state(desk.row) == "active"


def test_an_exit_that_waited_for_the_open_is_as_patient_as_a_stale_price() -> None:
    desk = held("AAPL", "KO")
    for symbol in ("AAPL", "KO"):
        desk.mark(symbol, "10", at=at("20:59:30"))
    desk.mark("AAPL", "8.90", at=at("21:00:30"))
    trade(desk, "KO", until="14:45", on=TUESDAY, every=60)
    desk.mark("KO", "10", at=at("14:44:30", on=TUESDAY))
    desk.clock(at("14:45", on=TUESDAY))
    assert sold(desk) == []
    trade(desk, "KO", until="14:46:30", on=TUESDAY)
    assert sold(desk) == [("AAPL", "stop_loss", "14:46")]


def test_an_exit_that_waited_for_the_open_goes_on_waiting_while_the_whole_feed_is_mute() -> None:
    desk = held("AAPL", "KO", now=at("20:44"))
    desk.mark("AAPL", "10", at=at("20:50"))
    desk.mark("KO", "10", at=at("20:59"))
    desk.clock(at("21:00"))
    desk.mark("AAPL", "8.90", at=at("21:01"), price_at=at("20:50"))  # reported late
    desk.clock(at("15:30", on=TUESDAY))
    assert sold(desk) == []
    desk.mark("KO", "10", at=at("15:31", on=TUESDAY))
    trade(desk, "KO", until="15:46", on=TUESDAY)
    assert sold(desk) == []
    trade(desk, "KO", until="15:47", on=TUESDAY)
    assert sold(desk) == [("AAPL", "stop_loss", "15:47")]


@given(
    marks=st.lists(st.tuples(st.sampled_from(sorted(SECTORS)), st.integers(0, 400)), max_size=30),
    closes=st.booleans(),
)
@pytest.mark.covers("R4.8")
def test_a_position_is_sold_for_silence_exactly_when_the_feed_went_on_without_it(
    marks: list[tuple[str, int]], closes: bool
) -> None:
    """Compare minute by minute with the rule in words, on marks at whole minutes."""
    desk = held(*SECTORS, stale_feed_action="close" if closes else "hold")
    heard = dict.fromkeys(SECTORS, 0)
    since, silent, gone = 0, False, set[str]()
    by_minute: dict[int, list[str]] = {}
    elapsed = 0
    for symbol, gap in marks:
        elapsed += 1 + gap // 20
        by_minute.setdefault(elapsed, []).append(symbol)
    for minute in range(1, min(elapsed + 40, 300)):
        newest = max(heard.values())
        silent = silent or minute - newest > 15
        for symbol in sorted(SECTORS):
            begun = max(heard[symbol], since)
            alone = not silent and minute - begun > 15 and newest - begun > 5
            if alone or (silent and closes):
                gone.add(symbol)
        desk.clock(at("15:00") + minutes(minute))
        for symbol in by_minute.get(minute, ()):
            heard[symbol] = minute
            if silent:
                silent, since = False, minute
            desk.mark(symbol, "10")
        assert {order.symbol for order in desk.orders("sell")} == gone
        assert (desk.row.feed_silent_since is not None) == silent
        assert staleness.is_feed_silent(desk.row) == silent
