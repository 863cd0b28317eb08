"""A worker's HTTP with a real account behind it: the real `react`, fed by the tests or by the real `commands` topic."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from api.lag import APPLIED, TRADED
from streams.codec import encode
from streams.settings import Settings
from streams.topics import TOPICS
from trading.engine import react
from trading.events import AccountOpened, Event
from trading.inputs import COMMAND, AccountSnapshot
from trading.money import Mode
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio
from trading.records import CommandResult

NOON = dt.datetime(2026, 3, 2, 17, tzinfo=dt.UTC)  # a Monday, noon in New York
HOLDS = ("state_loaded", "reconciled", "consuming")


class EngineDouble:
    """One worker (and the connectors) over HTTP, as the brief describes them, with an account that really reacts."""

    def __init__(self, *, token: str = "", account_id: str = "paper", mode: Mode = "paper") -> None:
        self.token = token
        self.url = ""
        self.portfolio: Portfolio | None = None
        self.account_id = account_id
        self.seq = -1
        self.event_time: dt.datetime | None = None
        self.checks = dict.fromkeys(HOLDS, True)
        self.positions: dict[str, dict[str, int]] = {}
        self.connector_positions: dict[str, dict[str, int]] = {}
        self.answers = True
        self.connectors_answer = True
        self.connector_checks: list[dict[str, Any]] = []
        self.shown_seq: int | None = None
        self.before_answering: Callable[[], Awaitable[None]] | None = None
        self.react(AccountOpened(account_id=account_id, at=NOON, policy=TradingPolicy(), mode=mode, build="test-build"))
        self.react(
            AccountSnapshot(
                event_id="first",
                account_id=account_id,
                at=NOON,
                cash=Decimal(500),
                buying_power=Decimal(500),
                equity=Decimal(500),
                positions=(),
                open_orders=(),
            )
        )

    def react(self, event: Event) -> list[CommandResult]:
        """Fold an event, and return what became of a command."""
        self.seq += 1
        self.portfolio, effects = react(self.portfolio, event, seq=self.seq)
        return [effect for effect in effects if isinstance(effect, CommandResult)]

    async def obey(self, settings: Settings) -> None:
        """Read `commands` from its beginning and answer each on `records`, until cancelled."""
        topic = TOPICS["commands"]
        places = [TopicPartition(settings.topic(topic.name), n) for n in range(topic.partition_count(settings))]
        consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
        producer = AIOKafkaProducer(bootstrap_servers=settings.kafka)
        await consumer.start()
        await producer.start()
        try:
            consumer.assign(places)
            async for message in consumer:
                for result in self.react(COMMAND.validate_json(message.value)):
                    key = result.account_id.encode()
                    await producer.send_and_wait(settings.topic("records"), encode(result), key=key)
        finally:
            await consumer.stop()
            await producer.stop()

    def worker_body(self, account_id: str) -> dict[str, Any]:
        owned = self.portfolio if account_id == self.account_id else None
        return {
            "worker_id": "worker-1",
            "ready": all(self.checks.values()),
            "checks": self._checks(),
            "positions": self.positions,
            "event_time": self.event_time.isoformat() if self.event_time else None,
            "row": self._shown(owned) if owned is not None else None,
        }

    def _connectors_body(self) -> dict[str, Any]:
        ready = all(check["ok"] for check in self.connector_checks if check["required"])
        return {"ready": ready, "checks": self.connector_checks, "positions": self.connector_positions}

    def _shown(self, owned: Portfolio) -> Any:
        return owned.model_dump(mode="json") | ({} if self.shown_seq is None else {"seq": self.shown_seq})

    def _checks(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "ok": ok, "required": True, "detail": "", "since": NOON.isoformat()}
            for name, ok in self.checks.items()
        ]

    async def _live(self, request: web.Request) -> web.Response:
        if not (self.connectors_answer if request.path.startswith("/connectors") else self.answers):
            raise web.HTTPBadGateway
        if self.token and request.headers.get("X-Internal-Token") != self.token:
            raise web.HTTPForbidden
        if request.path.startswith("/connectors"):
            return web.json_response(self._connectors_body())
        body = self.worker_body(request.query["account_id"])
        if self.before_answering is not None:
            await self.before_answering()
        return web.json_response(body)

    def everything_applied(self, settings: Settings, ends: dict[str, dict[int, int]] | None = None) -> None:
        """Own every partition, at these ends, else at the beginning."""
        known = ends or {}
        for names, positions in ((APPLIED, self.positions), (TRADED, self.connector_positions)):
            for name in names:
                count = TOPICS[name].partition_count(settings)
                positions[name] = {str(n): known.get(name, {}).get(n, 0) for n in range(count)}

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a free port and give the address; the connectors' is below `/connectors`."""
        app = web.Application()
        app.add_routes([web.get("/live", self._live), web.get("/connectors/live", self._live)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
