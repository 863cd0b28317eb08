"""The stream of trade updates, `/stream`: authenticate, listen, and hear of every order's events.

Messages are JSON in binary frames, as Alpaca sends them.
"""

import asyncio
import contextlib
import datetime as dt
import json
from decimal import Decimal

from aiohttp import WSMsgType, web

from tests.fakes.alpaca.book import Fill
from tests.fakes.alpaca.faults import Faults
from tests.fakes.alpaca.keys import Keys
from tests.fakes.alpaca.orders import Order
from tests.fakes.alpaca.wire import Json, dumped, instant, number

PATH = "/stream"
SECONDS_TO_HOLD = 0.5
KINDS = frozenset({"duplicate_updates", "reorder_updates", "drop_updates", "mute", "garbage_updates"})


class Connection:
    """One client: what is sent to it waits in a queue, so that nobody waits for it."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.request = request
        self.is_authorized = False
        self.is_listening = False
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    async def write(self) -> None:
        """Send what comes into the queue, until cancelled or until the client is gone."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.socket.send_bytes(await self.queue.get())

    def cut(self) -> None:
        """End the connection without a word."""
        if self.request.transport is not None:
            self.request.transport.abort()


class TradeUpdates:
    """Tell every listening client what happens to orders."""

    def __init__(self, keys: Keys, faults: Faults) -> None:
        self._keys = keys
        self._faults = faults
        self._held: list[bytes] = []
        self.connections: set[Connection] = set()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Talk to one client until it goes."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        connection = Connection(socket, request)
        self.connections.add(connection)
        writer = asyncio.create_task(connection.write())
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._answer(connection, message.data)
        finally:
            writer.cancel()
            self.connections.discard(connection)
        return socket

    def publish(self, event: str, order: Order, fill: Fill | None, position_qty: Decimal, *, at: dt.datetime) -> None:
        """Send an update to everybody who listens, as the armed faults let it through."""
        message = dumped({"stream": "trade_updates", "data": _update(event, order, fill, position_qty, at=at)}).encode()
        fault = self._faults.of_update(PATH, event=event, symbol=order.request.symbol, kinds=KINDS)
        kind = fault.kind if fault else ""
        if kind in ("mute", "drop_updates"):
            return
        if kind == "reorder_updates":
            self._held.append(message)
            asyncio.get_running_loop().call_later(SECONDS_TO_HOLD, self._let_go)
            return
        self._send(b'{"stream": "trade_upd' if kind == "garbage_updates" else message)
        if kind == "duplicate_updates":
            self._send(message)
        self._let_go()

    def cut(self) -> None:
        """End all connections without a word."""
        for connection in list(self.connections):
            connection.cut()

    def _let_go(self) -> None:
        held, self._held = self._held, []
        for message in held:
            self._send(message)

    def _send(self, message: bytes) -> None:
        for connection in self.connections:
            if connection.is_listening:
                connection.queue.put_nowait(message)

    def _answer(self, connection: Connection, text: str | bytes) -> None:
        try:
            asked = json.loads(text)
        except ValueError:
            asked = {}
        action, data = asked.get("action"), asked.get("data") or {}
        if action in ("auth", "authenticate"):
            key, secret = (
                (asked.get("key"), asked.get("secret"))
                if action == "auth"
                else (
                    data.get("key_id"),
                    data.get("secret_key"),
                )
            )
            connection.is_authorized = self._keys.are(key, secret)
            status = "authorized" if connection.is_authorized else "unauthorized"
            self._reply(connection, "authorization", {"action": action, "status": status})
        elif action == "listen" and connection.is_authorized:
            streams = [one for one in data.get("streams", []) if one == "trade_updates"]
            connection.is_listening = bool(streams)
            self._reply(connection, "listening", {"streams": streams})
        elif action == "listen":
            self._reply(connection, "authorization", {"action": action, "status": "unauthorized"})
        else:
            self._reply(connection, "error", {"action": "error", "message": "invalid syntax"})

    @staticmethod
    def _reply(connection: Connection, stream: str, data: Json) -> None:
        connection.queue.put_nowait(dumped({"stream": stream, "data": data}).encode())


def _update(event: str, order: Order, fill: Fill | None, position_qty: Decimal, *, at: dt.datetime) -> Json:
    told: Json = {
        "event": event,
        "event_id": f"{int(at.timestamp() * 1e6)}",
        "at": instant(at),
        "timestamp": instant(at),
        "execution_id": order.id,
        "order": order.shown(),
    }
    if fill is not None:
        told |= {
            "execution_id": fill.id,
            "price": number(fill.price),
            "qty": number(fill.qty),
            "position_qty": number(position_qty),
        }
    return told
