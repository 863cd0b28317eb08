"""A fake Alpaca beside the stack, for `--broker fake-alpaca`: the same server that the tests speak to.

Its prices begin at the real ones of `data/`, where that is there, and walk on from them; its account survives a restart
in `fake-alpaca.sqlite`. With `STONKS_CLOCK=events` it is always half an hour after an open when it is first started, so
that there is something to see at any time of the day. Where the environment names a trading address, that server is
used and none is started.
"""

import datetime as dt
import pathlib
import secrets
import sys

from stack.checklist import Checklist
from stack.ports import LOOPBACK
from stack.probes import get
from stack.programs import Program
from stack.supervisor import Service, Supervisor
from streams.settings import Settings

NAME = "fake-alpaca"
PRICES = pathlib.Path(__file__).parent.parent / "data"
KEYS_OF = {"paper": "PK", "live": "AK"}
AFTER_THE_OPEN = dt.timedelta(minutes=30)


def is_wanted(settings: Settings) -> bool:
    """Return whether the stack starts a fake of its own."""
    return settings.broker == NAME and not settings.alpaca_trading_url


def start_fake(
    folder: pathlib.Path, settings: Settings, port: int, *, checklist: Checklist, supervisor: Supervisor
) -> dict[str, str]:
    """Start the fake and return the variables by which the connectors find it: its addresses and made-up keys.

    In live mode it plays Alpaca's live address, so that arming can be tried without money.
    """
    keys = {
        "STONKS_ALPACA_KEY_ID": f"{KEYS_OF[settings.mode]}FAKE{secrets.token_hex(7).upper()}",
        "STONKS_ALPACA_SECRET_KEY": secrets.token_urlsafe(30),
    }
    service = _service(folder, settings, port, keys)
    with checklist.step(NAME) as remarks:
        supervisor.start(service)
        supervisor.await_ready(service)
        remarks.append(f"port {port}, pid {service.child.pid if service.child else 0}")
    return {
        **keys,
        "STONKS_ALPACA_LOCAL_PLAYS": settings.mode,
        "STONKS_ALPACA_TRADING_URL": f"http://{LOOPBACK}:{port}",
        "STONKS_ALPACA_DATA_URL": f"http://{LOOPBACK}:{port}",
        "STONKS_ALPACA_STREAM_URL": f"ws://{LOOPBACK}:{port}",
    }


def _service(folder: pathlib.Path, settings: Settings, port: int, keys: dict[str, str]) -> Service:
    words = ["--port", str(port), "--state", str(folder / f"{NAME}.sqlite")]
    if PRICES.is_dir():
        words += ["--bars", str(PRICES)]
    if settings.clock == "events":
        words += ["--at", _in_a_session().isoformat()]
    program = Program(
        name=NAME,
        command=(sys.executable, "-P", "-m", "tests.fakes.alpaca", *words),
        log=folder / f"{NAME}.log",
        variables=keys,
    )
    return Service(program, lambda _: get(LOOPBACK, port, "/fake/health")[0] == 200, foundation=True)


def _in_a_session() -> dt.datetime:
    """Return half an hour after the open of the last session that has closed."""
    from trading import trading_window  # noqa: PLC0415 - the market's calendar takes a second

    session = trading_window.previous_session(dt.datetime.now(dt.UTC))
    if session is None:
        raise ValueError("the calendar begins after today")
    return session.open_at + AFTER_THE_OPEN
