"""The connectors' own HTTP: whether they live, whether they are ready, how far they have read, and their figures.

`/live`, `/ready` and `/metrics` ask for the internal token where one is set.
"""

import hmac
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from connectors.checks import Check
from connectors.meters import Positions

TOKEN_HEADER = "X-Internal-Token"  # noqa: S105 - the header's name


def application(
    checks: Sequence[Check], *, positions: Positions, registry: CollectorRegistry, token: str
) -> web.Application:
    """Return the web application; `positions` are the trading connector's, by public topic name and partition."""

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(request: web.Request) -> web.Response:
        body = _readiness(checks)
        return web.json_response(body, status=200 if body["ready"] else 503)

    async def live(request: web.Request) -> web.Response:
        shown = {topic: {str(number): at for number, at in known.items()} for topic, known in positions().items()}
        return web.json_response({**_readiness(checks), "positions": shown})

    async def metrics(request: web.Request) -> web.Response:
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
            web.get("/health", health),
            web.get("/ready", ready),
            web.get("/live", live),
            web.get("/metrics", metrics),
        ]
    )
    return app


def _readiness(checks: Sequence[Check]) -> dict[str, Any]:
    return {
        "ready": all(check.ok for check in checks if check.required),
        "checks": [check.shown() for check in checks],
    }
