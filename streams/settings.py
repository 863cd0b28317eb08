"""The one reader of the environment: every `STONKS_` variable, its default and its meaning, read once per process."""

import functools
import os
import pathlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, FilePath, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from trading.money import AccountId, Mode


def _or_aws(*names: str) -> Any:
    """Let a field be set by `STONKS_AWS_…` or by AWS's own variable of that name."""
    aliases = (f"{prefix}{name}" for prefix in ("stonks_aws_", "aws_") for name in names)
    return Field(validation_alias=AliasChoices(*aliases))


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
    mode: Mode = "paper"
    accounts: Annotated[tuple[AccountId, ...], NoDecode] = ("paper",)
    partitions: Annotated[int, Field(ge=1, le=128)] = 4
    topic_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._\-]{0,64}$")] = ""
    api_token_viewer: SecretStr = SecretStr("")
    api_token_operator: SecretStr = SecretStr("")
    api_token_armer: SecretStr = SecretStr("")

    # How brokers are reached that ask for TLS or a password: for every client of ours alike.
    kafka_ssl_cafile: FilePath | None = None  # PEM: who must have signed the broker's certificate; unset: the system's
    kafka_ssl_certfile: FilePath | None = None  # PEM: our own certificate, where the broker asks for one
    kafka_ssl_keyfile: FilePath | None = None  # PEM: its key
    kafka_ssl_key_password: SecretStr = SecretStr("")
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    kafka_sasl_username: str = ""
    kafka_sasl_password: SecretStr = SecretStr("")
    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Field(validate_default=True)
    ] = "PLAINTEXT"

    broker: Literal["simulated", "fake-alpaca", "alpaca", "external"] = "simulated"
    sim_cash: Annotated[str, Field(pattern=r"^\d{1,12}(\.\d{1,2})?$")] = "500"
    sim_slippage_bps: Annotated[int, Field(ge=0, le=1000)] = 5
    sim_partial_pct: Annotated[int, Field(ge=0, le=100)] = 0
    sim_reject_pct: Annotated[int, Field(ge=0, le=100)] = 0
    sim_seed: int = 1

    # Messages (R19.5, R19.6). AWS's own variables count too, ours before them.
    aws_access_key_id: Annotated[SecretStr, _or_aws("access_key_id")] = SecretStr("")
    aws_secret_access_key: Annotated[SecretStr, _or_aws("secret_access_key")] = SecretStr("")
    aws_session_token: Annotated[SecretStr, _or_aws("session_token")] = SecretStr("")  # of temporary credentials alone
    aws_region: Annotated[str, _or_aws("region", "default_region")] = "us-east-1"  # where a phone number is published
    sns_endpoint_url: str = ""  # another SNS than AWS's, such as a local one
    gmail_client_id: str = ""
    gmail_client_secret: SecretStr = SecretStr("")
    gmail_refresh_token: SecretStr = SecretStr("")
    gmail_sender: str = ""  # the address that mail comes from
    gmail_token_url: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - where access tokens are given
    gmail_api_url: str = "https://gmail.googleapis.com"
    # Alpaca, real or fake: one account a connector process. An unset trading address is Alpaca's paper one in any mode.
    alpaca_key_id: SecretStr = SecretStr("")
    alpaca_secret_key: SecretStr = SecretStr("")
    alpaca_trading_url: str = ""  # the trading API, without `/v2`; its stream of trade updates is `/stream` there
    alpaca_data_url: str = ""  # the market data API, without `/v2`
    alpaca_stream_url: str = ""  # the market data's WebSocket, without `/v2/{feed}`
    alpaca_local_plays: Mode = "paper"  # which of Alpaca's addresses one on this machine stands for
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

    @field_validator(
        "xdg_cache_home", "pg_bin_dir", "kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile", mode="before"
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("data_dir", mode="before")
    @classmethod
    def _never_just_here(cls, value: object) -> object:
        """Take an empty one for unset: as a path it is the current directory, whose files are others'."""
        return value or cls.model_fields["data_dir"].default

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

    @field_validator("kafka_security_protocol")
    @classmethod
    def _uses_what_is_set(cls, value: str, others: ValidationInfo) -> str:
        """Refuse half of a setup: what is set and not used would leave the connection open to read."""
        data = others.data
        tls, sasl = value.endswith("SSL"), value.startswith("SASL")
        if not tls and any(data.get(f"kafka_ssl_{name}") for name in ("cafile", "certfile", "keyfile")):
            raise ValueError(f"{value} uses no TLS, but STONKS_KAFKA_SSL_ files are named: SSL or SASL_SSL does")
        if bool(data.get("kafka_ssl_certfile")) != bool(data.get("kafka_ssl_keyfile")):
            raise ValueError("name both STONKS_KAFKA_SSL_CERTFILE and STONKS_KAFKA_SSL_KEYFILE, or neither")
        named = [bool(data.get("kafka_sasl_username")), bool(data.get("kafka_sasl_password"))]
        if sasl and not all(named):
            raise ValueError(f"{value} needs STONKS_KAFKA_SASL_USERNAME and STONKS_KAFKA_SASL_PASSWORD")
        if not sasl and any(named):
            raise ValueError(f"{value} sends no password, but STONKS_KAFKA_SASL_ ones are set: SASL_SSL does")
        return value

    @property
    def kafka_by_tls(self) -> bool:
        """Return whether connections to the brokers are encrypted."""
        return self.kafka_security_protocol.endswith("SSL")

    @property
    def kafka_by_sasl(self) -> bool:
        """Return whether the brokers are shown a name and a password."""
        return self.kafka_security_protocol.startswith("SASL")

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
