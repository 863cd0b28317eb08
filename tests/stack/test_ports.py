"""Ports are chosen once a data directory, and a taken one is an error."""

import errno
import pathlib
import socket
import subprocess
import sys
import threading

import psutil
import pytest

from stack.errors import Missing, PortTaken, StackError
from stack.ports import assert_free, free_port, is_free, kept_ports


def test_ports_are_kept_and_new_names_get_new_ones(tmp_path: pathlib.Path) -> None:
    first = kept_ports(tmp_path, ["kafka", "postgres"])
    assert kept_ports(tmp_path, ["kafka", "postgres"]) == first
    more = kept_ports(tmp_path, ["kafka", "worker-1"])
    assert more["kafka"] == first["kafka"]
    assert len({*first.values(), *more.values()}) == 3


def test_a_port_is_taken_while_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(PortTaken, match=rf"port {port} of kafka is in use .* or move it"):
            assert_free(port, "kafka", "move it", patience_seconds=0)
    assert is_free(port)


def test_an_address_at_which_nothing_can_listen_is_not_called_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_free(free_port(), "localhost")  # ::1, where that is there
    for elsewhere in ("192.0.2.1", "no such host"):  # an address of the documentation's, RFC 5737
        with pytest.raises(StackError, match=rf"nothing can listen at {elsewhere} .*STONKS_HTTP_HOST") as refused:
            is_free(free_port(), elsewhere)
        assert refused.value.exit_code == 2

    def bind(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")  # as an ordinary user is told of port 80

    monkeypatch.setattr("socket.socket.bind", bind)
    with pytest.raises(Missing, match=r"no right to listen on port 80: .*STONKS_HTTP_PORT"):
        is_free(80)


def test_a_listener_that_is_just_ending_is_waited_for() -> None:
    server = socket.create_server(("127.0.0.1", free_port()))
    timer = threading.Timer(0.3, server.close)
    timer.start()
    assert_free(server.getsockname()[1], "kafka", "move it", patience_seconds=3)
    timer.join()


def test_a_free_port_is_none_of_those_that_are_spoken_for() -> None:
    spoken_for = set(range(20_100, 32_000))
    assert free_port(spoken_for) not in spoken_for


def all_but(port: int) -> set[int]:
    return set(range(20_000, 32_000)) - {port}


def test_a_port_that_was_given_is_nobody_elses_before_and_after_its_server_runs() -> None:
    """Of two stacks that start at once, or while a part of one is started again, none takes the other's port."""
    port = free_port()
    with pytest.raises(PortTaken):
        free_port(all_but(port))
    assert_free(port, "kafka", "move it", patience_seconds=0)  # its own server may have it
    with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(server.getsockname()):
        server.accept()[0].close()
    with pytest.raises(PortTaken):
        free_port(all_but(port))


def test_a_kept_port_is_claimed_again_and_the_apis_is_never_chosen(tmp_path: pathlib.Path) -> None:
    program = (
        "import pathlib, sys; from stack.ports import *; folder = pathlib.Path(sys.argv[1]);"
        "print(*kept_ports(folder, ['kafka'], taken=range(FIRST + 50, LAST)).values(), flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    for _ in range(2):  # the second is a restart
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        assert port < 20_050
        with pytest.raises(PortTaken):
            free_port(all_but(port))
        holder.communicate("\n", timeout=30)
    assert free_port(all_but(port)) == port  # it went with its process


def test_a_process_that_asks_for_very_many_ports_keeps_its_file_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.ports.MOST_HELD", 3)
    first, *_ = [free_port() for _ in range(10)]
    before = psutil.Process().num_fds()
    assert free_port(all_but(first)) == first  # the oldest were given up
    assert psutil.Process().num_fds() == before


def test_a_list_of_ports_that_cannot_be_read_is_an_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ports.json").write_text("{")
    with pytest.raises(Missing, match=r"ports\.json cannot be read .* delete it"):
        kept_ports(tmp_path, ["kafka"])
