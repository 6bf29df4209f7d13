from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import select

from app.accounts.models import Account
from app.core.database import Database
from tests.builders import CITY, VILLAGE

As = Callable[[str, str], dict[str, str]]


@pytest.fixture
async def revoked(client: httpx.AsyncClient, as_: As, database: Database) -> dict[str, str]:
    """The headers of the village's reporter, whose sign-in was revoked at noon."""
    async with database.reading() as conn:
        account = (await conn.execute(select(Account.id).where(Account.username == f"reporter-{VILLAGE}"))).scalar_one()
    answer = await client.post(f"/v1/accounts/{account}/disable", headers=as_(CITY, "admin"))
    assert answer.status_code == 200, answer.text
    return as_(VILLAGE, "reporter")
