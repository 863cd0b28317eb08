"""What every request passes before and after its route: the keys, the log, and the scripted faults."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from tests.fakes.alpaca.faults import TERMS_KINDS, Fault, Faults
from tests.fakes.alpaca.keys import Keys
from tests.fakes.alpaca.orders import Refusal, Terms
from tests.fakes.alpaca.wire import Json

FAULT: web.RequestKey[Fault] = web.RequestKey("fault", Fault)
LOOPBACK = {"127.0.0.1", "::1"}
SECONDS_TO_HANG = 3600.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def gate(keys: Keys, faults: Faults, note: Callable[[str, str, Json, str], None]) -> Middleware:
    """Return the middleware; `note` hears of each request before it has an effect, and of the fault it meets."""

    @web.middleware
    async def pass_through(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/fake/"):
            if request.remote not in LOOPBACK:
                raise web.HTTPForbidden(text="control calls come from loopback")
            return await handler(request)
        order = await _order(request)
        fault = faults.of_request(request.method, request.path, order)
        note(request.method, request.path_qs, order, fault.kind if fault else "")
        if not _is_stream(request) and not keys.are(
            request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY")
        ):
            return _unauthorized(request)
        return await _meet(fault, request, handler) if fault else await _answer(request, handler)

    return pass_through


def terms_of(request: web.Request) -> Terms:
    """Return how the order of a POST fills, as the fault that it met says."""
    fault = request.get(FAULT)
    return fault.terms() if fault is not None and fault.kind in TERMS_KINDS else Terms()


def lag_of(request: web.Request) -> float:
    """Return how many seconds ago a read looks."""
    fault = request.get(FAULT)
    return fault.seconds if fault is not None and fault.kind == "lag" else 0.0


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return web.json_response(refusal.body(), status=refusal.status)


async def _meet(fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Have a request meet its fault."""
    request[FAULT] = fault
    instead = await _instead(fault, request)
    return instead if instead is not None else await _after(fault, request, await _answer(request, handler))


async def _instead(fault: Fault, request: web.Request) -> web.StreamResponse | None:
    """Return the answer of a request that has no effect, None where it has one."""
    answer: web.StreamResponse | None = None
    match fault.kind:
        case "504_before":
            answer = _error(504, 50410000, "gateway timeout")
        case "429":
            headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
            answer = _error(429, 42910000, "too many requests.", headers)
        case "403_held":
            answer = _held(await _order(request))
        case "422":
            answer = _error(422, fault.code, fault.message)
        case "status":
            answer = _error(fault.status, fault.code, fault.message)
        case "hang_before":
            await asyncio.sleep(fault.seconds or SECONDS_TO_HANG)
            answer = _error(504, 50410000, "gateway timeout")
        case "reset_before":
            _reset(request)
            answer = web.Response()
        case "slow":
            await asyncio.sleep(fault.seconds)
    return answer


async def _after(fault: Fault, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Return what the caller hears of a request that had its effect."""
    match fault.kind:
        case "504_after":
            return _error(504, 50410000, "gateway timeout")
        case "hang_after":
            await asyncio.sleep(fault.seconds or SECONDS_TO_HANG)
        case "garbage":
            return web.Response(text="<html>upstream", content_type="application/json")
        case "reset_in_body":
            return await _half(request)
    return answer


async def _half(request: web.Request) -> web.StreamResponse:
    """Begin an answer and break off."""
    begun = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await begun.prepare(request)
    with contextlib.suppress(ConnectionError):
        await begun.write(b'{"id": "')
    await asyncio.sleep(0.05)  # so that the beginning arrives
    _reset(request)
    return begun


def _reset(request: web.Request) -> None:
    """End the connection with a reset, not with a goodbye."""
    if request.transport is not None:
        raw = request.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()


def _held(order: Json) -> web.Response:
    qty = str(order.get("qty", "0"))
    body: Json = {
        "available": "0",
        "code": 40310000,
        "existing_qty": qty,
        "held_for_orders": qty,
        "message": f"insufficient qty available for order (requested: {qty}, available: 0)",
        "related_orders": [],
        "symbol": order.get("symbol"),
    }
    return web.json_response(body, status=403)


def _error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status, headers=headers)


def _unauthorized(request: web.Request) -> web.Response:
    """Refuse wrong keys as the two APIs do."""
    if request.path.startswith("/v2/stocks") and "APCA-API-KEY-ID" in request.headers:
        return web.json_response({"message": "forbidden."}, status=403)
    return _error(401, 40110000, "request is not authorized")


def _is_stream(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def _order(request: web.Request) -> Json:
    """Return the JSON object that a POST brings, else an empty one."""
    if request.method != "POST":
        return {}
    try:
        body = json.loads(await request.read())
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
