"""A policy file is sound, or every mistake in it has its sentence."""

from pathlib import Path

import pytest

from app.hazards.cap import RISING, Level
from app.hazards.policy import DEFAULT, Policy, PolicyError, load_policy

PACKAGED = DEFAULT.read_text("utf-8")


def load(folder: Path, *changes: tuple[str, str]) -> Policy:
    """The packaged policy with the first of each text replaced."""
    text = PACKAGED
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after, 1)
    (folder / "policy.toml").write_text(text, "utf-8")
    return load_policy(folder / "policy.toml")


def problems(folder: Path, *changes: tuple[str, str]) -> list[str]:
    with pytest.raises(PolicyError) as raised:
        load(folder, *changes)
    return raised.value.problems


def test_the_packaged_policy_is_sound_and_is_the_default(tmp_path: Path) -> None:
    assert load_policy(None) == load(tmp_path)


def test_the_packaged_policy_keeps_within_the_statutes() -> None:
    policy = load_policy(None)

    assert {Level.RED, Level.ORANGE} <= set(policy.alerts.levels)
    # A township reports within an hour, a city within two; what is urgent has far less.
    for tier, limit in (("town", 60), ("city", 120)):
        assert policy.custody.due(tier, Level.YELLOW).total_seconds() <= limit * 60
        assert policy.custody.due(tier, Level.ORANGE).total_seconds() <= limit * 60 / 4
    assert policy.alerts.due(Level.RED).total_seconds() == 300
    assert policy.alerts.due(Level.ORANGE).total_seconds() == 900


@pytest.mark.parametrize("tier", ["village", "town", "city", None])
def test_the_graver_level_never_has_the_longer_deadline(tier: str | None) -> None:
    policy = load_policy(None)
    due = [policy.custody.due(tier, level) if tier else policy.alerts.due(level) for level in RISING]

    assert due == sorted(due, reverse=True)


