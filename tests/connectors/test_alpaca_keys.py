"""Keys, address and mode: of their eight combinations exactly one reaches the live address, of a local server."""

import contextlib
import http.server
import itertools
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import alpaca_keys
from connectors.alpaca_keys import LIVE_URL, PAPER_URL, address_kind, key_kind, refusal
from streams.settings import Settings
from streams.topics import create_topics
from trading.money import Mode

KINDS = get_args(Mode)
COMBINATIONS = list(itertools.product(KINDS, KINDS, KINDS))
KEY_IDS = {"paper": "PKCANARY000000000001", "live": "AKCANARY000000000001"}
SECRET = "canary-alpaca-secret"


def settings_for(**changes: Any) -> Settings:
    given = {"broker": "alpaca", "alpaca_key_id": KEY_IDS["paper"], "alpaca_secret_key": SECRET}
    return Settings(**(given | changes))


@pytest.mark.parametrize(("keys", "address", "mode"), COMBINATIONS)
def test_all_three_agree_or_nothing_connects(keys: Mode, address: Mode, mode: Mode) -> None:
    why = refusal(key_id=KEY_IDS[keys], has_secret=True, address=address, host="h", mode=mode)
    assert (why == "") == (keys == address == mode)
    if why:
        assert f"keys are {keys}" in why
        assert f"STONKS_MODE is {mode}" in why
        assert f"address h is the {address} one" in why
        assert KEY_IDS[keys] not in why


def test_alpacas_own_addresses_are_known_to_the_letter() -> None:
    assert address_kind(PAPER_URL, local_plays="live") == "paper"
    assert address_kind(LIVE_URL, local_plays="paper") == "live"
    assert address_kind(LIVE_URL + ":443/", local_plays="paper") == "live"


@pytest.mark.parametrize(
    "url",
    [
        "http://api.alpaca.markets",
        "https://api.alpaca.market",
        "https://api.alpaca.markets.evil.example",
        "https://api.alpaca.markets@evil.example",
        "https://someone@api.alpaca.markets",
        "https://api.alpaca.markets.",
        "https://api.alpaca.markets:8443",
        "https://api.alpaca.markets/v2",
        "https://api.alpaca.markets?x=127.0.0.1",
        "https://api.alpaca.markets:x",
        "https://127.0.0.1@api.alpaca.markets",
        "https://127.0.0.1.evil.example",
        "api.alpaca.markets",
        "https://data.alpaca.markets",
        "https://[::1",
        "https://",
        "x",
    ],
)
@pytest.mark.parametrize("plays", KINDS)
def test_an_address_that_is_nobodys_is_neither(url: str, plays: Mode) -> None:
    assert address_kind(url, local_plays=plays) is None


LETTERS = st.sampled_from(["", ".", "-", "a", "@", "/", ":", "0", "?", "#", "live-", " "])
EDITED = st.tuples(st.integers(0, len(PAPER_URL)), LETTERS)


@given(edits=st.lists(EDITED, min_size=1, max_size=3), plays=st.sampled_from(KINDS))
def test_no_slip_in_a_paper_address_makes_it_live(edits: list[tuple[int, str]], plays: Mode) -> None:
    url = PAPER_URL
    for place, letters in edits:
        url = url[:place] + letters + url[place:]
    assert address_kind(url, local_plays=plays) != "live"


@given(text=st.text(max_size=60), plays=st.sampled_from(KINDS))
def test_any_text_as_an_address_is_answered(text: str, plays: Mode) -> None:
    assert address_kind(text, local_plays=plays) in (None, *KINDS)
    assert isinstance(alpaca_keys.problem(settings_for(alpaca_trading_url=text)), str)


@given(text=st.text(max_size=30), mode=st.sampled_from(KINDS), address=st.sampled_from(KINDS))
def test_no_key_reaches_live_that_does_not_begin_as_a_live_one(text: str, mode: Mode, address: Mode) -> None:
    why = refusal(key_id=text, has_secret=True, address=address, host="h", mode=mode)
    assert (why == "") == (key_kind(text) == mode == address)
    assert why or text.startswith("AK" if mode == "live" else "PK")


