"""How figures are printed: one line each, with medians and tails."""

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which a part (0..1) of the sample lies, by the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def say(name: str, figure: str) -> None:
    """Print one figure."""
    print(f"{name:<46} {figure}", flush=True)


def spread(values: Sequence[float], *, unit: str) -> str:
    """Return the median, the tails and the size of a sample."""
    p50, p95, p99 = (quantile(values, part) for part in (0.5, 0.95, 0.99))
    return f"p50 {p50:.1f} {unit}  p95 {p95:.1f}  p99 {p99:.1f}  max {max(values):.1f}  of {len(values)}"
