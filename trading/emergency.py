"""The emergency (R3.6, decision 9): a deep drawdown returns the whole reserve to trading and lowers the tier, once.

An episode ends, and the next may begin, when the drawdown is back under `emergency_rearm_pct`.
"""

from decimal import Decimal

from trading import fills, performance, reserve_pool, tier_control
from trading.money import ZERO
from trading.records import Alert
from trading.step import Step


def judge(step: Step, value: Decimal, *, peak: Decimal) -> None:
    """Begin an episode when the drawdown of total value exceeds its limit, end one that is over."""
    portfolio, policy = step.portfolio, step.portfolio.policy
    if portfolio.initial_capital is None:
        return
    fallen = reserve_pool.emergency_drawdown(value, peak=peak, initial_capital=portfolio.initial_capital)
    if portfolio.in_emergency:
        if fallen < min(policy.emergency_rearm_pct, policy.emergency_drawdown_pct):
            step.change(in_emergency=False)
            step.keep_state()
    elif fallen > policy.emergency_drawdown_pct:
        _liquidate(step, fallen=fallen)


def _liquidate(step: Step, *, fallen: Decimal) -> None:
    reserve, tier = step.portfolio.reserve, step.portfolio.risk_tier
    limit = step.portfolio.policy.emergency_drawdown_pct
    step.change(in_emergency=True)
    if reserve > ZERO:
        fills.move_reserve(step, -reserve, trigger="emergency_liquidation")
    subject = "Emergency: the reserve is liquidated"
    why = f"the drawdown is {fallen:.2%} of the initial capital"
    body = (
        f"{why.capitalize()}, the limit {limit:.2%}: {reserve:.2f} dollars of reserve went back into the active pool, "
    )
    body += "and the risk tier is conservative."
    step.record(Alert, severity="critical", subject=subject, body=body)
    step.notify("emergency_liquidation", severity="critical", subject=subject, body=body)
    if tier != "conservative":
        ratios = {"drawdown_of_initial_capital": performance.text(fallen), "limit": performance.text(limit)}
        metrics = {"reason": "emergency", **ratios}
        tier_control.change(step, "conservative", source="emergency", metrics=metrics, why=why)
    step.keep_state()
