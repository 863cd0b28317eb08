"""The control API, `/fake`, for loopback alone: prices, clock, account, faults, and the log."""

import dataclasses
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from tests.fakes.alpaca.exchange import Exchange
from tests.fakes.alpaca.faults import Faults, read_fault
from tests.fakes.alpaca.feed import MarketFeed
from tests.fakes.alpaca.updates import TradeUpdates
from tests.fakes.alpaca.wire import dumped, instant, read_instant


class Control:
    """Do what a test, a chaos runner or a demo wants of the fake."""

    def __init__(self, exchange: Exchange, faults: Faults, updates: TradeUpdates, feed: MarketFeed) -> None:
        self._exchange = exchange
        self._faults = faults
        self._updates = updates
        self._feed = feed

    def routes(self) -> list[web.RouteDef]:
        """Return every control route."""
        return [
            web.get("/fake/health", self.health),
            web.get("/fake/faults", self.faults),
            web.post("/fake/faults", self.add_faults),
            web.delete("/fake/faults", self.clear_faults),
            web.get("/fake/log", self.log),
            web.post("/fake/prices", self.set_prices),
            web.post("/fake/script", self.play),
            web.post("/fake/clock", self.set_clock),
            web.post("/fake/account", self.set_account),
            web.post("/fake/assets", self.set_asset),
            web.post("/fake/cut", self.cut),
        ]

    async def health(self, request: web.Request) -> web.Response:
        """Say that the server lives, and what its clock says."""
        now = self._exchange.market.clock.now()
        connected = {"updates": len(self._updates.connections), "feed": len(self._feed.subscribers)}
        return web.json_response({"status": "ok", "now": instant(now), "connections": connected})

    async def faults(self, request: web.Request) -> web.Response:
        """Return the armed faults and how often each was met."""
        return web.json_response([dataclasses.asdict(one) for one in self._faults.armed])

    async def add_faults(self, request: web.Request) -> web.Response:
        """Arm a fault, or a list of them; 400 with what is wrong, and none is armed."""
        body = await request.json()
        try:
            read = [read_fault(one) for one in (body if isinstance(body, list) else [body])]
        except (ValueError, TypeError) as error:
            return web.json_response({"message": str(error)}, status=400)
        return web.json_response([dataclasses.asdict(self._faults.add(one)) for one in read])

    async def clear_faults(self, request: web.Request) -> web.Response:
        """Disarm all faults."""
        self._faults.clear()
        return web.Response(status=204)

    async def log(self, request: web.Request) -> web.Response:
        """Return the entries after a number, `?after=`, of a kind, `?what=`."""
        after, what = int(request.query.get("after", "0")), request.query.get("what")
        found = [one for one in self._exchange.log.entries[after:] if what in (None, one["what"])]
        return web.Response(text=dumped(found), content_type="application/json")

    async def set_prices(self, request: web.Request) -> web.Response:
        """Have symbols trade at prices: `{"AAPL": "187.10"}`; one that is not listed is listed, with a past."""
        for symbol, price in (await request.json()).items():
            if symbol in self._exchange.market.listings:
                self._exchange.market.set_price(symbol, _decimal(price))
            else:
                self._exchange.market.list_symbol(symbol, price=_decimal(price))
        return web.Response(status=204)

    async def play(self, request: web.Request) -> web.Response:
        """Have a symbol trade at a list of prices: `{"symbol", "prices", "seconds"}`."""
        body = await request.json()
        prices = [_decimal(one) for one in body["prices"]]
        self._exchange.market.play(body["symbol"], prices, seconds=float(body["seconds"]))
        return web.Response(status=204)

    async def set_clock(self, request: web.Request) -> web.Response:
        """Set the exchange's time: `{"now": instant or null, "rate": 1}`."""
        body = await request.json()
        at = read_instant(body["now"]) if body.get("now") else None
        self._exchange.market.clock.set(at, rate=float(body.get("rate", 1)))
        self._exchange.step()
        return web.json_response({"now": instant(self._exchange.market.clock.now())})

    async def set_account(self, request: web.Request) -> web.Response:
        """Set `{"cash", "positions": [{"symbol", "qty", "avg_entry_price"}]}`; a qty of 0 takes the position away."""
        body = await request.json()
        if "cash" in body:
            self._exchange.set_cash(_decimal(body["cash"]))
        for one in body.get("positions", []):
            price = _decimal(one.get("avg_entry_price", "1"))
            self._exchange.set_position(one["symbol"], _decimal(one["qty"]), avg_entry_price=price)
        return web.Response(status=204)

    async def set_asset(self, request: web.Request) -> web.Response:
        """Set whether a symbol is tradable and fractionable: `{"symbol", "tradable", "fractionable"}`."""
        body = await request.json()
        listing = self._exchange.market.listings[body["symbol"]]
        listing.tradable = bool(body.get("tradable", listing.tradable))
        listing.fractionable = bool(body.get("fractionable", listing.fractionable))
        return web.Response(status=204)

    async def cut(self, request: web.Request) -> web.Response:
        """End the connections of `{"stream": "updates" or "feed"}` without a word."""
        stream = (await request.json()).get("stream")
        if stream != "feed":
            self._updates.cut()
        if stream != "updates":
            self._feed.cut()
        return web.Response(status=204)


def _decimal(value: Any) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise web.HTTPBadRequest(text=f"{value} is no number") from None
