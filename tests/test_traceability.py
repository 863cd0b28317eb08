"""Every criterion of the requirements has a function that is there and a test that shows it, or a reason why not.

`docs/criteria.toml` names the functions, the tests' `covers` marks the criteria; `docs/requirements.md` comes of both.
"""

import ast
import pathlib

import pytest

from docs import traceability
from docs.traceability import Criterion, Requirement, covered, exists, gaps, requirements, table

COUNTED = {1: 7, 2: 7, 3: 7, 4: 8, 5: 6, 6: 6, 7: 5, 8: 6, 9: 5, 10: 4} | {
    11: 5, 12: 4, 13: 4, 14: 7, 15: 6, 16: 6, 17: 4, 18: 5, 19: 11, 20: 10
}  # fmt: skip
"""The criteria of each requirement, counted by hand in the requirements: 123 in all."""


def test_every_criterion_of_the_requirements_is_listed_once_and_in_order() -> None:
    assert {requirement.number: len(requirement.criteria) for requirement in requirements()} == COUNTED
    assert sum(COUNTED.values()) == 123
    listed = [criterion.id for requirement in requirements() for criterion in requirement.criteria]
    assert listed == [f"R{number}.{place}" for number, count in COUNTED.items() for place in range(1, count + 1)]


def test_every_criterion_is_implemented_and_shown_or_has_a_reason() -> None:
    missing = list(gaps(requirements(), covered()))
    assert not missing, "\n".join(["in docs/criteria.toml and the tests' covers marks:", *missing])


def test_the_page_is_the_one_that_the_sources_make() -> None:
    committed = (traceability.ROOT / traceability.TABLE).read_text(encoding="utf-8")
    assert committed == table(requirements(), covered()), "run `make docs` and commit docs/requirements.md"


def test_no_criterion_is_only_a_word() -> None:
    """A dash or a word alone would pass for a text, and a reason, that nobody can check."""
    for requirement in requirements():
        for criterion in requirement.criteria:
            assert len(criterion.text.split()) >= 3, criterion.id
            assert criterion.elsewhere is None or len(criterion.elsewhere.split()) >= 4, criterion.id


@pytest.mark.parametrize(
    ("criterion", "tests", "gap"),
    [
        (Criterion("R1.1", "x", ("trading.engine.react",)), {}, 'no test is marked covers("R1.1")'),
        (Criterion("R1.1", "x"), {"R1.1": ("t",)}, "nothing implements it"),
        (Criterion("R1.1", "x", ("trading.engine.reakt",)), {"R1.1": ("t",)}, "trading.engine.reakt, which is not"),
        (Criterion("R1.1", "x", ("trading.motor",)), {"R1.1": ("t",)}, "trading.motor, which is not"),
        (Criterion("R1.1", "x", elsewhere=" "), {}, "without a reason"),
        (Criterion("R1.1", "x", elsewhere="later"), {"R1.1": ("t",)}, "and yet shown"),
        (Criterion("R1.1", "x", ("trading.engine.react",), elsewhere="later"), {}, "and yet implemented"),
        (Criterion("R1.2", "x", elsewhere="later"), {"R1.1": ("t",)}, "no such criterion"),
    ],
)
def test_the_checker_turns_red(criterion: Criterion, tests: dict[str, tuple[str, ...]], gap: str) -> None:
    [found] = gaps((Requirement(1, "y", (criterion,)),), tests)
    assert gap in found


def test_the_checker_stays_green_where_everything_is_there() -> None:
    known = Requirement(1, "y", (Criterion("R1.1", "x", ("trading.engine.react", "trading")),))
    assert list(gaps((known,), {"R1.1": ("t",)})) == []
    assert exists("trading.portfolio.Portfolio.active_pool")


def test_marks_are_found_on_tests_and_on_modules_alone_or_in_a_list(tmp_path: pathlib.Path) -> None:
    sources = {
        "tests/test_one.py": "@pytest.mark.covers('R1.1', 'R1.2')\n@pytest.mark.slow\nasync def test_it(): pass\n"
        "@pytest.mark.covers('R9.9')\ndef helper(): pass",
        "tests/deep/test_two.py": "pytestmark = [pytest.mark.integration, pytest.mark.covers('R1.2')]",
    }
    for name, source in sources.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    assert covered(tmp_path) == {
        "R1.1": ("tests/test_one.py::test_it",),
        "R1.2": ("tests/deep/test_two.py", "tests/test_one.py::test_it"),
    }


def test_every_mark_stands_where_it_is_looked_for() -> None:
    """A mark on a method or on what is no test would be written and never counted."""
    looked_at = sum(len(tests) for tests in covered().values())
    written: set[tuple[str, int, str]] = set()
    for path in sorted((traceability.ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.covers":
                written |= {(str(path), node.lineno, ast.literal_eval(argument)) for argument in node.args}
    assert looked_at == len(written)
