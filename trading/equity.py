"""The curve of total value (R14.1): its peak and its greatest drawdown, followed at each event.

Money that is paid in or out, and a changed capital limit, are neither profit nor loss: what the curve is measured from
moves with them.
"""

from decimal import Decimal

from trading import emergency, performance
from trading.step import Step


def follow(step: Step) -> None:
    """Raise the peak to a new height of total value, keep the greatest drawdown from it, and judge how deep it is."""
    portfolio = step.portfolio
    value, peak = portfolio.total_value, portfolio.peak_value
    if value == peak and not portfolio.in_emergency:
        return
    if peak is None or value > peak:
        peak = value
        step.change(peak_value=peak)
    fallen = performance.drawdown(value, peak=peak)
    if fallen > portfolio.max_drawdown:
        step.change(max_drawdown=fallen)
    emergency.judge(step, value, peak=peak)


def shift(step: Step, moved: Decimal) -> None:
    """Move the day's base and the peak by dollars that came or went without a trade (negative: went)."""
    base, peak = step.portfolio.day_base, step.portfolio.peak_value
    step.change(
        day_base=None if base is None else base + moved,
        peak_value=None if peak is None else peak + moved,
    )
