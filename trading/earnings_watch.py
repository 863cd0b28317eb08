"""Earnings of what is held (R10.3, decision 29): one alert before a report, and on request a sale in time."""

from trading import earnings, exits, trading_window
from trading.portfolio import Position
from trading.step import Step


def look(step: Step, symbol: str) -> None:
    """Alert once a position and date that a report is within one trading day; sell before it when that is wished."""
    position = step.portfolio.position(symbol)
    if position is None or position.earnings_on is None:
        return
    if earnings.flag_of(position, now=step.now, policy=step.portfolio.policy) != "within_1_day":
        return
    if position.earnings_alerted_on != position.earnings_on:
        _alert(step, position)
    position = step.portfolio.position(symbol) or position
    if step.portfolio.policy.earnings_action == "close" and position.exit is None and _is_last_session(step, position):
        exits.want(step, position, purpose="event")


def look_at_all(step: Step) -> None:
    """Look at every position, and pursue what is to be sold."""
    for position in step.portfolio.positions:
        look(step, position.symbol)
        exits.pursue(step, position.symbol)


def _alert(step: Step, position: Position) -> None:
    step.swap_position(position.model_copy(update={"earnings_alerted_on": position.earnings_on}))
    action = step.portfolio.policy.earnings_action
    plan = "It is sold in the last session before." if action == "close" else "It is held; look at it by hand."
    body = f"{position.symbol} reports on {position.earnings_on} ({position.earnings_session or 'unknown'}). {plan}"
    step.alert(f"{position.symbol} is about to report earnings", body=body, symbol=position.symbol)
    step.keep_state()


def _is_last_session(step: Step, position: Position) -> bool:
    """Tell whether this is the session before the report, or one later that still comes in time."""
    if position.earnings_on is None or trading_window.session_at(step.now) is None:
        return False
    last = earnings.last_session_before(position.earnings_on, session=position.earnings_session)
    return last is not None and step.now >= last.open_at
