"""The processes of the engine: their command lines, and the variables by which they find each other."""

import dataclasses
import pathlib
import sys

from stack.ports import LOOPBACK
from stack.probes import get
from stack.programs import Program
from stack.supervisor import Service


@dataclasses.dataclass(frozen=True, kw_only=True)
class Addresses:
    """Hold where everything of one stack is; `owner_url` may change the database, `reader_url` only read it."""

    kafka: str
    owner_url: str = dataclasses.field(repr=False)
    reader_url: str = dataclasses.field(repr=False)
    workers: dict[str, int]
    connectors: int
    http_host: str
    http_port: int

    @property
    def http(self) -> str:
        """Return the API's address as a client on this machine says it."""
        host = f"[{self.local_http_host}]" if ":" in self.local_http_host else self.local_http_host
        return f"http://{host}:{self.http_port}"

    @property
    def local_http_host(self) -> str:
        """Return the host by which this machine reaches the API."""
        return LOOPBACK if self.http_host in {"0.0.0.0", "::", ""} else self.http_host  # noqa: S104 - compared only


def engine_services(
    folder: pathlib.Path,
    addresses: Addresses,
    *,
    tokens: dict[str, str],
    internal_token: str,
    variables: dict[str, str],
    connectors_only: dict[str, str],
) -> list[Service]:
    """Return the workers, the connectors and the API, in the order in which they become ready; all get `variables`.

    Each is ready, in the sense of a service, as soon as it answers `/health`.
    """
    shared = {
        "STONKS_KAFKA": addresses.kafka,
        "STONKS_DATA_DIR": str(folder),
        "STONKS_INTERNAL_TOKEN": internal_token,
        **variables,
    }
    workers = [
        _service(
            folder,
            name,
            "agents.worker",
            port,
            {
                **shared,
                "STONKS_DATABASE_URL": addresses.reader_url,
                "STONKS_WORKER_ID": name,
                "STONKS_WORKER_HOST": LOOPBACK,
                "STONKS_WORKER_PORT": str(port),
            },
        )
        for name, port in addresses.workers.items()
    ]
    connectors = _service(
        folder,
        "connectors",
        "connectors",
        addresses.connectors,
        {
            **shared,
            **connectors_only,
            "STONKS_DATABASE_URL": addresses.owner_url,
            "STONKS_CONNECTORS_HOST": LOOPBACK,
            "STONKS_CONNECTORS_PORT": str(addresses.connectors),
        },
    )
    api = _service(
        folder,
        "api",
        "api",
        addresses.http_port,
        {
            **shared,
            "STONKS_DATABASE_URL": addresses.reader_url,
            "STONKS_HTTP_HOST": addresses.http_host,
            "STONKS_HTTP_PORT": str(addresses.http_port),
            "STONKS_WORKER_URLS": ",".join(f"http://{LOOPBACK}:{port}" for port in addresses.workers.values()),
            "STONKS_CONNECTORS_URL": f"http://{LOOPBACK}:{addresses.connectors}",
            **{f"STONKS_API_TOKEN_{role.upper()}": token for role, token in tokens.items()},
        },
        host=addresses.local_http_host,
    )
    return [*workers, connectors, api]


def worker_names(count: int) -> list[str]:
    """Return the static member ids of `count` workers."""
    return [f"worker-{number}" for number in range(1, count + 1)]


def _service(
    folder: pathlib.Path, name: str, module: str, port: int, variables: dict[str, str], *, host: str = LOOPBACK
) -> Service:
    command = (sys.executable, "-P", "-m", module)  # -P: a folder of that name where we were started does not count
    program = Program(name=name, command=command, log=folder / f"{name}.log", variables=variables)
    return Service(program, lambda _: get(host, port, "/health")[0] == 200)
