"""What an incident is, and who goes back: pure."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.hazards.cap import Level
from app.matters.recount import Before, Telling, recount
from app.matters.returning import Moved, Pointed, returning

START = datetime(2018, 8, 20, tzinfo=UTC)
ALIAS, WHOLE, WIDER, ASIDE = (UUID(int=number) for number in range(1, 5))
REPORT = UUID(int=9)


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


TELLINGS = st.lists(
    st.builds(
        Telling,
        report_id=st.integers(1, 6).map(lambda number: UUID(int=number)),
        node=st.sampled_from("abcd"),
        at=st.integers(0, 5).map(at),
        level=st.sampled_from(Level),
        observed_at=st.integers(-9, 5).map(at),
        headline=st.sampled_from(("水", "火", "风")),
    ),
    min_size=1,
    max_size=8,
)
BEFORE = st.lists(
    st.builds(Before, st.sampled_from(Level), st.sampled_from(("水", "火", "雨")), st.just(("d", "a", "x")))
)


@settings(max_examples=40)
@given(TELLINGS, BEFORE, st.randoms(use_true_random=False))
def test_an_incident_is_as_grave_as_its_gravest_report_in_whatever_order_they_are_read(
    told: list[Telling], before: list[Before], random: Random
) -> None:
    found = recount(told, before)
    others = list(told)
    random.shuffle(others)

    assert found.level.rank == max(one.level.rank for one in told)
    assert found.headline in {one.headline for one in told}
    assert set(found.nodes) == {one.node for one in told}
    assert len(found.nodes) == len(set(found.nodes))
    assert found.reports == len({one.report_id for one in told})
    assert found.last_observed_at == max(one.observed_at for one in told)
    if len({(one.at, one.report_id) for one in told}) == len(told):
        assert recount(others, before) == found


@given(TELLINGS, BEFORE)
def test_what_was_counted_is_counted_the_same_again(told: list[Telling], before: list[Before]) -> None:
    found = recount(told, before)

    assert recount(told, [Before(found.level, found.headline, found.nodes)]) == found


@pytest.mark.parametrize(
    ("pointed", "moves", "goes"),
    [
        ([(1, WHOLE)], [(1, ALIAS, WHOLE)], True),
        # It came later, straight to the whole.
        ([(1, WHOLE)], [], False),
        # Another merge of the alias brought it, and it was left behind then.
        ([(5, WHOLE)], [(1, ALIAS, WHOLE)], False),
        # Split off since, and back by another merge.
        ([(1, WHOLE)], [(1, ALIAS, WHOLE), (2, WHOLE, ASIDE), (3, ASIDE, WHOLE)], False),
        # The whole was merged further, and came back.
        ([(1, WHOLE), (2, WIDER)], [(1, ALIAS, WHOLE), (2, WHOLE, WIDER)], True),
        ([(1, WHOLE), (2, WIDER), (3, WHOLE)], [(1, ALIAS, WHOLE), (2, WHOLE, WIDER), (3, WIDER, WHOLE)], True),
        # It stayed in the wider one when the alias left that.
        ([(1, WHOLE), (2, WIDER), (3, WHOLE)], [(1, ALIAS, WHOLE), (2, WHOLE, WIDER)], False),
        # Merged, undone, merged again.
        ([(3, WHOLE)], [(1, ALIAS, WHOLE), (2, WHOLE, ALIAS), (3, ALIAS, WHOLE)], True),
    ],
)
def test_who_followed_the_alias_goes_back_with_it(
    pointed: list[tuple[int, UUID]], moves: list[tuple[int, UUID, UUID]], goes: bool
) -> None:
    found = returning(
        ALIAS,
        [Pointed(at(minute), to) for minute, to in pointed],
        {REPORT: [Moved(at(minute), of, to) for minute, of, to in moves]},
    )

    assert found == ({REPORT} if goes else set())
