"""Two questions to Alpaca for `stonks doctor`: the account and the clock. Asked once each, with timeouts, by REST."""

import datetime as dt
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from connectors import alpaca_keys
from connectors.alpaca_client import Timeouts
from connectors.alpaca_rest import AlpacaRest, Answer
from streams.settings import Settings

_PATIENCE = Timeouts(connect=3.0, read=4.0, whole=8.0)


class Probed(NamedTuple):
    """What Alpaca answered: a body, or the status that it refused with (0 for none) and why."""

    body: dict[str, Any] | None
    status: int = 0
    reason: str = ""


async def account(settings: Settings) -> Probed:
    """Return the account's figures and flags."""
    return await _ask(settings, lambda rest: rest.account())


async def clock(settings: Settings) -> Probed:
    """Return the exchange's clock."""
    return await _ask(settings, lambda rest: rest.clock())


def instant_of(answer: dict[str, Any]) -> dt.datetime | None:
    """Return the exchange's now; None where it cannot be read, or says no offset."""
    text = re.sub(r"(\.\d{6})\d+", r"\1", str(answer.get("timestamp")))  # nanoseconds, which Python does not read
    try:
        instant = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None


async def _ask(settings: Settings, question: Callable[[AlpacaRest], Awaitable[Answer]]) -> Probed:
    rest = AlpacaRest(
        key_id=settings.alpaca_key_id,
        secret_key=settings.alpaca_secret_key,
        url=alpaca_keys.trading_url(settings),
        paper=settings.mode == "paper",
        timeouts=_PATIENCE,
    )
    try:
        answer = await question(rest)
    finally:
        rest.close()
    if answer.outcome == "done" and isinstance(answer.body, dict):
        return Probed(answer.body)
    status = re.match(r"(\d{3}): ", answer.reason)
    return Probed(None, int(status[1]) if status else 0, answer.reason or answer.outcome)
