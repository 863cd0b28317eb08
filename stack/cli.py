"""The `stonks` command: one line here a subcommand, each a module with `add_arguments(parser)` and `main(arguments)`.

A subcommand's module is imported when it is called, so that `stonks --help` answers at once. Whatever fails says why in
the last line on stderr, `error: …`, and by the exit code (`errors.py`).
"""

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from pydantic import ValidationError

from stack.errors import StackError
from streams.settings import Settings

COULD_NOT_RUN = 2


class Command(NamedTuple):
    """A subcommand: its words on the command line, its module, and what it does."""

    words: tuple[str, ...]
    module: str
    purpose: str


COMMANDS = (
    Command(("up",), "stack.up", "everything on this machine, until Ctrl-C"),
    Command(("produce",), "stack.produce", "the JSON lines of a file to an input topic"),
    Command(("replay",), "stack.replay", "fold the recorded log again and compare what it led to"),
    Command(("doctor",), "stack.doctor", "what is missing or wrong on this machine, with the mend"),
    Command(("topics", "create"), "stack.topics_create", "create every topic that is not there"),
    Command(("db", "migrate"), "stack.db_migrate", "bring the tables up to date"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        command = _command(words)
        module = importlib.import_module(command.module)
        parser = Parser(prog=" ".join(("stonks", *command.words)), description=module.__doc__)
        module.add_arguments(parser)
        return int(module.main(parser.parse_args(words[len(command.words) :])))
    except StackError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except Exception as error:
        if isinstance(error, ValidationError) and error.title == Settings.__name__:
            return _fail(_wrong_settings(error), COULD_NOT_RUN)
        traceback.print_exc()
        return _fail(f"{type(error).__name__}: {error}", COULD_NOT_RUN)


class Parser(argparse.ArgumentParser):
    """A parser whose last line is `error: …` like all others."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and end with 2."""
        self.print_usage(sys.stderr)
        self.exit(COULD_NOT_RUN, f"error: {message}\n")


def _command(words: Sequence[str]) -> Command:
    """Return the subcommand that the words begin with; show the list, and end, when they name none."""
    for command in COMMANDS:
        if tuple(words[: len(command.words)]) == command.words:
            return command
    listing = "\n".join(f"  {' '.join(command.words):<15} {command.purpose}" for command in COMMANDS)
    parser = Parser(
        prog="stonks",
        usage="stonks COMMAND [ARGUMENT ...]",
        description="An autonomous trading engine on Kafka, on one machine.",
        epilog=f"commands:\n{listing}\n\n`stonks COMMAND --help` says more about each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_known_args(words)
    parser.error(f"no such command: {' '.join(words[:2])}" if words else "name a command; `stonks --help` lists them")


def _wrong_settings(error: ValidationError) -> str:
    """Name the variables that are out of their range, without the values: one may be a secret."""
    return "; ".join(
        f"STONKS_{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}" for problem in error.errors()
    )


def _fail(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
