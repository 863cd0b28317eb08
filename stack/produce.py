"""`stonks produce FILE --topic T`: the JSON lines of a file to an input topic, each checked as the engine would."""

import argparse
import sys

from connectors.signals import produce
from stack.errors import StackError
from stack.running import kafka_address
from streams.settings import settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments `stonks produce` takes."""
    parser.add_argument("file", metavar="FILE", help="JSON lines; - reads them from stdin")
    parser.add_argument("--topic", required=True, metavar="T", help="an input topic, such as recommendations")


def main(arguments: argparse.Namespace) -> int:
    """Send the lines; return 0 when all were sent, 1 when some were refused, 2 when it could not run."""
    address = kafka_address(settings())
    if arguments.file == "-":
        return produce(sys.stdin.buffer, arguments.topic, address, settings())
    try:
        with open(arguments.file, "rb") as lines:
            return produce(lines, arguments.topic, address, settings())
    except OSError as error:
        raise StackError(f"{arguments.file} cannot be read: {error.strerror}") from error
