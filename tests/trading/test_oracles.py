"""The statistics and the calendar against independent libraries, on all the real prices of `data/`."""

import csv
import datetime as dt
import itertools
import pathlib
from decimal import Decimal

import exchange_calendars
import numpy
import pytest
import talib

from trading import correlation, market, trading_window
from trading.inputs import PriceBar
from trading.market import SymbolFacts

DATA = pathlib.Path(__file__).parent.parent.parent / "data"
SYMBOLS = ("AAPL", "AMD", "BAC", "CVX", "GE", "JPM", "KO", "PFE", "RRC", "WMT")
DAY = dt.timedelta(days=1)


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.covers("R4.1")
@pytest.mark.parametrize("symbol", ["IBM", "MSFT"])
def test_atr_equals_ta_libs_after_each_of_a_thousand_real_bars(symbol: str) -> None:
    days = [row for row in rows("ohlcv_daily.csv") if row["symbol"] == symbol]
    assert len(days) > 1_000
    columns = [numpy.array([float(row[name]) for row in days]) for name in ("high", "low", "close")]
    expected = talib.ATR(*columns, timeperiod=14)
    facts = SymbolFacts(symbol=symbol)
    for row, theirs in zip(days, expected, strict=True):
        prices = {name: Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")}
        at = dt.datetime.combine(dt.date.fromisoformat(row["date"]), dt.time(21), tzinfo=dt.UTC)
        facts = market.with_bar(facts, PriceBar(symbol=symbol, interval="1d", at=at, **prices))
        assert (facts.atr is None) == bool(numpy.isnan(theirs))
        assert facts.atr is None or abs(float(facts.atr) - theirs) < 1e-7  # nine places, rounded once a bar


@pytest.mark.covers("R9.1")
@pytest.mark.parametrize("end", range(90, 1_500, 200))
def test_correlation_of_ninety_real_closes_equals_numpys_for_every_pair(end: int) -> None:
    days = rows("daily_closes.csv")[: end + 1]
    closes = {
        symbol: tuple((dt.date.fromisoformat(row["date"]), Decimal(row[symbol])) for row in days) for symbol in SYMBOLS
    }
    table = numpy.array([[float(row[symbol]) for symbol in SYMBOLS] for row in days[-90:]])
    expected = numpy.corrcoef(numpy.diff(table, axis=0) / table[:-1], rowvar=False)
    for (one, first), (other, second) in itertools.product(enumerate(SYMBOLS), repeat=2):
        ours, count = correlation.pair(closes[first], closes[second])
        assert count == 89  # the returns of 90 closes
        assert ours is not None
        assert abs(float(ours) - expected[one, other]) < 1e-9


@pytest.mark.covers("R11.1")
def test_the_days_on_which_the_index_really_traded_are_the_sessions() -> None:
    """The S&P 500's own dates, 2013 to 2018: holidays, and the day of mourning for a president, are not in them."""
    traded = [dt.date.fromisoformat(row["date"]) for row in rows("sp500.csv")]
    sessions, day = [], dt.datetime.combine(traded[0], dt.time(5), tzinfo=dt.UTC)
    while (session := trading_window.next_session(day)) is not None and session.on <= traded[-1]:
        sessions.append(session.on)
        day = session.close_at
    assert sessions == traded


@pytest.mark.covers("R11.1")
def test_every_session_of_thirty_years_has_the_exchanges_own_open_and_close() -> None:
    calendar = exchange_calendars.get_calendar("XNYS", start="2010-01-04", end="2040-12-31")
    theirs = list(zip(calendar.sessions, calendar.opens, calendar.closes, strict=True))
    halves, day = 0, theirs[0][1].to_pydatetime() - DAY / 24
    for label, opened, closed in theirs:
        session = trading_window.next_session(day)
        assert session is not None
        assert (session.on, session.open_at, session.close_at) == (label.date(), opened, closed)
        halves += session.close_at - session.open_at < dt.timedelta(hours=6)
        day = session.close_at
    assert halves > 50  # half days are among them: two or three a year
