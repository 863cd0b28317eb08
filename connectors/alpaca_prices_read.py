"""What Alpaca says of prices, read: trades and quotes as ticks, bars as bars; what is no price of the session is none.

Raw, as stream and REST give it, one letter a field. A bar is named by its beginning there and by its end here; a day
ends with its session.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgpack
from pydantic import ValidationError

from trading import trading_window
from trading.inputs import PriceBar, Tick
from trading.money import ONE

MINUTE = dt.timedelta(minutes=1)
WIDEST_SPREAD = Decimal("0.01")  # of the bid: beyond it the middle of a quote says little
NO_PRICE = frozenset(["4", "7", "9", "B", "C", "G", "H", "M", "N", "P", "Q", "R", "T", "U", "V", "W", "Z", "1", "2"])
"""Conditions under which a trade does not make the last price: average, derived, late, out of order, out of hours,
settled otherwise, an official price told again."""

Raw = Mapping[str, Any]


class Unreadable(ValueError):
    """Say what of a message cannot be read."""


def tick_of(trade: Raw) -> Tick | None:
    """Return a trade as a tick; None where it makes no price of a regular session. Raises `Unreadable`."""
    tick = _tick(trade, price=trade.get("p"), size=trade.get("s"))
    conditions = trade.get("c") or ()
    return None if NO_PRICE.intersection(conditions) or not _is_in_session(tick.at) else tick


def middle_of(quote: Raw) -> Tick | None:
    """Return the middle of a quote as a tick; None without two sides, or where they lie far apart. Raises as above."""
    bid, ask = _number(quote.get("bp")), _number(quote.get("ap"))
    if bid <= 0 or ask < bid or ask > bid * (ONE + WIDEST_SPREAD):
        return None
    tick = _tick(quote, price=(bid + ask) / 2, size=None)
    return tick if _is_in_session(tick.at) else None


def minute_bar(symbol: str, bar: Raw) -> PriceBar | None:
    """Return a bar of one minute; None outside the regular session. Raises `Unreadable`."""
    start = _instant(bar.get("t"))
    return _bar(symbol, bar, "1m", at=start + MINUTE) if _is_in_session(start) else None


def daily_bar(symbol: str, bar: Raw, *, now: dt.datetime) -> PriceBar | None:
    """Return a session's bar; None while that session is not over, and for a day without one. Raises `Unreadable`."""
    on = trading_window.new_york_date(_instant(bar.get("t")))
    noon = dt.datetime.combine(on, dt.time(12), tzinfo=trading_window.NEW_YORK)
    session = trading_window.next_session(noon)
    if session is None or session.on != on or session.close_at > now:
        return None
    return _bar(symbol, bar, "1d", at=session.close_at)


def _tick(raw: Raw, *, price: Any, size: Any) -> Tick:
    try:
        return Tick(
            at=_instant(raw.get("t")),
            price=price if isinstance(price, Decimal) else _number(price),
            size=None if size is None else _number(size),
        )
    except ValidationError as error:
        raise Unreadable(_first(error)) from error


def _bar(symbol: str, bar: Raw, interval: Any, *, at: dt.datetime) -> PriceBar:
    prices: dict[str, Any] = {
        name: _number(bar.get(letter)) for name, letter in (("open", "o"), ("high", "h"), ("low", "l"), ("close", "c"))
    }
    try:
        return PriceBar(symbol=symbol, interval=interval, **prices, volume=_number(bar.get("v")), at=at)
    except ValidationError as error:
        raise Unreadable(_first(error)) from error


def _instant(value: Any) -> dt.datetime:
    try:
        at = value.to_datetime() if isinstance(value, msgpack.Timestamp) else dt.datetime.fromisoformat(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Unreadable(f"t: {value!r:.40} is no instant") from error
    if at.tzinfo is None:
        raise Unreadable("t: has no offset")
    return at.astimezone(dt.UTC)


def _number(value: Any) -> Decimal:
    """Return a number by its shortest text, which is what was sent."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"{value!r:.40} is no number")
    return Decimal(repr(value))


def _is_in_session(at: dt.datetime) -> bool:
    """Tell whether an instant lies in a regular session, its close included: the last trade is told at it."""
    return trading_window.session_at(at) is not None or trading_window.session_at(at - MINUTE / 60) is not None


def _first(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
