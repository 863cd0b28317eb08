"""`circuit`: account -> what stops its entries, a projection of the row for readers.

Key: the account id. Writer: `agents/decide.py`, right after the row and only when it differs. Readers: programs that
follow its changelog; nothing here decides by it.
"""

from collections.abc import MutableMapping
from typing import Literal

from tables.decoded import Decoded
from trading import circuit_breaker
from trading.money import Frozen, Instant
from trading.portfolio import Breaker, Portfolio


class Circuit(Frozen):
    """The circuit state of an account as of its row's last change of it."""

    account_id: str
    trading_state: Literal["active", "reducing", "halted"]
    paused: bool
    breakers: tuple[Breaker, ...]
    at: Instant


def circuit(rows: MutableMapping[bytes, bytes]) -> MutableMapping[str, Circuit]:
    """Return the table's rows as circuit states."""
    return Decoded(rows, encode=lambda state: state.model_dump_json().encode(), decode=Circuit.model_validate_json)


def circuit_of(portfolio: Portfolio) -> Circuit:
    """Return the projection of a row."""
    return Circuit(
        account_id=portfolio.account_id,
        trading_state=circuit_breaker.trading_state(portfolio),
        paused=portfolio.paused,
        breakers=circuit_breaker.active(portfolio),
        at=portfolio.now,
    )
