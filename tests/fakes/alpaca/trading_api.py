"""The trading API, `/v2`: account, clock, calendar, assets, orders, positions, activities."""

import datetime as dt
import json
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from aiohttp import web

from tests.fakes.alpaca.book import Fill, Position, State
from tests.fakes.alpaca.clock import coming_session, next_open
from tests.fakes.alpaca.exchange import Exchange, account_of
from tests.fakes.alpaca.gate import lag_of, terms_of
from tests.fakes.alpaca.market import Listing
from tests.fakes.alpaca.orders import ASSETS, Refusal, asset_id, not_found, unprocessable
from tests.fakes.alpaca.wire import Json, dumped, instant, new_york, number, read_instant
from trading import trading_window
from trading.trading_window import NEW_YORK

MOST_ORDERS, MOST_ACTIVITIES = 500, 100
ACCOUNT_NUMBER = "PA0FAKE00001"


class TradingApi:
    """Answer what the trading client asks."""

    def __init__(self, exchange: Exchange, *, created_at: dt.datetime, number: str = ACCOUNT_NUMBER) -> None:
        self._exchange = exchange
        self._number = number
        self._created_at = created_at

    def routes(self) -> list[web.RouteDef]:
        """Return every route of the trading API."""
        return [
            web.get("/v2/account", self.account),
            web.get("/v2/clock", self.clock),
            web.get("/v2/calendar", self.calendar),
            web.get("/v2/assets", self.assets),
            web.get("/v2/assets/{symbol}", self.asset),
            web.post("/v2/orders", self.submit),
            web.get("/v2/orders", self.orders),
            web.delete("/v2/orders", self.cancel_all),
            web.get("/v2/orders:by_client_order_id", self.order_by_client_order_id),
            web.get("/v2/orders/{id}", self.order),
            web.delete("/v2/orders/{id}", self.cancel),
            web.get("/v2/positions", self.positions),
            web.get("/v2/positions/{symbol}", self.position),
            web.get("/v2/account/activities", self.activities),
            web.get("/v2/account/activities/{type}", self.activities),
        ]

    async def account(self, request: web.Request) -> web.Response:
        """Return the account."""
        state = self._seen(request)
        amounts = account_of(state, self._exchange.market.prices())
        is_margin = amounts["equity"] >= 2000
        shown = {name: number(amount) for name, amount in amounts.items()}
        return _json(
            {
                "id": str(uuid.uuid5(ASSETS, self._number)),
                "account_number": self._number,
                "status": "ACTIVE",
                "crypto_status": "INACTIVE",
                "currency": "USD",
                **shown,
                "regt_buying_power": shown["buying_power"],
                "non_marginable_buying_power": number(max(Decimal(0), state.cash)),
                "options_buying_power": "0",
                "portfolio_value": shown["equity"],
                "last_equity": shown["equity"],
                "short_market_value": "0",
                "initial_margin": number(amounts["long_market_value"] / 2),
                "maintenance_margin": number(amounts["long_market_value"] * 3 / 10),
                "last_maintenance_margin": "0",
                "sma": "0",
                "accrued_fees": "0",
                "multiplier": "2" if is_margin else "1",
                "shorting_enabled": False,
                "trading_blocked": False,
                "transfers_blocked": False,
                "account_blocked": False,
                "trade_suspended_by_user": False,
                "created_at": instant(self._created_at),
            }
        )

    async def clock(self, request: web.Request) -> web.Response:
        """Return the exchange's time."""
        now = self._exchange.market.clock.now()
        return _json(
            {
                "timestamp": new_york(now),
                "is_open": trading_window.session_at(now) is not None,
                "next_open": new_york(next_open(now)),
                "next_close": new_york(coming_session(now).close_at),
            }
        )

    async def calendar(self, request: web.Request) -> web.Response:
        """Return the sessions of some days; without an end, those of a year from the start."""
        today = trading_window.new_york_date(self._exchange.market.clock.now())
        start = _day(request.query.get("start")) or today
        end = _day(request.query.get("end")) or start + dt.timedelta(days=366)
        days: list[Json] = []
        session = coming_session(dt.datetime.combine(start, dt.time(), tzinfo=NEW_YORK))
        while session.on <= end and len(days) < 10_000:
            opened, closed = session.open_at.astimezone(NEW_YORK), session.close_at.astimezone(NEW_YORK)
            days.append(
                {
                    "date": session.on.isoformat(),
                    "open": f"{opened:%H:%M}",
                    "close": f"{closed:%H:%M}",
                    "session_open": "0400",
                    "session_close": "2000",
                }
            )
            session = coming_session(session.close_at)
        return _json(days)

    async def assets(self, request: web.Request) -> web.Response:
        """Return every asset."""
        return _json([_asset(one) for one in self._exchange.market.listings.values()])

    async def asset(self, request: web.Request) -> web.Response:
        """Return an asset by its symbol or id."""
        wanted = request.match_info["symbol"]
        for one in self._exchange.market.listings.values():
            if wanted in (one.symbol, asset_id(one.symbol)):
                return _json(_asset(one))
        raise not_found(f"asset not found for {wanted}")

    async def submit(self, request: web.Request) -> web.Response:
        """Take an order."""
        try:
            body = json.loads(await request.read())
        except ValueError:
            raise Refusal(400, 40010000, "request body format is invalid") from None
        try:
            return _json(self._exchange.submit(body, terms_of(request)).shown())
        except Refusal as refusal:
            self._log_refusal(body, refusal)
            raise

    async def orders(self, request: web.Request) -> web.Response:
        """Return orders by status, time, side and symbol; the newest first unless asked otherwise."""
        asked = request.query
        wanted, side = asked.get("status", "open"), asked.get("side")
        symbols = {one for one in asked.get("symbols", "").split(",") if one}
        after, until = _instant(asked.get("after")), _instant(asked.get("until"))
        limit = _count(asked.get("limit"), default=50, most=MOST_ORDERS)
        found = [
            one
            for one in self._seen(request).orders.values()
            if wanted == "all" or one.is_open == (wanted == "open")
            if side in (None, one.request.side)
            if not symbols or one.request.symbol in symbols
            if after is None or one.created_at > after
            if until is None or one.created_at <= until
        ]
        if asked.get("direction", "desc") == "desc":
            found.reverse()
        return _json([one.shown() for one in found[:limit]])

    async def order(self, request: web.Request) -> web.Response:
        """Return an order by the broker's id."""
        return _json(self._seen(request).order(request.match_info["id"]).shown())

    async def order_by_client_order_id(self, request: web.Request) -> web.Response:
        """Return an order by its client's id."""
        return _json(self._seen(request).by_client_order_id(request.query.get("client_order_id", "")).shown())

    async def cancel(self, request: web.Request) -> web.Response:
        """Take an order off the book."""
        self._exchange.cancel(request.match_info["id"])
        return web.Response(status=204)

    async def cancel_all(self, request: web.Request) -> web.Response:
        """Take all orders off the book."""
        open_orders = self._exchange.state.open_orders()
        for order in open_orders:
            self._exchange.cancel(order.id)
        return web.json_response([{"id": one.id, "status": 200} for one in open_orders], status=207)

    async def positions(self, request: web.Request) -> web.Response:
        """Return all positions."""
        state = self._seen(request)
        return _json([self._position(state, symbol, one) for symbol, one in state.positions.items()])

    async def position(self, request: web.Request) -> web.Response:
        """Return a position by its symbol or asset id."""
        state, wanted = self._seen(request), request.match_info["symbol"]
        for symbol, one in state.positions.items():
            if wanted in (symbol, asset_id(symbol)):
                return _json(self._position(state, symbol, one))
        raise not_found("position does not exist")

    async def activities(self, request: web.Request) -> web.Response:
        """Return fills, the newest first unless asked otherwise; a page goes on after the id that it is given."""
        asked = request.query
        types = request.match_info.get("type") or asked.get("activity_types") or "FILL"
        after, until = _instant(asked.get("after")), _instant(asked.get("until"))
        state = self._seen(request)
        found = [
            one
            for one in (state.fills if "FILL" in types.split(",") else ())
            if after is None or one.at > after
            if until is None or one.at < until
        ]
        if asked.get("direction", "desc") == "desc":
            found.reverse()
        ids = [_activity_id(one) for one in found]
        begin = ids.index(asked["page_token"]) + 1 if asked.get("page_token") in ids else 0
        size = _count(asked.get("page_size"), default=MOST_ACTIVITIES, most=MOST_ACTIVITIES)
        return _json([_activity(one) for one in found[begin : begin + size]])

    def _seen(self, request: web.Request) -> State:
        return self._exchange.seen(seconds_ago=lag_of(request))

    def _position(self, state: State, symbol: str, position: Position) -> Json:
        price = self._exchange.market.prices().get(symbol, position.avg_entry_price)
        value = price * position.qty
        gain = value - position.cost
        share = number(round(gain / position.cost, 9)) if position.cost else "0"
        return {
            "asset_id": asset_id(symbol),
            "symbol": symbol,
            "exchange": "NASDAQ",
            "asset_class": "us_equity",
            "asset_marginable": True,
            "qty": number(position.qty),
            "qty_available": number(state.available(symbol)),
            "avg_entry_price": number(round(position.avg_entry_price, 9)),
            "side": "long",
            "market_value": number(value),
            "cost_basis": number(position.cost),
            "unrealized_pl": number(gain),
            "unrealized_plpc": share,
            "unrealized_intraday_pl": number(gain),
            "unrealized_intraday_plpc": share,
            "current_price": number(price),
            "lastday_price": number(price),
            "change_today": "0",
        }

    def _log_refusal(self, body: Any, refusal: Refusal) -> None:
        asked = body if isinstance(body, dict) else {}
        named = {name: asked.get(name) for name in ("client_order_id", "symbol", "side", "qty")}
        now = self._exchange.market.clock.now()
        self._exchange.log.add("refused", now, **named, status=refusal.status, message=refusal.message)


