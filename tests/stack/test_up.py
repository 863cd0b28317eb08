"""`stonks up` with a real Kafka and PostgreSQL: it starts, it mends, it ends, and it leaves nothing behind."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess

import asyncpg
import httpx
import psutil
import pytest
from confluent_kafka.admin import AdminClient

from stack import up
from stack.ports import free_port
from stack.probes import get
from tests.stack.conftest import Stonks, descendants, eventually, is_alive

pytestmark = pytest.mark.integration
PARTS = ("agents.worker", "connectors", "api", "kafka.Kafka", "postgres")


def parts(process: subprocess.Popen[str], name: str) -> list[psutil.Process]:
    """Return the living children of `stonks up` whose command lines carry the name."""
    found = []
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends between the two looks
            if is_alive(child) and re.search(rf"\b{re.escape(name)}\b", " ".join(child.cmdline())):
                found.append(child)
    return found


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_stack_is_found_by_its_endpoints_and_ends_without_a_trace(stonks: Stonks) -> None:
    process = stonks.up("--workers", "2")
    endpoints = stonks.endpoints()
    assert set(endpoints) == {"kafka", "database_url", "http", "pid", "build", "started_at"}
    assert endpoints["pid"] == process.pid
    assert endpoints["http"] == f"http://127.0.0.1:{stonks.http_port}"
    assert mode(stonks.data_dir / "endpoints.json") == 0o600
    assert json.loads((stonks.data_dir / "api.seen").read_text())["endpoints"]  # it was there before the API was

    topics = AdminClient({"bootstrap.servers": endpoints["kafka"]}).list_topics(timeout=10).topics
    assert {"recommendations", "account-inbox", "orders", "decisions"} <= set(topics)
    assert len(topics["account-inbox"].partitions) == 4

    reader = await asyncpg.connect(endpoints["database_url"])
    assert await reader.fetchval("SELECT count(*) FROM trading_decisions") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reader.execute("DELETE FROM trading_decisions")
    await reader.close()

    below, children = descendants(process), psutil.Process(process.pid).children()
    lines = [" ".join(child.cmdline()) for child in children]
    assert all(any(name in line for line in lines) for name in PARTS)
    assert sum("agents.worker" in line for line in lines) == 2
    listening = [one.laddr for child in children for one in child.net_connections() if one.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}

    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert not any(map(is_alive, below))
    assert not (stonks.data_dir / "endpoints.json").exists()


def test_a_second_signal_does_not_cut_the_ending_short() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        up._let_signals_interrupt()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        for number in numbers:
            signal.raise_signal(number)  # heard, and of no effect
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_tokens_are_made_once_and_are_the_owners_alone(stonks: Stonks) -> None:
    process = stonks.up()
    path = stonks.data_dir / "tokens.json"
    tokens = json.loads(path.read_text())
    assert mode(path) == 0o600
    assert set(tokens) == {"viewer", "operator", "armer"}
    seen = json.loads((stonks.data_dir / "api.seen").read_text())
    assert seen["STONKS_API_TOKEN_OPERATOR"] == tokens["operator"]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    stonks.up()
    assert json.loads(path.read_text()) == tokens


def test_given_tokens_are_used_and_not_written_down(stonks: Stonks) -> None:
    stonks.up(STONKS_API_TOKEN_VIEWER="look")
    assert not (stonks.data_dir / "tokens.json").exists()
    seen = json.loads((stonks.data_dir / "api.seen").read_text())
    assert seen["STONKS_API_TOKEN_VIEWER"] == "look"
    assert not seen["STONKS_API_TOKEN_OPERATOR"]


def test_nothing_outlives_a_stack_that_is_killed_and_the_next_one_goes_on_where_it_was(stonks: Stonks) -> None:
    first = stonks.up()
    below, before = descendants(first), stonks.endpoints()
    first.send_signal(signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, below)), seconds=5)

    stonks.up()
    after = stonks.endpoints()
    assert {name: after[name] for name in ("kafka", "database_url", "http")} == {
        name: before[name] for name in ("kafka", "database_url", "http")
    }
    assert "orders" in AdminClient({"bootstrap.servers": after["kafka"]}).list_topics(timeout=10).topics


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_killed_is_back_within_twenty_seconds(stonks: Stonks, name: str) -> None:
    process = stonks.up()
    [victim] = parts(process, name)
    victim.kill()

    def is_back() -> bool:
        others = [child for child in parts(process, name) if child.pid != victim.pid]
        return bool(others) and get("127.0.0.1", stonks.http_port, "/ready")[0] == 200

    eventually(is_back, seconds=20)
    assert process.poll() is None


def test_a_stack_goes_on_when_nobody_reads_what_it_says(stonks: Stonks) -> None:
    process = stonks.up()
    assert process.stdout is not None
    process.stdout.close()
    [victim] = parts(process, "agents.worker")
    victim.kill()
    eventually(lambda: [child.pid for child in parts(process, "agents.worker")] not in ([], [victim.pid]))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_a_second_start_on_the_same_data_is_refused_with_the_pid_of_the_first(stonks: Stonks) -> None:
    process = stonks.up()
    second = stonks.run("up")
    assert second.returncode == 5
    assert second.stderr.splitlines()[-1].startswith("error: ")
    assert f"pid {process.pid}:" in second.stderr
    assert process.poll() is None
    assert stonks.endpoints()["pid"] == process.pid


def test_topics_migrations_and_doctor_work_on_a_running_stack(stonks: Stonks) -> None:
    stonks.up()
    for words in (("topics", "create"), ("db", "migrate"), ("doctor",)):
        ran = stonks.run(*words)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_lines_of_a_file_are_produced_and_a_wrong_one_is_refused_by_its_number(
    stonks: Stonks, tmp_path: pathlib.Path
) -> None:
    stonks.up()
    file = tmp_path / "companies.jsonl"
    file.write_text('{"symbol": "AAPL", "name": "Apple", "sector": "technology"}\n{"symbol": "aapl"}\n')
    ran = stonks.run("produce", str(file), "--topic", "companies")
    assert ran.returncode == 1
    assert "line 2: " in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("error: ")
    absent = stonks.run("produce", str(tmp_path / "absent.jsonl"), "--topic", "companies")
    assert absent.returncode == 2
    assert "absent.jsonl cannot be read" in absent.stderr.splitlines()[-1]


def test_a_given_kafka_and_database_are_used(stonks: Stonks, kafka: str, database: str, topic_prefix: str) -> None:
    process = stonks.up(STONKS_KAFKA=kafka, STONKS_DATABASE_URL=database, STONKS_TOPIC_PREFIX=topic_prefix)
    assert stonks.endpoints()["kafka"] == kafka
    assert stonks.endpoints()["database_url"] == database
    assert not any(name in " ".join(child.cmdline()) for child in descendants(process) for name in PARTS[3:])
    topics = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics
    assert f"{topic_prefix}orders" in topics
    elsewhere = stonks.run("db", "migrate")  # from a shell that says nothing: the running stack knows where
    assert (elsewhere.returncode, elsewhere.stdout) == (0, "nothing to apply\n")
    looked = stonks.run("doctor", STONKS_KAFKA=kafka, STONKS_DATABASE_URL=database)
    assert re.search(r"ok  PostgreSQL +1\d\..*, the given one", looked.stdout)


@pytest.mark.parametrize(
    ("url", "code"),
    [("postgresql://u:canary@127.0.0.1:9/stonks", 3), ("postgresql://u:canary@127.0.0.1:x/stonks", 2)],
    ids=["nobody answers", "no address"],
)
def test_a_given_database_that_lets_nobody_in_is_an_error_before_anything_starts(
    stonks: Stonks, url: str, code: int
) -> None:
    for word in ("up", "doctor"):
        refused = stonks.run(word, STONKS_DATABASE_URL=url)
        assert refused.returncode == code, refused.stdout
        assert "PostgreSQL does not let us in" in refused.stderr.splitlines()[-1]
        assert "mend STONKS_DATABASE_URL" in refused.stderr.splitlines()[-1]
        assert "canary" not in refused.stdout + refused.stderr
    assert not (stonks.data_dir / "kafka").exists()


def test_a_taken_http_port_is_an_error_before_anything_starts(stonks: Stonks) -> None:
    with socket.create_server(("127.0.0.1", stonks.http_port)):
        refused = stonks.run("up")
    assert refused.returncode == 4
    assert f"port {stonks.http_port} of the API is in use" in refused.stderr.splitlines()[-1]
    assert not (stonks.data_dir / "kafka").exists()


def test_a_kept_port_that_is_taken_is_an_error_and_not_another_port(stonks: Stonks) -> None:
    stonks.data_dir.mkdir()
    port = free_port()
    (stonks.data_dir / "ports.json").write_text(json.dumps({"kafka": port}))
    with socket.create_server(("127.0.0.1", port)):
        refused = stonks.run("up")
    assert refused.returncode == 4
    assert f"port {port} of kafka is in use" in refused.stderr.splitlines()[-1]
    assert json.loads((stonks.data_dir / "ports.json").read_text())["kafka"] == port


def test_a_data_directory_that_cannot_be_made_is_an_error(stonks: Stonks) -> None:
    stonks.data_dir.write_text("a file stands here")
    refused = stonks.run("up")
    assert refused.returncode == 3
    assert str(stonks.data_dir) in refused.stderr.splitlines()[-1]


def test_a_cut_jar_is_an_error_that_names_it_and_the_mend(
    stonks: Stonks, tmp_path: pathlib.Path, kafka_jars: pathlib.Path
) -> None:
    copy = tmp_path / "cache" / "stonks-oracle" / kafka_jars.name
    copy.mkdir(parents=True)
    for jar in kafka_jars.glob("*.jar"):
        os.symlink(jar, copy / jar.name)
    cut = copy / "kafka-clients-4.3.1.jar"
    cut.unlink()
    cut.write_bytes((kafka_jars / cut.name).read_bytes()[:1000])
    refused = stonks.run("up", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert refused.returncode == 3
    assert f"delete {cut}" in refused.stderr.splitlines()[-1]
    assert not (stonks.data_dir / "kafka").exists()


def test_no_cache_and_no_network_is_an_error_that_says_so(stonks: Stonks, tmp_path: pathlib.Path) -> None:
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    refused = stonks.run("up", XDG_CACHE_HOME=str(tmp_path / "cache"), **nowhere)
    assert refused.returncode == 3
    assert "cannot be fetched from Maven Central" in refused.stderr.splitlines()[-1]


def test_a_fake_alpaca_is_started_with_keys_that_only_the_connectors_get(stonks: Stonks) -> None:
    process = stonks.up("--broker", "fake-alpaca", STONKS_BROKER="external", STONKS_CLOCK="events")
    seen = {name: json.loads((stonks.data_dir / f"{name}.seen").read_text()) for name in ("connectors", "api")}
    url = seen["connectors"]["STONKS_ALPACA_TRADING_URL"]
    keys = (seen["connectors"]["STONKS_ALPACA_KEY_ID"], seen["connectors"]["STONKS_ALPACA_SECRET_KEY"])
    assert {one["STONKS_BROKER"] for one in seen.values()} == {"fake-alpaca"}  # the flag wins
    assert not [name for name in seen["api"] if name.startswith("STONKS_ALPACA")]
    assert url == f"http://127.0.0.1:{json.loads((stonks.data_dir / 'ports.json').read_text())['fake-alpaca']}"
    [fake] = parts(process, "tests.fakes.alpaca")
    assert not any(secret in " ".join(fake.cmdline()) for secret in keys)

    headers = {"APCA-API-KEY-ID": keys[0], "APCA-API-SECRET-KEY": keys[1]}
    clock = httpx.get(f"{url}/v2/clock", headers=headers).json()
    assert clock["is_open"]  # event time begins in a session, whatever the hour is here
    latest = f"{url}/v2/stocks/trades/latest?symbols=AAPL"
    before = httpx.get(latest, headers=headers).json()
    eventually(lambda: httpx.get(latest, headers=headers).json() != before, seconds=10)  # its prices move
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert not is_alive(fake)


def test_alpaca_with_two_accounts_is_refused_before_anything_starts(stonks: Stonks) -> None:
    refused = stonks.run("up", "--broker", "fake-alpaca", STONKS_ACCOUNTS="one,two")
    assert refused.returncode == 2
    assert "STONKS_ACCOUNTS must name exactly one, not one, two" in refused.stderr.splitlines()[-1]
    assert not stonks.data_dir.exists()
    assert stonks.run("up", "--broker", "somebody").returncode == 2
    assert stonks.run("up", "--demo", "--broker", "alpaca").returncode == 2
