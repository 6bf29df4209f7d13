"""Opaque secrets: shown once to whom they are given, kept as their SHA-256."""

import base64
import hmac
import secrets
from hashlib import sha256

ACCESS, REFRESH, KEY, MARK = "bt_", "br_", "bk_", "bd_"


def new_token(prefix: str) -> str:
    """A new secret of 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


def next_token(prefix: str, *, token: str, salt: str) -> str:
    """The secret that comes after `token`: the same each time for who has both, to anybody else 256 random bits."""
    made = hmac.digest(token.encode(), f"{prefix}{salt}".encode(), "sha256")
    return prefix + base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def digest(token: str) -> str:
    """What is stored of a token. A plain hash suffices: there is nothing to guess in 256 random bits."""
    return sha256(token.encode()).hexdigest()
