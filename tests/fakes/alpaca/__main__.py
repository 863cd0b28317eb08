"""The fake as a process: `python -m tests.fakes.alpaca --port 20000`; until SIGTERM or SIGINT.

The keys come from `STONKS_ALPACA_KEY_ID` and `STONKS_ALPACA_SECRET_KEY`, so that no process list shows them; where they
are not set they are those of the tests.
"""

import argparse
import asyncio
import datetime as dt
import pathlib
import signal
import sys
from decimal import Decimal

from streams.settings import settings
from tests.fakes.alpaca.keys import TEST_KEYS, Keys
from tests.fakes.alpaca.server import FakeAlpaca
from tests.fakes.alpaca.wire import read_instant

PORT_IN_USE = 4
SEEDED = {"AAPL": "190", "MSFT": "420", "KO": "60", "SPY": "560", "F": "11", "T": "22"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.alpaca", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--cash", type=Decimal, default=Decimal(100_000))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--half-spread", type=Decimal, default=Decimal("0.01"))
    parser.add_argument("--walk", type=float, default=1.0, metavar="SECONDS", help="a trade a symbol so often; 0: none")
    parser.add_argument("--volatility", type=float, default=0.02, help="of a session's walk, as a fraction")
    parser.add_argument("--at", type=read_instant, metavar="INSTANT", help="the exchange's time at the start")
    parser.add_argument("--rate", type=float, default=1.0, help="how fast the exchange's time goes, with --at")
    parser.add_argument("--bars", type=pathlib.Path, metavar="FOLDER", help="real daily bars, as in data/")
    parser.add_argument("--state", type=pathlib.Path, metavar="FILE", help="survive a restart by this file")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    chosen = settings()
    key_id, secret = chosen.alpaca_key_id.get_secret_value(), chosen.alpaca_secret_key.get_secret_value()
    fake = FakeAlpaca(
        cash=arguments.cash,
        prices={} if arguments.bars else {symbol: Decimal(price) for symbol, price in SEEDED.items()},
        at=arguments.at,
        rate=arguments.rate,
        seed=arguments.seed,
        half_spread=arguments.half_spread,
        bars=arguments.bars,
        path=arguments.state,
        keys=Keys(key_id, secret) if key_id else TEST_KEYS,
    )
    if arguments.walk:
        fake.market.walk(seconds=arguments.walk, volatility=arguments.volatility)
    try:
        await fake.start(port=arguments.port, host=arguments.host)
    except OSError as error:
        print(f"error: port {arguments.port} of the fake Alpaca cannot be used: {error.strerror}", file=sys.stderr)
        return PORT_IN_USE
    print(f"{dt.datetime.now(dt.UTC).isoformat()} listening on {arguments.host}:{arguments.port}", flush=True)
    await stopped.wait()
    await fake.stop()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_serve(_arguments())))
