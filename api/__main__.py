"""The API's own process: `python -m api`. It binds first, so that a port in use is said at once and plainly."""

import asyncio
import errno
import logging
import signal
import socket
import sys
from typing import Final

import structlog
import uvicorn
from pydantic import ValidationError

from api.app import create_app
from api.parts import Parts, running
from streams.settings import Settings, settings

COULD_NOT_RUN: Final = 2
PORT_IN_USE: Final = 4
SECONDS_TO_FINISH: Final = 10


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(),
    )
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it repeats itself while Kafka is away; we say it once
    try:
        here = settings()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        print(f"error: STONKS_{'.'.join(map(str, first['loc'])).upper()}: {first['msg']}", file=sys.stderr)
        return COULD_NOT_RUN
    try:
        listener = _bound(here)
    except OSError as error:
        where = f"{here.http_host}:{here.http_port}"
        print(f"error: the API cannot listen on {where}: {error.strerror}", file=sys.stderr)
        return PORT_IN_USE if error.errno == errno.EADDRINUSE else COULD_NOT_RUN
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, signal.SIG_IGN)  # uvicorn takes them while it serves, and raises them again when it ends
    asyncio.run(_serve(here, listener))
    return 0


async def _serve(here: Settings, listener: socket.socket) -> None:
    parts = Parts.of(here)
    config = uvicorn.Config(
        create_app(parts),
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    async with running(parts):
        await uvicorn.Server(config).serve(sockets=[listener])


def _bound(here: Settings) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(here.http_host, here.http_port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)  # with the protocol named, else asyncio leaves Nagle's delay on
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener


if __name__ == "__main__":
    sys.exit(main())
