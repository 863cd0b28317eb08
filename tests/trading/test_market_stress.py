"""The realised volatility of the canary: against the standard library's statistics, and arithmetic by hand."""

import itertools
import math
import statistics
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.market_stress import PRICES, realised_volatility

PRICE = st.decimals(min_value="0.01", max_value="100000", places=2)


@pytest.mark.covers("R6.3")
def test_a_price_that_goes_up_and_down_by_one_percent_every_five_minutes_is_far_over_the_threshold() -> None:
    """Twelve returns of +r and -r in turn: mean 0, variance 12 r² / 11; x sqrt(252 x 78) x 100."""
    prices = [Decimal(101 if number % 2 else 100) for number in range(PRICES)]
    r = math.log(101 / 100)
    expected = r * math.sqrt(12 / 11) * math.sqrt(252 * 78) * 100
    assert realised_volatility(prices) == Decimal(repr(round(expected, 9)))
    assert 145 < expected < 146


def test_a_price_that_rises_by_the_same_fraction_each_time_is_calm() -> None:
    assert realised_volatility([Decimal(2) ** number for number in range(PRICES)]) == 0


@given(st.lists(PRICE, min_size=PRICES, max_size=PRICES))
def test_it_is_the_sample_deviation_of_the_log_returns_scaled_to_a_year(prices: list[Decimal]) -> None:
    logs = [math.log(price) for price in prices]
    returns = [later - earlier for earlier, later in itertools.pairwise(logs)]
    expected = statistics.stdev(returns) * math.sqrt(252 * 78) * 100
    assert math.isclose(realised_volatility(prices), expected, rel_tol=1e-9, abs_tol=1e-6)


@given(st.lists(PRICE, min_size=PRICES, max_size=PRICES), st.integers(1, 1000))
def test_the_unit_of_the_price_does_not_matter(prices: list[Decimal], scale: int) -> None:
    scaled = [price * scale for price in prices]
    assert math.isclose(realised_volatility(scaled), realised_volatility(prices), rel_tol=1e-9, abs_tol=1e-6)


@pytest.mark.parametrize("count", [0, 12, 14])
def test_another_number_of_prices_is_a_programmers_error(count: int) -> None:
    with pytest.raises(ValueError, match="13"):
        realised_volatility([Decimal(1)] * count)
