"""Numbers, instants and words as the core knows them: money is Decimal, instants aware UTC, ratios rounded once.

Rounding happens only in the functions named here. `ratio` is the one crossing from statistics (float) to money
(Decimal): nine places, so that every machine computes the same bytes.
"""

import datetime as dt
import re
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

CENT = Decimal("0.01")
ZERO = Decimal(0)
ONE = Decimal(1)
PLACES = 12
_NINE_PLACES = Decimal("0.000000001")
_LAST_PLACE = Decimal(1).scaleb(-PLACES)
_LAST_DIGITS = Decimal(1).scaleb(-20)  # of the 28 that are kept, for amounts below a hundred million
_WIDE = Context(prec=80)  # rounding never runs out of digits, whatever a broker says
_FIRST_YEAR, _LAST_YEAR = 1970, 2199  # far from the ends of `datetime`, so that no span added to an instant overflows
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")


def to_cents(amount: Decimal, *, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """Round a dollar amount to the cent."""
    return amount.quantize(CENT, rounding=rounding, context=_WIDE)


def cents_down(amount: Decimal) -> Decimal:
    """Round a dollar amount towards minus infinity, to the cent."""
    return amount.quantize(CENT, rounding=ROUND_FLOOR, context=_WIDE)


def cents_up(amount: Decimal) -> Decimal:
    """Round a dollar amount towards plus infinity, to the cent."""
    return amount.quantize(CENT, rounding=ROUND_CEILING, context=_WIDE)


def just_under(limit: Decimal) -> Decimal:
    """Return the greatest price strictly under a limit that 12 places can write, which is what any price may have."""
    return limit.quantize(_LAST_PLACE, rounding=ROUND_CEILING, context=_WIDE) - _LAST_PLACE


def units_bought(dollars: Decimal, *, price: Decimal, unit: Decimal) -> Decimal:
    """Return how many shares `dollars` (>= 0) buy at `price` (> 0), in whole units such as 1 or 0.001 shares.

    By integer division: a quotient that is rounded first may round up to a unit that is not paid for.
    """
    return _WIDE.multiply(_WIDE.divide_int(dollars, _WIDE.multiply(price, unit)), unit)


def divided(amount: Decimal, by: Decimal) -> Decimal:
    """Return a quotient in the form that a row gives back after a restart: without a positive exponent."""
    return _plain(amount / by)


def settled(amount: Decimal) -> Decimal:
    """Return a product with a quotient as money: what a third left behind after 12 places is rounded away."""
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent >= -PLACES:
        return amount
    return _plain(amount.quantize(_LAST_PLACE, rounding=ROUND_HALF_EVEN, context=_WIDE).normalize(_WIDE))


def whole_again(amount: Decimal) -> Decimal:
    """Return the number of 12 places that an amount misses in its last digits alone; any other comes back as it is.

    A quotient that goes on for ever leaves such a miss behind, where what it is multiplied with ends it.
    """
    near = settled(amount)
    return near if abs(near - amount) < _LAST_DIGITS else amount


def ratio(value: float) -> Decimal:
    """Cross from statistics to money: nine places, half to even; raise ValueError for NaN and infinity."""
    number = Decimal(repr(float(value)))
    if not number.is_finite():
        raise ValueError(f"{value} is not a number")
    return number.quantize(_NINE_PLACES, context=_WIDE)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Add money exactly; an empty sum is zero."""
    return sum(amounts, ZERO)


def _as_text(value: Decimal) -> str:
    return format(value, "f")


def _plain(value: Decimal) -> Decimal:
    """Write 1E+2 as 100: the same number must have the same digits before and after a restart."""
    if "E+" not in str(value):  # as a positive exponent is written, and nothing else; every number read comes by here
        return value
    return value.quantize(ONE, context=_WIDE) if value else ZERO


def _short(value: Decimal) -> Decimal:
    """Write 0E-400 as 0: pydantic counts no places of a zero."""
    return value if value else ZERO


def _as_money(value: Decimal) -> Decimal:
    """Round what others write to our places: as a JSON number, 0.3 may come as 0.30000000000000004."""
    return _short(_plain(settled(value)))


def _from_text(value: Any) -> Any:
    """Refuse what pydantic would read as a Unix time: an instant is ISO 8601 text with an offset."""
    if isinstance(value, dt.datetime):
        return value
    if not isinstance(value, str) or not _INSTANT.match(value):
        raise ValueError("must be an ISO 8601 instant with an offset")
    return dt.datetime.fromisoformat(value)


def _utc(value: dt.datetime) -> dt.datetime:
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise ValueError(f"must lie in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return value.astimezone(dt.UTC)


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not hold a NUL character")  # PostgreSQL's text cannot
    return value


_MOST = 10**12
_read = AfterValidator(_as_money)
_written = PlainSerializer(_as_text, return_type=str)
Number = Annotated[Decimal, Field(ge=-_MOST, le=_MOST), _read, _written]
"""Any decimal: a signed amount in dollars, or a ratio; rounded to 12 places."""
Natural = Annotated[Decimal, Field(ge=0, le=_MOST), _read, _written]
"""A decimal that is not negative."""
Positive = Annotated[Natural, Field(gt=0)]
"""A price, a quantity or a capital: greater than zero."""
Fraction = Annotated[Decimal, Field(ge=0, le=1), _read, _written]
"""A fraction: 0.05 is 5 %."""
Exact = Annotated[Decimal, AfterValidator(_plain), PlainSerializer(_as_text, return_type=str)]
"""A decimal that we computed: of any precision, never rounded on its way."""
Instant = Annotated[AwareDatetime, BeforeValidator(_from_text), AfterValidator(_utc)]
"""An aware instant, UTC; read from ISO 8601 with an offset."""
AccountId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,31}$")]
Mode = Literal["paper", "live"]
"""Whose money moves: nobody's, or the operator's."""
Symbol = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9.\-]{0,9}$")]
Id = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_no_nul)]
Text = Annotated[str, Field(max_length=20_000), AfterValidator(_no_nul)]
Prose = Annotated[str, AfterValidator(_no_nul)]
"""What others write at length: as long as a record may be."""


class Frozen(BaseModel):
    """A value of our own: immutable, strict, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Foreign(BaseModel):
    """A value that others write: immutable and strict, unknown fields ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")
