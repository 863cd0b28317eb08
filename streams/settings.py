"""The one reader of the environment: every `STONKS_` variable, its default and its meaning, read once per process."""

import functools
import os
import pathlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

AccountId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,31}$")]


class Settings(BaseSettings):
    """Hold what one process was started with; secrets never appear in its `repr`.

    Public variables are those of the contract; those marked *internal* are set by `stonks up` (or the compose file)
    so that the processes of one stack find each other.
    """

    model_config = SettingsConfigDict(env_prefix="STONKS_", frozen=True, extra="ignore")

    kafka: str = "127.0.0.1:9092"
    database_url: SecretStr = SecretStr("")
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=1, le=65535)] = 8000
    data_dir: pathlib.Path = pathlib.Path(".stonks")
    clock: Literal["system", "events"] = "system"
    mode: Literal["paper", "live"] = "paper"
    accounts: Annotated[tuple[AccountId, ...], NoDecode] = ("paper",)
    partitions: Annotated[int, Field(ge=1, le=128)] = 4
    topic_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._\-]{0,64}$")] = ""
    api_token_viewer: SecretStr = SecretStr("")
    api_token_operator: SecretStr = SecretStr("")
    api_token_armer: SecretStr = SecretStr("")

    broker: Literal["simulated", "fake-alpaca", "alpaca", "external"] = "simulated"
    sim_cash: Annotated[str, Field(pattern=r"^\d{1,12}(\.\d{1,2})?$")] = "500"
    sim_slippage_bps: Annotated[int, Field(ge=0, le=1000)] = 5
    sim_partial_pct: Annotated[int, Field(ge=0, le=100)] = 0
    sim_reject_pct: Annotated[int, Field(ge=0, le=100)] = 0
    sim_seed: int = 1

    # Alpaca, real or fake: one account a connector process. An unset address is Alpaca's own, by `mode`.
    alpaca_key_id: SecretStr = SecretStr("")
    alpaca_secret_key: SecretStr = SecretStr("")
    alpaca_trading_url: str = ""  # the trading API, without `/v2`; its stream of trade updates is `/stream` there
    alpaca_data_url: str = ""  # the market data API, without `/v2`
    alpaca_stream_url: str = ""  # the market data's WebSocket, without `/v2/{feed}`
    alpaca_feed: Literal["iex", "sip"] = "iex"  # iex is free and about 2.5 % of the volume; sip is all of it

    # Protection while we are dead: a stop order that rests at the broker beside each position, wider than our stops.
    backstop: Literal["none", "stop"] = "none"
    backstop_pct: Annotated[Decimal, Field(gt=0, lt=1)] = Decimal("0.25")  # its price: so far under the average entry

    worker_id: str = "worker-1"  # internal: the static member id of this worker
    worker_host: str = "127.0.0.1"  # internal
    worker_port: Annotated[int, Field(ge=0, le=65535)] = 0  # internal: this worker's own HTTP; 0 is off
    worker_urls: Annotated[tuple[str, ...], NoDecode] = ()  # internal: where the API finds every worker
    connectors_host: str = "127.0.0.1"  # internal
    connectors_port: Annotated[int, Field(ge=0, le=65535)] = 0  # internal: the connectors' own HTTP; 0 is off
    connectors_url: str = ""  # internal: where the API finds the connectors
    internal_token: SecretStr = SecretStr("")  # internal: what the API shows to the workers and the connectors
    crash_at: Annotated[str, Field(pattern=r"^([a-z_.]+:[1-9]\d*)?$")] = ""  # tests: `name:n` ends the process there
    unsafe_no_guard: bool = False  # tests: shows what Faust loses; never set it otherwise

    # Without the prefix, because other programs know them by these names; for `stack/` alone.
    xdg_cache_home: Annotated[pathlib.Path | None, Field(validation_alias="xdg_cache_home")] = None
    pg_bin_dir: Annotated[pathlib.Path | None, Field(validation_alias="pg_bin_dir")] = None

    @field_validator("xdg_cache_home", "pg_bin_dir", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("accounts", "worker_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Read a comma-separated list; order is kept, repeats and blanks are dropped."""
        if isinstance(value, str):
            return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        return value

    @field_validator("accounts")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("STONKS_ACCOUNTS names no account")
        return value

    def topic(self, name: str) -> str:
        """Return the topic's name on the broker: the prefix before the public name."""
        return self.topic_prefix + name


@functools.cache
def settings() -> Settings:
    """Return this process's settings; raise `pydantic.ValidationError` where a variable is out of its range."""
    return Settings()


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return what a child process gets: this process's environment with `changes` over it."""
    return {**os.environ, **changes}
