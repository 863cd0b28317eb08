"""How clients reach the brokers: one module turns the settings into the options of aiokafka, librdkafka and Faust.

No client is made without it, so that TLS and SASL reach every one of them; a test reads that from the source.
"""

import ssl
from typing import Any

from streams.settings import Settings


def for_aiokafka(settings: Settings, bootstrap: str = "") -> dict[str, Any]:
    """Return where an aiokafka client connects and how; `bootstrap` instead of the settings' own brokers."""
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap or settings.kafka,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_by_tls:
        options["ssl_context"] = tls_context(settings)
    if settings.kafka_by_sasl:
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


def for_librdkafka(settings: Settings, bootstrap: str = "") -> dict[str, Any]:
    """Return where a client of confluent_kafka connects and how, without librdkafka's own log on stderr."""
    options: dict[str, Any] = {
        "bootstrap.servers": bootstrap or settings.kafka,
        "security.protocol": settings.kafka_security_protocol,
        "log_level": 0,
    }
    if settings.kafka_by_tls:
        files = {
            "ssl.ca.location": settings.kafka_ssl_cafile,
            "ssl.certificate.location": settings.kafka_ssl_certfile,
            "ssl.key.location": settings.kafka_ssl_keyfile,
            "ssl.key.password": settings.kafka_ssl_key_password.get_secret_value(),
        }
        options |= {name: str(value) for name, value in files.items() if value}
    if settings.kafka_by_sasl:
        options["sasl.mechanism"] = settings.kafka_sasl_mechanism
        options["sasl.username"] = settings.kafka_sasl_username
        options["sasl.password"] = settings.kafka_sasl_password.get_secret_value()
    return options


def for_faust(settings: Settings) -> dict[str, Any]:
    """Return where the Faust application connects and how."""
    import faust  # noqa: PLC0415 - a second that the other processes need not spend

    options: dict[str, Any] = {"broker": [f"kafka://{server}" for server in settings.kafka.split(",")]}
    context = tls_context(settings) if settings.kafka_by_tls else None
    if settings.kafka_by_sasl:
        options["broker_credentials"] = faust.SASLCredentials(
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password.get_secret_value(),
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    elif context is not None:
        options["broker_credentials"] = faust.SSLCredentials(context)
    return options


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return what checks the broker's certificate and its name, and shows ours; raises OSError for unusable files."""
    context = ssl.create_default_context(cafile=settings.kafka_ssl_cafile)
    if settings.kafka_ssl_certfile is not None:
        password = settings.kafka_ssl_key_password.get_secret_value()  # also when empty: nobody is asked at a terminal
        context.load_cert_chain(settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile, password=password)
    return context
