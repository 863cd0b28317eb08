"""The connectors' figures for Prometheus, read when they are asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from connectors.checks import Check

Positions = Callable[[], Mapping[str, Mapping[int, int]]]


class _Figures(Collector):
    def __init__(self, checks: Sequence[Check], positions: Positions, projected: Callable[[], int]) -> None:
        self._checks = checks
        self._positions = positions
        self._projected = projected

    def collect(self) -> Iterator[Metric]:
        """Yield every figure as it now is."""
        working = GaugeMetricFamily("stonks_connector_ok", "1 while the part works, else 0", labels=["part"])
        for check in self._checks:
            working.add_metric([check.name], float(check.ok))
        yield working
        reached = GaugeMetricFamily(
            "stonks_connector_position", "The next offset to apply", labels=["topic", "partition"]
        )
        for topic, partitions in self._positions().items():
            for number, next_offset in partitions.items():
                reached.add_metric([topic, str(number)], float(next_offset))
        yield reached
        projected = CounterMetricFamily("stonks_projected_records", "Records written to PostgreSQL since the start")
        projected.add_metric([], float(self._projected()))
        yield projected


def registry_of(checks: Sequence[Check], *, positions: Positions, projected: Callable[[], int]) -> CollectorRegistry:
    """Return a registry with the figures of these parts."""
    registry = CollectorRegistry()
    registry.register(_Figures(checks, positions, projected))
    return registry
