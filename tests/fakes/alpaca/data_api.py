"""The market data API, `/v2/stocks`: bars, trades, quotes and snapshots, of many symbols or of one."""

import base64
import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from tests.fakes.alpaca.market import MINUTE, Bar, Listing, Market
from tests.fakes.alpaca.ticker_json import bar_json, quote_json, trade_json
from tests.fakes.alpaca.wire import Json, read_instant

MOST, DEFAULT = 10_000, 1_000
MINUTES = {"1Min": 1, "5Min": 5, "15Min": 15, "30Min": 30, "1Hour": 60}

Item = tuple[dt.datetime, Json]


class DataApi:
    """Answer what the market data client asks."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def routes(self) -> list[web.RouteDef]:
        """Return every route of the data API: those of many symbols, then those of one."""
        many: Mapping[str, Callable[[web.Request], Any]] = {
            "bars": self.bars,
            "trades": self.trades,
            "bars/latest": self.latest_bars,
            "trades/latest": self.latest_trades,
            "quotes/latest": self.latest_quotes,
            "snapshots": self.snapshots,
        }
        return [
            *(web.get(f"/v2/stocks/{name}", handler) for name, handler in many.items()),
            *(
                web.get(f"/v2/stocks/{{symbol}}/{name}", handler)
                for name, handler in many.items()
                if name != "snapshots"
            ),
            web.get("/v2/stocks/{symbol}/snapshot", self.snapshots),
        ]

    async def bars(self, request: web.Request) -> web.Response:
        """Return bars of a timeframe, a page at a time; today's daily bar is there before its session ends."""
        timeframe = request.query.get("timeframe", "")
        if timeframe not in (*MINUTES, "1Day", "1D"):
            return _wrong(f"invalid timeframe: {timeframe}")
        return self._page(request, "bars", lambda one: ((bar.start, bar_json(bar)) for bar in _bars(one, timeframe)))

    async def trades(self, request: web.Request) -> web.Response:
        """Return trades, a page at a time."""
        return self._page(request, "trades", lambda one: ((trade.at, trade_json(trade)) for trade in one.tape))

    async def latest_trades(self, request: web.Request) -> web.Response:
        """Return the last trade of each symbol that ever had one."""
        return self._latest(request, "trade", _last_trade)

    async def latest_quotes(self, request: web.Request) -> web.Response:
        """Return the quote of each symbol that has one."""
        return self._latest(request, "quote", self._quote)

    async def latest_bars(self, request: web.Request) -> web.Response:
        """Return the last minute bar of each symbol that has one."""
        return self._latest(request, "bar", _last_minute)

    async def snapshots(self, request: web.Request) -> web.Response:
        """Return trade, quote, minute, day and the day before of each symbol."""
        found = {one.symbol: self._snapshot(one) for one in self._asked(request)}
        symbol = request.match_info.get("symbol")
        return web.json_response(found if symbol is None else {"symbol": symbol, **found.get(symbol, {})})

    def _quote(self, listing: Listing) -> Json | None:
        quote = self._market.quote(listing.symbol)
        return quote_json(quote) if quote else None

    def _snapshot(self, listing: Listing) -> Json:
        return {
            "latestTrade": _last_trade(listing),
            "latestQuote": self._quote(listing),
            "minuteBar": _last_minute(listing),
            "dailyBar": bar_json(listing.today) if listing.today else None,
            "prevDailyBar": bar_json(listing.days[-1]) if listing.days else None,
        }

    def _asked(self, request: web.Request) -> list[Listing]:
        one = request.match_info.get("symbol")
        names = [one] if one else request.query.get("symbols", "").split(",")
        return [self._market.listings[name] for name in names if name in self._market.listings]

    def _latest(self, request: web.Request, name: str, of: Callable[[Listing], Json | None]) -> web.Response:
        found = {one.symbol: shown for one in self._asked(request) if (shown := of(one)) is not None}
        symbol = request.match_info.get("symbol")
        if symbol is None:
            return web.json_response({f"{name}s": found})
        return web.json_response({"symbol": symbol, name: found.get(symbol)})

    def _page(self, request: web.Request, name: str, of: Callable[[Listing], Iterator[Item]]) -> web.Response:
        """Return the items between `start` and `end`, symbol after symbol, from where the page before ended."""
        asked = request.query
        now = self._market.clock.now()
        try:
            start = read_instant(asked["start"]) if "start" in asked else now.replace(hour=0, minute=0, second=0)
            end = read_instant(asked["end"]) if "end" in asked else now
            limit = min(MOST, max(1, int(asked.get("limit") or DEFAULT)))
            skipped = int(base64.b64decode(asked["page_token"])) if asked.get("page_token") else 0
        except ValueError as error:
            return _wrong(str(error))
        listings = sorted(self._asked(request), key=lambda one: one.symbol)
        items = [
            (one.symbol, shown)
            for one in listings
            for at, shown in sorted(of(one), key=lambda each: each[0], reverse=asked.get("sort") == "desc")
            if start <= at <= end
        ]
        page, rest = items[skipped : skipped + limit], items[skipped + limit :]
        token = base64.b64encode(str(skipped + limit).encode()).decode() if rest else None
        symbol = request.match_info.get("symbol")
        if symbol is not None:
            return web.json_response({"symbol": symbol, name: [one for _, one in page], "next_page_token": token})
        found: dict[str, list[Json]] = {}
        for each, shown in page:
            found.setdefault(each, []).append(shown)
        return web.json_response({name: found, "next_page_token": token})


def _bars(listing: Listing, timeframe: str) -> Sequence[Bar]:
    if timeframe not in MINUTES:
        return [*listing.days, *([listing.today] if listing.today else [])]
    span = MINUTES[timeframe]
    minutes = [*listing.minutes, *([listing.minute] if listing.minute else [])]
    joined: list[Bar] = []
    for bar in minutes:
        start = bar.start - MINUTE * ((bar.start.hour * 60 + bar.start.minute) % span)
        if joined and joined[-1].start == start:
            joined[-1] = joined[-1].joined(bar)
        else:
            joined.append(Bar(start, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.count, bar.value))
    return joined


def _last_trade(listing: Listing) -> Json | None:
    return trade_json(listing.last) if listing.last else None


def _last_minute(listing: Listing) -> Json | None:
    bar = listing.minute or (listing.minutes[-1] if listing.minutes else None)
    return bar_json(bar) if bar else None


def _wrong(message: str) -> web.Response:
    return web.json_response({"message": message}, status=400)
