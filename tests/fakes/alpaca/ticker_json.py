"""How Alpaca writes trades, quotes and bars: letters for names, numbers as numbers."""

from tests.fakes.alpaca.market import Bar, Quote, Trade
from tests.fakes.alpaca.wire import Json, instant


def trade_json(trade: Trade) -> Json:
    """Return a trade as the API and the stream show it."""
    return {
        "t": instant(trade.at),
        "x": "V",
        "p": float(trade.price),
        "s": trade.size,
        "c": ["@"],
        "i": trade.id,
        "z": "C",
    }


def quote_json(quote: Quote) -> Json:
    """Return a quote as the API and the stream show it."""
    return {
        "t": instant(quote.at),
        "ax": "V",
        "ap": float(quote.ask),
        "as": 1,
        "bx": "V",
        "bp": float(quote.bid),
        "bs": 1,
        "c": ["R"],
        "z": "C",
    }


def bar_json(bar: Bar) -> Json:
    """Return a bar as the API and the stream show it."""
    return {
        "t": instant(bar.start),
        "o": float(bar.open),
        "h": float(bar.high),
        "l": float(bar.low),
        "c": float(bar.close),
        "v": bar.volume,
        "n": bar.count,
        "vw": round(float(bar.value / bar.volume), 6) if bar.volume else float(bar.close),
    }
