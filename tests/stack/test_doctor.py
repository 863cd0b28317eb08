"""`stonks doctor` names what is missing or wrong, each with the mend, and changes nothing."""

import json
import pathlib
import socket

from tests.stack.conftest import Stonks


def test_a_machine_with_everything_is_well(stonks: Stonks, kafka_jars: pathlib.Path) -> None:
    looked = stonks.run("doctor")
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "46 whole" in looked.stdout
    assert not stonks.data_dir.exists()


def test_missing_things_are_3_and_each_is_named(stonks: Stonks, tmp_path: pathlib.Path) -> None:
    stonks.data_dir.write_text("a file stands here")
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    looked = stonks.run("doctor", XDG_CACHE_HOME=str(tmp_path), PG_BIN_DIR=str(tmp_path), **proxies)
    assert looked.returncode == 3
    assert "46 of 46 are not in" in looked.stdout
    assert "has no program `postgres`" in looked.stdout
    assert f"no right to write to {stonks.data_dir}" in looked.stdout
    assert looked.stderr.splitlines()[-1].startswith("error: 3 things are missing or wrong")


def test_a_taken_port_is_wrong_and_named(stonks: Stonks, kafka_jars: pathlib.Path) -> None:
    stonks.data_dir.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (stonks.data_dir / "ports.json").write_text(json.dumps({"kafka": port}))
        looked = stonks.run("doctor")
    assert looked.returncode == 1
    assert f"in use: {port} (kafka)" in looked.stdout


def test_what_a_killed_stack_left_is_wrong(stonks: Stonks, kafka_jars: pathlib.Path) -> None:
    stonks.data_dir.mkdir()
    (stonks.data_dir / "endpoints.json").write_text("{}")
    looked = stonks.run("doctor")
    assert looked.returncode == 1
    assert "was killed, its endpoints.json is stale" in looked.stdout


def test_a_given_kafka_that_does_not_answer_is_missing(stonks: Stonks) -> None:
    looked = stonks.run("doctor", STONKS_KAFKA="127.0.0.1:9")
    assert looked.returncode == 3
    assert "no Kafka answers at 127.0.0.1:9" in looked.stdout
