"""What the worker's own HTTP shows: its checks, where it stands, an account's row, and its figures."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from streams import endpoint

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

    def shown(request: web.Request) -> str:
        told = json.dumps({**live(), **readiness()})
        owned = row(request.query.get("account_id", "paper"))
        return f'{told[:-1]}, "row": {owned or "null"}}}'

    return endpoint.application(token=token, readiness=readiness, live=shown, registry=registry)


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
