"""`levels`: symbol -> the levels of every account in it: what each tick is compared with.

Key: the symbol. Writer: `agents/watch.py`, from the topic `stop-levels`, whose records lie on the symbol's partition.
Readers: `watch`.
"""

from collections.abc import MutableMapping

from pydantic import TypeAdapter

from tables.decoded import Decoded
from trading.effects import StopLevels

_LEVELS: TypeAdapter[tuple[StopLevels, ...]] = TypeAdapter(tuple[StopLevels, ...])


def levels(rows: MutableMapping[bytes, bytes]) -> MutableMapping[str, tuple[StopLevels, ...]]:
    """Return the table's rows as levels, at most one an account."""
    return Decoded(rows, encode=_LEVELS.dump_json, decode=_LEVELS.validate_json)
