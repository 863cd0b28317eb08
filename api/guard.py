"""What every request passes before any route sees it: token, rate, role, size; and what every answer carries.

Pure ASGI and outermost, so that nobody without a right token learns which paths exist, and so that an error nobody
expected still answers a problem document.
"""

import time
from typing import Final

import pydantic_core
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.meters import Meters
from api.problems import Problem
from api.tokens import RateLimit, Role, Tokens

MAX_BODY_BYTES: Final = 64 * 1024
OPEN_PATHS: Final = frozenset({"/health", "/ready"})
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
ARMING_PATH: Final = "/api/trading/arm"
SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

log = structlog.get_logger()


class Guard:
    """Wrap an app: refuse what may not pass, count what does, and catch what escapes."""

    def __init__(self, app: ASGIApp, *, tokens: Tokens, rate_limit: RateLimit, meters: Meters) -> None:
        self._app = app
        self._tokens = tokens
        self._rate_limit = rate_limit
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._pass(scope, receive, answer)
        except Problem as problem:
            await problem.response()(scope, receive, answer)
        except Exception:
            log.exception("request failed", method=scope["method"], path=scope["path"])
            if status:
                raise  # the answer has begun: let the server cut the connection
            await _unexpected().response()(scope, receive, answer)
        finally:
            self._meters.request(scope, status=status, seconds=time.perf_counter() - began)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if scope["path"] not in OPEN_PATHS:
            scope.setdefault("state", {})["role"] = self._admit(scope["method"], scope["path"], headers)
        if scope["method"] in READING:
            await self._app(scope, receive, send)
        else:
            body = await _body(headers, receive)
            _assert_readable(body)
            await self._app(scope, _replayed(body, receive), send)

    def _admit(self, method: str, path: str, headers: Headers) -> Role:
        """Return the caller's role; raise `Problem` for one that may not pass."""
        role = self._tokens.role_of(headers.get("authorization", "").encode("latin-1"))
        if not self._rate_limit.admits(role):
            raise Problem(429, "too_many_requests", "send fewer requests a second", headers={"Retry-After": "1"})
        if role is None:
            raise Problem(
                401,
                "unauthorized",
                "send `Authorization: Bearer <token>` with one of the stack's tokens",
                headers={"WWW-Authenticate": 'Bearer realm="stonks"'},
            )
        needed = _needed(method, path)
        if role < needed:
            raise Problem(403, "forbidden", f"this needs the {needed.name.lower()} token")
        return role


def _needed(method: str, path: str) -> Role:
    """Return the lowest role that may ask this; a path that is spelt otherwise is no route."""
    if method in READING:
        return Role.VIEWER
    return Role.ARMER if path == ARMING_PATH else Role.OPERATOR


async def _body(headers: Headers, receive: Receive) -> bytes:
    """Read a request's body; raise `Problem` as soon as it is over the limit."""
    if len(declared := headers.get("content-length", "0")) > 9 or int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return body


def _assert_readable(body: bytes) -> None:
    """Refuse what is no JSON, and NaN, infinity and broken characters, which Python's own reader would let through."""
    try:
        if body:
            pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(422, "unreadable", f"the body is not JSON: {error}") from error


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body in one piece, then whatever the server has."""
    pending = [body]

    async def replay() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replay


def _too_large() -> Problem:
    return Problem(413, "too_large", f"a body has at most {MAX_BODY_BYTES} bytes", headers={"Connection": "close"})


def _unexpected() -> Problem:
    return Problem(500, "internal_error", "the API failed on this request; its log says why")
