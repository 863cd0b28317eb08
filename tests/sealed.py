"""`python -m tests.sealed < LOG`: fold a log with the world sealed off, and print the SHA-256 of all it gave.

The world is sealed twice: clocks, chance and the environment are replaced by what raises, because nothing audits them;
every audited event of the interpreter (files, sockets, processes, imports) raises by a hook that cannot be taken off.
`--leaks` tries each way out instead, and prints those that were open.
"""
# ruff: noqa: PLW0108 - a way out must look its name up when it is tried, not before the seal

import builtins
import datetime as dt
import hashlib
import os
import pathlib
import random
import secrets
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any, NoReturn

import numpy

from trading.engine import react
from trading.events import EVENT
from trading.portfolio import Portfolio, row_bytes
from trading.trading_window import next_session

HARMLESS = {"object.__getattr__", "object.__setattr__", "object.__delattr__", "sys._getframe", "builtins.id"}
_seen: list[str] = []


class WorldAskedError(BaseException):
    """The core reached for the world; no `except Exception` hides it."""


def fold(lines: list[bytes], *, before: Callable[[], None] = lambda: None) -> str:
    """Return the SHA-256 of all effects and of the last row; call `before` once everything needed has been read."""
    events = [EVENT.validate_json(line) for line in lines]
    row: Portfolio | None = None
    digest = hashlib.sha256()
    next_session(dt.datetime(2026, 3, 2, tzinfo=dt.UTC))  # the exchange's calendar is read once, and then known
    before()
    for seq, event in enumerate(events):
        row, effects = react(row, event, seq=seq)
        for effect in effects:
            digest.update(effect.model_dump_json().encode())
    if row is not None:
        digest.update(row_bytes(row))
    return digest.hexdigest()


def seal() -> None:
    """Let whoever asks for time, chance, the environment or the world raise, from now on and for ever."""
    for module in (time, random, secrets, numpy.random):
        for name in dir(module):
            if callable(getattr(module, name)) and not name.startswith("_") and name != "struct_time":
                setattr(module, name, _forbidden(f"{module.__name__}.{name}"))
    for owner, names in (
        (os, ("getenv", "urandom", "getrandom", "times", "cpu_count", "getpid", "getcwd")),
        (uuid, ("uuid1", "uuid4", "getnode")),
        (builtins, ("open", "input", "hash")),
        (socket, ("socket", "gethostname")),
    ):
        for name in names:
            if hasattr(owner, name):
                setattr(owner, name, _forbidden(f"{owner.__name__}.{name}"))
    os.environ = _NoEnvironment()  # type: ignore[assignment]  # noqa: B003
    dt.datetime = _without_a_clock(dt.datetime)  # type: ignore[misc]
    dt.date = _without_a_clock(dt.date)  # type: ignore[misc]
    sys.addaudithook(_audit)


def _forbidden(name: str) -> Callable[..., Any]:
    def raises(*_: Any, **__: Any) -> NoReturn:
        _seen.append(name)
        raise WorldAskedError(name)

    return raises


def _audit(event: str, _: Any) -> None:
    if event not in HARMLESS:
        _seen.append(event)
        raise WorldAskedError(event)


class _NoEnvironment(dict[str, str]):
    __getitem__ = get = __contains__ = __iter__ = _forbidden("os.environ")  # type: ignore[assignment]


def _without_a_clock(known: Any) -> Any:
    """Return a class without a clock that counts the real one's instances as its own."""

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, known)

    clocks = {name: _forbidden(f"{known.__name__}.{name}") for name in ("now", "utcnow", "today")}
    return Meta(known.__name__, (known,), clocks)


WAYS_OUT: dict[str, Callable[[], Any]] = {
    "time.time": lambda: time.time(),
    "time.monotonic": lambda: time.monotonic(),
    "time.sleep": lambda: time.sleep(0),
    "datetime.now": lambda: dt.datetime.now(dt.UTC),
    "datetime.utcnow": lambda: dt.datetime.utcnow(),  # noqa: DTZ003
    "datetime.today": lambda: dt.datetime.today(),  # noqa: DTZ002
    "date.today": lambda: dt.date.today(),  # noqa: DTZ011
    "random.random": lambda: random.random(),
    "random.Random": lambda: random.Random(),
    "numpy.random": lambda: numpy.random.default_rng(),
    "os.environ": lambda: os.environ["PATH"],
    "os.environ.get": lambda: os.environ.get("PATH"),
    "os.getenv": lambda: os.getenv("PATH"),
    "os.urandom": lambda: os.urandom(1),
    "uuid.uuid1": lambda: uuid.uuid1(),
    "uuid.uuid4": lambda: uuid.uuid4(),
    "secrets.token_hex": lambda: secrets.token_hex(),
    "socket.socket": lambda: socket.socket(),
    "socket.create_connection": lambda: socket.create_connection(("127.0.0.1", 9)),
    "open": lambda: open(__file__),  # noqa: SIM115
    "pathlib.read_text": lambda: pathlib.Path(__file__).read_text(encoding="utf-8"),
    "os.listdir": lambda: os.listdir("."),
    "subprocess.run": lambda: subprocess.run([sys.executable, "-V"], check=False),
    "os.system": lambda: os.system("true"),  # noqa: S605, S607
    "import": lambda: __import__("this"),
    "hash": lambda: hash("the seed of this process"),
}


def leaks() -> list[str]:
    """Seal the world, try every way out, and return those that were open."""
    seal()
    opened = []
    for name, way in WAYS_OUT.items():
        try:
            way()
        except WorldAskedError:
            continue
        opened.append(name)
    return opened


if __name__ == "__main__":
    said = "\n".join(leaks()) if sys.argv[1:] == ["--leaks"] else fold(sys.stdin.buffer.readlines(), before=seal)
    sys.stdout.write((said if not _seen or sys.argv[1:] else f"asked for {', '.join(_seen)}") + "\n")
    sys.stdout.flush()
    os._exit(0)
