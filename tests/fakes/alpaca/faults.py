"""Scripted faults: what goes wrong, with which requests or streams, and how often.

A request meets at most one fault, the oldest that matches it. Those marked *after* happen when the request has had its
effect: the broker has done what was asked, and the caller does not hear of it.
"""

import dataclasses
import fnmatch
import itertools
from collections.abc import Mapping
from typing import Any, Literal, get_args

from tests.fakes.alpaca.orders import Terms

Kind = Literal[
    "504_before",
    "504_after",
    "hang_before",
    "hang_after",
    "reset_before",
    "reset_in_body",  # after
    "garbage",  # after
    "429",
    "403_held",
    "422",
    "status",  # any status, code and message
    "slow",
    "lag",
    "partial_fills",
    "rests",
    "fill_first",
    "slow_cancel",
    "duplicate_updates",
    "reorder_updates",
    "drop_updates",
    "mute",
    "garbage_updates",
]
STREAM_KINDS = frozenset({"duplicate_updates", "reorder_updates", "drop_updates", "mute", "garbage_updates"})
TERMS_KINDS = frozenset({"partial_fills", "rests", "fill_first", "slow_cancel"})


@dataclasses.dataclass
class Fault:
    """One fault; `times` 0 is for ever.

    `method` and `path` are shell patterns (`*` is any); a stream's path is `/stream` or `/v2/iex`, its method is any.
    `symbol` and `side` narrow an order's POST or an update. `seconds` is how long it hangs, how slow it is, how far a
    read lies back, or how far apart partial fills are. `parts` is in how many an order fills, of which the first
    `filled_parts` come. `after` has a fault of a stream begin with the update of that event.
    """

    kind: Kind
    method: str = "*"
    path: str = "*"
    times: int = 1
    seconds: float = 0.0
    parts: int = 2
    filled_parts: int | None = None
    retry_after: float | None = None
    status: int = 500
    code: int = 40010001
    message: str = "a scripted fault"
    symbol: str | None = None
    side: str | None = None
    event: str | None = None
    id: int = 0
    met: int = 0

    @property
    def is_over(self) -> bool:
        """Return whether it has happened as often as it should."""
        return self.times > 0 and self.met >= self.times

    def terms(self) -> Terms:
        """Return what it makes of an order."""
        if self.kind == "partial_fills":
            return Terms(parts=self.parts, filled_parts=self.filled_parts, seconds=self.seconds)
        if self.kind == "rests":
            return Terms(filled_parts=0)
        if self.kind == "slow_cancel":
            return Terms(filled_parts=0, cancel_seconds=self.seconds)
        return Terms(first=self.kind == "fill_first")


class Faults:
    """Keep the faults that are armed."""

    def __init__(self) -> None:
        self.armed: list[Fault] = []
        self._ids = itertools.count(1)

    def add(self, fault: Fault) -> Fault:
        """Arm a fault and give it an id."""
        fault.id = next(self._ids)
        self.armed.append(fault)
        return fault

    def clear(self) -> None:
        """Disarm all of them."""
        self.armed.clear()

    def of_request(self, method: str, path: str, order: Mapping[str, Any]) -> Fault | None:
        """Count and return the fault that a request meets, if any; `order` is an order's body, else empty."""
        return self._meet(
            lambda one: (
                one.kind not in STREAM_KINDS
                and (one.kind not in TERMS_KINDS or method == "POST")
                and (one.kind != "lag" or method == "GET")
                and fnmatch.fnmatchcase(method, one.method.upper())
                and fnmatch.fnmatchcase(path, one.path)
                and one.symbol in (None, order.get("symbol"))
                and one.side in (None, order.get("side"))
            )
        )

    def of_update(self, path: str, *, event: str = "", symbol: str = "", kinds: frozenset[str]) -> Fault | None:
        """Count and return the fault of some kinds that a stream's message meets, if any."""
        return self._meet(
            lambda one: (
                one.kind in kinds
                and fnmatch.fnmatchcase(path, one.path)
                and one.symbol in (None, symbol)
                and one.event in (None, event)
            )
        )

    def _meet(self, matches: Any) -> Fault | None:
        for fault in self.armed:
            if not fault.is_over and matches(fault):
                fault.met += 1
                return fault
        return None


def read_fault(body: Mapping[str, Any]) -> Fault:
    """Read a fault's JSON; raises ValueError with what is wrong."""
    names = {field.name for field in dataclasses.fields(Fault)} - {"id", "met"}
    if unknown := body.keys() - names:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    if body.get("kind") not in get_args(Kind):
        raise ValueError(f"kind is one of {', '.join(get_args(Kind))}")
    return Fault(**body)
