"""The section [detection]: sound, or a sentence for each mistake."""

from pathlib import Path

import pytest

from app.hazards.cap import Level
from app.hazards.policy import DEFAULT, Policy, PolicyError, load_policy

HEAD, SECTION = DEFAULT.read_text("utf-8").split("\n[detection]\n")


def load(folder: Path, before: str = "", after: str = "") -> Policy:
    """The packaged policy with the first of a text in its section replaced."""
    assert before in SECTION, before
    (folder / "policy.toml").write_text(f"{HEAD}\n[detection]\n{SECTION.replace(before, after, 1)}", "utf-8")
    return load_policy(folder / "policy.toml")


def test_the_packaged_section_is_what_public_health_and_the_statutes_ask(tmp_path: Path) -> None:
    found = load(tmp_path).detection

    assert found == load_policy(None).detection
    assert (found.ears, found.count_at_least, found.kinds) == (("c2",), 3, ("initial",))
    cluster, disease = found.cluster, found.disease
    assert (cluster.reports_at_least, cluster.nodes_at_least, cluster.radius_m, cluster.hours) == (3, 2, 2000, 24)
    assert (disease.reports_at_least, disease.hours) == (2, 7 * 24)
    assert found.raises is Level.YELLOW


def test_an_alarm_may_raise_no_alert(tmp_path: Path) -> None:
    assert load(tmp_path, 'level = "yellow"', 'level = "none"').detection.raises is None


def test_a_policy_from_before_detection_has_the_packaged_section(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(HEAD, "utf-8")

    assert load_policy(tmp_path / "policy.toml") == load_policy(None)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            'level = "yellow"',
            'level = "routine"',
            "detection.level: 'routine' is not known; use 'none', 'blue', 'yellow', 'orange' or 'red'.",
        ),
        ('["c2"]', '["c4"]', "detection.ears[0]: 'c4' is not known; use 'c1', 'c2' or 'c3'."),
        ('["c2"]', '["c2", "c2"]', "detection: ears names something twice; remove one."),
        ('["initial"]', "[]", "detection.kinds: "),
        (
            "count_at_least = 3",
            "count_at_least = 2",
            "detection.count_at_least: it should be greater than or equal to 3.",
        ),
        ("count_at_least = 3", "count_at_least = 3.5", "detection.count_at_least: it should be a valid integer."),
        (
            "baseline_days_at_least = 4",
            "baseline_days_at_least = 8",
            "detection.baseline_days_at_least: it should be less than or equal to 7.",
        ),
        ("radius_m = 2000", "radius_m = 2001", "detection.cluster.radius_m: it should be less than or equal to 2000."),
        ("hours = 24", "hours = 0", "detection.cluster.hours: it should be greater than 0."),
        (
            "nodes_at_least = 2",
            "nodes_at_least = 4",
            "detection.cluster: nodes_at_least is above reports_at_least, which then decides nothing; lower it.",
        ),
        ('"disease.human"', '"disease.plant"', "detection.disease: 'disease.plant' is no hazard; see catalogue.toml."),
        ("hours = 168\n", "", "detection.disease.hours is missing; add it."),
        ("hours = 168", "days = 7", "detection.disease.days is not a known key; remove it or mend its spelling."),
    ],
)
def test_each_mistake_has_its_sentence(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    with pytest.raises(PolicyError) as raised:
        load(tmp_path, before, after)

    assert any(problem.startswith(sentence) for problem in raised.value.problems), raised.value.problems
