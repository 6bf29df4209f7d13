"""Whether a sign-in is still what it was, asked in the same statement as what is read for it."""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, literal, or_, select

from app.accounts.models import Account, ApiKey, Token
from app.core import problems
from app.core.caller import Caller, refused
from app.core.clock import day_of
from app.core.errors import Problem
from app.nodes.models import Node

SAME, CHANGED = "same", "changed"


def standing(caller: Caller, now: datetime) -> ColumnElement[str | None]:
    """A column: `same`, `changed` when the account has another role or office by now, NULL when the sign-in has ended.

    Of the very moment of the statement: nothing that is remembered decides.
    """
    is_open = or_(Node.closed_on.is_(None), Node.closed_on > day_of(now))
    if caller.key_id is not None:
        lasts = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)
        key = select(literal(SAME)).select_from(ApiKey).join(Node, Node.code == ApiKey.node_code)
        return key.where(ApiKey.id == caller.key_id, ApiKey.revoked_at.is_(None), lasts, is_open).scalar_subquery()
    if caller.sign_in_id is None:
        return literal(SAME)
    as_before = and_(Account.role == caller.role, Account.node_code == caller.node)
    return (
        select(case((as_before, SAME), else_=CHANGED))
        .select_from(Token)
        .join(Account, Account.id == Token.account_id)
        .join(Node, Node.code == Account.node_code)
        .where(
            Token.sign_in_id == caller.sign_in_id,
            # Refreshing replaces it: the sign-in goes on.
            Token.kind == "access",
            Token.expires_at > now,
            Account.disabled_at.is_(None),
            is_open,
        )
        .limit(1)
        .scalar_subquery()
    )


def ended(found: str | None) -> Problem:
    """The Problem (401) for a sign-in that `standing` finds ended or changed."""
    return refused(problems.SIGN_IN_CHANGED if found == CHANGED else problems.SIGN_IN_INVALID)
