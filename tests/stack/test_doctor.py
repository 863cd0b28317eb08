"""`stonks doctor` names what is missing or wrong, each with the mend, and changes nothing."""

import json
import pathlib
import re
import socket

import pytest

from stack import doctor_channels
from streams.settings import Settings
from tests.fakes.gmail.server import fake_gmail
from tests.fakes.sns.server import fake_sns
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


def test_the_channels_are_off_without_credentials_and_probed_with_them(stonks: Stonks) -> None:
    elsewhere = {"STONKS_KAFKA": "127.0.0.1:9"}  # the rest is of no interest
    looked = stonks.run("doctor", **elsewhere).stdout
    assert re.search(r"ok  SMS +off, no credentials are set", looked)
    assert re.search(r"ok  mail +off, no credentials are set", looked)
    with fake_sns() as sns, fake_gmail() as gmail:
        equipped = elsewhere | sns.environment | gmail.environment
        looked = stonks.run("doctor", **equipped).stdout
        assert re.search(r"ok  SMS .*1 \(AWS default\) USD a month; in the SMS sandbox", looked)
        assert re.search(r"ok  mail +the refresh token works", looked)
        sns.always, gmail.always = "InvalidClientTokenId", "revoked"
        broken = stonks.run("doctor", **equipped)
    assert re.search(r"!!  SMS +SNS refused: InvalidClientTokenId: make a new key", broken.stdout)
    assert re.search(r"!!  mail +the refresh token was refused: invalid_grant: make a new token", broken.stdout)
    assert "canary" not in looked + broken.stdout + broken.stderr


def test_a_channel_that_is_switched_on_without_credentials_is_wrong(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def using(chosen: Settings, channel: str) -> list[str]:
        return ["paper"]

    monkeypatch.setattr(doctor_channels, "_accounts_with", using)
    with pytest.raises(
        doctor_channels.ChannelWrong, match="switched on for paper, without credentials: set STONKS_AWS"
    ):
        doctor_channels.check_sms(Settings(data_dir=tmp_path))
