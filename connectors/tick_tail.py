"""The newest ticks of each symbol, as they lie in the log: kept as bytes, read only for a symbol that is asked for."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from trading.inputs import Tick

MOST_RECORDS = 512
MOST_BYTES = 256 * 1024


class Placed(NamedTuple):
    """The ticks of one record and its offset."""

    offset: int
    ticks: tuple[Tick, ...]


@dataclass
class _Kept:
    offset: int
    value: bytes
    ticks: tuple[Tick, ...] | None = None


@dataclass
class _Tail:
    """A symbol's newest records; none of its records at `begin` or after is missing."""

    begin: int
    kept: deque[_Kept] = field(default_factory=deque)
    size: int = 0


class TickTail:
    """Hold the tail of one partition of `price-ticks` from the offset `begin`, bounded for each symbol."""

    def __init__(self, read: Callable[[bytes, bytes], tuple[Tick, ...]], *, begin: int) -> None:
        self._read = read
        self._begin = begin
        self._tails: dict[bytes, _Tail] = {}

    def add(self, offset: int, key: bytes, value: bytes) -> None:
        """Append a record; the oldest ones of its symbol make room."""
        tail = self._tails.setdefault(key, _Tail(self._begin))
        tail.kept.append(_Kept(offset, value))
        tail.size += len(value)
        while len(tail.kept) > MOST_RECORDS or (tail.size > MOST_BYTES and len(tail.kept) > 1):
            oldest = tail.kept.popleft()
            tail.size -= len(oldest.value)
            tail.begin = oldest.offset + 1

    def begin(self, symbol: str) -> int:
        """Return the offset from which no record of the symbol is missing here."""
        tail = self._tails.get(symbol.encode())
        return self._begin if tail is None else tail.begin

    def ticks(self, symbol: str) -> Iterator[Placed]:
        """Give the symbol's records in the log's order."""
        key = symbol.encode()
        tail = self._tails.get(key)
        for kept in tail.kept if tail else ():
            if kept.ticks is None:
                kept.ticks = self._read(key, kept.value)
            yield Placed(kept.offset, kept.ticks)
