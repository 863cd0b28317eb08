"""The connectors' process, `python -m connectors`: the composition root of trading connector, projection and delivery.

Which of them run is the settings' word: no trading connector with `STONKS_BROKER=external`, no projection, and nothing
else that is about tables, without `STONKS_DATABASE_URL`. Exit codes: 0 after SIGTERM or SIGINT, 2 wrong settings, 4 a
port in use.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiohttp import web
from pydantic import ValidationError

from connectors import alpaca_keys
from connectors.alpaca_prices import AlpacaPrices
from connectors.checks import Check
from connectors.correlations import Correlations
from connectors.delivery import MessageDelivery
from connectors.endpoint import application
from connectors.hand_edits import HandEdits
from connectors.meters import registry_of
from connectors.outlets import outlets
from connectors.parts import trading_of
from connectors.projection import Projection
from connectors.supervision import keep_running
from streams.build import build
from streams.settings import Settings, settings
from trading.deliveries import CHANNELS, Channel

WRONG_SETTINGS, PORT_IN_USE = 2, 4
ALPACA = ("alpaca", "fake-alpaca")
SECONDS_TO_END = 5.0

_log = structlog.get_logger("connectors")


async def serve(chosen: Settings) -> int:
    """Run the connectors until SIGTERM or SIGINT and return the exit code."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    broker, projecting = Check("broker", required=True), Check("projection", required=False)
    correlating, editing = Check("correlations", required=False), Check("hand_edits", required=False)
    correlations, hand_edits = Correlations(chosen, check=correlating), HandEdits(chosen, check=editing)
    trading = trading_of(chosen, broker)
    projection = Projection(chosen, check=projecting, closed=correlations.note)
    delivering = Check("delivery", required=False)
    channels: dict[Channel, Check] = {name: Check(name, required=False) for name in CHANNELS}
    parts: dict[Check, Callable[[], Awaitable[None]]] = {}
    shown: tuple[Check, ...] = tuple(channels.values())
    if chosen.broker != "external":
        parts[broker] = trading.run
        shown = (*trading.checks, *shown)
    if chosen.broker in ALPACA:
        pricing = Check("prices", required=False)
        parts[pricing] = AlpacaPrices(chosen, check=pricing).run
    if chosen.database_url.get_secret_value():
        parts |= {projecting: projection.run, correlating: correlations.run, editing: hand_edits.run}
    parts[delivering] = MessageDelivery(chosen, outlets(chosen), check=delivering, checks=channels).run

    def positions() -> Mapping[str, Mapping[int, int]]:
        return trading.positions

    checks = (*parts, *shown)
    web_app = application(
        checks,
        positions=positions,
        registry=registry_of(checks, positions=positions, projected=lambda: projection.records),
        token=chosen.internal_token.get_secret_value(),
    )
    runner = web.AppRunner(web_app, access_log=None)
    await runner.setup()
    try:
        if chosen.connectors_port:
            await web.TCPSite(runner, chosen.connectors_host, chosen.connectors_port).start()
    except OSError as error:
        await runner.cleanup()
        return _fail(f"port {chosen.connectors_port} of the connectors cannot be used: {error.strerror}", PORT_IN_USE)
    _log.info("started", build=build(), broker=chosen.broker, parts=[check.name for check in parts])
    tasks = [asyncio.create_task(keep_running(run, check), name=check.name) for check, run in parts.items()]
    await stopped.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait([*tasks, asyncio.create_task(runner.cleanup())], timeout=SECONDS_TO_END)
    _log.info("stopped")
    return 0


def main() -> int:
    """Read the settings and run; say what is wrong with them otherwise."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    try:
        chosen = settings()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        return _fail(f"STONKS_{'.'.join(map(str, first['loc'])).upper()}: {first['msg']}", WRONG_SETTINGS)
    if chosen.broker in ALPACA and len(chosen.accounts) != 1:
        return _fail(f"STONKS_BROKER={chosen.broker} trades one account, not {len(chosen.accounts)}", WRONG_SETTINGS)
    if refused := alpaca_keys.problem(chosen):
        return _fail(refused, WRONG_SETTINGS)
    return asyncio.run(serve(chosen))


def _fail(text: str, code: int) -> int:
    print(f"error: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
