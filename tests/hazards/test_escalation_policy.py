"""The section on escalation is sound, or every mistake in it has its sentence; an alert keeps it in seconds."""

import tomllib
from pathlib import Path

import pytest

from app.hazards.cap import RISING, Level
from app.hazards.policy import DEFAULT, Policy, PolicyError, load_policy

PACKAGED = DEFAULT.read_text("utf-8")
RED = "[escalation.levels.red]"
ORANGE = "[escalation.levels.orange]"
YELLOW = "[escalation.levels.yellow]"


def load(folder: Path, section: str, before: str, after: str) -> Policy:
    """The packaged policy with the first text after the section's heading replaced."""
    start = PACKAGED.index(section)
    assert before in PACKAGED[start:], before
    text = PACKAGED[:start] + PACKAGED[start:].replace(before, after, 1)
    (folder / "policy.toml").write_text(text, "utf-8")
    return load_policy(folder / "policy.toml")


def test_the_packaged_steps_reach_the_city_before_the_alert_is_overdue_twice() -> None:
    policy = load_policy(None)

    for level in (Level.RED, Level.ORANGE):
        steps = policy.escalation.of(level).steps
        city = next(step for step in steps if any(target.startswith("city.") for target in step.to))
        assert city.after_minutes * 60 <= policy.alerts.due(level).total_seconds()
        assert steps[0].after_minutes == 0
        assert policy.escalation.of(level).repeats > 0


def test_the_graver_level_never_waits_longer_for_its_next_step() -> None:
    policy = load_policy(None)
    second = [policy.escalation.of(level).steps[1].after_minutes for level in RISING[2:]]

    assert second == sorted(second, reverse=True)


def test_a_level_without_steps_of_its_own_has_those_of_the_next_graver(tmp_path: Path) -> None:
    packaged = load_policy(None).escalation
    yellow = PACKAGED[PACKAGED.index(YELLOW) : PACKAGED.index("[incidents]")]
    without = load(tmp_path, YELLOW, yellow, "").escalation

    assert packaged.of(Level.BLUE) == packaged.of(Level.YELLOW) == packaged.levels[Level.YELLOW]
    assert without.of(Level.YELLOW) == without.of(Level.BLUE) == without.levels[Level.ORANGE]


def test_what_an_alert_keeps_is_in_seconds_by_every_level_that_can_raise_one() -> None:
    snapshot = load_policy(None).snapshot(0.5)

    assert set(snapshot) == {"red", "orange", "yellow", "blue"}
    assert snapshot["orange"] == {
        "due_s": 450.0,
        "steps": [
            {"after_s": 0.0, "to": ["town.desk"]},
            {"after_s": 450.0, "to": ["city.desk"]},
            {"after_s": 900.0, "to": ["city.supervisor", "channels"]},
        ],
        "repeat_s": 900.0,
        "repeats": 8,
    }
    assert (snapshot["yellow"]["repeat_s"], snapshot["yellow"]["repeats"]) == (None, 0)


def test_a_policy_from_before_there_was_escalation_has_the_packaged_one(tmp_path: Path) -> None:
    text = PACKAGED[: PACKAGED.index("[escalation]")] + PACKAGED[PACKAGED.index("[incidents]") :]
    assert "escalation" not in tomllib.loads(text)
    (tmp_path / "old.toml").write_text(text, "utf-8")

    assert load_policy(tmp_path / "old.toml").escalation == load_policy(None).escalation


# In which section, what is written instead of what, and the sentence it yields.
MISTAKES = [
    (ORANGE, "after_minutes = 0", "after_minutes = 1", "escalation.levels.orange: the first step is taken at once;"),
    (ORANGE, "after_minutes = 30", "after_minutes = 15", "escalation.levels.orange: each step must come later than"),
    (ORANGE, "after_minutes = 30", "after_minutes = 10", "escalation.levels.orange: each step must come later than"),
    (ORANGE, "after_minutes = 15", "after_minutes = -1", "escalation.levels.orange.steps[1].after_minutes: "),
    (ORANGE, "after_minutes = 15", "after_minutes = 1.5", "escalation.levels.orange.steps[1].after_minutes: "),
    (ORANGE, "after_minutes = 15", "after_minutes = true", "escalation.levels.orange.steps[1].after_minutes: "),
    (ORANGE, "after_minutes = 15", "after = 15", "escalation.levels.orange.steps[1].after"),
    (ORANGE, '["city.desk"]', '["mayor"]', "escalation.levels.orange.steps[1].to[0]: 'mayor' is not known; use "),
    (ORANGE, '["city.desk"]', "[]", "escalation.levels.orange.steps[1].to: "),
    (
        ORANGE,
        '["city.desk"]',
        '["city.desk", "city.desk"]',
        "escalation.levels.orange.steps[1]: to names somebody twice; remove one.",
    ),
    (ORANGE, "repeats = 8\n", "", "escalation.levels.orange: repeat_minutes and repeats go together; give both or "),
    (ORANGE, "repeat_minutes = 30\n", "", "escalation.levels.orange: repeat_minutes and repeats go together;"),
    (ORANGE, "repeat_minutes = 30", "repeat_minutes = 0", "escalation.levels.orange.repeat_minutes: "),
    (RED, "[escalation.levels.red]", "[escalation.levels.crimson]", "escalation.levels.crimson: 'crimson' is not"),
    (RED, "[escalation.levels.red]", "[escalation.levels.blue]", "escalation: levels has no red, which always raises"),
    ("[escalation]", 'bypass = ["town"]', 'bypass = ["city"]', "escalation.bypass[0]: 'city' is not known; use "),
    ("[escalation]", "longest_until_hours = 24", "longest_until_hours = 0", "escalation.longest_until_hours: "),
    ("[escalation]", "longest_until_hours", "longest_until", "escalation.longest_until is not a known key; remove"),
]


@pytest.mark.parametrize(("section", "before", "after", "sentence"), MISTAKES)
def test_a_mistake_has_its_sentence(tmp_path: Path, section: str, before: str, after: str, sentence: str) -> None:
    with pytest.raises(PolicyError) as raised:
        load(tmp_path, section, before, after)

    assert any(problem.startswith(sentence) for problem in raised.value.problems), raised.value.problems


def test_red_and_orange_must_reach_an_office_of_the_city(tmp_path: Path) -> None:
    steps = 'steps = [\n    { after_minutes = 0, to = ["town.desk", "channels"] },\n]\n'
    orange = PACKAGED[PACKAGED.index(ORANGE) : PACKAGED.index(YELLOW)]

    with pytest.raises(PolicyError, match=r"orange never reaches an office of the city; add city\.desk to a step"):
        load(tmp_path, ORANGE, orange, f"{ORANGE}\n{steps}\n")
