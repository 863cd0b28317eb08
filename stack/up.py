"""`stonks up`: everything on this machine, started in order, kept running, and ended together.

First what the engine stands on, then `endpoints.json`, then workers, connectors and the API: the file is there before
the API is started, and so before `/ready` can answer 200. With `--demo` a year of prices is played through it, and it
ends with the year.
"""

import argparse
import asyncio
import datetime
import os
import pathlib
import secrets
import shlex
import shutil
import signal
import sys
import threading
import time
from typing import Any, NoReturn, get_args

from connectors import alpaca_keys
from stack.checklist import Checklist
from stack.data_dir import begin_demo, endpoints_path, is_a_demo, locked, tokens
from stack.engine import Addresses, engine_services
from stack.errors import StackError
from stack.fake_alpaca import is_wanted, start_fake
from stack.files import write_private_json
from stack.foundations import claim_ports, given_database, given_kafka, start_foundations
from stack.probes import get, lacking
from stack.supervisor import Supervisor
from streams.build import build
from streams.settings import Settings, settings

SECONDS_UNTIL_READY = 90.0
BROKERS = get_args(Settings.model_fields["broker"].annotation)
DEMO_VARIABLES = {
    "STONKS_CLOCK": "events",
    "STONKS_BROKER": "simulated",
    "STONKS_MODE": "paper",
    "STONKS_SIM_CASH": "500",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments `stonks up` takes."""
    parser.add_argument("--workers", type=_count, default=1, metavar="N", help="how many workers share the work (1)")
    parser.add_argument("--broker", choices=BROKERS, help="who trades; wins over STONKS_BROKER")
    parser.add_argument("--demo", action="store_true", help="play a year of prices through it, from the beginning")
    parser.add_argument(
        "--speed", type=_speed, default=0.0, metavar="S", help="the demo's days a second (0: all it can)"
    )


def main(arguments: argparse.Namespace) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP, or to the demo's end, and return 0; raise `StackError` when it cannot."""
    chosen = settings()
    if arguments.broker:
        chosen = chosen.model_copy(update={"broker": arguments.broker})
    if not arguments.demo:
        _assert_alpaca(chosen)
    elif arguments.broker not in (None, DEMO_VARIABLES["STONKS_BROKER"]):
        raise StackError(f"the demo trades with the simulated broker: leave out --broker {arguments.broker}")
    folder = chosen.data_dir.absolute()
    checklist = Checklist()
    supervisor = Supervisor(checklist.say)
    with locked(folder):
        _let_signals_interrupt()
        endpoints_path(folder).unlink(missing_ok=True)  # one that a killed stack left says nothing about this one
        try:
            if arguments.demo:
                _assert_nothing_given(chosen)
                begin_demo(folder)
            addresses = _start(folder, chosen, workers=arguments.workers, checklist=checklist, supervisor=supervisor)
            if arguments.demo:
                _play(folder, chosen, addresses, speed=arguments.speed, checklist=checklist, supervisor=supervisor)
            else:
                supervisor.watch(lambda: False)
        except KeyboardInterrupt:
            checklist.say("stopping")
        finally:
            _ignore_signals()  # it is ending already
            supervisor.stop()
            endpoints_path(folder).unlink(missing_ok=True)
    return 0


def _start(
    folder: pathlib.Path, chosen: Settings, *, workers: int, checklist: Checklist, supervisor: Supervisor
) -> Addresses:
    ports = claim_ports(folder, chosen, workers=workers)
    addresses = start_foundations(folder, chosen, ports, checklist=checklist, supervisor=supervisor)
    demo = is_a_demo(folder)
    alpaca = {}
    if is_wanted(chosen) and not demo:
        alpaca = start_fake(folder, chosen, ports["fake-alpaca"], checklist=checklist, supervisor=supervisor)
    services = engine_services(
        folder,
        addresses,
        tokens=tokens(folder, chosen),
        internal_token=secrets.token_urlsafe(24),
        variables=DEMO_VARIABLES if demo else {"STONKS_BROKER": chosen.broker},
        connectors_only=alpaca,
    )
    _write_endpoints(folder, addresses)
    for service in services:  # all at once: each of them waits for the others by itself
        supervisor.start(service)
    for service in services:
        with checklist.step(service.program.name) as remarks:
            supervisor.await_ready(service)
            remarks.append(f"pid {service.child.pid if service.child else 0}")
    problem = _await_ready(addresses, supervisor)
    if problem:
        checklist.say(f"not ready after {SECONDS_UNTIL_READY:.0f} s, and going on: {problem}")
    else:
        checklist.done(f"ready at {addresses.http}")
    return addresses


def _await_ready(addresses: Addresses, supervisor: Supervisor) -> str:
    """Wait until the API says that the stack is ready, and return nothing, or what is lacking when it takes long."""
    deadline = time.monotonic() + SECONDS_UNTIL_READY
    status: int = 0
    answer: dict[str, Any] = {}

    def is_over() -> bool:
        nonlocal status, answer
        status, answer = get(addresses.local_http_host, addresses.http_port, "/ready")
        return status == 200 or time.monotonic() > deadline

    supervisor.watch(is_over)
    return "" if status == 200 else lacking(answer)


def _play(
    folder: pathlib.Path,
    chosen: Settings,
    addresses: Addresses,
    *,
    speed: float,
    checklist: Checklist,
    supervisor: Supervisor,
) -> None:
    """Play the demo in a thread, while this one keeps the processes up: they die with the thread that starts them."""
    from stack.demo import Demo  # noqa: PLC0415 - the market's calendar takes a second, and only the demo needs it

    demo = Demo(chosen, addresses, token=tokens(folder, chosen)["operator"], say=checklist.say, speed=speed)
    failures: list[Exception] = []

    def play() -> None:
        try:
            asyncio.run(demo.run())
        except Exception as error:  # raised again by the thread that waits
            failures.append(error)

    thread = threading.Thread(target=play, daemon=True)  # a Ctrl-C does not wait for the year's end
    thread.start()
    supervisor.watch(lambda: not thread.is_alive())
    if failures:
        raise failures[0]
    again = f"STONKS_DATA_DIR={shlex.quote(str(folder))} {shlex.quote(_as_called())} up"
    checklist.say(f"the trail stays in {folder}; to look at it: {again}")
    checklist.done("the demo has ended")


def _as_called() -> str:
    """Return how this command is called again from here: by its path, where its name alone does not find it."""
    return "stonks" if shutil.which("stonks") == str(pathlib.Path(sys.argv[0]).absolute()) else sys.argv[0]


def _write_endpoints(folder: pathlib.Path, addresses: Addresses) -> None:
    write_private_json(
        endpoints_path(folder),
        {
            "kafka": addresses.kafka,
            "database_url": addresses.reader_url,
            "http": addresses.http,
            "pid": os.getpid(),
            "build": build(),
            "started_at": datetime.datetime.now(datetime.UTC).isoformat(),
        },
    )


def _let_signals_interrupt() -> None:
    signal.signal(signal.SIGINT, _interrupt)  # a shell's `&` would have it ignored
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays so
        signal.signal(signal.SIGHUP, _interrupt)


def _interrupt(_: int, __: object) -> NoReturn:
    """Interrupt once: a second signal, as `timeout` or an impatient person sends it, must not cut the ending short."""
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 1 and 64")
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 1000")
    return speed


def _assert_alpaca(chosen: Settings) -> None:
    """Refuse what the connectors would refuse, before anything is started."""
    if chosen.broker.endswith("alpaca") and len(chosen.accounts) != 1:
        named = ", ".join(chosen.accounts)
        raise StackError(f"Alpaca is one account a stack: STONKS_ACCOUNTS must name exactly one, not {named}")
    if not is_wanted(chosen) and (refused := alpaca_keys.problem(chosen)):
        raise StackError(refused)


def _assert_nothing_given(chosen: Settings) -> None:
    if not chosen.api_token_operator.get_secret_value() and (
        chosen.api_token_viewer.get_secret_value() or chosen.api_token_armer.get_secret_value()
    ):
        raise StackError("the demo changes the policy: set STONKS_API_TOKEN_OPERATOR too, or none of the tokens")
    if given_kafka(chosen) or given_database(chosen):
        raise StackError("the demo has a Kafka and a PostgreSQL of its own: unset STONKS_KAFKA and STONKS_DATABASE_URL")
