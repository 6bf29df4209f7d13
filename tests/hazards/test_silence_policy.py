"""Mistakes in what the policy says of roll calls and silence are told in words."""

from pathlib import Path

import pytest

from app.hazards.policy import DEFAULT, PolicyError, load_policy


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('due = "08:00"', 'due = "00:00"', "rollcalls.scheduled[0]: due lies before opens; both are times of one day."),
        ('due = "08:00"', 'due = "8 Uhr"', 'rollcalls.scheduled[0].due: it is a time of day, "08:00".'),
        ('name = "zero.city"', 'name = "zero.town"', "rollcalls: two roll calls are named zero.town; rename one."),
        ('tiers = ["town"]', 'tiers = ["county"]', "rollcalls.scheduled[0].tiers[0]: 'county' is not known; use "),
        ("orange = 7\nyellow = 5", "orange = 4\nyellow = 5", "silence: levels must not fall: a graver level needs"),
        ("orange = 7\nyellow = 5", "routine = 1", "silence: levels names routine, which is no alert; remove it."),
        ("red = 6\norange = 4", "red = 4\norange = 6", "silence: near must not fall: a graver level needs at least"),
        ('due = "08:00"', 'due = "08:00+08:00"', 'rollcalls.scheduled[0].due: it is a time of day, "08:00".'),
        (
            'due = "08:00"',
            'due = "08:00"\ndays = ["mon", "mon"]',
            "rollcalls.scheduled[0]: days names one twice",
        ),
        ('due = "08:00"', 'due = "08:00"\ndays = ["mo"]', "rollcalls.scheduled[0].days[0]: 'mo' is not known; use"),
        (
            "alert_never_heard = true",
            'alert_never_heard = "yes"',
            "silence.alert_never_heard: it should be a valid",
        ),
        ("near_m = 5000\n", "", "silence.near_m is missing; add it."),
        ("most_missed = 3", "most_missed = 9", "silence.most_missed: it should be less than or equal to 5."),
    ],
)
def test_each_mistake_has_its_sentence(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    text = DEFAULT.read_text("utf-8")
    assert before in text
    wrong = tmp_path / "policy.toml"
    wrong.write_text(text.replace(before, after, 1), "utf-8")

    with pytest.raises(PolicyError) as raised:
        load_policy(wrong)

    assert [problem for problem in raised.value.problems if problem.startswith(sentence)], raised.value.problems


def test_a_policy_from_before_there_were_roll_calls_takes_the_packaged_ones(tmp_path: Path) -> None:
    text = DEFAULT.read_text("utf-8")
    old = tmp_path / "policy.toml"
    begins = text.index("# While nobody takes an alert on")
    old.write_text(text[:begins] + text[text.index("[incidents]") : text.index("# In a duty period")], "utf-8")

    found = load_policy(old)

    assert found.rollcalls == load_policy(None).rollcalls
    assert found.silence == load_policy(None).silence
    assert found.escalation == load_policy(None).escalation
