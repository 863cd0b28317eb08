"""Alpaca's own clients, unchanged, pointed at the fake."""

from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.live.stock import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream

from tests.fakes.alpaca import FakeAlpaca


def trading_client(fake: FakeAlpaca, *, raw: bool = False) -> TradingClient:
    """Return alpaca-py's trading client."""
    return TradingClient(*fake.keys, raw_data=raw, url_override=fake.url)


def data_client(fake: FakeAlpaca) -> StockHistoricalDataClient:
    """Return alpaca-py's market data client."""
    return StockHistoricalDataClient(*fake.keys, url_override=fake.url)


def trading_stream(fake: FakeAlpaca) -> TradingStream:
    """Return alpaca-py's stream of trade updates."""
    return TradingStream(*fake.keys, url_override=fake.updates_url)


def data_stream(fake: FakeAlpaca) -> StockDataStream:
    """Return alpaca-py's stream of market data."""
    return StockDataStream(*fake.keys, url_override=f"{fake.stream_url}/v2/iex")
