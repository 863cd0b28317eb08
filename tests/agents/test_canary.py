"""The canary: when there is a reading, of which prices, and what begins the hour anew."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.canary import Canaries
from agents.ticks import Ticks
from tests.agents.world import OPEN, at
from trading.inputs import MarketStress
from trading.market_stress import realised_volatility

CLOSE = OPEN + dt.timedelta(hours=6, minutes=30)
PRICES = [Decimal(100 + (number * 7) % 5) for number in range(20)]
EXACTLY = [(OPEN + dt.timedelta(minutes=5 * number), price) for number, price in enumerate(PRICES)]


def canaries(*wanted: str) -> Canaries:
    return Canaries(lambda symbol: symbol in wanted)


def look(canary: Canaries, *ticks: tuple[dt.datetime, Decimal], symbol: str = "SPY") -> list[MarketStress]:
    """Show the canary ticks one record at a time."""
    return [
        reading
        for instant, price in ticks
        for reading in canary.look(Ticks.of(symbol, [instant], [price], is_quote=False))
    ]


@pytest.mark.covers("R6.3")
def test_the_first_reading_comes_an_hour_after_the_open_and_then_one_every_five_minutes() -> None:
    readings = look(canaries(), *EXACTLY)
    assert [reading.at for reading in readings] == [instant for instant, _ in EXACTLY[12:]]
    assert [reading.value for reading in readings] == [
        realised_volatility(PRICES[n - 12 : n + 1]) for n in range(12, 20)
    ]
    assert {reading.name for reading in readings} == {"realised_volatility"}


def test_a_boundary_between_two_ticks_has_the_price_of_the_one_before() -> None:
    """Each price stands a second before its boundary; the odd ticks after it change nothing."""
    first = (at(1), PRICES[0])
    before = [(instant - dt.timedelta(seconds=1), price) for instant, price in EXACTLY[1:]]
    readings = look(canaries(), first, *before, (EXACTLY[-1][0] + dt.timedelta(seconds=1), Decimal(1)))
    assert readings == look(canaries(), *EXACTLY)


def test_other_symbols_and_ticks_outside_the_session_say_nothing() -> None:
    assert look(canaries(), *EXACTLY, symbol="IWM") == []
    night = [(instant - dt.timedelta(hours=6), price) for instant, price in EXACTLY]
    assert look(canaries(), *night) == []
    assert look(canaries(), *night, *EXACTLY) == look(canaries(), *EXACTLY)


@pytest.mark.covers("R6.3")
def test_a_canary_that_an_account_wants_is_read_beside_the_default_one_and_names_itself() -> None:
    wanted = {"QQQ"}
    both = Canaries(wanted.__contains__)
    mixed = [(at, price, symbol) for at, price in EXACTLY[:14] for symbol in ("SPY", "QQQ")]
    readings = [reading for at, price, symbol in mixed for reading in look(both, (at, price), symbol=symbol)]
    assert [(reading.symbol, reading.at) for reading in readings] == [
        (symbol, at) for at, _ in EXACTLY[12:14] for symbol in ("SPY", "QQQ")
    ]
    wanted.clear()
    assert look(both, EXACTLY[14], symbol="QQQ") == []
    wanted.add("QQQ")
    assert look(both, *EXACTLY[15:], symbol="QQQ") == []  # an hour of its prices is missing again
    assert len(look(both, *EXACTLY[14:])) == 6


def test_five_minutes_without_a_tick_begin_the_hour_anew() -> None:
    with_a_hole = [tick for number, tick in enumerate(EXACTLY) if number not in {3, 4}]
    assert [reading.at for reading in look(canaries(), *with_a_hole)] == [
        EXACTLY[17][0],  # twelve returns after the price at 5
        EXACTLY[18][0],
        EXACTLY[19][0],
    ]


def test_no_return_spans_a_night() -> None:
    canary = canaries()
    assert len(look(canary, *EXACTLY)) == 8
    tomorrow = [(instant + dt.timedelta(days=1), price / 2) for instant, price in EXACTLY]
    assert [reading.at for reading in look(canary, *tomorrow)] == [instant for instant, _ in tomorrow[12:]]
    assert max(reading.value for reading in look(canaries(), *tomorrow)) < 1000  # half the price overnight is more


def test_the_last_boundary_is_five_minutes_before_the_close() -> None:
    minutes = [(OPEN + dt.timedelta(minutes=number), Decimal(100 + number % 3)) for number in range(400)]
    readings = look(canaries(), *minutes)
    assert (readings[0].at, readings[-1].at) == (OPEN + dt.timedelta(hours=1), CLOSE - dt.timedelta(minutes=5))
    assert len(readings) == 66  # 10:30 to 15:55 in New York


def test_a_worker_that_begins_within_the_session_waits_for_an_hour_of_new_ticks() -> None:
    canary = canaries()
    assert len(look(canary, *EXACTLY[:15])) == 3
    canary.forget()
    late = [(instant + dt.timedelta(seconds=90), price) for instant, price in EXACTLY]
    readings = look(canary, *late[1:])
    assert readings[0].at == EXACTLY[14][0]  # 13 prices, from the first boundary that it has seen passed
    assert readings[0].value == realised_volatility(PRICES[1:14])


@given(st.lists(st.integers(0, 7200), min_size=1, max_size=200, unique=True), st.integers(1, 50))
def test_how_ticks_are_batched_does_not_matter(seconds: list[int], size: int) -> None:
    instants = [at(each) for each in sorted(seconds)]
    prices = [Decimal(100 + each % 7) for each in sorted(seconds)]
    whole, parts = canaries(), canaries()
    together = whole.look(Ticks.of("SPY", instants, prices, is_quote=False))
    apart = []
    for begin in range(0, len(instants), size):
        part = slice(begin, begin + size)
        apart += parts.look(Ticks.of("SPY", instants[part], prices[part], is_quote=False))
    assert together == apart
    assert [reading.at for reading in together] == sorted({reading.at for reading in together})
    assert all(OPEN < reading.at < CLOSE for reading in together)
