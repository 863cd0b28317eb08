"""A table of bytes seen as a mapping of values: each row is decoded once and kept until its bytes change."""

from collections.abc import Callable, Iterator, MutableMapping
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Decoded(MutableMapping[str, Value], Generic[Value]):
    """Map text keys to values over a table of bytes; whoever replaces the bytes underneath is noticed."""

    def __init__(
        self,
        rows: MutableMapping[bytes, bytes],
        *,
        encode: Callable[[Value], bytes],
        decode: Callable[[bytes], Value],
    ) -> None:
        self._rows = rows
        self._encode = encode
        self._decode = decode
        self._kept: dict[str, tuple[bytes, Value]] = {}

    def __getitem__(self, key: str) -> Value:
        """Return the value of a key; raises KeyError without one."""
        row = self._rows[key.encode()]
        kept = self._kept.get(key)
        if kept is None or kept[0] is not row:
            kept = self._kept[key] = row, self._decode(row)
        return kept[1]

    def __setitem__(self, key: str, value: Value) -> None:
        """Write the value; it is on its way to the changelog when this returns."""
        row = self._encode(value)
        self._rows[key.encode()] = row
        self._kept[key] = row, value

    def __delitem__(self, key: str) -> None:
        """Remove the row; raises KeyError without one."""
        del self._rows[key.encode()]
        self._kept.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        """Give the keys."""
        return (key.decode() for key in list(self._rows))

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._rows)
