"""Opaque secrets: shown once to whom they are given, kept as their SHA-256."""

import secrets
from hashlib import sha256

ACCESS, REFRESH, KEY = "bt_", "br_", "bk_"


def new_token(prefix: str) -> str:
    """A new secret of 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is stored of a token. A plain hash suffices: there is nothing to guess in 256 random bits."""
    return sha256(token.encode()).hexdigest()
