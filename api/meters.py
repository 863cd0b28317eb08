"""What the API counts about itself, for Prometheus; one registry an app."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import Scope


class Meters:
    """Count requests by route, and commands and readiness by what became of them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "stonks_api_requests", "requests answered", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "stonks_api_request_seconds", "from a request to its answer", ["route"], registry=self._registry
        )
        self._commands = Counter(
            "stonks_api_commands", "commands sent, by kind and outcome", ["kind", "outcome"], registry=self._registry
        )
        self._checks = Gauge(
            "stonks_ready_check", "1 while the check of readiness holds", ["name"], registry=self._registry
        )

    def request(self, scope: Scope, *, status: int, seconds: float) -> None:
        """Count a request under its route's template, so that there are no more series than routes."""
        route = getattr(scope.get("route"), "path", "none")
        self._requests.labels(_known(scope["method"]), route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def command(self, kind: str, *, outcome: str) -> None:
        """Count a command: `accepted`, `refused`, `pending` or `unsent`."""
        self._commands.labels(kind, outcome).inc()

    def check(self, name: str, *, ok: bool) -> None:
        """Show a check of readiness."""
        self._checks.labels(name).set(ok)

    def exposition(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)


def _known(method: str) -> str:
    return method if method in {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"} else "other"
