"""Messages of a whole stack: a breaker reaches phone and mailbox, a dead channel delays nothing, no secret shows."""

import contextlib
import itertools
import pathlib
from collections.abc import Iterator

import pytest

from tests.fakes import ADDRESS, NUMBER
from tests.fakes.gmail.server import FakeGmail
from tests.fakes.sns.server import FakeSns
from tests.integration.harness import Json, Stack, eventually
from tests.integration.scenario import Calendar, Scenario, begin

pytest_plugins = ["tests.fakes.channels"]
pytestmark = pytest.mark.integration

ACCOUNT = "law-01"
PATIENCE = 40.0
LIMIT = 1000  # an hour; what the limit does is shown elsewhere


@pytest.fixture(scope="module")
def stack(sns: FakeSns, gmail: FakeGmail) -> Iterator[Stack]:
    with Stack(accounts=(ACCOUNT,), **sns.environment, **gmail.environment) as running:
        yield running.start()


@pytest.fixture(scope="module")
def desk(stack: Stack) -> Scenario:
    """Give a running account whose operator wants everything on both channels."""
    desk = begin(stack, ACCOUNT, Calendar())
    wanted = {"channels": {"sms": True, "email": True}, "sms_target": NUMBER, "email_target": ADDRESS}
    limits = {"sms_per_hour": LIMIT, "emails_per_hour": LIMIT}
    answer = desk.request("PUT", "/notifications/config", json={"version": 1, **wanted, **limits})
    assert (answer.status_code, answer.json()["sms_target"]) == (200, "***88"), answer.text
    return desk


LETTERS = itertools.count()


def trip(desk: Scenario) -> Json:
    """Lose more than 15 % with a position of its own, and return the breaker's message."""
    desk.next_day()
    before = len(desk.told("breaker_triggered"))
    symbol = desk.hold("ABCDEFG"[next(LETTERS)], "14:00")
    desk.tick(symbol, "33.00", "14:05")
    [message] = desk.told("breaker_triggered")[before:]
    return message


def fates(desk: Scenario, message: Json) -> dict[str | None, tuple[str, int]]:
    """Return how a message stands by channel, as the API shows it."""
    items = desk.get("/notifications", limit=200)["items"]
    found = [item for item in items if item["notification_id"] == message["notification_id"]]
    assert len(found) == len({item["channel"] for item in found})
    return {item["channel"]: (item["delivery_status"], item["attempts"]) for item in found}


def until(desk: Scenario, message: Json, wanted: dict[str | None, tuple[str, int]]) -> None:
    eventually(lambda: fates(desk, message) == wanted, seconds=PATIENCE, what=f"{wanted}")


@pytest.mark.covers("R19.1", "R19.2", "R19.5", "R19.6", "R19.8")
def test_a_breaker_is_an_sms_and_a_mail_and_a_row_of_each(desk: Scenario, sns: FakeSns, gmail: FakeGmail) -> None:
    message = trip(desk)
    until(desk, message, {"sms": ("sent", 1), "email": ("sent", 1)})
    [sms] = [each for each in sns.sms if message["subject"][:40] in each.text]
    assert sms.number == NUMBER
    assert sms.text.startswith(f"Stonks {ACCOUNT}: Circuit breaker: ")
    [mail] = [each for each in gmail.mails if message["notification_id"] in each["Message-ID"]]
    assert (mail["To"], mail["From"], mail["Subject"]) == (
        ADDRESS,
        "engine@example.org",
        f"Stonks {ACCOUNT}: {message['subject']}",
    )
    assert message["body"] in mail.get_content()
    rows = desk.stack.sql("SELECT * FROM notifications WHERE notification_id = $1", message["notification_id"])
    told = {
        (row["channel"], row["event_type"], row["severity"], row["subject"], row["delivery_status"]) for row in rows
    }
    kind = ("breaker_triggered", "critical", message["subject"], "sent")
    assert told == {("sms", *kind), ("email", *kind)}


@pytest.mark.covers("R19.1")
def test_a_test_message_goes_out_on_its_channel_and_its_outcome_shows(desk: Scenario, sns: FakeSns) -> None:
    for channel in ("sms", "email"):
        before = len(desk.told("test"))
        assert desk.request("POST", "/notifications/test", json={"channel": channel}).status_code == 200
        [message] = desk.told("test")[before:]
        until(desk, message, {channel: ("sent", 1)})
    assert "A test message on the channel sms" in sns.sms[-1].text


