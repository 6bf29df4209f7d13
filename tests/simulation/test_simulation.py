"""Fifty devices on bad links against the ledger: one seed here, thousands by `python -m tests.simulation`."""

import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from tests.simulation import checking, night

pytestmark = pytest.mark.anyio


async def test_what_was_told_as_stored_exists_once_and_every_figure_is_the_ledgers(
    app: FastAPI, clock: ManualClock
) -> None:
    one = await night.begin(app, clock, seed=2)
    await night.live(one, rounds=80)
    counted = await checking.check(one)

    # A night in which nothing went wrong would show nothing.
    assert counted["created"] > 100
    assert counted["replayed"] > 10
    assert counted["updated"] > 20
    assert counted["quarantined"] > 5
    assert counted["rejected"] > 5
    assert counted["merge"] + counted["move"] > 0
    assert counted["disable"] > 0
