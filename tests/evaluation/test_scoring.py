"""How timely a drill's offices were: pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import new_id
from app.evaluation import scoring
from app.evaluation.ledger_figures import Entry, Held, Taken
from app.evaluation.scoring import WEIGHTS, WORDS, Asked, Part, parts, timely, total
from tests.builders import CITY, NOON, TOWN, VILLAGE

DUE = timedelta(minutes=10)


def at(minutes: float | None) -> datetime | None:
    return None if minutes is None else NOON + timedelta(minutes=minutes)


def entry(
    *,
    has_alert: bool = True,
    carried: float | None = None,
    town: tuple[float | None, float | None] = (None, None),
    city: float | None = None,
    acknowledged: float | None = None,
    owner: str | None = None,
) -> Entry:
    """Received at noon, to be opened within 10 minutes; `town` is when it opened, and when it was bypassed."""
    first = at(acknowledged)
    reached = at(carried)
    return Entry(
        report_id=new_id(),
        node=VILLAGE,
        tier="village",
        level="red",
        received_at=NOON,
        alert_id=new_id() if has_alert else None,
        raised_at=NOON if has_alert else None,
        carried={"city": reached} if reached else {},
        held={
            "town": Held(TOWN, NOON + DUE, at(town[0]), at(town[1])),
            "city": Held(CITY, NOON + DUE, at(city), None),
        },
        taken=Taken(owner, {"city": first} if first else {}),
    )


def judged(*entries: Entry, asked: tuple[Asked, ...] = (), as_of: float = 60) -> dict[str, tuple[int, int, int]]:
    due = {one.report_id: timedelta(minutes=5) for one in entries if one.alert_id}
    found = parts(entries, due, asked, as_of=NOON + timedelta(minutes=as_of))
    return {part.name: (part.count, part.in_time, part.pending) for part in found}


@pytest.mark.parametrize(
    ("happened", "due", "as_of", "found"),
    [
        (1, 2, 3, True),
        (2, 2, 3, True),
        (3, 2, 3, False),
        (None, 2, 3, False),
        (None, 2, 2, False),
        (None, 2, 1, None),
        # What happened after the end had not happened then.
        (3, 2, 2.5, False),
        (3, 4, 2.5, None),
    ],
)
def test_in_time_late_or_not_yet(happened: float | None, due: float, as_of: float, found: bool | None) -> None:
    assert timely(at(happened), NOON + timedelta(minutes=due), NOON + timedelta(minutes=as_of)) is found


def test_every_part_is_judged_by_its_own_deadline() -> None:
    found = judged(
        entry(carried=1, town=(2, None), city=3, acknowledged=4),
        entry(carried=11, town=(12, 10), city=None, acknowledged=6),
        entry(has_alert=False),
        asked=(Asked(NOON, at(-1)), Asked(NOON, None)),
    )

    assert found == {
        "alerted": (3, 2, 0),
        "carried": (3, 1, 0),
        "opened.town": (3, 1, 0),
        "opened.city": (3, 1, 0),
        "acknowledged": (2, 1, 0),
        "not_bypassed": (2, 1, 0),
        "roll_calls": (2, 1, 0),
    }


def test_what_is_not_due_yet_is_not_judged() -> None:
    found = judged(entry(town=(2, None)), asked=(Asked(NOON + DUE, None),), as_of=3)

    assert found["opened.town"] == (1, 1, 0)
    assert [found[name] for name in ("carried", "opened.city", "acknowledged", "roll_calls")] == [(0, 0, 1)] * 4


def test_who_had_the_alert_had_its_next_report_in_hand() -> None:
    found = judged(entry(owner="town"))

    assert (found["opened.town"], found["opened.city"], found["acknowledged"]) == ((1, 1, 0), (1, 0, 0), (1, 1, 0))


def test_an_office_bypassed_once_is_named_and_one_bypassed_after_the_end_is_not() -> None:
    entries = [entry(town=(1, None)), entry(town=(None, 10)), entry(town=(None, 10))]

    assert scoring.bypassed(entries, as_of=NOON + DUE) == [TOWN]
    assert scoring.bypassed(entries, as_of=NOON) == []
    assert judged(*entries)["not_bypassed"] == (2, 1, 0)
    assert judged(*entries, as_of=5)["not_bypassed"] == (2, 2, 0)


@pytest.mark.parametrize(
    ("shares", "found"),
    [
        ({}, None),
        ({"alerted": (0, 0)}, None),
        ({"alerted": (4, 4)}, 100.0),
        ({"alerted": (4, 4), "carried": (4, 0)}, 50.0),
        # 20 and 10: two thirds.
        ({"acknowledged": (1, 1), "opened.town": (2, 0)}, 66.7),
        ({"acknowledged": (1, 1), "opened.town": (2, 0), "roll_calls": (0, 0)}, 66.7),
        ({"opened.town": (2, 1), "opened.city": (2, 0)}, 25.0),
    ],
)
def test_the_total_weighs_the_shares_and_leaves_out_parts_of_none(
    shares: Mapping[str, tuple[int, int]], found: float | None
) -> None:
    assert total(Part(name, WEIGHTS[name], *share) for name, share in shares.items()) == found


@given(st.dictionaries(st.sampled_from(sorted(WEIGHTS)), st.tuples(st.integers(1, 50), st.integers(0, 50))))
def test_the_total_lies_between_0_and_100_and_is_100_only_when_all_was_in_time(
    shares: dict[str, tuple[int, int]],
) -> None:
    made = [Part(name, WEIGHTS[name], count, min(count, good)) for name, (count, good) in shares.items()]

    found = total(made)

    if made:
        assert found is not None
        assert 0 <= found <= 100
        assert (found == 100) == all(part.count == part.in_time for part in made)


def test_every_part_has_a_weight_and_words_and_the_weights_make_100() -> None:
    assert WEIGHTS.keys() == WORDS.keys() == judged().keys()
    assert sum(WEIGHTS.values()) == 100