@pytest.mark.covers("R19.11")
def test_dead_channels_delay_no_decision_and_come_back_without_a_storm(
    desk: Scenario, sns: FakeSns, gmail: FakeGmail
) -> None:
    sns.die()
    gmail.die()
    try:
        lost = trip(desk)  # decisions and orders go on meanwhile
        until(desk, lost, {"sms": ("failed", 3), "email": ("failed", 3)})
        details = {item["detail"] for item in desk.get("/notifications", limit=200)["items"]}
        assert "SNS cannot be reached: EndpointConnectionError" in details
        assert "the token endpoint did not answer: ConnectionRefusedError" in details
        _, body = desk.stack.readiness()
        [connectors] = [check for check in body["checks"] if check["name"] == "connectors"]
        assert (connectors["ok"], body["ready"]) == (True, True)
        assert "sms: SNS cannot be reached" in connectors["detail"]
    finally:
        sns.revive()
        gmail.revive()
    again = trip(desk)
    until(desk, again, {"sms": ("sent", 1), "email": ("sent", 1)})
    settled = "SELECT count(*) AS n FROM notifications WHERE delivery_status = 'pending'"
    eventually(lambda: desk.stack.sql(settled)[0]["n"] == 0, seconds=PATIENCE, what="every message is settled")
    tripped = {letter: [each for each in sns.sms if f"L01{letter} breaker tripped" in each.text] for letter in "ABC"}
    assert [len(tripped[letter]) for letter in "ABC"] == [1, 0, 1]
    # No storm: what failed stays failed, and every row that was sent is one SMS or one mail.
    assert len(sns.sms) == sent_rows(desk, "sms")
    assert len(gmail.mails) == sent_rows(desk, "email")


def sent_rows(desk: Scenario, channel: str) -> int:
    """Return how many messages went out on a channel, as the table has it."""
    query = "SELECT count(*) AS n FROM notifications WHERE delivery_status = 'sent' AND channel = $1"
    return int(desk.stack.sql(query, channel)[0]["n"])


def test_the_doctor_names_the_accounts_that_use_a_channel(desk: Scenario) -> None:
    looked = desk.stack.run("doctor").stdout
    assert f"in the SMS sandbox: verified numbers alone; on for {ACCOUNT}" in looked
    assert f"the refresh token works, and the mailbox answers; on for {ACCOUNT}" in looked


def test_a_killed_connector_repeats_no_message(desk: Scenario, sns: FakeSns, gmail: FakeGmail) -> None:
    sms, mails = len(sns.sms), len(gmail.mails)
    desk.stack.child("connectors").kill()
    eventually(lambda: desk.stack.readiness()[0] != 200, seconds=PATIENCE, what="the connectors are gone")
    desk.stack.until_ready(seconds=60)
    desk.request("POST", "/notifications/test", json={"channel": "sms"})
    eventually(lambda: len(sns.sms) > sms, seconds=PATIENCE, what="the next message")
    assert (len(sns.sms), len(gmail.mails)) == (sms + 1, mails)


def test_no_number_address_or_key_is_in_a_log_an_answer_or_a_table(desk: Scenario) -> None:
    stack = desk.stack
    canaries = [NUMBER[-7:], ADDRESS, "client-canary", "secret-canary", "refresh-canary", "AKIACANARY", "aws-canary"]
    stack.until_lag_zero(projected=True)
    assert found(canaries, stack) == []
    for path in (stack.data_dir / "connectors.log", stack.data_dir / "api.log"):
        assert path.read_text()
    (stack.data_dir / "connectors.log").open("a").write(f"{ADDRESS}\n")
    assert found(canaries, stack) == [("connectors.log", ADDRESS)]  # the search sees what it looks for


def found(canaries: list[str], stack: Stack) -> list[tuple[str, str]]:
    """Return where canaries are: in the processes' logs, in what every GET answers, in any row of any table."""
    texts = {}
    for path in [*stack.folder.glob("*.log"), *stack.data_dir.glob("*.log"), *server_logs(stack.data_dir)]:
        texts[path.name] = path.read_text(encoding="utf-8", errors="replace")
    for route, methods in stack.request("GET", "/openapi.json").json()["paths"].items():
        if "get" in methods and "{" not in route and not route.endswith("/events"):
            texts[route] = stack.request("GET", route).text
    for row in stack.sql("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"):
        table = row["relname"]
        rows = stack.sql(f'SELECT t::text AS row FROM "{table}" t')  # noqa: S608 - the names are PostgreSQL's own
        texts[table] = "\n".join(str(each["row"]) for each in rows)
    assert {"/api/trading/notifications", "account_states", "connectors.log"} <= texts.keys()
    return [(place, canary) for place, text in texts.items() for canary in canaries if canary in text]


def server_logs(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the logs of Kafka and PostgreSQL, which are not the topics' segments."""
    logs = []
    for place in ("kafka/logs", "postgres"):
        with contextlib.suppress(OSError):
            logs += [path for path in (folder / place).glob("*.log") if not path.name[:8].isdigit()]
    return logs
