"""A local Alpaca: trading API, market data API and both streams on one loopback port, with scripted faults."""

from tests.fakes.alpaca.faults import Fault
from tests.fakes.alpaca.server import FakeAlpaca

__all__ = ["FakeAlpaca", "Fault"]
