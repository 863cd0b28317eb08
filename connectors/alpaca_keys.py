"""Which keys may meet which address of Alpaca, and in which mode: one pure rule, asked before anything connects.

Live money is reached only where keys, address and mode all say live; paper only where all say paper. Every other
combination, an address that is nobody's and a key of neither kind are refused, so that no slip of a hand reaches it.
"""

import urllib.parse

from streams.settings import Settings
from trading.money import Mode

BROKERS = ("alpaca", "fake-alpaca")
PAPER_URL, LIVE_URL = "https://paper-api.alpaca.markets", "https://api.alpaca.markets"

_KINDS: dict[str, Mode] = {"paper-api.alpaca.markets": "paper", "api.alpaca.markets": "live"}
_PREFIXES: dict[str, Mode] = {"PK": "paper", "AK": "live"}
_LOCAL = {"127.0.0.1", "localhost", "::1", "fake-alpaca"}  # the last one is the compose file's name for the fake
_DATA = {"data.alpaca.markets", "stream.data.alpaca.markets"}


def problem(settings: Settings) -> str:
    """Return why this process must not trade with Alpaca; nothing when it may, or trades with another broker."""
    if settings.broker not in BROKERS:
        return ""
    url = trading_url(settings)
    if settings.broker == "fake-alpaca" and not is_local(url):
        return f"STONKS_BROKER=fake-alpaca goes to this machine alone, and STONKS_ALPACA_TRADING_URL names {_host(url)}"
    for name, scheme, address in (
        ("DATA", "https", settings.alpaca_data_url),
        ("STREAM", "wss", settings.alpaca_stream_url),
    ):
        if not address or is_local(address):
            continue
        if _host(address) not in _DATA:
            return f"STONKS_ALPACA_{name}_URL names {_host(address)}, which is not Alpaca's and not this machine"
        if not _is_plain(address, scheme=scheme):
            return f"STONKS_ALPACA_{name}_URL must begin with {scheme}:// and name nobody: the keys go there"
    return refusal(
        key_id=settings.alpaca_key_id.get_secret_value(),
        has_secret=bool(settings.alpaca_secret_key.get_secret_value()),
        address=address_kind(url, local_plays=settings.alpaca_local_plays),
        host=_host(url),
        mode=settings.mode,
    )


def trading_url(settings: Settings) -> str:
    """Return the trading address: an unset one is paper's in every mode, so that live has to be named."""
    return settings.alpaca_trading_url or PAPER_URL


def refusal(*, key_id: str, has_secret: bool, address: Mode | None, host: str, mode: Mode) -> str:
    """Return why these must not meet, with the mend and without the key; nothing when all three agree."""
    keys = key_kind(key_id)
    if not key_id or not has_secret:
        return "STONKS_ALPACA_KEY_ID and STONKS_ALPACA_SECRET_KEY are not both set: Alpaca's page makes a pair"
    if keys is None:
        return "STONKS_ALPACA_KEY_ID is neither a paper key, which begins with PK, nor a live one, with AK"
    if address is None:
        return f"STONKS_ALPACA_TRADING_URL names {host}, which is neither {PAPER_URL} nor {LIVE_URL} nor this machine"
    if keys == address == mode:
        return ""
    said = f"the keys are {keys} ones, the address {host} is the {address} one, and STONKS_MODE is {mode}"
    if "paper" in (keys, address, mode) and mode == "live":
        return f"{said}: live trading needs live keys, STONKS_ALPACA_TRADING_URL={LIVE_URL} and STONKS_MODE=live"
    return f"{said}: all three must agree; paper keys, no STONKS_ALPACA_TRADING_URL and STONKS_MODE=paper do"


def key_kind(key_id: str) -> Mode | None:
    """Return what a key is for, by the letters that Alpaca begins it with."""
    return _PREFIXES.get(key_id[:2])


def address_kind(url: str, *, local_plays: Mode) -> Mode | None:
    """Return whose money an address moves: by Alpaca's own names to the letter and by HTTPS; on this machine as set."""
    if is_local(url):
        return local_plays
    parts = _split(url)
    if parts is None or parts.scheme != "https" or parts.port not in (None, 443) or parts.path not in ("", "/"):
        return None
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    return _KINDS.get(parts.hostname or "") if plain else None


def is_local(url: str) -> bool:
    """Tell whether an address is on this machine."""
    parts = _split(url)
    return parts is not None and parts.hostname in _LOCAL and not (parts.username or parts.password)


def _is_plain(url: str, *, scheme: str) -> bool:
    parts = _split(url)
    return parts is not None and parts.scheme == scheme and not (parts.username or parts.password)


def _split(url: str) -> urllib.parse.SplitResult | None:
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port  # raises for one that is no number
    except ValueError:
        return None
    return parts


def _host(url: str) -> str:
    """Return the host for a person to read; no more of the address, which may carry a password."""
    parts = _split(url)
    return ascii((parts.hostname if parts else None) or "nothing readable")[1:-1][:100]
