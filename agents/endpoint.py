"""The worker's own HTTP: whether it lives, whether it is ready, where it stands, and its figures.

All but `/health` ask for the internal token where one is set.
"""

import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

TOKEN_HEADER = "X-Internal-Token"  # noqa: S105 - the header's name

Positions = Mapping[str, Mapping[str, int]]


def application(
    *,
    token: str,
    readiness: Callable[[], dict[str, Any]],
    live: Callable[[], dict[str, Any]],
    row: Callable[[str], str | None],
) -> web.Application:
    """Return the web application.

    `readiness` gives `{ready, checks}`, `live` what else `/live` shows, with `positions`, and `row` the JSON of an
    account's row where this worker owns the account.
    """
    registry = CollectorRegistry()
    registry.register(_Figures(readiness, live))

    async def show_health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def show_readiness(request: web.Request) -> web.Response:
        body = readiness()
        return web.json_response(body, status=200 if body["ready"] else 503)

    async def show_live(request: web.Request) -> web.Response:
        shown = json.dumps({**live(), **readiness()})
        owned = row(request.query.get("account_id", "paper"))
        return web.Response(text=f'{shown[:-1]}, "row": {owned or "null"}}}', content_type="application/json")

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


class _Figures(Collector):
    """The figures of the stream monitor, as they are when they are asked for."""

    def __init__(self, readiness: Callable[[], dict[str, Any]], live: Callable[[], dict[str, Any]]) -> None:
        self._readiness = readiness
        self._live = live

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give one family for the checks and one for the positions."""
        checks = GaugeMetricFamily("stonks_worker_check", "1 where the check holds", labels=["name"])
        for check in self._readiness()["checks"]:
            checks.add_metric([check["name"]], float(check["ok"]))
        yield checks
        positions = GaugeMetricFamily(
            "stonks_worker_position", "Next offset that is not applied", labels=["topic", "partition"]
        )
        for topic, partitions in self._live()["positions"].items():
            for partition, offset in partitions.items():
                positions.add_metric([topic, partition], float(offset))
        yield positions
