"""Correlation against numpy on real prices, and what the rule makes of it (decision 4)."""

import itertools
from decimal import Decimal

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import closes as drawn_closes
from tests.trading import prices
from tests.trading.desk import Desk, days
from trading import correlation
from trading.market import Closes

SYMBOLS = ("AAPL", "AMD", "BAC", "CVX", "JPM", "KO", "RRC")


def numpys(first: Closes, second: Closes) -> float:
    one, other = dict(first), dict(second)
    common = sorted(one.keys() & other.keys())[-90:]
    columns = [numpy.array([float(side[day]) for day in common]) for side in (one, other)]
    returns = [numpy.diff(column) / column[:-1] for column in columns]
    return float(numpy.corrcoef(*returns)[0, 1])


@pytest.mark.covers("R9.1")
@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(SYMBOLS, 2)))
def test_a_pair_of_real_symbols_equals_numpys(first: str, second: str) -> None:
    ours, count = correlation.pair(prices.closes(first), prices.closes(second))
    assert ours is not None
    assert count == 89  # the returns of 90 closes
    assert abs(float(ours) - numpys(prices.closes(first), prices.closes(second))) < 1e-9


@given(drawn_closes(), drawn_closes())
def test_a_pair_is_symmetric_and_within_one(first: Closes, second: Closes) -> None:
    one, other = correlation.pair(first, second)[0], correlation.pair(second, first)[0]
    assert one == other
    assert one is None or -1 <= one <= 1


@given(drawn_closes())
def test_a_symbol_correlates_fully_with_itself(closes: Closes) -> None:
    assert correlation.pair(closes, closes)[0] in (Decimal(1), None)


def test_thirty_common_returns_are_the_least() -> None:
    apple, coke = prices.closes("AAPL"), prices.closes("KO")
    assert correlation.pair(apple[:31], coke)[0] is not None  # 31 common closes, 30 returns
    assert correlation.pair(apple[:30], coke) == (None, 29)


def test_only_days_that_both_traded_count() -> None:
    apple, coke = prices.closes("AAPL"), prices.closes("KO")
    shifted = tuple((day + days(3), close) for day, close in coke)
    assert correlation.pair(apple, shifted)[1] < 89


def test_prices_that_never_move_have_no_correlation() -> None:
    still = tuple((day, Decimal(10)) for day, _ in prices.closes("KO"))
    assert correlation.pair(prices.closes("AAPL"), still)[0] is None


@pytest.mark.covers("R9.1")
def test_the_matrix_of_real_symbols_holds_every_pair_once_and_equals_numpys() -> None:
    found = correlation.matrix({symbol: prices.closes(symbol) for symbol in reversed(SYMBOLS)})
    assert [(each.symbol_a, each.symbol_b) for each in found] == list(itertools.combinations(sorted(SYMBOLS), 2))
    for each in found:
        assert each.correlation is not None
        assert each.observations == 89
        expected = numpys(prices.closes(each.symbol_a), prices.closes(each.symbol_b))
        assert abs(float(each.correlation) - expected) < 1e-9


@given(st.dictionaries(st.sampled_from(SYMBOLS), drawn_closes(count=40), max_size=4))
def test_the_matrix_does_not_depend_on_the_order_of_its_symbols(closes: dict[str, Closes]) -> None:
    found = correlation.matrix(closes)
    assert found == correlation.matrix(dict(reversed(closes.items())))
    assert len(found) == len(closes) * (len(closes) - 1) // 2
    for each in found:
        assert each.symbol_a < each.symbol_b
        assert (each.correlation is None) or -1 <= each.correlation <= 1


def test_a_pair_without_thirty_returns_stands_in_the_matrix_without_a_correlation() -> None:
    found = correlation.matrix({"KO": prices.closes("KO"), "NEW": prices.closes("KO")[:5]})
    assert found == (correlation.Pair("KO", "NEW", None, 4),)


def rule(average: str) -> correlation.CorrelationRule:
    """Apply the rule to one holding whose pair with the candidate is `average`."""
    closes = mixed(float(average))
    desk = Desk()
    desk.hold("AAPL", closes=prices.closes("KO"))
    return correlation.rule(desk.row, closes=closes, policy=desk.row.policy)


