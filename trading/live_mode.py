"""Live arming inside a step: the command that arms, the timer that ends it, and what a change of mode does.

Whoever arms is recorded: the command's result, and an alert that goes to the operator. A mode is never inherited: what
was armed ends with it, and a book that was built under the other one stops the entries until an operator resumes.
"""

import datetime as dt
from collections.abc import Iterator

from trading import arming
from trading.due import Due
from trading.inputs import ArmLive
from trading.money import Mode
from trading.portfolio import NEVER, Portfolio
from trading.step import Step

Refusal = tuple[str, str]
SNAPSHOTS = 2  # in a row, and alike, as for every difference
_FIRST = -2  # before all that happens at the close itself


def arm(step: Step, command: ArmLive) -> Refusal | None:
    """Arm until the command's instant, the session's close at the latest; return a refusal's word and its detail.

    The session is that of the command's own instant, so that one which lay in the log over a weekend arms nothing.
    """
    if step.portfolio.mode != "live":
        return "not_live", "this stack trades on paper, which needs no arming; STONKS_MODE=live trades live"
    issued_at = command.at or step.now
    last = arming.last_instant(issued_at) if issued_at > NEVER else None
    if last is None:
        return "not_ready", "the account knows no instant yet"
    until = min(command.until, last)
    if until <= step.now:
        return "invalid_field", f"until: must lie after {_text(step.now)}, and so must the close of its session"
    step.change(armed_until=until)
    step.alert("Live trading is armed", body=f"Until {_text(until)}, by {command.issued_by}.")
    return None


def expiry_due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    """Offer the end of what is armed."""
    if portfolio.armed_until is not None:
        yield Due(portfolio.armed_until, _FIRST, _expire)


def adopt(step: Step, mode: Mode) -> None:
    """Trade in the mode that the stack was started in; after a change nothing is armed and the operator is told.

    What is held then was bought in the other account, so that nothing is traded before this one has shown what it
    holds: sold unseen, those shares would be a short sale. An exit that is wanted meanwhile goes out then. One snapshot
    does not do: it may be the last of the other account, read late.
    """
    before = step.portfolio
    if mode == before.mode:
        return
    step.change(mode=mode, armed_until=None)
    held = sorted(before.held_symbols | {order.symbol for order in before.orders})
    what = f"The account traded {_named(before.mode)} and trades {_named(mode)} now. Nothing is armed."
    if not held:
        step.alert("The trading mode has changed", body=what)
        return
    step.change(paused=True, reconciled=False, awaited_snapshots=SNAPSHOTS)
    body = (
        f"{what} {', '.join(held)} belong to the other account: entries are paused until you resume, "
        "and exits wait until this account has shown what it holds. "
        f"Start with STONKS_MODE={before.mode} again to have them looked after."
    )
    step.alert("The trading mode has changed with positions open", body=body, severity="critical")


def _expire(step: Step) -> None:
    step.change(armed_until=None)
    step.alert("Live trading is not armed any more", body="No entry goes out until it is armed again; exits do.")
    step.keep_state()


def _named(mode: Mode) -> str:
    return "live" if mode == "live" else "on paper"


def _text(instant: dt.datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
