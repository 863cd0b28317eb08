"""What a message looks like in an SMS and in a mail: plain text in which nothing from outside can act.

Text may quote headlines and reasons that others wrote. Control characters go, links are written so that no phone
or mail program makes a link of them, a header is one line, and an SMS is one message of GSM's basic alphabet.
"""

import email.policy
import email.utils
import re
import unicodedata
from email.message import EmailMessage
from typing import Final

from trading.effects import Notification

SMS_LENGTH: Final = 160
_NOT_IN_SMS = re.compile(r"[^A-Za-z0-9 .,:;!?%&'()*+\-/<>=#@$_]")  # one septet each in GSM 03.38
_SUBJECT_LENGTH = 200
_ENCODED = "=?"  # an encoded word of RFC 2047: Python decodes it in a header that is set, a line break in it included


def sms_of(message: Notification) -> str:
    """Return the text of an SMS, at most 160 characters of one septet each."""
    text = f"Stonks {message.account_id}: {message.subject}. {message.body}"
    ascii_text = unicodedata.normalize("NFKD", inert(text)).encode("ascii", "ignore").decode()
    line = _NOT_IN_SMS.sub("?", " ".join(ascii_text.split()))
    return line if len(line) <= SMS_LENGTH else line[: SMS_LENGTH - 3].rstrip() + "..."


def mail_of(message: Notification, *, sender: str, recipient: str) -> EmailMessage:
    """Return the mail; raises ValueError for a sender or recipient that is no address."""
    if _ENCODED in sender + recipient:
        raise ValueError("an address with an encoded word")
    mail = EmailMessage(policy=email.policy.SMTP)
    mail["From"] = sender
    mail["To"] = recipient
    mail["Subject"] = " ".join(f"Stonks {message.account_id}: {inert(message.subject)}".split())[:_SUBJECT_LENGTH]
    mail["Date"] = email.utils.format_datetime(message.created_at)
    mail["Message-ID"] = f"<{message.notification_id}@stonks.invalid>"  # the same at a second try
    mail["Auto-Submitted"] = "auto-generated"
    about = message.event_type, message.severity, message.account_id, f"{message.created_at:%Y-%m-%d %H:%M:%S} UTC"
    mail.set_content(f"{inert(message.body)}\n\n-- \n{', '.join(about)}\n")
    return mail


def inert(text: str) -> str:
    """Return text without control or direction characters, in which no address is a link."""
    kept = "".join(sign for sign in text if sign == "\n" or unicodedata.category(sign) not in {"Cc", "Cf", "Cs", "Co"})
    kept = kept.replace("://", "(:)//").replace(_ENCODED, "= ?")
    return re.sub(r"(?<=\w)\.(?=[A-Za-z]{2})", "(.)", kept)