# What is written instead of what, and the sentence it yields.
MISTAKES = [
    (
        'level = "red"',
        'level = "crimson"',
        "rule 'loss.grave', level: 'crimson' is not known; use 'red', 'orange', 'yellow', 'blue' or 'routine'.",
    ),
    (
        '"dam.breach"',
        '"dam.breech"',
        "rule 'hazard.breach': 'dam.breech' is neither a hazard nor a family; see catalogue.toml.",
    ),
    ('["trapped"]', '["traped"]', "rule 'trapped.many', figures[0]: 'traped' is not known; use 'affected', "),
    (
        "at_least = 10",
        "at_leest = 10",
        "rule 'loss.grave', at_leest is not a known key; remove it or mend its spelling.",
    ),
    ("at_least = 10\n", "", "rule 'loss.grave': figures and at_least go together; give both or neither."),
    ("at_least = 10", "at_least = inf", "rule 'loss.grave', at_least: it should be a finite number."),
    ("at_least = 10", "at_least = 0", "rule 'loss.grave', at_least: it should be greater than 0."),
    ("at_least = 10", 'at_least = "10"', "rule 'loss.grave', at_least: it should be a valid number."),
    (
        '["dead", "missing"]',
        '["dead", "direct_loss_cny"]',
        "rule 'loss.grave': its figures cannot be added up; name different figures of one unit.",
    ),
    (
        '["dead", "missing"]',
        '["dead", "dead"]',
        "rule 'loss.grave': its figures cannot be added up; name different figures of one unit.",
    ),
    (
        'level = "red"',
        'level = "routine"',
        "rule 'loss.grave': it can never raise: every level is at least routine; name a higher level.",
    ),
    (
        'level = "red"',
        'level = "red"\nraise_by = 1',
        "rule 'loss.grave': it needs either level or raise_by; give one of them.",
    ),
    ('level = "red"\n', "", "rule 'loss.grave': it needs either level or raise_by; give one of them."),
    (
        'level = "red"',
        'level = "red"\nup_to = "blue"',
        "rule 'loss.grave': up_to limits raise_by and says nothing beside level; remove it.",
    ),
    ("raise_by = 1", "raise_by = -1", "rule 'neighbours', raise_by: it should be greater than or equal to 1."),
    ("raise_by = 1", "raise_by = 0", "rule 'neighbours', raise_by: it should be greater than or equal to 1."),
    (
        'up_to = "orange"',
        'up_to = "routine"',
        "rule 'neighbours': it can never raise: up_to is routine; name a higher level.",
    ),
    (
        "neighbours_at_least = 3",
        "neighbours_at_least = true",
        "rule 'neighbours', neighbours_at_least: it should be a valid integer.",
    ),
    (
        'hazards = ["dam.breach"]\n',
        "",
        "rule 'hazard.breach': it has no condition; name hazards, figures, neighbours_at_least or kind.",
    ),
    ('hazards = ["dam.breach"]', 'hazards = "dam.breach"', "rule 'hazard.breach', hazards must be a list."),
    (
        'hazards = ["dam.breach"]',
        'hazards = ["dam.breach"]\nkind = "second"',
        "rule 'hazard.breach', kind: 'second' is not known; use 'initial', 'followup' or 'final'.",
    ),
    ('name = "loss.grave"\n', "", "rule number 1, name is missing; add it."),
    ('name = "loss.grave"', 'name = "loss.life"', "triage: two rules are named loss.life; rename one."),
    (
        'name = "loss.grave"',
        'name = "triad"',
        "rule 'triad': 'triad' is what the matrix is called in reasons; rename the rule.",
    ),
    (
        'name = "loss.grave"',
        'name = "Loss 1"',
        "rule 'Loss 1': its name may have small letters, _ and . only; rename it.",
    ),
    (
        'en = "{value} dead or missing"',
        'en = "{count} dead or missing"',
        "rule 'loss.life': its words name {count}; known are hazard, limit, neighbours, value.",
    ),
    (
        'en = "{value} dead or missing"',
        'en = "{value.real} dead or missing"',
        "rule 'loss.life': its words name {value.real}; known are hazard, limit, neighbours, value.",
    ),
    (
        'en = "{value} dead or missing"',
        'en = "{} dead or missing"',
        "rule 'loss.life': its words name {}; known are hazard, limit, neighbours, value.",
    ),
    (
        'zh = "死亡失踪 {value} 人"',
        'zh = "死亡失踪 {limit:d} 人"',
        "rule 'loss.life': its words format {limit}; write it without ':' or '!'.",
    ),
    (
        'zh = "死亡失踪 {value} 人"',
        'zh = "死亡失踪 {value!r} 人"',
        "rule 'loss.life': its words format {value}; write it without ':' or '!'.",
    ),
    (
        'zh = "死亡失踪 {value} 人"',
        'zh = "死亡失踪 {value 人"',
        "rule 'loss.life': its words have a lone brace; write {{ or }} for a brace.",
    ),
    (
        'en = "{neighbours} other',
        'en = "{value} other',
        "rule 'neighbours': its words name {value}, which only a rule with figures has; remove it.",
    ),
    ('zh = "死亡失踪 {value} 人"\n', "", "rule 'loss.life', zh is missing; add it."),
    (
        'Severe   = ["blue",    "yellow",',
        'Severe   = ["blue",',
        "triage: the matrix row Severe has 4 levels; it needs 5: Past, Future, Unknown, Expected, Immediate.",
    ),
    (
        "Severe   = [",
        "Sever   = [",
        "triage.matrix.Sever: 'Sever' is not known; use 'Extreme', 'Severe', 'Moderate', 'Minor' or 'Unknown'.",
    ),
    (
        'Severe   = ["blue",    "yellow",  "yellow",  "orange",  "orange"]\n',
        "",
        "triage: the matrix has no row Severe; add it.",
    ),
    (
        'Severe   = ["blue"',
        'Severe   = ["orange"',
        "triage: the matrix must not fall: Past, Extreme is below Severe; raise it to orange or above.",
    ),
    (
        '"orange",  "orange"]',
        '"orange",  "yellow"]',
        "triage: the matrix must not fall: Severe, Immediate is below Expected; raise it to orange or above.",
    ),
    (
        'Severe   = ["blue"',
        'Severe   = ["pink"',
        "triage.matrix.Severe[0]: 'pink' is not known; use 'red', 'orange', 'yellow', 'blue' or 'routine'.",
    ),
    ("Possible = 1\n", "", "triage: certainty has no Possible; add it."),
    (
        "Likely = 0",
        "Likely = 3",
        "triage: certainty must not fall: Likely takes more levels away than Unknown; lower it.",
    ),
    (
        "neighbour_window_hours = 2",
        "neighbour_window_hours = 0",
        "triage.neighbour_window_hours: it should be greater than 0.",
    ),
    (
        'levels = ["red", "orange"]',
        'levels = ["red"]',
        "alerts: levels may be widened, never narrowed: orange always raises an alert; add it.",
    ),
    (
        'levels = ["red", "orange"]',
        'levels = ["orange", "yellow"]',
        "alerts: levels may be widened, never narrowed: red always raises an alert; add it.",
    ),
    ("blue = 240\n", "", "alerts: due_minutes has no blue; add it."),
    (
        "red = 5\norange = 15",
        "red = 0\norange = 15",
        "alerts.due_minutes.red: it should be greater than or equal to 1.",
    ),
    (
        "[custody.due_minutes.town]",
        "[custody.due_minutes.county]",
        "custody.due_minutes.county: 'county' is not known; use 'village', 'town' or 'city'.",
    ),
    (
        "match_radius_m = 2000",
        "match_radius_m = 5000",
        "incidents.match_radius_m: it should be less than or equal to 2000.",
    ),
    ("match_window_hours = 24\n", "", "incidents.match_window_hours is missing; add it."),
    ("[incidents]", "[incident]", "incidents is missing; add it."),
    ("[escalation]", "quota = 3\n[escalation]", "custody.acknowledge_minutes.quota: 'quota' is not known; use 'red', "),
    ("[alerts]", "[quotas]\nreports = 5\n[alerts]", "quotas is not a known key; remove it or mend its spelling."),
    ("[incidents]", "[incidents", "This is not TOML: Expected ']' at the end of a table declaration (at line "),
]


