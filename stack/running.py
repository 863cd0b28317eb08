"""Find what a command is to work on: what the environment names, else the stack that runs on the data directory."""

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
    _endpoints(settings, "STONKS_DATABASE_URL")
    folder = settings.data_dir.absolute()
    return postgres.url(
        folder / "postgres", port=read_json_object(folder / "ports.json")["postgres"], role=postgres.OWNER
    )


def _endpoints(settings: Settings, variable: str) -> dict[str, object]:
    folder = settings.data_dir.absolute()
    if not is_in_use(folder) or not endpoints_path(folder).exists():
        raise StackError(f"{variable} is not set and no `stonks up` runs on {folder}: set it, or start one")
    return read_json_object(endpoints_path(folder))
