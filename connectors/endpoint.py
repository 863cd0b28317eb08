"""What the connectors' own HTTP shows: their checks, how far they have read, and their figures."""

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from connectors.checks import Check
from connectors.meters import Positions
from streams import endpoint


def application(
    checks: Sequence[Check], *, positions: Positions, registry: CollectorRegistry, token: str
) -> web.Application:
    """Return the web application; `positions` are the trading connector's, by public topic name and partition."""

    def readiness() -> dict[str, Any]:
        return {
            "ready": all(check.ok for check in checks if check.required),
            "checks": [check.shown() for check in checks],
        }

    def live(request: web.Request) -> str:
        shown = {topic: {str(number): at for number, at in known.items()} for topic, known in positions().items()}
        return json.dumps({**readiness(), "positions": shown})

    return endpoint.application(token=token, readiness=readiness, live=live, registry=registry)
