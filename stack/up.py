"""`stonks up`: everything on this machine, started in order, kept running, and ended together.

First what the engine stands on, then `endpoints.json`, then workers, connectors and the API: the file is there before
the API is started, and so before `/ready` can answer 200.
"""

import argparse
import datetime
import os
import pathlib
import secrets
import signal
import time

from stack.checklist import Checklist
from stack.data_dir import endpoints_path, locked, tokens
from stack.engine import Addresses, engine_services
from stack.files import write_private_json
from stack.foundations import claim_ports, start_foundations
from stack.probes import get, lacking
from stack.supervisor import Supervisor
from streams.build import build
from streams.settings import Settings, settings

SECONDS_UNTIL_READY = 90.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments `stonks up` takes."""
    parser.add_argument("--workers", type=_count, default=1, metavar="N", help="how many workers share the work (1)")


def main(arguments: argparse.Namespace) -> int:
    """Run the stack until SIGINT, SIGTERM or SIGHUP, and return 0; raise `StackError` when it cannot start."""
    chosen = settings()
    folder = chosen.data_dir.absolute()
    checklist = Checklist()
    supervisor = Supervisor(checklist.say)
    with locked(folder):
        _let_signals_interrupt()
        endpoints_path(folder).unlink(missing_ok=True)  # one that a killed stack left says nothing about this one
        try:
            _start(folder, chosen, workers=arguments.workers, checklist=checklist, supervisor=supervisor)
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
) -> None:
    ports = claim_ports(folder, chosen, workers=workers)
    addresses = start_foundations(folder, chosen, ports, checklist=checklist, supervisor=supervisor)
    services = engine_services(
        folder, addresses, tokens=tokens(folder, chosen), internal_token=secrets.token_urlsafe(24)
    )
    _write_endpoints(folder, addresses)
    for service in services:  # all at once: each of them waits for the others by itself
        supervisor.start(service)
    for service in services:
        with checklist.step(service.program.name) as remarks:
            supervisor.await_ready(service)
            remarks.append(f"pid {service.child.pid if service.child else 0}")
    _await_ready(addresses, checklist, supervisor)


def _await_ready(addresses: Addresses, checklist: Checklist, supervisor: Supervisor) -> None:
    """Wait until the API says that the stack is ready, and say so; a stack that takes long goes on, and says why."""
    deadline = time.monotonic() + SECONDS_UNTIL_READY
    answer: dict[str, object] = {}

    def is_over() -> bool:
        nonlocal answer
        status, answer = get(addresses.local_http_host, addresses.http_port, "/ready")
        return status == 200 or time.monotonic() > deadline

    supervisor.watch(is_over)
    if answer.get("ready"):
        checklist.done(f"ready at {addresses.http}")
    else:
        checklist.say(f"not ready after {SECONDS_UNTIL_READY:.0f} s, and going on: {lacking(answer)}")


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
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` would have it ignored
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays so
        signal.signal(signal.SIGHUP, signal.default_int_handler)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 1 and 64")
    return int(text)
