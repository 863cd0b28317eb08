"""Hand edits of `trading_engine_config` become commands (decision 59, R16.1, R20.8), as if an operator had sent them.

A changed column is taken up within seconds as an `update_config` (the tier as a `set_risk_tier`) issued by `sql`. What
loosens a limit is confirmed here with the token of its first result: the edit itself was the deliberate act. Of what is
refused the engine alerts; in the end the row says again what the account's state says. A command's id is a function of
the edited row and of the transaction that wrote it, so that a restart repeats no command, and the same edit made again
is another one. With PostgreSQL or Kafka away the edit waits.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer

from connectors import tables
from connectors.checks import Check
from connectors.clients import producing
from connectors.edits import Edit, edit_of
from connectors.rows import config_row
from streams.codec import Poison, encode, model_of
from streams.settings import Settings
from streams.topics import TOPICS
from trading.inputs import Command, SetRiskTier, TierName, UpdateConfig
from trading.records import CommandResult

ISSUER = "sql"
SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_WHILE_WAITING = 0.5

_SECONDS_TO_ANSWER = 10.0
_log = structlog.get_logger(__name__)


class HandEdits:
    """Take up what was edited by hand, until cancelled or until something fails; begun anew, it goes on."""

    def __init__(self, settings: Settings, *, check: Check) -> None:
        self._settings = settings
        self._check = check
        self._sent: set[str] = set()

    async def run(self) -> None:
        """Look at every account's row; raises asyncpg's errors, OSError and aiokafka's `KafkaError`."""
        url = self._settings.database_url.get_secret_value()
        connection = await asyncpg.connect(url, timeout=10, command_timeout=_SECONDS_TO_ANSWER)
        try:
            async with producing(self._settings) as producer:
                while True:
                    waiting = [await self._look(connection, producer, each) for each in self._settings.accounts]
                    self._check.holds("watching")
                    if not any(waiting):
                        self._sent.clear()
                    await asyncio.sleep(SECONDS_WHILE_WAITING if any(waiting) else SECONDS_BETWEEN_LOOKS)
        finally:
            connection.terminate()  # also when nobody answers any more

    async def _look(self, connection: asyncpg.Connection, producer: AIOKafkaProducer, account_id: str) -> bool:
        """Carry an edit one step further; return whether it waits for the engine."""
        row = await connection.fetchrow(tables.EDITED_CONFIG, account_id)
        if row is None or not edit_of(row, json.loads(row["config"])).is_there:
            return False
        async with connection.transaction():  # neither the projection nor a person writes meanwhile
            await connection.execute(tables.LOCKED_STATE, account_id)
            await connection.execute(tables.LOCKED_CONFIG, account_id)
            row = await connection.fetchrow(tables.EDITED_CONFIG, account_id)
            if row is None:
                return False
            unanswered, is_under_way = await _open(connection, row)
            if not is_under_way:
                values = config_row(account_id, row["state_at"], json.loads(row["config"]))
                await connection.execute(tables.CONFIG.upsert(), *values)
                return False
        for command in unanswered:
            if command.command_id not in self._sent:
                topic = self._settings.topic("commands")
                await producer.send_and_wait(topic, encode(command), account_id.encode())
                self._sent.add(command.command_id)
                _log.info("hand edit", account_id=account_id, kind=command.kind, command_id=command.command_id)
        return True


async def _open(connection: asyncpg.Connection, row: asyncpg.Record) -> tuple[list[Command], bool]:
    """Return the commands of an edit that the engine has not answered, and whether anything has still to happen.

    An accepted command has still to happen until the projected state is the one after it.
    """
    unanswered: list[Command] = []
    is_under_way = False
    for first in commands_of(row):
        command, result = first, await _result(connection, first)
        if result is not None and result.confirmation_token is not None:
            command = _confirmed(first, token=result.confirmation_token)
            result = await _result(connection, command)
        unanswered += [command] if result is None else []
        is_under_way |= result is None or (result.accepted and result.cause > row["seq"])
    return unanswered, is_under_way


async def _result(connection: asyncpg.Connection, command: Command) -> CommandResult | None:
    record = await connection.fetchval(tables.COMMAND_RESULT, command.account_id, command.command_id)
    return None if record is None else CommandResult.model_validate_json(record)


def commands_of(row: asyncpg.Record | Mapping[str, Any]) -> list[Command]:
    """Return the commands that an edited row stands for."""
    edit = edit_of(row, json.loads(row["config"]))
    found: list[Command] = []
    if edit.changes:
        found.append(_update(edit, **_carried(row, "config")))
    if edit.risk_tier is not None:
        found.append(SetRiskTier(**_carried(row, "tier"), risk_tier=cast(TierName, edit.risk_tier)))
    return found


def _update(edit: Edit, **carried: Any) -> UpdateConfig:
    """Return the change of the policy; of what the log would not take, one that the engine refuses."""
    command = UpdateConfig(**carried, version=edit.version, changes=edit.changes)
    try:
        readable = not isinstance(model_of(TOPICS["commands"], None, encode(command)), Poison)
    except ValueError:  # nested too deeply
        readable = False
    return command if readable else command.model_copy(update={"changes": {"policy": "cannot be read"}})


def _confirmed(command: Command, *, token: str) -> Command:
    return command.model_copy(update={"command_id": f"{command.command_id}-confirmed", "confirmation_token": token})


def _carried(row: asyncpg.Record | Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return the fields that every command has."""
    edited = [str(row[name]) for name in tables.CONFIG.columns]
    cause = json.dumps([what, row["edited_in"], *edited]).encode()
    command_id = f"sql-{hashlib.sha256(cause).hexdigest()[:32]}"
    return {"command_id": command_id, "account_id": row["account_id"], "issued_by": ISSUER}
