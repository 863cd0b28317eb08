"""The arrows between the rooms, and what each room may say, read from the source with `ast`.

`design.md` draws the arrows. A checker that cannot fail is worth nothing: the second half turns each rule red.
"""

import ast
import pathlib
import sys
from collections.abc import Callable, Iterator

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MAX_LINES = 400  # the house says about 250; this catches what sprawls

MAY_IMPORT = {
    "trading": set(),
    "streams": {"trading"},
    "tables": {"streams", "trading"},
    "agents": {"tables", "streams", "trading"},
    "connectors": {"streams", "trading"},
    "api": {"streams", "trading"},
    "stack": {"trading", "streams", "tables", "agents", "connectors", "api", "migrations"},
    "migrations": set(),
}
FAKES = {"tests.fakes", "tests.fakes.alpaca"}  # `stonks up --broker fake-alpaca` starts it as a program
CORE_MAY_IMPORT = {"numpy", "pydantic", "exchange_calendars"}
NOT_IN_THE_CORE = {
    "asyncio",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
}
ONLY_IN_CONNECTORS = {"alpaca", "boto3", "botocore", "googleapiclient", "google"}
SAYS_FAUST = ("streams/", "tables/", "agents/worker.py")
READS_THE_ENVIRONMENT = ("streams/settings.py",)
CLOCKS = {"now", "utcnow", "today"}
RANDOM_IDS = {"uuid1", "uuid4"}

Module = tuple[str, ast.Module]


def modules(root: pathlib.Path) -> Iterator[Module]:
    """Yield the path, relative to `root` and with slashes, and the syntax tree of each module in a room."""
    for room in MAY_IMPORT:
        for path in sorted((root / room).rglob("*.py")):
            yield path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of each import, wherever in the module it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def arrows(root: pathlib.Path) -> Iterator[str]:
    for path, tree in modules(root):
        room = path.split("/")[0]
        for line, name in imported(tree):
            target = name.split(".")[0]
            if target in {*MAY_IMPORT, "tests"} and target not in MAY_IMPORT[room] | {room}:
                yield f"{path}:{line}: {room} must not import {target}"
            if not target:
                yield f"{path}:{line}: import by the path you see on disk, not relatively"


def core_imports(root: pathlib.Path) -> Iterator[str]:
    allowed = CORE_MAY_IMPORT | set(sys.stdlib_module_names) | {"trading"}
    for path, tree in modules(root):
        if path.startswith("trading/"):
            for line, name in imported(tree):
                target = name.split(".")[0]
                if target not in allowed or target in NOT_IN_THE_CORE:
                    yield f"{path}:{line}: the core must not import {target}"


def frameworks(root: pathlib.Path) -> Iterator[str]:
    for path, tree in modules(root):
        for line, name in imported(tree):
            target = name.split(".")[0]
            if target in {"faust", "mode"} and not path.startswith(SAYS_FAUST):
                yield f"{path}:{line}: only {', '.join(SAYS_FAUST)} say faust"
            if target in ONLY_IN_CONNECTORS and not path.startswith("connectors/"):
                yield f"{path}:{line}: only connectors/ says {target}"
            if target in {"pickle", "shelve", "marshal"}:
                yield f"{path}:{line}: nothing here is pickled"


def environment_readers(root: pathlib.Path) -> Iterator[str]:
    for path, tree in modules(root):
        if path in READS_THE_ENVIRONMENT:
            continue
        for node in ast.walk(tree):
            direct = isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "putenv"}
            by_name = (
                isinstance(node, ast.ImportFrom)
                and node.module == "os"
                and {alias.name for alias in node.names} & {"environ", "environb", "getenv", "putenv"}
            )
            if direct or by_name:
                yield f"{path}:{node.lineno}: only {READS_THE_ENVIRONMENT[0]} reads the environment"


def clocks_and_chance(root: pathlib.Path) -> Iterator[str]:
    for path, tree in modules(root):
        for node in ast.walk(tree):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in CLOCKS and path.startswith("trading/") and isinstance(node, ast.Attribute) and _is_a_class(node):
                yield f"{path}:{node.lineno}: the core never asks a clock"
            if name in RANDOM_IDS and path.startswith(("trading/", "agents/")):
                yield f"{path}:{node.lineno}: ids are functions of their causes"


def _is_a_class(node: ast.Attribute) -> bool:
    owner = node.value
    return (isinstance(owner, ast.Name) and owner.id in {"datetime", "date"}) or (
        isinstance(owner, ast.Attribute) and owner.attr in {"datetime", "date"}
    )


def shapes(root: pathlib.Path) -> Iterator[str]:
    for path, tree in modules(root):
        lines = len((root / path).read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES:
            yield f"{path}: {lines} lines, more than one idea"
        if not ast.get_docstring(tree):
            yield f"{path}: no opening paragraph"


RULES: list[Callable[[pathlib.Path], Iterator[str]]] = [
    arrows,
    core_imports,
    frameworks,
    environment_readers,
    clocks_and_chance,
    shapes,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rooms_keep_the_rule(rule: Callable[[pathlib.Path], Iterator[str]]) -> None:
    assert list(rule(ROOT)) == []


def test_every_room_is_packaged_and_every_package_is_a_room() -> None:
    import tomllib  # noqa: PLC0415 - this test alone

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["tool"]["setuptools"]["packages"]) == set(MAY_IMPORT) | FAKES


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (arrows, "trading/engine.py", "from agents.decide import decide"),
        (arrows, "connectors/simulated_broker.py", "import api.app"),
        (arrows, "agents/watch.py", "def late():\n    from connectors import ports"),
        (arrows, "streams/codec.py", "import tables"),
        (arrows, "stack/fake_alpaca.py", "from tests.fakes.alpaca import FakeAlpaca"),
        (arrows, "tables/levels.py", "from .positions import positions"),
        (arrows, "migrations/runner.py", "import streams.settings"),
        (core_imports, "trading/gates.py", "import aiokafka"),
        (core_imports, "trading/gates.py", "from time import monotonic"),
        (frameworks, "agents/decide.py", "import faust"),
        (frameworks, "api/app.py", "from faust.types import AppT"),
        (frameworks, "stack/up.py", "import boto3"),
        (frameworks, "streams/codec.py", "import pickle"),
        (environment_readers, "stack/up.py", "import os\nHOME = os.environ['HOME']"),
        (environment_readers, "api/app.py", "from os import getenv"),
        (clocks_and_chance, "trading/engine.py", "import datetime\nat = datetime.datetime.now(datetime.UTC)"),
        (clocks_and_chance, "trading/engine.py", "from datetime import date\non = date.today()"),
        (clocks_and_chance, "agents/intake.py", "from uuid import uuid4\nid = uuid4()"),
        (shapes, "trading/money.py", "cents = 2"),
        (shapes, "trading/money.py", '"""Money."""' + "\n" * MAX_LINES + "cents = 2"),
    ],
)
def test_the_checker_turns_red(
    rule: Callable[[pathlib.Path], Iterator[str]], path: str, source: str, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source, encoding="utf-8")
    assert len(list(rule(tmp_path))) == 1


def test_the_checker_stays_green_where_an_arrow_points_forward(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "agents" / "worker.py"
    file.parent.mkdir()
    file.write_text('"""Wire the agents."""\n\nimport faust\nfrom trading.engine import react\n', encoding="utf-8")
    assert [problem for rule in RULES for problem in rule(tmp_path)] == []
