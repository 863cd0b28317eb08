"""Rounding happens at the named places, and a number has the same digits before and after a restart."""

import json
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.strategies import amounts, prices
from trading.inputs import Instant as OutsideInstant
from trading.money import (
    Exact,
    Instant,
    Number,
    Positive,
    cents_down,
    cents_up,
    divided,
    just_under,
    ratio,
    settled,
    to_cents,
    units_bought,
    whole_again,
)
from trading.money import Fraction as OutsideFraction

NUMBER: TypeAdapter[Decimal] = TypeAdapter(Number)
EXACT: TypeAdapter[Decimal] = TypeAdapter(Exact)


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity", "1e13", "ten", ""])
def test_what_is_no_bounded_number_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        NUMBER.validate_json(f'"{text}"')


@pytest.mark.parametrize("text", ["0", "-1", "-0.01", "0E-400", "0.0000000000001"])
def test_a_price_is_greater_than_zero(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Positive).validate_json(f'"{text}"')


def test_json_numbers_and_strings_are_the_same_money() -> None:
    assert NUMBER.validate_json("187.1") == NUMBER.validate_json('"187.10"') == Decimal("187.1")


@pytest.mark.parametrize(
    ("number", "kept"),
    [(0.1 + 0.2, "0.3"), (1 / 3, "0.333333333333"), (187.10000000000002, "187.1"), (1e-13, "0"), (0.25, "0.25")],
)
def test_a_json_number_of_any_length_is_rounded_to_twelve_places(number: float, kept: str) -> None:
    assert str(NUMBER.validate_json(json.dumps(number))) == kept


@pytest.mark.parametrize("text", ["1.0000000000000002", "-0.0000000000001"])
def test_a_fraction_is_judged_before_it_is_rounded(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(OutsideFraction).validate_json(text)


@pytest.mark.parametrize(("text", "digits"), [("1E+2", "100"), ("1e2", "100"), ("0E+400", "0"), ("0E-400", "0")])
def test_a_number_from_outside_is_written_without_an_exponent(text: str, digits: str) -> None:
    assert str(NUMBER.validate_json(f'"{text}"')) == digits


def test_a_quotient_has_no_positive_exponent() -> None:
    assert str(Decimal(500) / Decimal("5.0")) == "1.0E+2"  # what Python makes of it
    assert str(divided(Decimal(500), Decimal("5.0"))) == "100"


def test_a_third_three_times_is_the_whole_again() -> None:
    assert settled(3 * divided(Decimal(31), Decimal(3))) == Decimal(31)
    assert str(settled(3 * divided(Decimal(31), Decimal(3)))) == "31"


def test_settling_leaves_money_as_it_is_written() -> None:
    assert str(settled(Decimal("30.10"))) == "30.10"


@given(amounts(), st.integers(1, 1000))
def test_the_parts_of_an_amount_settle_to_the_amount(amount: Decimal, count: int) -> None:
    assert settled(count * divided(amount, Decimal(count))) == amount


@given(amounts(), st.integers(1, 1000))
def test_a_product_that_undoes_a_quotient_is_whole_again_and_nothing_else_is_touched(amount: Decimal, by: int) -> None:
    assert whole_again(amount / by * by) == amount
    assert whole_again(Decimal(1) / 3) == Decimal(1) / 3


@given(amounts())
def test_the_three_roundings_agree_to_a_cent(amount: Decimal) -> None:
    assert cents_down(amount) <= amount <= cents_up(amount)
    assert cents_up(amount) - cents_down(amount) in (Decimal(0), Decimal("0.01"))
    assert to_cents(amount) in (cents_down(amount), cents_up(amount))


@pytest.mark.parametrize(
    ("limit", "price"),
    [("8.50", "8.499999999999"), ("8.5765", "8.576499999999"), ("0.3333333333333333", "0.333333333333")],
)
def test_the_price_just_under_a_limit_is_the_last_one_that_can_be_written(limit: str, price: str) -> None:
    assert just_under(Decimal(limit)) == Decimal(price)


def test_the_largest_amounts_are_rounded_and_not_refused() -> None:
    assert cents_down(Decimal(10) ** 24 + Decimal("0.019")) == Decimal(10) ** 24 + Decimal("0.01")


@given(amounts() | st.builds(lambda third: third / 3, amounts()), prices(), st.sampled_from(["1", "0.001"]))
@example(Decimal("8.843999999999999999999999999"), Decimal("0.02"), "0.001")  # 442.2 when 28 digits are kept
def test_units_are_the_most_that_the_dollars_buy(dollars: Decimal, price: Decimal, unit: str) -> None:
    shares = units_bought(dollars, price=price, unit=Decimal(unit))
    assert Fraction(shares) / Fraction(unit) == Fraction(dollars) / Fraction(price) // Fraction(unit)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_statistics_that_are_no_number_do_not_become_money(value: float) -> None:
    with pytest.raises(ValueError, match="not a number"):
        ratio(value)


def test_a_ratio_has_nine_places_half_to_even() -> None:
    assert format(ratio(0.1 + 0.2), "f") == "0.300000000"
    assert format(ratio(0.0000000005), "f") == "0.000000000"
    assert format(ratio(0.0000000015), "f") == "0.000000002"


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_number_in_the_row_survives_its_json(value: Decimal) -> None:
    once = EXACT.validate_json(EXACT.dump_json(value)) if abs(value.adjusted()) < 300 else Decimal(0)
    assert str(EXACT.validate_json(EXACT.dump_json(once))) == str(once)


def test_an_instant_from_outside_leaves_room_for_the_spans_that_are_added_to_it() -> None:
    last = '"2099-12-31T23:59:59Z"'
    assert TypeAdapter(OutsideInstant).validate_json(last).year == 2099
    for adapter, text in ((TypeAdapter(OutsideInstant), "2100"), (TypeAdapter(Instant), "2200")):
        with pytest.raises(ValidationError):
            adapter.validate_json(f'"{text}-01-01T00:00:00Z"')
    assert TypeAdapter(Instant).validate_json('"2100-01-01T00:00:00Z"').year == 2100


@pytest.mark.parametrize(
    "text", ["2026-03-02T15:00:00", "2026-03-02", "1772463600", "20260302T150000Z", "1969-12-31T23:59:59Z"]
)
def test_an_instant_is_iso_8601_with_an_offset(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Instant).validate_json(f'"{text}"')
