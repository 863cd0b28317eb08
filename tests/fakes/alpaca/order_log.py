"""The fake's own log of what it was asked and what it did: the oracle of every figure about the broker.

Each entry has a number, the machine's monotonic time, the exchange's instant, `what`, and what belongs to it:
`request` (each POST and DELETE that came, before any fault), `created`, `refused`, `fill`, `canceled`, `expired`,
`position_set`, `cash_set`.
"""

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

from tests.fakes.alpaca.wire import Json, instant


class OrderLog:
    """Keep the entries in their order; `keep` writes each of them down."""

    def __init__(self, keep: Callable[[Json], None] | None = None, entries: list[Json] | None = None) -> None:
        self.entries: list[Json] = entries or []
        self._keep = keep

    def add(self, what: str, at: dt.datetime, **fields: Any) -> None:
        """Append an entry."""
        entry = {
            "number": len(self.entries) + 1,
            "monotonic": time.monotonic(),
            "at": instant(at),
            "what": what,
            **fields,
        }
        self.entries.append(entry)
        if self._keep is not None:
            self._keep(entry)

    def of(self, what: str, **fields: Any) -> list[Json]:
        """Return the entries of a kind whose fields are these."""
        return [
            one
            for one in self.entries
            if one["what"] == what and all(one.get(name) == value for name, value in fields.items())
        ]
