"""Text from outside is inert in an SMS and in a mail: no header, no link, no control character, one SMS at most."""

import datetime as dt
import email
import email.policy
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.wording import SMS_LENGTH, inert, mail_of, sms_of
from trading.effects import Notification

GSM = re.compile(r"[A-Za-z0-9 .,:;!?%&'()*+\-/<>=#@$_]*")  # a subset of GSM 03.38's basic table, one septet each
TEXT = st.text(max_size=400)


def message(subject: str, body: str) -> Notification:
    return Notification(
        notification_id="0b5f-1",
        account_id="paper",
        event_type="alert",
        severity="warning",
        subject=subject,
        body=body,
        created_at=dt.datetime(2026, 3, 16, 14, 30, tzinfo=dt.UTC),
    )


@given(subject=TEXT, body=TEXT)
@example(subject="Verlust größer als 5 %", body="x" * 500)
@example(subject="tap http://evil.example/now", body="\u202egnp.exe\r\nBcc: a@b.example")
def test_an_sms_is_one_message_of_the_basic_alphabet_without_a_link(subject: str, body: str) -> None:
    text = sms_of(message(subject, body))
    assert len(text) <= SMS_LENGTH
    assert GSM.fullmatch(text)
    assert "://" not in text


@given(subject=TEXT, body=TEXT)
@example(subject="Loss\r\nBcc: thief@evil.example\r\n\r\nhello", body="first\r\n.\r\nsecond")
@example(subject="=?utf-8?q?=0ABcc=3A_x?=", body="<script>alert(1)</script>")
def test_a_mail_has_our_headers_and_no_other_and_one_plain_text(subject: str, body: str) -> None:
    raw = mail_of(message(subject, body), sender="engine@example.org", recipient="op@example.org").as_bytes()
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert [name.lower() for name in mail] == [
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "auto-submitted",
        "content-type",
        "content-transfer-encoding",
        "mime-version",
    ]
    assert (mail["To"], mail["From"]) == ("op@example.org", "engine@example.org")
    assert mail.get_content_type() == "text/plain"
    assert not mail.is_multipart()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))  # RFC 5322


def test_a_short_message_is_told_whole() -> None:
    told = message("Circuit breaker: daily loss", "The day's loss is 5.2 % of 500.00 dollars.")
    expected = "Stonks paper: Circuit breaker: daily loss. The day's loss is 5.2 % of 500.00 dollars."
    assert sms_of(told) == expected
    mail = mail_of(told, sender="engine@example.org", recipient="op@example.org")
    assert mail["Subject"] == "Stonks paper: Circuit breaker: daily loss"
    assert mail.get_content().startswith("The day's loss is 5.2 % of 500.00 dollars.\n")
    assert mail["Date"] == "Mon, 16 Mar 2026 14:30:00 +0000"
    assert mail["Message-ID"] == "<0b5f-1@stonks.invalid>"


def test_what_is_cut_ends_in_dots_and_addresses_are_no_links() -> None:
    assert sms_of(message("s", "word " * 60)).endswith("word...")
    assert inert("see https://www.evil.example/a.b and BRK.B at 5.25.") == (
        "see https(:)//www(.)evil(.)example/a.b and BRK.B at 5.25."
    )


HOSTILE = ["engine@example.org\nBcc: a@b.example", "=?utf-8?q?=0ABcc=3A_x?=@example.org"]


@pytest.mark.parametrize("address", HOSTILE)
def test_an_address_that_is_two_headers_is_refused(address: str) -> None:
    for sender, recipient in ((address, "op@example.org"), ("engine@example.org", address)):
        with pytest.raises(ValueError, match=r"linefeed|newline|encoded"):
            mail_of(message("s", "b"), sender=sender, recipient=recipient)
