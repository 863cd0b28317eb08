"""`stonks db migrate`: the tables alone, for a PostgreSQL that somebody else runs, or for ours that is running."""

import argparse

from stack.foundations import make_tables
from stack.running import database_url
from streams.settings import settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments it takes: none."""


def main(arguments: argparse.Namespace) -> int:
    """Apply what is not applied yet and name it; harmless when repeated."""
    applied = make_tables(database_url(settings()))
    print(f"applied {', '.join(applied)}" if applied else "nothing to apply")
    return 0
