"""Now, and the clock records that let time pass."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.clock import Now, Ticker, minute_passed
from tests.agents.world import at, text
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio


def row(account: str, seconds: int = 60) -> Portfolio:
    policy = TradingPolicy(polling_interval_seconds=seconds)
    return Portfolio(account_id=account, build="b", mode="paper", policy=policy)


@given(st.lists(st.integers(0, 1000)))
def test_event_time_never_goes_back_and_each_passed_minute_is_told_once(seconds: list[int]) -> None:
    now, told = Now(by_events=True), []
    for second in seconds:
        minute = now.see(at(second))
        if minute is not None:
            told.append(minute)
    assert told == sorted(set(told))
    assert now.event_time == max(map(at, seconds), default=None)
    if seconds:
        assert told[-1] == at(max(seconds) // 60 * 60)


def test_the_stamp_is_the_later_of_event_time_and_the_records_own_instant() -> None:
    now = Now(by_events=True)
    assert now.stamp(None) is None
    assert now.stamp(at(5)) == at(5)
    now.see(at(10))
    assert (now.stamp(at(5)), now.stamp(at(15)), now.stamp(None)) == (at(10), at(15), at(10))


def test_the_system_clock_ignores_event_time() -> None:
    now = Now(by_events=False, wall=lambda: at(99))
    assert now.see(at(1000)) is None
    assert (now.stamp(at(1000)), now.event_time, now.wall) == (at(99), at(99), at(99))
    assert Now(by_events=True).wall is None


def test_no_minute_passed_means_no_clock_record() -> None:
    assert minute_passed(None, ["paper"]) == []
    (clock,) = minute_passed(at(60), ["paper"])
    assert (clock.topic, clock.key) == ("account-inbox", b"paper")
    assert text(60).encode() in (clock.value or b"")


@pytest.mark.covers("R1.1")
def test_the_ticker_beats_once_a_polling_interval_and_at_least_once_a_minute() -> None:
    ticker, rows = Ticker(), {"slow": row("slow", 600), "fast": row("fast", 5)}
    beats: dict[str, list[int]] = {"slow": [], "fast": []}
    for second in range(121):
        for one in ticker.due(rows, ["slow", "fast", "unopened"], now=at(second)):
            beats[one.key.decode()].append(second)
    assert beats == {"slow": [0, 60, 120], "fast": list(range(0, 121, 5))}


def test_a_wall_clock_that_is_set_back_does_not_stop_the_ticker() -> None:
    ticker, rows = Ticker(), {"paper": row("paper")}
    assert len(ticker.due(rows, ["paper"], now=at(3600))) == 1
    assert len(ticker.due(rows, ["paper"], now=at(0))) == 1
    assert len(ticker.due(rows, ["paper"], now=at(59))) == 0


def test_a_clock_record_carries_the_wall_clocks_instant() -> None:
    (clock,) = Ticker().due({"paper": row("paper")}, ["paper"], now=dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC))
    assert b'"at":"2026-03-02T15:00:00Z"' in (clock.value or b"")