@pytest.mark.parametrize(("before", "after", "sentence"), MISTAKES, ids=[sentence for _, _, sentence in MISTAKES])
def test_a_mistake_yields_its_sentence(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    found = problems(tmp_path, (before, after))

    assert [problem for problem in found if problem.startswith(sentence)], found


def test_several_mistakes_are_told_together(tmp_path: Path) -> None:
    found = problems(tmp_path, ('level = "red"', 'level = "crimson"'), ("match_radius_m = 2000", "match_radius_m = -1"))

    assert len(found) == 2
    assert found[0].startswith("rule 'loss.grave', level")
    assert found[1].startswith("incidents.match_radius_m")


def test_rules_written_as_one_table_are_told_to_be_a_list(tmp_path: Path) -> None:
    start, end = PACKAGED.index("[[triage.rules]]"), PACKAGED.index("[alerts]")

    found = problems(tmp_path, (PACKAGED[start:end], '[triage.rules]\nname = "a"\n'))

    assert found == ["triage.rules must be a list."]


def test_a_section_that_is_a_number_is_told_to_be_a_section(tmp_path: Path) -> None:
    found = problems(tmp_path, (PACKAGED, "triage = 1\nalerts = 1\ncustody = 1\nincidents = 1\n"))

    assert found == [f"{name} must be a section with keys." for name in ("triage", "alerts", "custody", "incidents")]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as raised:
        load_policy(tmp_path / "none.toml")

    assert raised.value.problems == [f"{tmp_path / 'none.toml'} cannot be read: No such file or directory."]


def test_a_file_in_another_encoding_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes(PACKAGED.encode("gb18030"))

    with pytest.raises(PolicyError) as raised:
        load_policy(tmp_path / "policy.toml")

    assert raised.value.problems == [f"{tmp_path / 'policy.toml'} cannot be read: it is not UTF-8."]


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes(b"\xef\xbb\xbf" + PACKAGED.replace("\n", "\r\n").encode())

    assert load_policy(tmp_path / "policy.toml") == load_policy(None)


def test_alert_levels_may_be_widened(tmp_path: Path) -> None:
    policy = load(tmp_path, ('levels = ["red", "orange"]', 'levels = ["red", "orange", "yellow"]'))

    assert policy.alerts.levels == (Level.RED, Level.ORANGE, Level.YELLOW)


def test_a_policy_cannot_be_changed_once_read() -> None:
    policy = load_policy(None)

    with pytest.raises(ValueError, match="frozen"):
        policy.alerts.levels = (Level.RED,)  # type: ignore[misc]  # what the test is about
