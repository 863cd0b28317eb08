"""`facts`: symbol -> all that is known of it: prices, bars, ATR, sector, earnings.

Key: the symbol. Writer: `agents/watch.py` alone, and never once a tick: facts are changed in memory at once and written
by `flush`, at a bounded rate and always before the cursor of the records they come from. Prices are folded into them
when somebody asks. Readers: `watch`; `intake`, which sends a symbol's facts with its recommendations.
"""

import contextlib
import datetime as dt
from collections.abc import Iterator, MutableMapping, Sequence

from tables.decoded import Decoded
from trading.market import Price, SymbolFacts, with_ticks

_MOST_WAITING = 64  # prices a symbol that wait to be folded: many records' worth, little memory


class Facts:
    """Facts as they are now; what is not flushed yet is in memory alone."""

    def __init__(self, rows: MutableMapping[bytes, bytes]) -> None:
        self._written: Decoded[SymbolFacts] = Decoded(
            rows, encode=lambda facts: facts.model_dump_json().encode(), decode=SymbolFacts.model_validate_json
        )
        self._changed: dict[str, SymbolFacts] = {}
        self._waiting: dict[str, list[Price]] = {}
        self._is_held_back = False

    def get(self, symbol: str) -> SymbolFacts | None:
        """Return the newest facts of a symbol; None when nothing is known."""
        changed = self._changed.get(symbol)
        known = changed if changed is not None else self._written.get(symbol)
        waiting = self._waiting.pop(symbol, None)
        if waiting is None:
            return known
        known = self._changed[symbol] = with_ticks(known or SymbolFacts(symbol=symbol), waiting)
        return known

    def put(self, symbol: str, facts: SymbolFacts) -> None:
        """Change the facts in memory; they come of what `get` has returned."""
        self._changed[symbol] = facts

    def last_price_at(self, symbol: str) -> dt.datetime | None:
        """Return the instant of the newest price."""
        waiting = self._waiting.get(symbol)
        if waiting:
            return waiting[-1].at
        known = self.get(symbol)
        return None if known is None else known.last_price_at

    def see(self, symbol: str, prices: Sequence[Price]) -> None:
        """Take prices over, in time order and none older than the newest."""
        waiting = self._waiting.setdefault(symbol, [])
        waiting += prices
        if len(waiting) >= _MOST_WAITING:
            self.get(symbol)

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """Let nobody write the facts until the outputs of what is in them are acknowledged.

        Ticks older than a written price change nothing when they are read again, so their marks must be out before.
        """
        self._is_held_back = True
        try:
            yield
        finally:
            self._is_held_back = False

    def flush(self) -> bool:
        """Write what has changed; return False when it is held back."""
        if self._is_held_back:
            return False
        for symbol in list(self._waiting):
            self.get(symbol)
        changed, self._changed = self._changed, {}
        for symbol, facts in changed.items():
            self._written[symbol] = facts
        return True

    def forget(self) -> None:
        """Drop what is not written: the partitions have been revoked, and their records will be read again."""
        self._changed.clear()
        self._waiting.clear()