def _asset(listing: Listing) -> Json:
    return {
        "id": asset_id(listing.symbol),
        "class": "us_equity",
        "exchange": listing.exchange,
        "symbol": listing.symbol,
        "name": f"{listing.symbol} Common Stock",
        "status": "active",
        "tradable": listing.tradable,
        "marginable": True,
        "shortable": False,
        "easy_to_borrow": False,
        "fractionable": listing.fractionable,
        "maintenance_margin_requirement": 30,
        "attributes": [],
    }


def _activity_id(fill: Fill) -> str:
    return f"{fill.at:%Y%m%d%H%M%S}{fill.at.microsecond // 1000:03d}::{fill.id}"


def _activity(fill: Fill) -> Json:
    return {
        "id": _activity_id(fill),
        "activity_type": "FILL",
        "transaction_time": instant(fill.at),
        "type": "fill" if fill.leaves_qty == 0 else "partial_fill",
        "price": number(fill.price),
        "qty": number(fill.qty),
        "side": fill.side,
        "symbol": fill.symbol,
        "leaves_qty": number(fill.leaves_qty),
        "order_id": fill.order_id,
        "cum_qty": number(fill.cum_qty),
        "order_status": "filled" if fill.leaves_qty == 0 else "partially_filled",
    }


def _json(body: Json | Sequence[Json]) -> web.Response:
    return web.Response(text=dumped(body if isinstance(body, dict) else list(body)), content_type="application/json")


def _instant(text: str | None) -> dt.datetime | None:
    try:
        return read_instant(text) if text else None
    except ValueError:
        raise unprocessable(f"invalid instant {text}", 40010001) from None


def _day(text: str | None) -> dt.date | None:
    at = _instant(text)
    return at.date() if at else None


def _count(text: str | None, *, default: int, most: int) -> int:
    if not text:
        return default
    if not text.isdigit() or not 0 < int(text) <= most:
        raise unprocessable(f"a limit is a number between 1 and {most}", 40010001)
    return int(text)
