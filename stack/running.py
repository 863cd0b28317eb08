"""Find what a command is to work on: what the environment names, else the stack that runs on the data directory."""

import urllib.parse

from stack import postgres
from stack.data_dir import endpoints_path, is_in_use
from stack.errors import StackError
from stack.files import read_json_object
from stack.foundations import given_database, given_kafka
from streams.settings import Settings


def kafka_address(settings: Settings) -> str:
    """Return the brokers' address; raise `StackError` when there is none."""
    return given_kafka(settings) or str(_endpoints(settings, "STONKS_KAFKA")["kafka"])


def database_url(settings: Settings) -> str:
    """Return an address with the right to change tables; raise `StackError` when there is none."""
    if given := given_database(settings):
        return given
    url = str(_endpoints(settings, "STONKS_DATABASE_URL")["database_url"])
    address = urllib.parse.urlsplit(url)
    if address.username != postgres.READER or address.port is None:
        return url  # the stack was started on a given one
    return postgres.url(settings.data_dir.absolute() / "postgres", port=address.port, role=postgres.OWNER)


def _endpoints(settings: Settings, variable: str) -> dict[str, object]:
    folder = settings.data_dir.absolute()
    if not is_in_use(folder) or not endpoints_path(folder).exists():
        raise StackError(f"{variable} is not set and no `stonks up` runs on {folder}: set it, or start one")
    return read_json_object(endpoints_path(folder))
