"""Whose account Alpaca's keys open: a journal that has traded one account trades no other one in the same mode.

What waits in it, and all that the engine holds, was made for the first: sent to the second, an exit would sell shares
that are somebody else's. So nothing is sent before Alpaca has named the account, and nothing at all to a strange one.
"""

import asyncio

from connectors.alpaca_rest import AlpacaRest, Answer
from connectors.checks import Check
from connectors.journal import Journal
from trading.money import Mode

_SHOWN = 4  # characters of an account's number, as banks do


class StrangeAccountError(RuntimeError):
    """The keys open another account than the one that this data directory trades."""


async def recognise(rest: AlpacaRest, journal: Journal, *, mode: Mode, check: Check, retry: float) -> None:
    """Return when Alpaca has named the account that the journal trades in this mode; the first one named is kept.

    Asks again each `retry` seconds while there is no answer. Raises StrangeAccountError for any other account.
    """
    while (found := _number(answer := await rest.account())) is None:
        why = answer.reason or "it does not say which account this is"
        check.fails(f"Alpaca does not answer: {why}"[:500])
        await asyncio.sleep(retry)
    known = journal.owner(mode)
    if known is None:
        journal.save_owner(mode, found)
    elif known != found:
        raise StrangeAccountError(
            f"the keys are of the {mode} account {_shown(found)}, and this data directory trades {_shown(known)}: "
            "nothing is sent. Start with that account's keys, or trade this one in a STONKS_DATA_DIR of its own; "
            "a paper account that was reset is another one"
        )


def _number(answer: Answer) -> str | None:
    body = answer.body if answer.outcome == "done" and isinstance(answer.body, dict) else {}
    number = body.get("account_number") or body.get("id")
    return number if isinstance(number, str) else None


def _shown(number: str) -> str:
    return f"…{number[-_SHOWN:]}"
