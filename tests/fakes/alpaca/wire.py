"""How Alpaca writes numbers and instants in JSON."""

import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from trading.trading_window import NEW_YORK

Json = dict[str, Any]


def number(value: Decimal | None) -> str | None:
    """Write a number as text without an exponent or trailing zeros."""
    if value is None:
        return None
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def instant(value: dt.datetime | None) -> str | None:
    """Write an instant in UTC, RFC 3339 with nine decimals."""
    return None if value is None else value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def new_york(value: dt.datetime) -> str:
    """Write an instant with New York's offset."""
    return value.astimezone(NEW_YORK).isoformat()


def read_instant(text: str) -> dt.datetime:
    """Read an instant or a date, which is its midnight in UTC; raises ValueError.

    A `+` that a client has not encoded arrives as a blank.
    """
    if len(text) == len("2000-01-01"):
        return dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), tzinfo=dt.UTC)
    value = dt.datetime.fromisoformat(text.replace(" ", "+"))
    return value if value.tzinfo else value.replace(tzinfo=dt.UTC)


def dumped(value: Mapping[str, Any] | list[Any]) -> str:
    """Write JSON, decimals as text."""
    return json.dumps(value, default=lambda one: number(one) if isinstance(one, Decimal) else str(one))
