"""Ids as functions of their causes, so that a repeated step repeats its ids and nothing is done twice.

Every id is a UUID version 5 (RFC 9562) of a JSON list of its causes: injective in the causes, 36 characters.
"""

import base64
import hashlib
import json
import uuid

_NAMESPACE = uuid.UUID("5c1f2a52-9d0a-5b6e-8a5e-3c0d7d0e1f18")


def of(*causes: str | int) -> str:
    """Return the id of these causes; the first one names the kind of thing."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps(causes, separators=(",", ":"))))


def decision_id(account_id: str, *, source_type: str, source_id: str) -> str:
    """Return the id of the one decision that a source can have in an account."""
    return of("decision", account_id, source_type, source_id)


def client_order_id(account_id: str, *, decision_id: str, purpose: str, tranche: int, revision: int) -> str:
    """Return the id under which the broker sees an order: 36 characters, a function of its intent."""
    return of("order", account_id, decision_id, purpose, tranche, revision)


def position_id(account_id: str, *, decision_id: str) -> str:
    """Return the id of the position that an entry decision opens."""
    return of("position", account_id, decision_id)


def short_hash(text: str) -> str:
    """Return 8 bytes of SHA-256 as 10 characters of base 85: the form in which the row remembers an id."""
    return base64.b85encode(hashlib.sha256(text.encode()).digest()[:8]).decode()
