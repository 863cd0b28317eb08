"""The market data stream, `/v2/iex` and `/v2/sip`: trades, quotes and minute bars of the symbols one subscribes to.

MessagePack where the handshake says `Content-Type: application/msgpack`, else JSON; one connection an account.
"""

import asyncio
import datetime as dt
import json
from typing import Any

import msgpack
from aiohttp import WSMsgType, web

from tests.fakes.alpaca.faults import Faults
from tests.fakes.alpaca.keys import Keys
from tests.fakes.alpaca.market import Bar, Market, Trade
from tests.fakes.alpaca.ticker_json import bar_json, quote_json, trade_json
from tests.fakes.alpaca.updates import Connection
from tests.fakes.alpaca.wire import Json, read_instant

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")
DATA_FAULTS = frozenset({"duplicate_updates", "drop_updates", "mute", "garbage_updates"})


class Subscriber(Connection):
    """One client, the form it speaks, and what it wants to hear."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        super().__init__(socket, request)
        self.is_msgpack = "msgpack" in request.headers.get("Content-Type", "")
        self.wants: dict[str, set[str]] = {channel: set() for channel in CHANNELS}

    def hears(self, channel: str, symbol: str) -> bool:
        """Return whether it subscribes to a symbol on a channel."""
        return symbol in self.wants[channel] or "*" in self.wants[channel]

    def tell(self, *messages: Json) -> None:
        """Put messages into its queue, in its form."""
        if self.is_msgpack:
            told = [{name: _stamp(value) if name == "t" else value for name, value in one.items()} for one in messages]
            self.queue.put_nowait(msgpack.packb(told))
        else:
            self.queue.put_nowait(json.dumps(messages).encode())


class MarketFeed:
    """Tell every subscriber what the market does."""

    def __init__(self, market: Market, keys: Keys, faults: Faults, *, symbol_limit: int = 0) -> None:
        self._market = market
        self._keys = keys
        self._faults = faults
        self._symbol_limit = symbol_limit
        self.subscribers: set[Subscriber] = set()
        market.on_trade.append(self._on_trade)
        market.on_bar.append(self._on_bar)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Talk to one client until it goes."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        subscriber = Subscriber(socket, request)
        subscriber.tell({"T": "success", "msg": "connected"})
        self.subscribers.add(subscriber)
        writer = asyncio.create_task(subscriber.write())
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._answer(subscriber, _read(message.data, is_msgpack=subscriber.is_msgpack))
        finally:
            writer.cancel()
            self.subscribers.discard(subscriber)
        return socket

    def cut(self) -> None:
        """End all connections without a word."""
        for subscriber in list(self.subscribers):
            subscriber.cut()

    def _answer(self, subscriber: Subscriber, asked: Json) -> None:
        action = asked.get("action")
        if action == "auth":
            self._authenticate(subscriber, asked)
        elif not subscriber.is_authorized:
            subscriber.tell(_error(401, "not authenticated"))
        elif action in ("subscribe", "unsubscribe"):
            self._subscribe(subscriber, asked, adds=action == "subscribe")
        else:
            subscriber.tell(_error(400, "invalid syntax"))

    def _authenticate(self, subscriber: Subscriber, asked: Json) -> None:
        if not self._keys.are(asked.get("key"), asked.get("secret")):
            subscriber.tell(_error(402, "auth failed"))
        elif any(one.is_authorized for one in self.subscribers):
            subscriber.tell(_error(406, "connection limit exceeded"))
        else:
            subscriber.is_authorized = True
            subscriber.tell({"T": "success", "msg": "authenticated"})

    def _subscribe(self, subscriber: Subscriber, asked: Json, *, adds: bool) -> None:
        wants = {
            channel: (subscriber.wants[channel] | named) if adds else (subscriber.wants[channel] - named)
            for channel in CHANNELS
            for named in [set(asked.get(channel) or ())]
        }
        if self._symbol_limit and len(wants["trades"] | wants["quotes"]) > self._symbol_limit:
            subscriber.tell(_error(405, "symbol limit exceeded"))
            return
        subscriber.wants = wants
        shown = {channel: sorted(symbols) for channel, symbols in wants.items()}
        trades = shown["trades"]
        subscriber.tell({"T": "subscription", **shown, "corrections": trades, "cancelErrors": trades})

    def _on_trade(self, trade: Trade) -> None:
        quote = self._market.quote(trade.symbol)
        self._send("trades", trade.symbol, {"T": "t", "S": trade.symbol, **trade_json(trade)})
        if quote is not None:
            self._send("quotes", trade.symbol, {"T": "q", "S": trade.symbol, **quote_json(quote)})

    def _on_bar(self, symbol: str, bar: Bar) -> None:
        self._send("bars", symbol, {"T": "b", "S": symbol, **bar_json(bar)})

    def _send(self, channel: str, symbol: str, message: Json) -> None:
        hearers = [one for one in self.subscribers if one.hears(channel, symbol)]
        if not hearers:
            return
        fault = self._faults.of_update(hearers[0].request.path, event=channel, symbol=symbol, kinds=DATA_FAULTS)
        kind = fault.kind if fault else ""
        if kind in ("mute", "drop_updates"):
            return
        for one in hearers:
            if kind == "garbage_updates":
                one.tell({**message, "t": None, "p": "no price", "c": [], "o": -1})
            else:
                one.tell(message)
                if kind == "duplicate_updates":
                    one.tell(message)


def _error(code: int, message: str) -> Json:
    return {"T": "error", "code": code, "msg": message}


def _stamp(value: str | None) -> Any:
    if value is None:
        return None
    return msgpack.Timestamp.from_datetime(read_instant(value[:26] + "Z").astimezone(dt.UTC))


def _read(data: str | bytes, *, is_msgpack: bool) -> Json:
    try:
        asked = msgpack.unpackb(data) if is_msgpack and isinstance(data, bytes) else json.loads(data)
    except ValueError:
        return {}
    return asked if isinstance(asked, dict) else {}
