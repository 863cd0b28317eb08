"""Where a batch of `records` may be cut: lots and ledger entries never go without the state that their step ends with.

So at every commit a position's quantity is the open quantity of its lots, and a start from the state alone numbers the
ledger on without a gap. A step that was cut short by a crash is sent again as a whole, and completes itself.
"""

from collections.abc import Sequence
from typing import Any

from trading.records import AccountState, LedgerEntry, Lot


def complete(models: Sequence[Any]) -> int:
    """Return how many of a partition's records, from the first, can be committed: all, or those before an open step."""
    open_since: dict[str, int] = {}
    for place, model in enumerate(models):
        if isinstance(model, Lot | LedgerEntry):
            open_since.setdefault(model.account_id, place)
        elif isinstance(model, AccountState):
            open_since.pop(model.account_id, None)
    return min(open_since.values(), default=len(models))
