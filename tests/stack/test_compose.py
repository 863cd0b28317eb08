"""The compose file is valid by the compose schema, and says to the processes what they really read."""

import importlib.util
import itertools
import json
import pathlib
import re
from typing import Any

import jsonschema
import pytest
import ruamel.yaml

from streams.settings import Settings

ROOT = pathlib.Path(__file__).parent.parent.parent
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
NOT_PUBLIC = {
    *("worker_id", "worker_host", "worker_port", "worker_urls", "internal_token"),
    *("connectors_host", "connectors_port", "connectors_url"),
    *("crash_at", "unsafe_no_guard"),  # for tests
    *("xdg_cache_home", "pg_bin_dir"),  # other programs' names
}


def problems(text: str) -> list[str]:
    """Return what the compose schema that `check-jsonschema` carries has against the text.

    Not by its command: that one needs click 8.4, and Faust caps it below.
    """
    package = importlib.util.find_spec("check_jsonschema")
    assert package is not None
    assert package.origin is not None
    schema = pathlib.Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = jsonschema.Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
    return [error.message for error in validator.iter_errors(ruamel.yaml.YAML(typ="safe").load(text))]


def examples() -> list[tuple[str, str]]:
    """Return the names and values of `.env.example`, all of which are commented out."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    return [(line[1:].partition("=")[0], line.partition("=")[2]) for line in lines if line.startswith("#STONKS_")]


def without_variables(text: str) -> str:
    """Return what compose makes of a value where no variable is set: the defaults, the innermost first."""
    while (inner := re.sub(r"\$\{[A-Z_]+:-([^{}$]*)\}", r"\1", text)) != text:
        text = inner
    return text


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(ruamel.yaml.YAML(typ="safe").load(COMPOSE)["services"])


def test_the_compose_file_is_valid_by_the_compose_schema() -> None:
    assert problems(COMPOSE.read_text(encoding="utf-8")) == []


def test_a_misspelt_key_in_the_compose_file_is_refused() -> None:
    wrong = COMPOSE.read_text(encoding="utf-8").replace("healthcheck:", "heathcheck:", 1)
    assert len(problems(wrong)) == 1


def test_the_compose_file_has_every_part_of_the_stack(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"kafka", "postgres", "setup", "worker", "connectors", "api", "fake-alpaca"}


def test_the_compose_file_sets_only_variables_that_the_settings_know(services: dict[str, dict[str, Any]]) -> None:
    known = {f"STONKS_{name.upper()}" for name in Settings.model_fields}
    for service in services.values():
        environment = service["environment"]
        assert isinstance(environment, dict)
        assert {name for name in environment if name.startswith("STONKS_")} <= known


def test_only_the_api_is_published_and_on_loopback(services: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:${STONKS_HTTP_PORT:-8000}:8000"]}


def test_the_example_of_an_env_file_has_every_public_setting_and_no_other_and_sets_none() -> None:
    public = Settings.model_fields.keys() - NOT_PUBLIC
    assert sorted(name for name, _ in examples()) == sorted(f"STONKS_{name.upper()}" for name in public)
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_each_line_of_the_example_of_an_env_file_shows_the_default_under_one_line_of_meaning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in examples():
        monkeypatch.setenv(name, value)
    found = Settings()
    shown = [name.removeprefix("STONKS_").lower() for name, _ in examples()]
    assert {name: getattr(found, name) for name in shown} == {
        name: Settings.model_fields[name].default for name in shown
    }
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    meanings = [above for above, line in itertools.pairwise(lines) if line.startswith("#STONKS_")]
    assert [each for each in meanings if not each.startswith("# ")] == []


def test_what_the_compose_file_gives_by_default_is_what_the_settings_take(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = services["connectors"]["environment"]
    assert isinstance(environment, dict)
    for name, value in environment.items():
        monkeypatch.setenv(name, without_variables(str(value)))
    assert Settings().kafka == "kafka:9092"
    assert Settings().database_url.get_secret_value() == "postgresql://stonks:stonks@postgres:5432/stonks"


def test_every_public_setting_is_handed_on_but_those_that_a_container_has_of_its_own() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    kept_back = {name for name in Settings.model_fields if f"${{STONKS_{name.upper()}:-" not in text}
    assert kept_back - NOT_PUBLIC == {"data_dir", "http_host"}


def test_a_prefix_of_the_topics_reaches_every_process_of_the_engine(services: dict[str, dict[str, Any]]) -> None:
    said = {name: services[name]["environment"] for name in ("setup", "worker", "connectors", "api")}
    assert {name: each.get("STONKS_TOPIC_PREFIX") for name, each in said.items()} == dict.fromkeys(
        said, "${STONKS_TOPIC_PREFIX:-}"
    )


def test_what_the_connectors_write_down_outlives_their_container(services: dict[str, dict[str, Any]]) -> None:
    """Without it, a new image would open the simulated account anew, with 500 dollars and no shares."""
    place = services["connectors"]["environment"]["STONKS_DATA_DIR"]
    assert services["connectors"]["volumes"] == [f"connectors-data:{place}"]
    made = re.search(r"install --directory --owner (\w+) --mode 0700 (\S+)", DOCKERFILE.read_text(encoding="utf-8"))
    assert made is not None  # a new volume takes owner and mode from the image
    assert made.groups() == ("stonks", place)
