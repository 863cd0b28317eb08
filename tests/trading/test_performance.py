"""The performance tracker (R14): every metric by arithmetic, Sharpe and drawdown by an independent library."""

import csv
import datetime as dt
import itertools
import json
import math
import pathlib
import re
from decimal import Decimal
from typing import Any

import empyrical
import exchange_calendars
import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import cents, instants
from tests.trading.desk import MONDAY, Desk, at, days, minutes
from trading import history, performance
from trading.history import History, Result
from trading.money import settled
from trading.portfolio import Portfolio, row_bytes

D = Decimal
CALENDAR = exchange_calendars.get_calendar("XNYS", start="2010-01-04", end="2040-12-31")
DATA = pathlib.Path(__file__).parent.parent.parent / "data" / "daily_closes.csv"
NUMBER = re.compile(r"-?\d+(\.\d+)?")
TUESDAY = MONDAY + days(1)


def trading(**changes: Any) -> Desk:
    """Return a desk whose entries buy three shares at 10 dollars in one tranche."""
    return Desk(gradual_entry_tranches=1, base_allocation_pct="0.04", **changes)  # 500 x 0.04 x 1.4545 x 1.2 = 34.91


def trade(desk: Desk, price: str, symbol: str = "AAPL", **fill: Any) -> Any:
    """Buy three shares at 10 dollars and sell them at a price; return the sell."""
    assert desk.hold(symbol).quantity == 3
    desk.recommend(symbol, "sell")
    desk.fill(desk.orders("sell", symbol)[-1], price, **fill)
    return desk.orders("sell", symbol)[-1]


def metrics(desk: Desk) -> dict[str, Any]:
    found: dict[str, Any] = desk.records("performance_metrics")[-1].metrics
    return found