def mixed(target: float) -> Closes:
    """Return closes whose returns correlate with those of KO by `target`: a mix of KO's and of an orthogonal series."""
    base = prices.closes("KO")
    column = numpy.array([float(close) for _, close in base])[-90:]
    returns = numpy.diff(column) / column[:-1]
    one = (returns - returns.mean()) / returns.std()
    other = numpy.array([float(close) for _, close in prices.closes("RRC")])[-90:]
    other = numpy.diff(other) / other[:-1]
    other = other - other.mean()
    other = other - one * (other @ one) / (one @ one)
    other = other / other.std()
    wanted = 0.01 * (target * one + numpy.sqrt(1 - target**2) * other)
    levels = 100 * numpy.cumprod(numpy.concatenate([[1.0], 1 + wanted]))
    return tuple((day, Decimal(f"{level:.12f}")) for (day, _), level in zip(base[-90:], levels, strict=True))


@pytest.mark.covers("R9.2")
@pytest.mark.covers("R2.5")
@pytest.mark.parametrize(
    ("value", "factor"),
    [
        (0.5, 1.0),
        (0.65, 0.5),  # (0.8 - 0.65) / 0.3
        (0.74, 0.2),  # (0.8 - 0.74) / 0.3, less than (1 - 0.74) / 0.3
        (-0.9, 1.0),
    ],
)
def test_the_allocation_falls_with_the_average(value: float, factor: float) -> None:
    found = rule(str(value))
    assert found.average is not None
    assert abs(float(found.average) - value) < 1e-8
    assert not found.rejected
    assert abs(float(found.factor) - factor) < 1e-7


@pytest.mark.covers("R9.3")
def test_an_average_above_the_limit_is_rejected() -> None:
    assert not rule("0.799").rejected
    assert rule("0.801").rejected
    assert rule("0.801").factor == 0


@pytest.mark.covers("R2.5")
def test_one_close_pair_reduces_although_the_average_is_low() -> None:
    desk = Desk()
    desk.hold("KO", price="10", closes=prices.closes("KO"), sector="staples")
    desk.hold("RRC", price="10", closes=tuple((d, Decimal(10)) for d, _ in prices.closes("KO")), sector="energy")
    found = correlation.rule(desk.row, closes=mixed(0.85), policy=desk.row.policy)
    # 4 shares at 10 each: the average is (0.85 + 0.5) / 2 = 0.675, its factor (0.8 - 0.675) / 0.3 = 0.4167,
    # the pair's (1 - 0.85) / 0.3 = 0.5
    assert found.average is not None
    assert abs(float(found.average) - 0.675) < 1e-8
    assert abs(float(found.factor) - 0.125 / 0.3) < 1e-7
    low = correlation.rule(desk.row, closes=mixed(0.78), policy=desk.row.policy)
    assert abs(float(low.factor) - min((0.8 - 0.64) / 0.3, 0.22 / 0.3)) < 1e-7


def test_a_pair_without_enough_history_counts_as_a_half() -> None:
    desk = Desk()
    desk.hold("AAPL", closes=())
    found = correlation.rule(desk.row, closes=prices.closes("KO"), policy=desk.row.policy)
    assert found.average == Decimal("0.5")
    assert found.factor == 1


@pytest.mark.covers("R9.2")
def test_pairs_are_weighed_by_value() -> None:
    desk = Desk()
    desk.hold("AAPL", price="10", closes=prices.closes("KO"))  # 4 shares, 40 dollars, pair 0.6
    desk.hold("XOM", price="36", closes=(), sector="energy", atr="1")  # 1 share, 36 dollars, pair 0.5
    found = correlation.rule(desk.row, closes=mixed(0.6), policy=desk.row.policy)
    assert found.average is not None
    assert abs(float(found.average) - (40 * 0.6 + 36 * 0.5) / 76) < 1e-8


def test_an_empty_portfolio_has_no_average() -> None:
    found = correlation.rule(Desk().row, closes=prices.closes("KO"), policy=Desk().row.policy)
    assert (found.average, found.factor, found.rejected) == (None, Decimal(1), False)


@given(st.lists(drawn_closes(count=40), min_size=1, max_size=3), drawn_closes(count=40))
def test_the_factor_lies_between_zero_and_one(holdings: list[Closes], candidate: Closes) -> None:
    desk = Desk()
    for place, closes in enumerate(holdings):
        desk.recommend(f"S{place}", sector=f"sector {place}", closes=closes)
    found = correlation.rule(desk.row, closes=candidate, policy=desk.row.policy)
    assert found.average is None or -1 <= found.average <= 1
    assert 0 <= found.factor <= 1
    assert found.rejected == (found.average is not None and found.average > desk.row.policy.correlation_limit)
