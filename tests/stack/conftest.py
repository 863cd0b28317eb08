"""`stonks` as a person runs it, with stand-ins for the engine's processes: they answer HTTP and do nothing else."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from stack.jars import cache_dir, checked_jars
from stack.ports import free_port
from streams.settings import Settings
from tests.tether import tethered

SERVER = """
import http.server, json, os, pathlib


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"ready": True, "checks": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def serve(name, port):
    folder = pathlib.Path(os.environ["STONKS_DATA_DIR"])
    seen = {"endpoints": (folder / "endpoints.json").exists()}
    seen |= {key: value for key, value in os.environ.items() if key.startswith("STONKS_")}
    (folder / f"{name}.seen").write_text(json.dumps(seen))
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ[port])), Handler).serve_forever()
"""
STAND_INS = {
    "agents/worker.py": "import os, stand_in; stand_in.serve(os.environ['STONKS_WORKER_ID'], 'STONKS_WORKER_PORT')",
    "connectors/__main__.py": "import stand_in; stand_in.serve('connectors', 'STONKS_CONNECTORS_PORT')",
    "api/__main__.py": "import stand_in; stand_in.serve('api', 'STONKS_HTTP_PORT')",
}
CLI = [sys.executable, "-m", "stack.cli"]


@dataclasses.dataclass
class Stonks:
    """Run `stonks` on one data directory."""

    data_dir: pathlib.Path
    stand_ins: pathlib.Path
    http_port: int
    started: list[subprocess.Popen[str]] = dataclasses.field(default_factory=list)

    def environment(self, **changes: str) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("STONKS_")}
        mine = {
            "STONKS_DATA_DIR": str(self.data_dir),
            "STONKS_HTTP_PORT": str(self.http_port),
            "PYTHONPATH": str(self.stand_ins),
        }
        return clean | mine | changes

    def run(self, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        environment = self.environment(**changes)
        return subprocess.run([*CLI, *words], env=environment, capture_output=True, text=True, check=False, timeout=120)

    def up(self, *words: str, **changes: str) -> subprocess.Popen[str]:
        """Start `stonks up` and return when it says that it is ready."""
        process = subprocess.Popen(
            tethered(*CLI, "up", *words),
            env=self.environment(**changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "ready at" in line:
                return process
        raise AssertionError("".join(said))

    def endpoints(self) -> dict[str, str]:
        """Return what the running stack says about itself."""
        return dict(json.loads((self.data_dir / "endpoints.json").read_text()))

    def end(self) -> None:
        """Kill what is still there; the kernel ends the rest."""
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Give a folder with programs of the names of the engine's processes."""
    folder = tmp_path_factory.mktemp("stand-ins")
    (folder / "stand_in.py").write_text(SERVER)
    for name, source in STAND_INS.items():
        path = folder / name
        path.parent.mkdir()
        (path.parent / "__init__.py").touch()
        path.write_text(source)
    return folder


@pytest.fixture
def stonks(tmp_path: pathlib.Path, stand_ins: pathlib.Path) -> Iterator[Stonks]:
    """Give `stonks` on a data directory of its own; what it starts ends with the test."""
    command = Stonks(tmp_path / "data", stand_ins, free_port())
    yield command
    command.end()


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes below this one, without those that ended a moment ago."""
    return [child for child in psutil.Process(process.pid).children(recursive=True) if is_alive(child)]


def is_alive(process: psutil.Process) -> bool:
    """Return whether the process runs; one that only waits to be buried does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def eventually(condition: Callable[[], bool], *, seconds: float = 20) -> float:
    """Wait until the condition holds and return how long that took; fail when it never does."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not so within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.fixture(scope="session")
def kafka_jars() -> pathlib.Path:
    """Give the folder with Kafka's jars, which are fetched where they are not there yet."""
    return checked_jars(cache_dir(Settings()))[0].parent
