"""JSON of a frozen model, written from what has changed since it was last written.

Values never change, so that the same object has the same JSON: what was written is kept beside the very object that it
was written from, and used again for as long as that object stands in its place. An event that moves a price does not
write the lots of two months again.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter

Model = TypeVar("Model", bound=BaseModel)


class _Kept(NamedTuple):
    """An object, its JSON and, of a tuple of models, that of its items by their `id`.

    Whoever is kept is alive, and so are its items: no other object can have their `id`.
    """

    value: Any
    json: bytes
    items: Mapping[int, bytes]


class Fragments:
    """What was last written of each field: at most one value of the model, whatever came before it.

    It is no part of a value: any two are equal, and a value and its changed copy share one.
    """

    def __init__(self) -> None:
        self.kept: dict[str, _Kept] = {}

    def __eq__(self, other: object) -> bool:
        """Make no difference between two values."""
        return isinstance(other, Fragments)

    def __hash__(self) -> int:
        """Make no difference between two values."""
        return 0


class Writer(Generic[Model]):
    """Writes the values of one model: the bytes of its `model_dump_json`."""

    def __init__(self, model: type[Model]) -> None:
        hints = get_type_hints(model, include_extras=True)
        self._fields = [(name, f'"{name}":'.encode(), _writer_of(hints[name])) for name in model.model_fields]

    def write(self, value: Model, known: Fragments) -> bytes:
        """Return a value's JSON; `known` gives what is still the same and takes what is new."""
        parts, kept = [], known.kept
        for name, key, write in self._fields:
            part = getattr(value, name)
            before = kept.get(name, _NOTHING)
            if before.value is not part:
                before = kept[name] = write(part, key, before)
            parts.append(before.json)
        return b"{" + b",".join(parts) + b"}"


_Write = Callable[[Any, bytes, _Kept], _Kept]
_NOTHING = _Kept(object(), b"", {})


def _writer_of(annotation: Any) -> _Write:
    """Return how a field is written: a tuple of models item by item, everything else as one."""
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple and arguments[1:] == (...,) and _is_model(arguments[0]):
        return _by_items(TypeAdapter(arguments[0]).serializer.to_json)
    return _as_one(TypeAdapter(annotation).serializer.to_json)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _as_one(to_json: Callable[[Any], bytes]) -> _Write:
    return lambda value, key, _: _Kept(value, key + to_json(value), {})


def _by_items(to_json: Callable[[Any], bytes]) -> _Write:
    def write(values: tuple[Any, ...], key: bytes, before: _Kept) -> _Kept:
        places = list(map(id, values))
        parts = [known or to_json(value) for known, value in zip(map(before.items.get, places), values, strict=True)]
        return _Kept(values, key + b"[" + b",".join(parts) + b"]", dict(zip(places, parts, strict=True)))

    return write