def test_live_has_to_be_named_even_with_live_keys_in_live_mode() -> None:
    live = {"alpaca_key_id": KEY_IDS["live"], "mode": "live"}
    assert LIVE_URL in alpaca_keys.problem(settings_for(**live))
    assert alpaca_keys.problem(settings_for(**live, alpaca_trading_url=LIVE_URL)) == ""
    assert alpaca_keys.problem(settings_for()) == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"alpaca_key_id": ""}, "not both set"),
        ({"alpaca_secret_key": ""}, "not both set"),
        ({"alpaca_key_id": "CKCANARY"}, "neither a paper key"),
        (
            {"alpaca_trading_url": "https://user:canary@api.alpaca.market/x"},
            "names api.alpaca.market, which is neither",
        ),
        ({"broker": "fake-alpaca", "alpaca_trading_url": LIVE_URL}, "this machine alone"),
        ({"broker": "fake-alpaca", "alpaca_trading_url": PAPER_URL}, "this machine alone"),
        ({"alpaca_data_url": "https://data.alpaca.market"}, "STONKS_ALPACA_DATA_URL"),
        ({"alpaca_stream_url": "wss://evil.example"}, "STONKS_ALPACA_STREAM_URL"),
        ({"alpaca_data_url": "http://data.alpaca.markets"}, "must begin with https://"),
        ({"alpaca_data_url": "https://me:canary@data.alpaca.markets"}, "name nobody"),
        ({"alpaca_stream_url": "ws://stream.data.alpaca.markets"}, "must begin with wss://"),
    ],
)
def test_what_is_wrong_is_said_without_a_secret(changes: dict[str, str], says: str) -> None:
    why = alpaca_keys.problem(settings_for(**changes))
    assert says in why
    assert "canary" not in why.lower()


@pytest.mark.parametrize("broker", ["simulated", "external"])
def test_whoever_does_not_trade_with_alpaca_is_not_asked(broker: str) -> None:
    assert alpaca_keys.problem(settings_for(broker=broker, alpaca_key_id="", mode="live")) == ""


class _Recorder(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.paths.append((self.path, self.headers.get("APCA-API-KEY-ID", "")))  # type: ignore[attr-defined]
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def recording() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Give a server that stands for one of Alpaca's addresses, and what it was asked by whom."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Recorder)
    server.paths = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.paths  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.integration
def test_of_eight_connectors_one_alone_reaches_the_live_address(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path
) -> None:
    create_topics(kafka, Settings(kafka=kafka, topic_prefix=topic_prefix))
    with contextlib.ExitStack() as stack:
        addresses = {kind: stack.enter_context(recording()) for kind in KINDS}
        started = {}
        for number, (keys, address, mode) in enumerate(COMBINATIONS):
            clean = {name: value for name, value in os.environ.items() if not name.startswith("STONKS_")}
            variables = {
                "STONKS_KAFKA": kafka,
                "STONKS_TOPIC_PREFIX": topic_prefix,
                "STONKS_DATA_DIR": str(tmp_path / str(number)),
                "STONKS_BROKER": "alpaca",
                "STONKS_MODE": mode,
                "STONKS_ALPACA_KEY_ID": KEY_IDS[keys],
                "STONKS_ALPACA_SECRET_KEY": SECRET,
                "STONKS_ALPACA_TRADING_URL": addresses[address][0],
                "STONKS_ALPACA_LOCAL_PLAYS": address,
            }
            (tmp_path / str(number)).mkdir()
            process = subprocess.Popen(
                [sys.executable, "-m", "connectors"],
                env=clean | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            started[keys, address, mode] = stack.enter_context(killed_at_the_end(process))
        agreeing = {(kind, kind, kind) for kind in KINDS}
        for combination in set(COMBINATIONS) - agreeing:
            said, _ = started[combination].communicate(timeout=60)
            assert started[combination].returncode == 2
            assert said.splitlines()[-1].startswith("error: the keys are ")
            assert SECRET not in said
        for kind in KINDS:
            until(lambda kind=kind: any(key for _, key in addresses[kind][1]))  # type: ignore[misc]
            started[kind, kind, kind].terminate()
            said, _ = started[kind, kind, kind].communicate(timeout=60)
            assert started[kind, kind, kind].returncode == 0
            assert SECRET not in said
        for kind in KINDS:
            shown = {key for _, key in addresses[kind][1]} - {""}  # a WebSocket's first request shows none
            assert shown == {KEY_IDS[kind]}


@contextlib.contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nobody came"
        time.sleep(0.05)
