"""The real clients of AWS and Google against local servers: one request a call, every fault named, no secret told."""

import asyncio
import datetime as dt
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config

from connectors.channels import NotDelivered, Outlet, in_a_thread
from connectors.outlets import outlets
from connectors.sns import _ONCE
from streams.settings import Settings
from tests.fakes import ADDRESS, NUMBER
from tests.fakes.gmail.server import FakeGmail
from tests.fakes.sns.server import FakeSns
from tests.loopback import LeftLoopback, loopback_only
from trading.effects import Notification

pytest_plugins = ["tests.fakes.channels"]

MESSAGE = Notification(
    notification_id="n-1",
    account_id="paper",
    event_type="breaker_triggered",
    severity="critical",
    subject="Circuit breaker: daily loss",
    body="The day's loss is 5.2 %.",
    created_at=dt.datetime(2026, 3, 16, 14, 30, tzinfo=dt.UTC),
)
SECRETS = ("0007788", "canary", "AKIA", "operator@")


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Fail whatever leaves the loopback."""
    with loopback_only() as tried:
        yield
    assert tried == []


@pytest.fixture
def sms(sns: FakeSns, monkeypatch: pytest.MonkeyPatch) -> Outlet:
    monkeypatch.setattr("connectors.sns._ONCE", _ONCE.merge(Config(read_timeout=0.5)))
    return equipped(monkeypatch, sns.environment)["sms"]


@pytest.fixture
def mail(gmail: FakeGmail, monkeypatch: pytest.MonkeyPatch) -> Outlet:
    monkeypatch.setattr("connectors.gmail._SECONDS_TO_ANSWER", 0.5)
    return equipped(monkeypatch, gmail.environment)["email"]


def equipped(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Any:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return outlets(Settings())


def problem_of(outlet: Outlet, target: str) -> tuple[str, bool]:
    """Return why a message did not go out and whether it may have; fail when the reason tells a secret."""
    with pytest.raises(NotDelivered) as caught:
        outlet.send(MESSAGE, target=target)
    assert not [secret for secret in SECRETS if secret in str(caught.value)], caught.value
    assert caught.value.__cause__ is None  # a log of the error shows no text of theirs
    assert caught.value.__suppress_context__
    return str(caught.value), caught.value.may_have_arrived


@pytest.mark.covers("R19.1", "R19.5")
def test_an_sms_goes_out_by_boto3_to_the_number_of_the_preferences(sms: Outlet, sns: FakeSns) -> None:
    sms.send(MESSAGE, target=NUMBER)
    sent = sns.sms[-1]
    assert (sent.number, sent.text) == (
        NUMBER,
        "Stonks paper: Circuit breaker: daily loss. The day's loss is 5.2 %.",
    )


@pytest.mark.covers("R19.5")
def test_an_arn_is_published_to_as_a_topic(sms: Outlet, sns: FakeSns) -> None:
    reason, _ = problem_of(sms, "arn:aws:sns:us-east-1:123456789012:nobody-made-it")
    assert reason == "SNS refused: NotFound"
    assert sns.actions[-1] == "Publish"


@pytest.mark.covers("R19.11")
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("Throttling", ("SNS refused: Throttling", False, 0)),
        ("AuthorizationError", ("SNS refused: AuthorizationError", False, 0)),
        ("InternalFailure", ("SNS refused: InternalFailure", True, 0)),
        ("lost", ("SNS did not answer: ConnectionClosedError", True, 1)),
        ("slow", ("SNS did not answer: ReadTimeoutError", True, 0)),
        ("page", ("SNS did not answer: KeyError", True, 0)),
    ],
)
def test_a_fault_of_sns_is_one_request_and_a_reason_of_a_few_words(
    sms: Outlet, sns: FakeSns, fault: str, expected: tuple[str, bool, int]
) -> None:
    reason, may_have_arrived, arrived = expected
    asked, had = len(sns.actions), len(sns.sms)
    sns.faults.append(fault)
    assert problem_of(sms, NUMBER) == (reason, may_have_arrived)
    assert (len(sns.actions) - asked, len(sns.sms) - had) == (1, arrived)


@pytest.mark.covers("R19.1", "R19.6")
def test_a_mail_goes_out_by_googles_client_from_the_sender_to_the_recipient(mail: Outlet, gmail: FakeGmail) -> None:
    asked = len(gmail.requests)
    mail.send(MESSAGE, target=ADDRESS)
    sent = gmail.mails[-1]
    assert (sent["From"], sent["To"]) == ("engine@example.org", ADDRESS)
    assert sent["Subject"] == "Stonks paper: Circuit breaker: daily loss"
    assert "The day's loss is 5.2 %." in sent.get_content()
    assert gmail.requests[asked:] == ["/token", "/gmail/v1/users/me/messages/send"]


@pytest.mark.covers("R19.11")
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("revoked", ("the refresh token was refused: invalid_grant", False, 1, 0)),
        ("token-500", ("the token endpoint did not answer: TransportError", False, 1, 0)),
        ("token-page", ("the token endpoint did not answer: TypeError", False, 1, 0)),
        ("401", ("Gmail answered 401", False, 2, 0)),
        ("429", ("Gmail answered 429", False, 2, 0)),
        ("500", ("Gmail answered 500", True, 2, 0)),
        ("lost", ("Gmail did not answer: ConnectionAbortedError", True, 2, 1)),
        ("slow", ("Gmail did not answer: TimeoutError", True, 2, 0)),
        ("half", ("Gmail did not answer: IncompleteRead", True, 2, 1)),
    ],
)
def test_a_fault_of_gmail_is_one_request_and_a_reason_of_a_few_words(
    mail: Outlet, gmail: FakeGmail, fault: str, expected: tuple[str, bool, int, int]
) -> None:
    reason, may_have_arrived, requests, arrived = expected
    asked, had = len(gmail.requests), len(gmail.mails)
    gmail.faults.append(fault)
    assert problem_of(mail, ADDRESS) == (reason, may_have_arrived)
    assert (len(gmail.requests) - asked, len(gmail.mails) - had) == (requests, arrived)


def test_a_dead_server_refuses_at_once_and_nothing_has_arrived(
    sms: Outlet, mail: Outlet, sns: FakeSns, gmail: FakeGmail
) -> None:
    sns.die()
    gmail.die()
    try:
        assert problem_of(sms, NUMBER) == ("SNS cannot be reached: EndpointConnectionError", False)
        assert problem_of(mail, ADDRESS) == ("the token endpoint did not answer: ConnectionRefusedError", False)
    finally:
        sns.revive()
        gmail.revive()
    sms.send(MESSAGE, target=NUMBER)
    mail.send(MESSAGE, target=ADDRESS)


def test_the_probe_tells_sandbox_quota_and_token(sms: Outlet, mail: Outlet, sns: FakeSns, gmail: FakeGmail) -> None:
    assert sms.probe() == "the key is accepted; 1 (AWS default) USD a month; in the SMS sandbox: verified numbers alone"
    sns.in_sandbox = False
    assert sms.probe().endswith("out of the sandbox")
    sns.faults.append("AuthorizationError")  # a key that may publish alone
    assert sms.probe() == "the key is accepted; it may not read the quota"
    sns.faults.append("InvalidClientTokenId")
    with pytest.raises(NotDelivered, match="SNS refused: InvalidClientTokenId"):
        sms.probe()
    assert mail.probe() == "the refresh token works, and the mailbox answers"
    gmail.faults.append("403")  # the scope gmail.send alone
    assert mail.probe() == "the refresh token works; it may not read the profile"
    gmail.faults.append("revoked")
    with pytest.raises(NotDelivered, match="the refresh token was refused: invalid_grant"):
        mail.probe()


@pytest.mark.covers("R19.5")
def test_awss_own_variables_count_and_ours_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = {"AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "own-secret", "AWS_DEFAULT_REGION": "eu-west-1"}
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    chosen = Settings()
    assert chosen.aws_access_key_id.get_secret_value() == "own"
    assert chosen.aws_secret_access_key.get_secret_value() == "own-secret"
    assert chosen.aws_region == "eu-west-1"
    monkeypatch.setenv("STONKS_AWS_ACCESS_KEY_ID", "ours")
    monkeypatch.setenv("STONKS_AWS_REGION", "us-west-2")
    assert (Settings().aws_access_key_id.get_secret_value(), Settings().aws_region) == ("ours", "us-west-2")
    assert "own-secret" not in repr(Settings())


def test_a_channel_without_credentials_names_what_is_missing() -> None:
    without = outlets(Settings())
    assert without["sms"].lacks == "STONKS_AWS_ACCESS_KEY_ID, STONKS_AWS_SECRET_ACCESS_KEY"
    assert without["email"].lacks == (
        "STONKS_GMAIL_CLIENT_ID, STONKS_GMAIL_CLIENT_SECRET, STONKS_GMAIL_REFRESH_TOKEN, STONKS_GMAIL_SENDER"
    )
    with pytest.raises(NotDelivered, match="not set: STONKS_AWS_ACCESS_KEY_ID"):
        without["sms"].probe()


async def test_what_blocks_holds_up_neither_the_loop_nor_the_end() -> None:
    released = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await in_a_thread(lambda: released.wait(10))
    released.set()
    assert await in_a_thread(lambda: "done") == "done"
    with pytest.raises(NotDelivered, match="why"):
        await in_a_thread(lambda: _fail("why"))
    deadline = time.monotonic() + 5
    while [each for each in threading.enumerate() if each.name == "channel" and not each.daemon]:
        assert time.monotonic() < deadline


def _fail(reason: str) -> None:
    raise NotDelivered(reason)


def test_the_guard_sees_what_would_leave_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"STONKS_AWS_ACCESS_KEY_ID": "k", "STONKS_AWS_SECRET_ACCESS_KEY": "s"}
    with loopback_only() as tried:
        with pytest.raises(NotDelivered):  # the client takes the guard's error for one of the network
            equipped(monkeypatch, variables)["sms"].send(MESSAGE, target=NUMBER)
        with pytest.raises(LeftLoopback), socket.socket() as tcp:
            tcp.connect(("192.0.2.1", 80))
    assert tried == ["sns.us-east-1.amazonaws.com", "192.0.2.1"]
