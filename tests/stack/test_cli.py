"""Every failure of `stonks` ends with `error: …` and the exit code of the contract."""

import pathlib

import pytest

from stack import cli
from stack.errors import DataDirInUse, Missing, PortTaken, StackError
from tests.stack.conftest import Stonks
from trading.events import EVENT


@pytest.mark.parametrize(
    "words", [(), ("nothing",), ("topics",), ("up", "--workers", "0"), ("up", "--workers", "x"), ("up", "--nope")]
)
def test_wrong_usage_is_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("error", [StackError, Missing, PortTaken, DataDirInUse])
def test_each_error_has_its_code_and_is_the_last_line(
    error: type[StackError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise error("what\nis wrong: the mend")

    monkeypatch.setattr("stack.doctor.main", fail)
    assert cli.main(["doctor"]) == {StackError: 2, Missing: 3, PortTaken: 4, DataDirInUse: 5}[error]
    assert capsys.readouterr().err == "error: what is wrong: the mend\n"


def test_a_programmers_error_is_2_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("stack.doctor.main", fail)
    assert cli.main(["doctor"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "error: ZeroDivisionError: oops"


def test_a_record_that_cannot_be_read_is_not_taken_for_a_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stack.doctor.main", lambda _: EVENT.validate_json(b'{"kind": "of_a_newer_build"}'))
    assert cli.main(["doctor"]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: ValidationError: ")
    assert "STONKS_" not in said


def test_a_variable_out_of_range_is_named_without_its_value(stonks: Stonks) -> None:
    refused = stonks.run("up", STONKS_SIM_CASH="canary-7")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: STONKS_SIM_CASH: ")
    assert "canary-7" not in refused.stderr


@pytest.mark.parametrize("words", [("topics", "create"), ("db", "migrate")])
def test_a_command_for_a_running_stack_says_when_there_is_none(stonks: Stonks, words: tuple[str, ...]) -> None:
    refused = stonks.run(*words)
    assert refused.returncode == 2
    assert "no `stonks up` runs on" in refused.stderr.splitlines()[-1]


def test_a_kafka_address_without_a_port_is_wrong_usage(stonks: Stonks) -> None:
    refused = stonks.run("topics", "create", STONKS_KAFKA="localhost")
    assert refused.returncode == 2
    assert "STONKS_KAFKA=localhost is not `host:port`" in refused.stderr


def test_every_command_is_a_module_that_is_there() -> None:
    for command in cli.COMMANDS:
        module = pathlib.Path(cli.__file__).parent.parent / (command.module.replace(".", "/") + ".py")
        assert module.exists()
