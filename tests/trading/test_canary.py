"""An account's canary (R6.3, decisions 15 and 19): a chosen one is asked of `watch`, and its readings alone count."""

from decimal import Decimal

import pytest

from tests.trading.desk import Desk, minutes
from trading import circuit_breaker, staleness
from trading.effects import LevelsRemoved, StopLevels
from trading.events import AccountRestored
from trading.portfolio import row_hash

pytestmark = pytest.mark.covers("R6.3")


def volatility(desk: Desk) -> Decimal | None:
    reading = circuit_breaker.stress(desk.row)
    return None if reading is None else reading.value


def test_the_default_canary_needs_no_asking() -> None:
    desk = Desk()
    desk.configure(market_stress_threshold="30")
    assert desk.of(StopLevels) == desk.of(LevelsRemoved) == []


def test_a_chosen_canary_is_asked_of_watch_until_another_is_chosen() -> None:
    desk = Desk()
    assert desk.configure(canary_symbol="QQQ").accepted
    asked = desk.levels("QQQ")
    assert isinstance(asked, StopLevels)
    assert (asked.canary, asked.stop, asked.target, asked.watch) == (True, None, None, ())
    desk.configure(canary_symbol="IWM")
    assert isinstance(desk.levels("QQQ"), LevelsRemoved)
    assert isinstance(desk.levels("IWM"), StopLevels)
    desk.configure(canary_symbol="SPY")
    assert isinstance(desk.levels("IWM"), LevelsRemoved)
    assert isinstance(desk.levels("SPY"), LevelsRemoved)  # it is followed without


def test_a_canary_that_is_bought_and_sold_stays_one() -> None:
    desk = Desk(gradual_entry_tranches=1)
    desk.configure(canary_symbol="AAPL")
    desk.hold("AAPL", sector="technology", atr="0.5")
    levels = desk.levels("AAPL")
    assert isinstance(levels, StopLevels)
    assert levels.canary
    assert levels.stop is not None
    desk.mark("AAPL", "5")
    desk.fill(desk.orders("sell")[-1], price="5")
    assert desk.row.positions == ()
    levels = desk.levels("AAPL")
    assert isinstance(levels, StopLevels)
    assert (levels.canary, levels.stop) == (True, None)


def test_readings_of_the_accounts_own_canary_count_and_of_no_other() -> None:
    desk = Desk()
    desk.stress("20", name="realised_volatility", symbol="SPY")
    assert volatility(desk) == 20
    desk.configure(canary_symbol="QQQ")
    assert volatility(desk) is None  # what the one before has said is forgotten
    desk.stress("50", name="realised_volatility", symbol="SPY")
    assert volatility(desk) is None
    desk.stress("21", name="realised_volatility", symbol="QQQ")
    assert volatility(desk) == 21
    desk.stress("22", name="realised_volatility")  # a producer who names no symbol speaks to all
    assert volatility(desk) == 22
    desk.stress("36")
    assert volatility(desk) == 36  # a vix takes precedence


@pytest.mark.covers("R4.8")
def test_the_prices_of_a_chosen_canary_show_that_the_feed_is_alive() -> None:
    desk = Desk(gradual_entry_tranches=1)
    desk.configure(canary_symbol="QQQ")
    desk.hold("AAPL", sector="technology", atr="0.5")
    for _ in range(14):
        desk.now += minutes(1)
        desk.mark("QQQ", "500")
    assert desk.row.canary_at == desk.now
    desk.configure(canary_symbol="SPY")
    assert desk.row.canary_at is None
    desk.now += minutes(2)
    desk.mark("QQQ", "500")
    assert staleness.is_feed_silent(desk.row)


def test_a_start_without_the_log_asks_for_it_anew() -> None:
    desk = Desk()
    desk.configure(canary_symbol="QQQ")
    desk.seq += 1_000
    row = desk.row
    effects = desk.send(
        AccountRestored(account_id=row.account_id, at=None, state=row, hash=row_hash(row), mode="paper", build="b")
    )
    assert [levels.symbol for levels in desk.of(StopLevels, effects)] == ["QQQ"]
