"""`facts`: symbol -> all that is known of it: prices, bars, ATR, sector, earnings.

Key: the symbol. Writer: `agents/watch.py` alone, and never once a tick: facts are changed in memory at once and written
by `flush`, at a bounded rate and always before the cursor of the records they come from. Readers: `watch`; `intake`,
which sends a symbol's facts with its recommendations.
"""

from collections.abc import MutableMapping

from tables.decoded import Decoded
from trading.market import SymbolFacts


class Facts:
    """Facts as they are now; what is not flushed yet is in memory alone."""

    def __init__(self, rows: MutableMapping[bytes, bytes]) -> None:
        self._written: Decoded[SymbolFacts] = Decoded(
            rows, encode=lambda facts: facts.model_dump_json().encode(), decode=SymbolFacts.model_validate_json
        )
        self._changed: dict[str, SymbolFacts] = {}

    def get(self, symbol: str) -> SymbolFacts | None:
        """Return the newest facts of a symbol; None when nothing is known."""
        changed = self._changed.get(symbol)
        return changed if changed is not None else self._written.get(symbol)

    def put(self, symbol: str, facts: SymbolFacts) -> None:
        """Change the facts in memory."""
        self._changed[symbol] = facts

    def flush(self) -> None:
        """Write what has changed."""
        changed, self._changed = self._changed, {}
        for symbol, facts in changed.items():
            self._written[symbol] = facts

    def forget(self) -> None:
        """Drop what is not written: the partitions have been revoked, and their records will be read again."""
        self._changed.clear()