def numbers(fields: dict[str, Any]) -> dict[str, Any]:
    """Return metrics with their decimal strings as decimals: 2.4 and 2.40 are one number."""
    return {
        name: D(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value
        for name, value in fields.items()
    }


def closes_of(symbol: str) -> list[Decimal]:
    with DATA.open(encoding="utf-8") as file:
        return [Decimal(row[symbol]) for row in csv.DictReader(file)]


@pytest.mark.covers("R14.1")
@pytest.mark.covers("R12.4")
def test_the_metrics_of_three_trades_are_what_a_pencil_says() -> None:
    desk = trading()
    for price in ("11", "10.50", "9.20"):  # + 3.00, + 1.50, - 2.40 dollars
        trade(desk, price)
    desk.hold("KO", sector="staples")
    desk.mark("KO", "10.10")
    desk.clock(at("15:05"))
    found = metrics(desk)
    assert numbers(found) == numbers(
        {
            "total_value": "502.40",  # 500 + 2.10 + 0.30
            "active_pool": "501.50",
            "reserve_pool": "0.90",  # a fifth of 3.00 and of 1.50
            "unrealized_pnl": "0.30",
            "realized_pnl": "2.10",
            "daily_pnl": "2.40",
            "trade_count": 3,
            "win_count": 2,
            "loss_count": 1,
            "win_rate": "0.666666666667",
            "average_win": "2.25",
            "average_loss": "2.4",
            "profit_factor": "1.875",  # 4.50 / 2.40
            "sharpe_ratio": None,
            "max_drawdown": "0.004757185332",  # 2.40 / 504.50
            "current_drawdown": "0.004162537166",  # 2.10 / 504.50
            "cumulative_return": "0.0048",  # 2.40 / 500
            "tax_adjusted_pnl": "2.10",
            "micro": found["micro"],
            "undefined": {"sharpe_ratio": "fewer_than_10_daily_returns"},
        }
    )


@pytest.mark.covers("R14.1")
def test_what_is_undefined_is_null_with_its_reason() -> None:
    desk = Desk()
    desk.clock(at("15:05"))
    found = metrics(desk)
    reasons = found["undefined"]
    assert reasons == {
        "win_rate": "no_closed_trades",
        "average_win": "no_wins",
        "average_loss": "no_losses",
        "profit_factor": "no_losses",
        "sharpe_ratio": "fewer_than_10_daily_returns",
    }
    assert all(found[name] is None for name in reasons)
    assert [name for name, value in found.items() if value is None] == list(reasons)
    for day in range(1, 15):
        desk.clock(at("15:05", on=MONDAY + days(day)))
    assert len(desk.row.history.returns) == 10
    assert metrics(desk)["undefined"]["sharpe_ratio"] == "zero_variance"


def test_a_loss_put_off_lifts_the_tax_adjusted_figure_alone_until_it_comes_back() -> None:
    desk = trading()
    trade(desk, "9")
    past = history.with_deferred(desk.row.history, D("1.25"))
    desk.portfolio = desk.row.model_copy(update={"history": past})
    desk.clock(at("15:05"))
    assert (metrics(desk)["realized_pnl"], metrics(desk)["tax_adjusted_pnl"]) == ("-3", "-1.75")


@pytest.mark.covers("R14.1")
def test_metrics_come_every_five_minutes_of_the_session_and_end_with_its_close() -> None:
    desk = Desk(now=at("14:00"))
    for minute in range(0, 9 * 60):
        desk.clock(at("14:00") + minutes(minute))
    instants = [record.at for record in desk.records("performance_metrics")]
    assert instants == [at("14:35") + minutes(5 * place) for place in range(78)]  # 6.5 hours
    assert instants[-1] == at("21:00")


def test_metrics_follow_the_configured_interval() -> None:
    desk = Desk()
    assert desk.configure(metrics_interval_seconds=600).accepted
    for minute in (1, 5, 10, 15, 20):
        desk.clock(at("15:00") + minutes(minute))
    assert [record.at for record in desk.records("performance_metrics")] == [at("15:05"), at("15:10"), at("15:20")]


@pytest.mark.parametrize(
    ("until", "last"),
    [
        (at("15:04:59"), None),
        (at("20:59"), at("20:55")),
        (at("23:00"), at("21:00")),
        (at("14:34", on=MONDAY + days(2)), at("21:00", on=TUESDAY)),
        (at("12:00", on=MONDAY + days(6)), at("21:00", on=MONDAY + days(4))),
    ],
)
def test_a_gap_has_one_measurement_at_its_last_due_instant(until: dt.datetime, last: dt.datetime | None) -> None:
    desk = Desk()
    desk.clock(until)
    assert [record.at for record in desk.records("performance_metrics")] == ([] if last is None else [last])


@given(instants(dt.date(2025, 1, 1), dt.date(2027, 1, 1)), st.lists(st.integers(1, 3000), min_size=1, max_size=6))
def test_metrics_are_measured_in_sessions_alone_and_at_most_once_a_gap(start: dt.datetime, gaps: list[int]) -> None:
    desk = Desk(now=start)
    for gap in gaps:
        measured = desk.records("performance_metrics", desk.clock(desk.now + minutes(gap)))
        assert len(measured) <= 1
        for record in measured:
            session = CALENDAR.minute_to_session(pandas.Timestamp(record.at) - pandas.Timedelta(minutes=1), "previous")
            since = pandas.Timestamp(record.at) - CALENDAR.session_open(session)
            assert since.total_seconds() % 300 == 0
            assert pandas.Timestamp(record.at) <= CALENDAR.session_close(session)


def test_on_the_close_the_metrics_still_show_the_day_that_ends() -> None:
    desk = trading()
    trade(desk, "11")
    desk.clock(at("21:00"))
    assert metrics(desk)["daily_pnl"] == "3"
    assert desk.records("portfolio_snapshot")[0].metrics["daily_pnl"] == "3"
    desk.clock(at("14:35", on=TUESDAY))
    assert metrics(desk)["daily_pnl"] == "0"


def test_a_trade_counts_once_when_its_closing_order_has_ended() -> None:
    desk = trading()
    desk.hold()
    desk.recommend(action="sell")
    sell = desk.orders("sell")[0]
    desk.fill(sell, "11", cumulative=1)
    assert desk.row.history.trades == 0
    desk.fill(sell, "9.70", cumulative=3)  # + 1.00 - 0.60
    assert (desk.row.history.trades, desk.row.history.wins, desk.row.history.won) == (1, 1, D("0.40"))
    desk.fill(sell, "9.70", cumulative=3)
    assert desk.row.history.trades == 1


def test_an_order_that_is_cancelled_with_fills_is_a_trade_and_one_without_is_none() -> None:
    desk = trading()
    desk.hold()
    desk.recommend(action="sell")
    first = desk.orders("sell")[0]
    desk.fill(first, "11", cumulative=2)
    desk.cancelled(first, cumulative=2)
    assert (desk.row.history.trades, desk.row.history.won) == (1, 2)
    desk.mark("AAPL", "10")
    second = desk.orders("sell")[1]
    desk.reject(second)
    assert desk.row.history.trades == 1
    desk.mark("AAPL", "10")
    desk.fill(desk.orders("sell")[2], "9")
    assert (desk.row.history.trades, desk.row.history.wins, desk.row.history.losses) == (2, 1, 1)


def test_a_fill_that_comes_after_its_order_had_ended_counts_the_trade_no_second_time() -> None:
    desk = trading()
    desk.hold()
    desk.recommend(action="sell")
    sell = desk.orders("sell")[0]
    desk.cancelled(sell, cumulative=0)
    assert desk.row.history.trades == 0
    desk.fill(sell, "11", cumulative=1)
    assert (desk.row.history.trades, desk.row.history.won) == (1, 1)
    desk.fill(sell, "11", cumulative=2)
    assert desk.row.history.trades == 1
    assert desk.row.realized_pnl == 2


def test_a_profit_of_nothing_is_neither_a_win_nor_a_loss() -> None:
    desk = trading()
    trade(desk, "10")
    past = desk.row.history
    assert (past.trades, past.wins, past.losses) == (1, 0, 0)
    assert past.days == ((MONDAY, 0, 0, 1),)


@pytest.mark.covers("R20.7")
def test_micro_trades_are_counted_apart_and_within_all() -> None:
    desk = trading()
    trade(desk, "11")
    for price, on in (("10.20", MONDAY), ("10.50", MONDAY), ("9.90", TUESDAY)):  # + 0.60, + 1.50, - 0.30
        desk.clock(at("15:30", on=on))
        desk.hold()
        micro = tuple(held.model_copy(update={"is_micro": True}) for held in desk.row.positions)
        desk.portfolio = desk.row.model_copy(update={"positions": micro})
        desk.recommend(action="sell")
        desk.fill(desk.orders("sell")[-1], price)
    desk.clock(at("15:35", on=TUESDAY))
    assert metrics(desk)["trade_count"] == 4
    assert numbers(metrics(desk)["micro"]) == numbers(
        {
            "trade_count": 3,
            "win_count": 2,
            "loss_count": 1,
            "win_rate": "0.666666666667",
            "total_pnl": "1.80",
            "average_pnl": "0.6",
            "trades_per_day": "1.5",
            "contribution": "0.375",  # 1.80 of 4.80 dollars
            "day": TUESDAY.isoformat(),
            "day_trade_count": 1,
            "day_pnl": "-0.30",
            "undefined": {},
        }
    )


def test_without_micro_trades_their_ratios_are_undefined() -> None:
    desk = Desk()
    desk.clock(at("15:05"))
    micro = metrics(desk)["micro"]
    assert set(micro["undefined"]) == {"win_rate", "average_pnl", "trades_per_day", "contribution"}
    assert all(micro[name] is None for name in micro["undefined"])


def test_nothing_of_a_loss_is_zero_without_a_sign() -> None:
    desk = trading()
    trade(desk, "9")
    desk.clock(at("15:05"))
    assert metrics(desk)["micro"]["contribution"] == "0"  # 0 of -3 dollars


@pytest.mark.covers("R14.3")
@pytest.mark.covers("R18.4")
def test_each_close_leaves_a_snapshot_with_returns_positions_and_metrics() -> None:
    desk = Desk(gradual_entry_tranches=1)
    assert desk.hold(atr="4").quantity == 4
    desk.mark("AAPL", "15")  # 20 dollars up
    desk.clock(at("21:00:30"))
    first = desk.records("portfolio_snapshot")[0]
    assert (first.session_on, first.at, first.portfolio_value) == (MONDAY, at("21:00"), 520)
    assert (first.active_pool, first.reserve_pool) == (520, 0)
    assert (first.daily_return, first.cumulative_return) == (D("0.04"), D("0.04"))
    assert first.positions == (
        {
            "symbol": "AAPL",
            "quantity": "4",
            "avg_entry_price": "10",
            "last_price": "15",
            "market_value": "60",
            "unrealized_pnl": "20",
            "stop_price": "2.00",
            "target_price": "22.00",
        },
    )
    assert first.metrics["total_value"] == "520"
    assert desk.row.day_base == 520
    desk.mark("AAPL", "12.40", at=at("15:00", on=TUESDAY))  # 520 x 0.98 = 509.60
    desk.clock(at("21:00", on=TUESDAY))
    second = desk.records("portfolio_snapshot")[1]
    assert (second.daily_return, second.cumulative_return) == (D("-0.02"), D("0.0192"))  # 1.04 x 0.98
    assert (second.metrics["max_drawdown"], second.metrics["cumulative_return"]) == ("0.02", "0.0192")


@given(instants(dt.date(2024, 1, 1), dt.date(2027, 1, 1)), st.integers(1, 40))
def test_every_session_of_a_gap_has_its_one_snapshot_at_its_close(start: dt.datetime, gap: int) -> None:
    desk = Desk(now=start)
    desk.clock(start + days(gap))
    closed = CALENDAR.closes[(CALENDAR.closes > start) & (CALENDAR.closes <= start + days(gap))]
    taken = [(record.session_on, record.at) for record in desk.records("portfolio_snapshot")]
    assert taken == [(session.date(), close.to_pydatetime()) for session, close in closed.items()]
    assert desk.row.history.sessions == len(taken)


def test_money_paid_out_is_no_loss_no_return_and_no_drawdown() -> None:
    desk = Desk()
    for _ in range(3):
        desk.snapshot(cash="450")
    assert (desk.row.peak_value, desk.row.max_drawdown) == (450, 0)
    desk.clock(at("21:00"))
    assert desk.records("portfolio_snapshot")[0].daily_return == 0


def test_a_changed_capital_limit_is_no_gain_and_no_drawdown() -> None:
    desk = Desk(cash="10000")
    desk.configure(capital_limit="400")
    assert (desk.row.peak_value, desk.row.max_drawdown) == (400, 0)
    desk.configure(capital_limit="900")
    assert (desk.row.peak_value, desk.row.max_drawdown) == (900, 0)
    desk.clock(at("21:00"))
    assert desk.records("portfolio_snapshot")[0].cumulative_return == 0


def test_the_peak_is_that_of_every_price_not_only_of_the_closes() -> None:
    desk = Desk(gradual_entry_tranches=1)
    desk.hold(atr="4")
    for price in ("15", "10", "12"):
        desk.mark("AAPL", price)
    assert desk.row.peak_value == 520
    assert desk.row.max_drawdown == settled(D(20) / 520)
    assert performance.current_drawdown(desk.row) == settled(D(12) / 520)


@pytest.mark.covers("R14.1")
@pytest.mark.parametrize("symbol", ["AAPL", "AMD", "BAC", "KO"])
def test_sharpe_is_empyricals_on_real_closes(symbol: str) -> None:
    closes = closes_of(symbol)
    returns = [settled(after / before - 1) for before, after in itertools.pairwise(closes)]
    for start in range(0, len(returns) - 30, 7):
        window = returns[start : start + 30]
        theirs = empyrical.sharpe_ratio(np.array([float(each) for each in window]))
        ours = performance.sharpe_ratio(window)
        assert ours is not None
        assert math.isclose(float(ours), theirs, rel_tol=0, abs_tol=6e-10)


@pytest.mark.parametrize("symbol", ["AAPL", "AMD", "RRC", "GE"])
def test_drawdown_is_empyricals_on_real_closes(symbol: str) -> None:
    closes = closes_of(symbol)
    returns = pandas.Series([float(close) for close in closes]).pct_change().fillna(0)
    assert math.isclose(float(performance.max_drawdown(closes)), -empyrical.max_drawdown(returns), abs_tol=1e-9)


@pytest.mark.covers("R14.1")
def test_an_account_that_follows_real_closes_has_empyricals_sharpe_and_drawdown() -> None:
    desk = Desk(gradual_entry_tranches=1)
    prices = [(close / closes_of("AMD")[0] * 10).quantize(D("0.01")) for close in closes_of("AMD")[:60]]
    quantity = desk.hold("AMD", atr="4").quantity
    curve = [D(500)]
    for close in CALENDAR.closes[CALENDAR.closes > pandas.Timestamp(desk.now)].iloc[:60]:
        price = prices[len(curve) - 1]
        desk.mark("AMD", price, at=close.to_pydatetime() - minutes(30))
        desk.clock(close.to_pydatetime())
        curve.append(500 - quantity * 10 + quantity * price)
    values = pandas.Series([float(value) for value in curve])
    returns = values.pct_change().dropna()
    found = desk.records("portfolio_snapshot")[-1]
    assert len(desk.row.history.returns) == 30
    assert float(found.metrics["sharpe_ratio"]) == pytest.approx(empyrical.sharpe_ratio(returns[-30:]), abs=1e-8)
    assert float(found.metrics["max_drawdown"]) == pytest.approx(-empyrical.max_drawdown(returns), abs=1e-9)
    assert float(found.cumulative_return) == pytest.approx(empyrical.cum_returns_final(returns), abs=1e-9)


@given(st.lists(st.decimals(D("-0.2"), D("0.2"), places=4), max_size=40))
def test_a_sharpe_ratio_is_a_number_or_none_and_is_scale_free(returns: list[Decimal]) -> None:
    found = performance.sharpe_ratio(returns)
    assert (found is None) == (len(returns) < 10 or len(set(returns)) == 1)
    if found is not None:
        assert found.is_finite()
        turned = performance.sharpe_ratio([-each for each in returns])
        assert turned == -found


@given(st.lists(cents("0", "1000"), min_size=1, max_size=30))
def test_a_drawdown_lies_between_nothing_and_everything(values: list[Decimal]) -> None:
    assert 0 <= performance.max_drawdown(values) <= 1
    assert performance.max_drawdown(sorted(values)) == 0


RESULTS = st.builds(
    Result,
    symbol=st.sampled_from(["AAPL", "KO"]),
    profit=st.decimals(D(-50), D(50), places=2),
    on=st.dates(dt.date(2026, 1, 1), dt.date(2026, 3, 31)),
    is_micro=st.booleans(),
)


@given(st.lists(RESULTS, max_size=60).map(lambda results: sorted(results, key=lambda result: result.on)))
def test_running_sums_are_the_sums_of_the_trades(results: list[Result]) -> None:
    past = History()
    for result in results:
        past = history.with_result(past, result)
    profits = [result.profit for result in results]
    assert past.trades == len(results)
    assert past.won == sum(profit for profit in profits if profit > 0)
    assert past.lost == -sum(profit for profit in profits if profit < 0)
    assert past.micro.pnl == sum(result.profit for result in results if result.is_micro)
    assert past.micro.days == len({result.on for result in results if result.is_micro})
    assert len(past.days) <= 30
    assert [profit for _, profit in past.week.best] == sorted((p for p in profits if p > 0), reverse=True)[:3]
    assert [profit for _, profit in past.week.worst] == sorted(p for p in profits if p < 0)[:3]
    if results:
        on = results[-1].on
        window = [result for result in results if result.on > on - days(30)]
        expected = (sum(r.profit > 0 for r in window), sum(r.profit < 0 for r in window), len(window))
        assert history.trailing(past, on=on) == expected


def test_a_trade_of_thirty_days_ago_has_left_the_window() -> None:
    past = History()
    for day in (0, 1, 30):
        result = Result(symbol="KO", profit=D(1), on=MONDAY + days(day), is_micro=False)
        past = history.with_result(past, result)
    assert history.trailing(past, on=MONDAY + days(30)) == (2, 0, 2)
    assert history.trailing(past, on=MONDAY + days(31)) == (1, 0, 1)


def test_the_history_of_years_stays_small_and_survives_a_restart() -> None:
    desk = trading()
    for day in range(100):
        desk.now = max(desk.now, at("15:00", on=MONDAY + days(day)))
        desk.clock(desk.now)
        if desk.recommend("AAPL") and desk.orders("buy") and desk.row.live("AAPL", side="buy"):
            desk.fill(desk.row.live("AAPL", side="buy")[0], "10")
            desk.recommend("AAPL", "sell")
            desk.fill(desk.orders("sell")[-1], "10.05" if day % 2 else "9.95")
    assert desk.row.history.trades > 60
    assert len(desk.row.history.model_dump_json()) < 4_000
    assert Portfolio.model_validate_json(row_bytes(desk.row)) == desk.row
    for record in desk.records("performance_metrics"):
        json.loads(json.dumps(record.metrics, allow_nan=False))
