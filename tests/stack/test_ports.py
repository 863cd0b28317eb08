"""Ports are chosen once a data directory, and a taken one is an error."""

import pathlib
import socket
import threading

import pytest

from stack.errors import Missing, PortTaken
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


def test_a_listener_that_is_just_ending_is_waited_for() -> None:
    server = socket.create_server(("127.0.0.1", free_port()))
    timer = threading.Timer(0.3, server.close)
    timer.start()
    assert_free(server.getsockname()[1], "kafka", "move it", patience_seconds=3)
    timer.join()


def test_a_free_port_is_none_of_those_that_are_spoken_for() -> None:
    spoken_for = set(range(20_000, 32_000)) - {free_port() for _ in range(10)}
    assert free_port(spoken_for) not in spoken_for


def test_a_list_of_ports_that_cannot_be_read_is_an_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ports.json").write_text("{")
    with pytest.raises(Missing, match=r"ports\.json cannot be read .* delete it"):
        kept_ports(tmp_path, ["kafka"])
