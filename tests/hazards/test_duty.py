"""A duty period holds on its days, in every year or in one, and makes what is allowed shorter."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.hazards.cap import Level
from app.hazards.duty import DutyPeriod
from app.hazards.policy import DEFAULT, Policy, PolicyError, load_policy

SEASON = {"name": "season", "zh": "汛期", "en": "flood season", "factor": 0.5}


def period(since: date | str, until: date | str) -> DutyPeriod:
    return DutyPeriod.model_validate(SEASON | {"since": since, "until": until})


def with_duty(folder: Path, *periods: str) -> Policy:
    """The packaged policy with these periods: lines of TOML, in place of those of SEASON."""
    text = DEFAULT.read_text("utf-8")
    for lines in periods:
        given = dict(line.split(" = ") for line in lines.splitlines())
        said = {"name": '"season"', "zh": '"汛期"', "en": '"flood season"', "factor": "0.5"} | given
        text += "\n[[duty]]\n" + "".join(f"{key} = {value}\n" for key, value in said.items())
    (folder / "policy.toml").write_text(text, "utf-8")
    return load_policy(folder / "policy.toml")


# From, until; days on which it holds, days on which it does not.
DAYS = [
    ("06-01", "09-30", ["2018-06-01", "2018-08-20", "2025-09-30"], ["2018-05-31", "2018-10-01", "2025-01-01"]),
    # Over the new year.
    ("11-15", "03-15", ["2018-11-15", "2018-12-31", "2019-01-01", "2019-03-15"], ["2018-11-14", "2019-03-16"]),
    ("08-20", "08-20", ["2018-08-20"], ["2018-08-19", "2018-08-21"]),
    ("02-29", "03-01", ["2024-02-29", "2023-03-01"], ["2023-02-28", "2024-02-28"]),
    (
        date(2018, 8, 1),
        date(2019, 2, 1),
        ["2018-08-01", "2018-12-31", "2019-02-01"],
        ["2018-07-31", "2019-02-02", "2019-08-20"],
    ),
]


@pytest.mark.parametrize(("since", "until", "inside", "outside"), DAYS)
def test_a_period_holds_from_its_first_day_to_its_last_both_included(
    since: date | str, until: date | str, inside: list[str], outside: list[str]
) -> None:
    found = period(since, until)

    assert all(found.holds(date.fromisoformat(day)) for day in inside)
    assert not any(found.holds(date.fromisoformat(day)) for day in outside)


@given(
    since=st.dates(date(2023, 1, 1), date(2023, 12, 31)),
    length=st.integers(0, 363),
    years=st.integers(0, 20),
    offset=st.integers(-400, 400),
)
def test_a_period_of_every_year_is_one_run_of_days_in_each(since: date, length: int, years: int, offset: int) -> None:
    until = since + timedelta(days=length)
    # 29 February is not a day of every year: the table has it.
    assume((until.month, until.day) != (2, 29))
    yearly = period(since.strftime("%m-%d"), until.strftime("%m-%d"))
    day = date(2023 + years, 7, 1) + timedelta(days=offset)

    # The runs that begin in the day's own year and in the one before, as dates.
    begins = [date(year, since.month, since.day) for year in (day.year - 1, day.year)]
    ends = [date(one.year + (until.year - since.year), until.month, until.day) for one in begins]
    expected = any(begin <= day <= end for begin, end in zip(begins, ends, strict=True))
    assert yearly.holds(day) == expected


def test_a_period_of_a_file_halves_what_is_allowed_on_its_days(tmp_path: Path) -> None:
    policy = with_duty(tmp_path, 'since = "06-01"\nuntil = "09-30"')

    assert (policy.tempo(date(2018, 8, 20)), policy.tempo(date(2018, 10, 1))) == (0.5, 1.0)
    assert (policy.in_duty(date(2018, 8, 20)), policy.in_duty(date(2018, 10, 1))) == (True, False)
    assert [one.name for one in policy.duty_on(date(2018, 8, 20))] == ["season"]
    assert policy.snapshot(policy.tempo(date(2018, 8, 20)))["orange"]["due_s"] == (
        policy.alerts.due(Level.ORANGE).total_seconds() / 2
    )


def test_of_two_periods_at_once_the_tighter_counts(tmp_path: Path) -> None:
    policy = with_duty(
        tmp_path,
        'since = "06-01"\nuntil = "09-30"',
        'name = "expo"\nsince = 2018-08-20\nuntil = 2018-08-25\nfactor = 0.25',
    )

    found = [policy.tempo(date(2018, 8, day)) for day in (19, 20, 25, 26)]
    assert found == [0.5, 0.25, 0.25, 0.5]


def test_without_periods_every_day_is_alike() -> None:
    assert load_policy(None).tempo(date(2018, 8, 20)) == 1.0


# What a file says, and the sentence it yields.
MISTAKES = [
    ('since = "6-1"\nuntil = "09-30"', 'duty[0].since: it is a date (2026-06-01), or "06-01" for every year.'),
    ('since = "02-30"\nuntil = "09-30"', 'duty[0].since: it is a date (2026-06-01), or "06-01" for every year.'),
    ('since = "06-01"\nuntil = 2018-09-30', "duty[0]: since and until must both be dates, or both be days of every"),
    ("since = 2018-09-30\nuntil = 2018-06-01", "duty[0]: until lies before since; swap them."),
    ('since = "06-01"\nuntil = "09-30"\nfactor = 0.0', "duty[0].factor: it should be greater than 0."),
    ('since = "06-01"\nuntil = "09-30"\nfactor = 1.5', "duty[0].factor: it should be less than or equal to 1."),
    ('since = "06-01"\nuntil = "09-30"\nname = "Flood Season"', "duty[0].name: "),
    ('since = "06-01"\nuntil = "09-30"\nzh = ""', "duty[0].zh: "),
    ('since = "06-01"', "duty[0].until is missing; add it."),
    ('since = "06-01"\nuntil = "09-30"\nfacter = 0.5', "duty[0].facter is not a known key; remove it or mend its"),
]


@pytest.mark.parametrize(("lines", "sentence"), MISTAKES)
def test_a_mistake_has_its_sentence(tmp_path: Path, lines: str, sentence: str) -> None:
    with pytest.raises(PolicyError) as raised:
        with_duty(tmp_path, lines)

    assert len(raised.value.problems) == 1
    assert raised.value.problems[0].startswith(sentence)


def test_two_periods_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="two duty periods have one name; rename one"):
        with_duty(tmp_path, *['since = "06-01"\nuntil = "09-30"'] * 2)
