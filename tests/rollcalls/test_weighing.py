"""How much silence weighs: pure."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.hazards.cap import RISING, Level
from app.hazards.policy import load_policy
from app.rollcalls.weighing import Danger, Quiet, arrange, together, weigh

POLICY = load_policy(None).silence
HEARD = datetime(2018, 8, 19, 20, tzinfo=UTC)
KM = 1 / 111.1949  # degrees of latitude


def quiet(*, missed: int = 1, lat: float | None = 36.9, heard: datetime | None = HEARD) -> Quiet:
    return Quiet("v", "t", lat, 118.9 if lat is not None else None, missed, heard)


def danger(level: Level, *, town: str | None = "other", km: float | None = None) -> Danger:
    lat = 36.9 + km * KM if km is not None else None
    return Danger(level, town, lat, 118.9 if km is not None else None, "河道洪水", "river flood")


@pytest.mark.parametrize(
    ("missed", "dangers", "points", "level"),
    [
        (1, [], 1, None),
        (3, [], 3, None),
        (9, [], 3, None),  # at most three in a row weigh
        (1, [danger(Level.RED, town="t")], 7, Level.ORANGE),
        (1, [danger(Level.ORANGE, town="t")], 5, Level.YELLOW),
        (3, [danger(Level.ORANGE, town="t")], 7, Level.ORANGE),
        (1, [danger(Level.YELLOW, town="t")], 3, None),
        (3, [danger(Level.YELLOW, town="t")], 5, Level.YELLOW),
        (1, [danger(Level.RED, km=4.9)], 7, Level.ORANGE),
        (1, [danger(Level.RED, km=5.1)], 1, None),  # far off, in another town
        (1, [danger(Level.RED)], 1, None),  # another town, and nobody knows how far
        (1, [danger(Level.ORANGE, town="t"), danger(Level.RED, km=1)], 7, Level.ORANGE),  # the gravest, once
        (1, [danger(Level.BLUE, town="t")], 1, None),
    ],
)
def test_silence_counts_most_next_to_a_hazard(
    missed: int, dangers: list[Danger], points: int, level: Level | None
) -> None:
    found = weigh(POLICY, quiet(missed=missed), dangers)

    assert (found.points, found.level) == (points, level)


def test_the_reason_names_the_hazard_and_how_far_it_is() -> None:
    near = weigh(POLICY, quiet(), [danger(Level.RED, km=1)]).reasons[1]
    unknown = weigh(POLICY, quiet(lat=None), [danger(Level.RED, town="t", km=1)]).reasons[1]

    assert near["text"] == "river flood (red) 1000 m away: 6"
    assert near["text_zh"] == "距 1000 米有河道洪水（红色）：6"
    assert unknown["text"] == "river flood (red) in the same town: 6"


@pytest.mark.parametrize(
    ("alerts", "level", "says"), [(True, Level.ORANGE, "It has never been heard from."), (False, None, "no alert.")]
)
def test_whether_the_silence_of_who_was_never_heard_from_is_an_alert_is_policy(
    alerts: bool, level: Level | None, says: str
) -> None:
    policy = POLICY.model_copy(update={"alert_never_heard": alerts})
    found = weigh(policy, quiet(heard=None), [danger(Level.RED, town="t")])

    assert (found.points, found.level, found.reasons[-1]["rule"]) == (7, level, "silence.never_heard")
    assert found.reasons[-1]["text"].endswith(says)


levels = st.sampled_from(RISING)
places = st.builds(danger, levels, town=st.sampled_from(["t", "other", None]), km=st.none() | st.floats(0, 20))


@given(st.integers(1, 9), st.lists(places, max_size=6), places)
def test_one_danger_more_never_makes_silence_lighter(missed: int, dangers: list[Danger], more: Danger) -> None:
    less, all_of_them = (
        weigh(POLICY, quiet(missed=missed), dangers),
        weigh(POLICY, quiet(missed=missed), [*dangers, more]),
    )

    assert all_of_them.points >= less.points
    assert weigh(POLICY, quiet(missed=missed), list(reversed(dangers))) == less


def test_as_many_as_the_policy_says_are_one_alert_of_their_town() -> None:
    of_t = ["t"] * POLICY.together_at_least

    assert together(POLICY, of_t) == {"t"}
    assert together(POLICY, of_t[1:]) == set()
    assert together(POLICY, [*of_t[1:], "u", None]) == set()


coordinates = st.tuples(st.floats(18, 54), st.floats(73, 136))
apart = st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))


@given(coordinates, st.lists(st.tuples(apart, levels, st.sampled_from(["t", "other", None])), max_size=8))
def test_looking_at_those_close_by_alone_changes_nothing(
    here: tuple[float, float], others: list[tuple[tuple[float, float], Level, str | None]]
) -> None:
    found = [
        Danger(level, town, here[0] + north, here[1] + east, "河道洪水", "river flood")
        for (north, east), level, town in others
    ]
    silent = Quiet("v", "t", *here, 1, HEARD)

    assert weigh(POLICY, silent, arrange(found, POLICY.near_m).beside(silent)) == weigh(POLICY, silent, found)
