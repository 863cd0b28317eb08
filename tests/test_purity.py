"""The core asks nothing of the world: no clock, no chance, no environment, no file, no socket, no process.

Two proofs. From the source: what `trading/` imports and calls is a short list. From the outside: months of one
account's events, folded with all ways out sealed, under another hash seed, another time zone and another language, give
the same bytes.
"""

import ast
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import sealed
from tests.trading import recorded

ROOT = pathlib.Path(__file__).parent.parent

ANYWHERE = {
    "base64", "bisect", "collections", "collections.abc", "dataclasses", "datetime", "decimal", "enum", "functools",
    "hashlib", "itertools", "json", "math", "operator", "pydantic", "re", "statistics", "string", "typing",
}  # fmt: skip
IN_ONE_PLACE = {
    "uuid": "trading/ids.py",  # version 5 alone: ids are functions of their causes
    "zoneinfo": "trading/trading_window.py",
    "exchange_calendars": "trading/trading_window.py",
}
IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "__import__", "breakpoint", "hash", "id", "globals", "vars"}


def reaches(path: str, tree: ast.Module) -> Iterator[str]:
    """Yield what a module of the core imports or calls that it must not."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        for name in names:
            if name.split(".")[0] != "trading" and name not in ANYWHERE and IN_ONE_PLACE.get(name) != path:
                yield f"{path}:{node.lineno}: imports {name}"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "uuid" and node.attr not in {"UUID", "uuid5"}:
            yield f"{path}:{node.lineno}: uuid.{node.attr} is no function of its causes"
        if isinstance(node, ast.ImportFrom) and node.module == "uuid":
            yield f"{path}:{node.lineno}: say uuid.uuid5"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield f"{path}:{node.lineno}: calls {node.func.id}"
        if isinstance(node, ast.Global | ast.Nonlocal):
            yield f"{path}:{node.lineno}: keeps state between two calls"


def core() -> dict[str, ast.Module]:
    paths = sorted((ROOT / "trading").rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def test_the_core_imports_and_calls_nothing_that_knows_the_world() -> None:
    assert [found for path, tree in core().items() for found in reaches(path, tree)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import random",
        "import os.path",
        "import socket",
        "import logging",
        "import asyncio",
        "from os import environ",
        "from secrets import token_hex",
        "def late():\n    from time import monotonic",
        "import zoneinfo",
        "import uuid",
        "print('x')",
        "x = open('y')",
        "x = hash('y')",
        "def count():\n    global calls\n    calls = 1",
    ],
)
def test_the_reader_of_the_source_turns_red(source: str) -> None:
    assert list(reaches("trading/gates.py", ast.parse(source)))


@pytest.mark.parametrize("source", ["uuid.uuid4()", "uuid.uuid1()", "from uuid import uuid4", "from uuid import uuid5"])
def test_ids_are_made_by_version_5_alone(source: str) -> None:
    assert list(reaches("trading/ids.py", ast.parse(source)))
    assert list(reaches("trading/ids.py", ast.parse("import uuid\nuuid.uuid5(uuid.UUID('x'), 'y')"))) == []


def in_a_sealed_process(*arguments: str, lines: bytes = b"", **variables: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.sealed", *arguments],
        input=lines,
        capture_output=True,
        cwd=ROOT,
        env=dict(os.environ) | variables,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]
    return ended.stdout.decode().strip()


@pytest.mark.covers("R18.5")
def test_months_of_events_give_the_same_bytes_with_the_world_sealed_off() -> None:
    """Same bytes under another hash seed, time zone and language: no set's order and no local time gets into them."""
    lines = [event.model_dump_json().encode() for _, event in recorded.log(events=2_000)]
    here = sealed.fold(lines)
    there = in_a_sealed_process(
        lines=b"\n".join(lines), PYTHONHASHSEED="4711", TZ="Pacific/Auckland", LC_ALL="tr_TR.UTF-8", LANG="tr_TR.UTF-8"
    )
    assert there == here


def test_every_way_out_of_the_sealed_process_is_shut() -> None:
    assert in_a_sealed_process("--leaks") == ""


def test_the_recorded_log_is_worth_its_name() -> None:
    """It reaches what it is there for: entries, exits of several purposes, fills, breakers, commands, sessions."""
    kinds = {event.kind for _, event in recorded.log(events=2_000)}
    assert kinds >= {
        "recommendation",
        "mark",
        "daily_bar",
        "order_fill",
        "order_rejected",
        "account_snapshot",
        "clock",
        "earnings_changed",
        "market_stress",
        "macro_event",
        "trend",
        "update_config",
        "set_risk_tier",
        "adjust_reserve",
    }
