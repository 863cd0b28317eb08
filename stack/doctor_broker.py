"""What `stonks doctor` asks of the broker: whether it takes our keys and lets us trade, and how our clocks differ.

Also whether live trading is armed. Asks only where Alpaca is configured, changes nothing, and shows no key.
"""

import asyncio
import datetime as dt
import urllib.parse
from typing import Any, Final

from connectors import alpaca_keys, alpaca_probe
from connectors.alpaca_probe import Probed
from stack import fake_alpaca
from stack.data_dir import endpoints_path, is_in_use
from stack.errors import Missing
from stack.files import read_json_object
from stack.findings import Checks, Doubtful, Wrong
from stack.ports import LOOPBACK
from stack.probes import get
from streams.settings import Settings

WARNS_AFTER, FAILS_AFTER = dt.timedelta(seconds=2), dt.timedelta(seconds=30)
MEND_CLOCK = "set this machine's clock by NTP (timedatectl set-ntp true)"
BLOCKS: Final = {
    "trading_blocked": "Alpaca has blocked trading: its page and its support say why",
    "account_blocked": "Alpaca has blocked the account: its page and its support say why",
    "trade_suspended_by_user": "you have suspended trading on Alpaca's page: take that back there",
}


def check_alpaca(chosen: Settings) -> str:
    """Require that keys, address and mode agree, that Alpaca takes the keys, and that the account may trade."""
    if not _is_asked(chosen):
        return _not_asked(chosen)
    if refused := alpaca_keys.problem(chosen):
        raise Wrong(refused)
    account = _answer(chosen, asyncio.run(alpaca_probe.account(chosen)))
    if (status := str(account.get("status"))) != "ACTIVE":
        raise Wrong(f"the account is {ascii(status)[:40]}, not ACTIVE: Alpaca's page says what it waits for")
    for flag, mend in BLOCKS.items():
        if account.get(flag) is not False:
            raise Wrong(f"{flag}: {mend}")
    if account.get("currency", "USD") != "USD":
        raise Wrong(f"the account is not kept in USD but in {ascii(account.get('currency'))[:10]}")
    return f"the {chosen.mode} account at {alpaca_keys.trading_url(chosen)} is ACTIVE and may trade"


def check_clock(chosen: Settings) -> str:
    """Require that this machine's clock is the exchange's within 30 s; over 2 s deserves a look."""
    if not _is_asked(chosen) or alpaca_keys.problem(chosen):
        return "nothing to compare it with"
    if chosen.broker == fake_alpaca.NAME:
        return "not compared: a fake has a time of its own"
    began = dt.datetime.now(dt.UTC)
    answer = _answer(chosen, asyncio.run(alpaca_probe.clock(chosen)))
    ended = dt.datetime.now(dt.UTC)
    theirs = alpaca_probe.instant_of(answer)
    if theirs is None:
        raise Wrong("Alpaca's clock cannot be read")
    skew = max(began - theirs, theirs - ended, dt.timedelta())  # nothing while theirs lies between question and answer
    said = f"{skew.total_seconds():.1f} s {'behind' if theirs > ended else 'ahead of'} the exchange's"
    if skew > FAILS_AFTER:
        raise Wrong(f"{said}, more than {FAILS_AFTER.total_seconds():.0f} s: {MEND_CLOCK}")
    if skew > WARNS_AFTER:
        return Doubtful(f"{said}, more than {WARNS_AFTER.total_seconds():.0f} s: {MEND_CLOCK}")
    return "as the exchange's" if not skew else said


def check_arming(chosen: Settings) -> str:
    """Say whether entries go out on live money; fails nothing."""
    if chosen.mode != "live":
        return "on paper, which needs none"
    how = 'POST /api/trading/arm {"confirm": "LIVE"} with the armer\'s token, once a session'
    folder = chosen.data_dir.absolute()
    tokens = read_json_object(folder / "tokens.json")
    viewer = chosen.api_token_viewer.get_secret_value() or str(tokens.get("viewer", ""))
    if not is_in_use(folder) or not viewer:
        return Doubtful(f"live; entries wait until it is armed: {how}")
    address = urllib.parse.urlsplit(str(read_json_object(endpoints_path(folder)).get("http")))
    for account_id in chosen.accounts:
        path = f"/api/trading/status?account_id={account_id}"
        status, answer = get(address.hostname or LOOPBACK, address.port or 80, path, bearer=viewer)
        if status != 200:
            return Doubtful(f"live; the running stack does not say whether {account_id} is armed")
        if answer.get("armed_until") is None:
            return Doubtful(f"live; {account_id} is not armed, its entries wait: {how}")
    return f"live and armed until {answer.get('armed_until')}"


def _is_asked(chosen: Settings) -> bool:
    return chosen.broker in alpaca_keys.BROKERS and not fake_alpaca.is_wanted(chosen)


def _not_asked(chosen: Settings) -> str:
    if fake_alpaca.is_wanted(chosen):
        return "a fake one, `stonks up` starts it"
    return f"not used, STONKS_BROKER={chosen.broker}"


def _answer(chosen: Settings, probed: Probed) -> dict[str, Any]:
    """Return what Alpaca answered; raise for what it did not."""
    where = alpaca_keys.trading_url(chosen)
    if probed.body is not None:
        return probed.body
    if probed.status in (401, 403):
        raise Wrong(
            f"{where} does not take the keys ({probed.status}): make a new pair on Alpaca's page, of this account, and "
            "set STONKS_ALPACA_KEY_ID and STONKS_ALPACA_SECRET_KEY"
        )
    raise Missing(f"{where} does not answer ({probed.reason}): look at the network and at status.alpaca.markets")


CHECKS: Checks = {"Alpaca": check_alpaca, "clock": check_clock, "arming": check_arming}
