"""`python -m docs.traceability`: write `docs/requirements.md`, from each criterion to its functions and its tests.

The criteria stand in `docs/criteria.toml`; the tests are found by their `@pytest.mark.covers("R4.6")` with `ast`, so
that nothing is imported or run for it.
"""

import ast
import importlib
import pathlib
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).parent.parent
SOURCE, TABLE = "docs/criteria.toml", "docs/requirements.md"
KEYS = {"id", "text", "implemented_by", "elsewhere", "besides"}


class Criterion(NamedTuple):
    """One criterion: either some functions implement it, or a reason says why nothing here does."""

    id: str
    text: str
    implemented_by: tuple[str, ...] = ()
    elsewhere: str | None = None
    besides: str | None = None


class Requirement(NamedTuple):
    """A requirement and its criteria in their order."""

    number: int
    title: str
    criteria: tuple[Criterion, ...]


def requirements(root: pathlib.Path = ROOT) -> tuple[Requirement, ...]:
    """Return all requirements of `docs/criteria.toml`; raise ValueError for an unknown key."""
    source = tomllib.loads((root / SOURCE).read_text(encoding="utf-8"))
    return tuple(
        Requirement(each["number"], each["title"], tuple(_criterion(row) for row in each["criteria"]))
        for each in source["requirement"]
    )


def covered(root: pathlib.Path = ROOT) -> dict[str, tuple[str, ...]]:
    """Return the tests that show each criterion, as pytest names them; a module's own mark names the module."""
    found: dict[str, set[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        name = path.relative_to(root).as_posix()
        for test, criteria in _marks(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            for criterion in criteria:
                found.setdefault(criterion, set()).add(f"{name}::{test}" if test else name)
    return {criterion: tuple(sorted(tests)) for criterion, tests in found.items()}


def gaps(known: tuple[Requirement, ...], tests: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield what is missing or too much, one line each."""
    criteria = {criterion.id: criterion for requirement in known for criterion in requirement.criteria}
    for criterion in criteria.values():
        if criterion.elsewhere is not None:
            if not criterion.elsewhere.strip():
                yield f"{criterion.id}: `elsewhere` without a reason"
            if criterion.implemented_by:
                yield f"{criterion.id}: `elsewhere`, and yet implemented by {', '.join(criterion.implemented_by)}"
            if criterion.id in tests:
                yield f"{criterion.id}: `elsewhere`, and yet shown by {', '.join(tests[criterion.id])}"
            continue
        if not criterion.implemented_by:
            yield f"{criterion.id}: nothing implements it"
        if criterion.id not in tests:
            yield f'{criterion.id}: no test is marked covers("{criterion.id}"); it asks: {criterion.text}'
        for path in criterion.implemented_by:
            if not exists(path):
                yield f"{criterion.id}: implemented by {path}, which is not there"
    for unknown in sorted(tests.keys() - criteria.keys()):
        yield f"{unknown}: no such criterion, but shown by {', '.join(tests[unknown])}"


def exists(path: str) -> bool:
    """Tell whether a dotted path names a module or something in one."""
    parts = path.split(".")
    for place in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:place]))
        except ImportError:
            continue
        for name in parts[place:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


def table(known: tuple[Requirement, ...], tests: dict[str, tuple[str, ...]]) -> str:
    """Return the page, in Markdown."""
    lines = [
        "# From each criterion to its functions and its tests",
        "",
        f"Made by `make docs` of `{SOURCE}` and of the tests' `covers` marks; `tests/test_traceability.py` holds both",
        "to it. A dash under *tests* is a gap, and fails the build.",
    ]
    for requirement in known:
        lines += ["", f"## R{requirement.number} {requirement.title}", ""]
        lines += ["| criterion | asks | implemented by | tests |", "|---|---|---|---|"]
        lines += [_row(criterion, tests.get(criterion.id, ())) for criterion in requirement.criteria]
    return "\n".join(lines) + "\n"


def _criterion(row: dict[str, Any]) -> Criterion:
    unknown = row.keys() - KEYS
    if unknown:
        raise ValueError(f"{row.get('id', row)}: no such key: {', '.join(sorted(unknown))}")
    return Criterion(**(row | {"implemented_by": tuple(row.get("implemented_by", ()))}))


def _row(criterion: Criterion, tests: tuple[str, ...]) -> str:
    if criterion.elsewhere is not None:
        return f"| {criterion.id} | {criterion.text} | *elsewhere: {criterion.elsewhere}* | |"
    text = criterion.text + (f" *Besides: {criterion.besides}.*" if criterion.besides else "")
    functions = "<br>".join(f"`{path}`" for path in criterion.implemented_by)
    shown = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests)
    return f"| {criterion.id} | {text} | {functions} | {shown or '-'} |"


def _marks(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each marked test and its criteria; the module's own mark has no name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for decorator in node.decorator_list:
                yield node.name, _criteria_of(decorator)
        elif isinstance(node, ast.Assign) and any(getattr(each, "id", "") == "pytestmark" for each in node.targets):
            for each in node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]:
                yield "", _criteria_of(each)


def _criteria_of(mark: ast.expr) -> list[str]:
    if not (isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.covers"):
        return []
    return [ast.literal_eval(argument) for argument in mark.args]


if __name__ == "__main__":
    (ROOT / TABLE).write_text(table(requirements(), covered()), encoding="utf-8")
    print(f"wrote {TABLE}")
