"""Bytes to models and back: what a record must be, why one is poison, and the dead letter that keeps it.

`parse` never raises for what a producer sent. A record that breaks a rule of `contracts.md` becomes a `Poison` whose
error begins with `unreadable`, `invalid_field`, `missing_field`, `unknown_field`, `too_large`, `wrong_key` or
`wrong_partition`, then `: ` and the path or the mend.
"""

import base64
import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Final

import pydantic_core
from pydantic import BaseModel, ValidationError

from streams.topics import Topic, partition_for
from trading.money import Frozen, Instant

MAX_BYTES: Final = 256 * 1024
AHEAD: Final = dt.timedelta(minutes=5)
LARGEST_KEPT: Final = 1_048_588  # bytes: the largest batch of records that a broker takes by default
_LONGEST_ERROR = 500
_LONGEST_KEY = 1_000
_SYMBOL = re.compile(r"[A-Z][A-Z0-9.\-]{0,9}")  # as `trading.money.Symbol`


@dataclass(frozen=True)
class Poison:
    """Why a record cannot be used."""

    error: str


@dataclass(frozen=True)
class Deletion:
    """A null that deletes what stands under `key`."""

    key: str


class DeadLetter(Frozen):
    """A poison record, kept: its id is (topic, partition, offset), `payload` the base64 of its untouched bytes."""

    topic: str
    partition: int
    offset: int
    key: str | None
    payload: str | None
    error: str
    at: Instant


def encode(model: BaseModel) -> bytes:
    """Return the canonical bytes of a value of ours: JSON, money as decimal strings, instants in UTC."""
    return model.model_dump_json().encode()


def parse(
    topic: Topic,
    key: bytes | None,
    value: bytes | None,
    *,
    partition: int,
    partitions: int,
    wall_now: dt.datetime | None = None,
) -> Any:
    """Return the record's model, a `Deletion` for a null where it deletes, or a `Poison`.

    `partition` is where the record lies, `partitions` how many the topic has. With `wall_now` (system clock) a record
    more than five minutes ahead of it is poison.
    """
    model = model_of(topic, key, value)
    if isinstance(model, Poison):
        return model
    wanted = model.key if isinstance(model, Deletion) else _key_of(topic, model)
    misplaced = misplacement(topic, key, wanted, partition=partition, partitions=partitions)
    return misplaced or too_early(topic, happened_at(topic, model), wall_now) or model


def model_of(topic: Topic, key: bytes | None, value: bytes | None) -> Any:
    """Return what the value alone says: a model, a `Deletion` or a `Poison`."""
    if value is None:
        return _deletion(topic, key)
    if topic.direction == "in" and len(value) > MAX_BYTES:
        return Poison(f"too_large: {len(value)} bytes, at most {MAX_BYTES}")
    return _model(topic, value)


def dead_letter(
    topic: Topic, *, partition: int, offset: int, key: bytes | None, value: bytes | None, error: str, at: dt.datetime
) -> DeadLetter:
    """Return the dead letter of a record; the same record gives the same letter, so `at` is the record's timestamp.

    A letter that no broker takes would hold up all that follows: a longer key is cut, and a value that was larger than
    `LARGEST_KEPT` before it was compressed stays in its topic alone.
    """
    if value is not None and len(value) > LARGEST_KEPT:
        value, error = None, f"{error}; the payload is in {topic.name} alone"
    return DeadLetter(
        topic=topic.name,
        partition=partition,
        offset=offset,
        key=None if key is None else key[: 4 * _LONGEST_KEY].decode("utf-8", "replace")[:_LONGEST_KEY],
        payload=None if value is None else base64.b64encode(value).decode(),
        error=error,
        at=at,
    )


