"""A symbol's facts against TA-Lib, and how ticks and bars that come late or twice are taken."""

import datetime as dt
from decimal import Decimal

import numpy
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.strategies import prices
from tests.trading.desk import at, days, minutes
from tests.trading.prices import ibm_bars
from trading import market
from trading.inputs import Company, EarningsDate, PriceBar, Tick
from trading.market import SymbolFacts
from trading.policy import TradingPolicy

EMPTY = SymbolFacts(symbol="IBM")


def bar(day: int, *, high: str = "11", low: str = "9", close: str = "10", interval: str = "1d") -> PriceBar:
    fields = {"open": Decimal(low), "high": Decimal(high), "low": Decimal(low), "close": Decimal(close)}
    return PriceBar(symbol="IBM", interval=interval, volume=Decimal(0), at=at("21:00") + days(day), **fields)


def folded(bars: tuple[PriceBar, ...]) -> SymbolFacts:
    facts = EMPTY
    for each in bars:
        facts = market.with_bar(facts, each)
    return facts


@pytest.mark.covers("R4.1")
def test_atr_of_real_prices_equals_ta_libs_after_each_bar() -> None:
    bars = ibm_bars()
    columns = (numpy.array([float(getattr(each, name)) for each in bars]) for name in ("high", "low", "close"))
    expected = talib.ATR(*columns, timeperiod=14)
    facts = EMPTY
    for each, theirs in zip(bars, expected, strict=True):
        facts = market.with_bar(facts, each)
        if numpy.isnan(theirs):
            assert facts.atr is None
        else:
            assert facts.atr is not None
            assert abs(float(facts.atr) - theirs) < 1e-7
    assert facts.atr is not None


@pytest.mark.covers("R4.1")
def test_atr_needs_fifteen_bars() -> None:
    assert folded(tuple(bar(day) for day in range(14))).atr is None
    assert folded(tuple(bar(day) for day in range(15))).atr == Decimal(2)  # each true range is 11 - 9


def test_a_gap_counts_into_the_true_range() -> None:
    later = market.DailyBar(at=at("21:00"), high=Decimal(15), low=Decimal(14), close=Decimal("14.5"))
    assert market.true_range(later, previous_close=Decimal(10)) == Decimal(5)  # 15 - 10, not 15 - 14


def test_a_wilder_step_weighs_the_new_range_with_a_fourteenth() -> None:
    facts = folded((*(bar(day) for day in range(15)), bar(15, high="16", low="9")))
    assert facts.atr == market.ratio((2 * 13 + 7) / 14)


@given(st.permutations(range(20)))
def test_bars_in_any_order_end_in_the_same_facts(order: list[int]) -> None:
    bars = ibm_bars()[:20]
    assert folded(tuple(bars[place] for place in order)) == folded(bars)


def test_a_second_record_of_a_session_replaces_the_first() -> None:
    bars = tuple(bar(day) for day in range(16))
    mended = bar(15, high="30", low="9")
    assert folded((*bars, mended)) == folded((*bars[:-1], mended))


def test_bars_of_other_intervals_change_nothing() -> None:
    assert market.with_bar(EMPTY, bar(0, interval="5m")) == EMPTY


def test_ninety_bars_are_kept() -> None:
    assert len(folded(tuple(bar(day) for day in range(100))).bars) == 90


def tick(price: str, clock: str) -> Tick:
    return Tick(at=at(clock), price=Decimal(price))


def test_an_older_tick_changes_nothing() -> None:
    facts = market.with_ticks(EMPTY, (tick("10", "15:00"),))
    assert market.with_ticks(facts, (tick("99", "14:59:59"),)) == facts


@pytest.mark.covers("R7.3")
def test_a_fast_move_is_counted_from_the_lowest_and_the_highest_of_fifteen_minutes() -> None:
    facts = market.with_ticks(EMPTY, (tick("100", "15:00"), tick("95", "15:05"), tick("104.5", "15:10")))
    assert market.fast_move(facts) == Decimal("0.1")  # 104.5 / 95 - 1
    facts = market.with_ticks(facts, (tick("104.5", "15:21"),))
    assert market.fast_move(facts) == 0  # the 95 is older than 15 minutes
    assert market.fast_move(EMPTY) == 0


@pytest.mark.covers("R7.3")
def test_a_fast_move_may_be_counted_over_fewer_minutes() -> None:
    facts = market.with_ticks(EMPTY, (tick("100", "15:00"), tick("104", "15:05"), tick("106.08", "15:09:59")))
    assert market.fast_move(facts) == Decimal("0.0608")
    assert market.fast_move(facts, within=dt.timedelta(minutes=5)) == Decimal("0.02")  # 106.08 / 104 - 1
    assert TradingPolicy.model_fields["fast_move_minutes"].default * 60 == market.FAST_WINDOW.total_seconds()
    with pytest.raises(ValidationError):
        TradingPolicy(fast_move_minutes=16)


@given(st.lists(st.tuples(st.integers(0, 3000), prices()), min_size=1, max_size=30), st.integers(1, 30))
def test_ticks_in_batches_end_in_the_same_facts_as_one_by_one(drawn: list[tuple[int, Decimal]], size: int) -> None:
    ticks = [Tick(at=at("15:00") + dt.timedelta(seconds=second), price=price) for second, price in sorted(drawn)]
    single = batched = EMPTY
    for each in ticks:
        single = market.with_ticks(single, (each,))
    for place in range(0, len(ticks), size):
        batched = market.with_ticks(batched, tuple(ticks[place : place + size]))
    assert single == batched


def test_a_symbol_without_a_company_is_not_known() -> None:
    assert not market.candidate(None).known
    assert not market.candidate(EMPTY).known
    known = market.with_company(EMPTY, Company(symbol="IBM", name="IBM", sector="technology"))
    assert market.candidate(known).known
    assert not market.candidate(market.with_company(known, None)).known


@pytest.mark.covers("R10.1")
def test_the_candidate_carries_price_atr_closes_sector_and_earnings() -> None:
    facts = market.with_company(folded(ibm_bars()[:20]), Company(symbol="IBM", name="IBM", sector="technology"))
    facts = market.with_ticks(facts, (tick("130.5", "15:00"),))
    report = EarningsDate(symbol="IBM", earnings_on=dt.date(2026, 3, 20), session="amc", source="calendar")
    candidate = market.candidate(market.with_earnings(facts, report))
    assert (candidate.sector, candidate.last_price, candidate.last_price_at) == (
        "technology",
        Decimal("130.5"),
        at("15:00"),
    )
    assert (candidate.earnings_on, candidate.earnings_session) == (dt.date(2026, 3, 20), "amc")
    assert candidate.atr == facts.atr
    assert candidate.closes == tuple((each.at.date(), each.close) for each in ibm_bars()[:20])
    assert market.candidate(market.with_earnings(facts, None)).earnings_on is None


def test_minutes_keep_the_span_of_each_minute() -> None:
    facts = market.with_ticks(EMPTY, (tick("10", "15:00:10"), tick("12", "15:00:20"), tick("11", "15:01")))
    assert [(span.at, span.low, span.high) for span in facts.minutes] == [
        (at("15:00"), Decimal(10), Decimal(12)),
        (at("15:00") + minutes(1), Decimal(11), Decimal(11)),
    ]
