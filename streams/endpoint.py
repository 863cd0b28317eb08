"""A process's own HTTP: whether it lives, whether it is ready, where it stands, and its figures.

All but `/health` ask for the internal token where one is set.
"""

import hmac
from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

TOKEN_HEADER = "X-Internal-Token"  # noqa: S105 - the header's name


def application(
    *,
    token: str,
    readiness: Callable[[], dict[str, Any]],
    live: Callable[[web.Request], str],
    registry: CollectorRegistry,
) -> web.Application:
    """Return the web application: `readiness` gives `{ready, checks}`, `live` the JSON of what `/live` shows."""

    async def show_health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def show_readiness(request: web.Request) -> web.Response:
        body = readiness()
        return web.json_response(body, status=200 if body["ready"] else 503)

    async def show_live(request: web.Request) -> web.Response:
        return web.Response(text=live(request), content_type="application/json")

    async def show_figures(request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @web.middleware
    async def guarded(request: web.Request, handler: Any) -> web.StreamResponse:
        shown = request.headers.get(TOKEN_HEADER, "")
        if token and request.path != "/health" and not hmac.compare_digest(shown.encode(), token.encode()):
            raise web.HTTPUnauthorized(text=f"{TOKEN_HEADER} is missing or wrong")
        answer: web.StreamResponse = await handler(request)
        return answer

    app = web.Application(middlewares=[guarded])
    app.add_routes(
        [
            web.get("/health", show_health),
            web.get("/ready", show_readiness),
            web.get("/live", show_live),
            web.get("/metrics", show_figures),
        ]
    )
    return app
