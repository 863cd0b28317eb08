"""`python -m api` as its own process: how it starts without its neighbours, how it ends, and what it writes."""

import contextlib
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from stack.ports import free_port
from streams.settings import environment
from tests.api.conftest import NOWHERE, TOKENS, as_role
from tests.tether import tethered

PASSWORD = "database-canary-5"
INTERNAL = "internal-canary-6"


def variables(port: int) -> dict[str, str]:
    return environment(
        {
            "STONKS_KAFKA": NOWHERE,
            "STONKS_DATABASE_URL": f"postgresql://stonks:{PASSWORD}@{NOWHERE}/stonks",
            "STONKS_HTTP_PORT": str(port),
            "STONKS_WORKER_URLS": f"http://{NOWHERE}",
            "STONKS_CONNECTORS_URL": f"http://{NOWHERE}",
            "STONKS_INTERNAL_TOKEN": INTERNAL,
        }
        | {f"STONKS_API_TOKEN_{role.upper()}": token for role, token in TOKENS.items()}
    )


@contextlib.contextmanager
def process(port: int, log: pathlib.Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the API, and leave nothing behind."""
    with log.open("wb") as output:
        command = tethered(sys.executable, "-m", "api")
        child = subprocess.Popen(command, env=variables(port), stdout=output, stderr=output)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def answer(port: int, path: str, *, seconds: float = 20) -> httpx.Response:
    """Return the answer of a path as soon as there is one."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", headers=as_role("viewer"), timeout=10)
        except httpx.TransportError:
            assert time.monotonic() < deadline, "the API does not answer"
            time.sleep(0.05)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_without_its_neighbours_ends_politely_and_writes_no_secret(
    tmp_path: pathlib.Path, ending: signal.Signals
) -> None:
    port, log = free_port(), tmp_path / "api.log"
    with process(port, log) as child:
        assert answer(port, "/health").json() == {"status": "ok"}
        unready = answer(port, "/ready")
        assert (unready.status_code, unready.json()["ready"]) == (503, False)
        shown = [unready.text, answer(port, "/api/trading/orders").text, answer(port, "/metrics").text]
        shown += [answer(port, "/api/trading/status").text, answer(port, "/openapi.json").text]
        assert "server" not in unready.headers
        child.send_signal(ending)
        assert child.wait(30) == 0
    written = log.read_text(encoding="utf-8") + "".join(shown)
    assert not [secret for secret in (*TOKENS.values(), PASSWORD, INTERNAL) if secret in written]


def test_a_port_in_use_is_said_plainly(tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with process(port, tmp_path / "api.log") as child:
            assert child.wait(30) == 4
    last = (tmp_path / "api.log").read_text(encoding="utf-8").splitlines()[-1]
    assert last == f"error: the API cannot listen on 127.0.0.1:{port}: Address already in use"


def test_a_wrong_setting_is_said_plainly() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "api"],
        env=environment({"STONKS_HTTP_PORT": "eighty"}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1].startswith("error: STONKS_HTTP_PORT: ")


def test_an_answer_does_not_wait_for_the_network_to_make_up_its_mind(tmp_path: pathlib.Path) -> None:
    """Nagle's algorithm against delayed acknowledgements costs 40 ms each time, so even the quickest shows it."""
    port = free_port()
    with process(port, tmp_path / "api.log"):
        answer(port, "/health")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            took = [client.get("/health").elapsed.total_seconds() for _ in range(20)]
    assert min(took) < 0.02
