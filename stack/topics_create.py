"""`stonks topics create`: the topics alone, for a Kafka that somebody else runs, or for one of ours that is running."""

import argparse

from stack.foundations import make_topics
from stack.running import kafka_address
from streams.settings import settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments it takes: none."""


def main(arguments: argparse.Namespace) -> int:
    """Create every topic that is not there and say where; harmless when repeated."""
    address = kafka_address(settings())
    make_topics(address, settings())
    print(f"all topics are there, on {address}")
    return 0