def _deletion(topic: Topic, key: bytes | None) -> Deletion | Poison:
    if not topic.deletes:
        return Poison("unreadable: null deletes nothing here")
    if not key:
        return Poison("wrong_key: names nothing to delete")
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return Poison("wrong_key: is not UTF-8")
    symbol = text.partition("/")[0] if topic.key == "symbol/account" else text
    if not _SYMBOL.fullmatch(symbol):
        return Poison("wrong_key: must be a symbol")
    return Deletion(text)


def _model(topic: Topic, value: bytes) -> Any:
    if topic.model is None:
        raise TypeError(f"{topic.name} has no readers of ours")
    try:
        # Strict JSON first: the models alone would take a NaN inside a field that is not theirs.
        if not isinstance(pydantic_core.from_json(value, allow_inf_nan=False), dict):
            return Poison("unreadable: not a JSON object")
        return topic.model.validate_json(value)
    except ValidationError as error:
        return Poison(explain(error, tagged=topic.name in _TAGGED))
    except ValueError as error:
        return Poison(f"unreadable: {error}")


_TAGGED = {"commands", "broker-events", "account-inbox", "records"}  # unions: the first step of a path is the kind


def explain(error: ValidationError, *, tagged: bool = False) -> str:
    """Say what is wrong with a record: the kind of mistake, then its path or the mend."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = [str(step) for step in (first["loc"][1:] if tagged else first["loc"])]
    kind = first["type"]
    if kind == "missing":
        text = "missing_field: " + ".".join(path)
    elif kind == "extra_forbidden":
        text = "unknown_field: " + ".".join(path)
    elif kind == "union_tag_not_found":
        text = "missing_field: " + ".".join([*path, "kind"])
    elif kind == "union_tag_invalid":
        text = "invalid_field: " + ".".join([*path, "kind"]) + ": is none of the kinds"
    elif kind == "value_error":
        reason = str(first["ctx"]["error"])
        known = reason.startswith(("missing_field: ", "unknown_field: "))
        text = reason if known else "invalid_field: " + ": ".join([*([".".join(path)] if path else []), reason])
    elif not path:
        text = f"unreadable: {first['msg']}"
    else:
        text = f"invalid_field: {'.'.join(path)}: {first['msg']}"
    return text[:_LONGEST_ERROR]


def misplacement(topic: Topic, key: bytes | None, wanted: str, *, partition: int, partitions: int) -> Poison | None:
    """Return a Poison when the key is not the `wanted` one, or lies on another partition than murmur2's."""
    if key != wanted.encode():
        return Poison(f"wrong_key: must be {wanted}"[:_LONGEST_ERROR])
    placed_by = wanted.partition("/")[0] if topic.key == "symbol/account" else wanted
    if partition != (right := partition_for(placed_by.encode(), partitions)):
        return Poison(f"wrong_partition: {placed_by} belongs on {right}, murmur2 of the key"[:_LONGEST_ERROR])
    return None


def _key_of(topic: Topic, model: Any) -> str:
    match topic.key:
        case "symbol":
            return str(model.symbol)
        case "account":
            return str(model.account_id)
        case "event_id":
            return str(model.event_id)
        case "market":
            return "market"
        case "symbol/account":
            return f"{model.symbol}/{model.account_id}"
        case _:
            raise TypeError(f"{topic.name} has no readers of ours")


def happened_at(topic: Topic, model: Any) -> dt.datetime | None:
    """Return the instant that the record itself carries: for ticks in a batch the last one's; None without one."""
    if topic.event_time is None or isinstance(model, Deletion):
        return None
    batch = getattr(model, "ticks", None)
    instant = batch[-1].at if batch else getattr(model, topic.event_time)
    return instant if isinstance(instant, dt.datetime) else None


def too_early(topic: Topic, instant: dt.datetime | None, wall_now: dt.datetime | None) -> Poison | None:
    """Return a Poison for an instant more than five minutes ahead of the wall clock; None without such a clock."""
    if wall_now is None or instant is None or instant <= wall_now + AHEAD:
        return None
    return Poison(f"invalid_field: {topic.event_time}: is more than five minutes ahead of the clock")
