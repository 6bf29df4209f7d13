import json
from collections import Counter, defaultdict
from csv import DictReader
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.demo import night
from app.hazards.catalogue import HAZARDS
from app.intake.schemas import ReportIn

STARTED = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
BEGINS = datetime.fromisoformat("2018-08-19T18:00:00+08:00")
ENDS = datetime.fromisoformat("2018-08-20T12:00:00+08:00")
DRILL = "0199a4c2-7000-7000-8000-3f1f0c9d2a11"
STEPS = night.load("one", STARTED, DRILL)


def tiers() -> dict[str, str]:
    with night.NODES.open(encoding="utf-8", newline="") as lines:
        return {row["code"]: row["tier"] for row in DictReader(lines)}


def test_sixty_villages_and_all_fifteen_towns_speak() -> None:
    known = tiers()

    speakers = Counter(known[node] for node in {step.node for step in STEPS})

    assert speakers == {"village": 60, "town": 15}
    assert {code for code, tier in known.items() if tier == "town"} <= {step.node for step in STEPS}


def test_the_night_has_150_to_220_sendings_between_its_begin_and_end_in_order() -> None:
    times = [step.at for step in STEPS]

    assert 150 <= len(STEPS) <= 220
    assert times == sorted(times)
    assert times[0] >= BEGINS
    assert times[-1] <= ENDS


def test_the_file_says_in_both_languages_that_it_is_an_exercise_and_its_figures_are_invented() -> None:
    head = night.SCRIPT.read_text("utf-8").split("\n\n", 1)[0]

    assert "演练" in head
    assert "虚构" in head
    assert "exercise" in head
    assert "invented" in head


def test_every_text_is_marked_as_an_exercise_and_fits_the_contract() -> None:
    for step in STEPS:
        summary, description = step.body["summary"], step.body["description"]
        assert summary.startswith("【演练】")
        assert description.startswith("【演练】")
        assert "\n[EXERCISE] " in description
        assert len(summary) <= 200
        assert len(description) <= 4000
        assert "{" not in summary + description


def test_every_hazard_is_in_the_catalogue() -> None:
    assert {step.body["hazard"] for step in STEPS} <= set(HAZARDS)


def test_every_body_is_a_report_as_the_api_takes_it() -> None:
    for step in STEPS:
        taken = ReportIn.model_validate_json(json.dumps(step.body))
        assert str(taken.id) == step.body["id"]
        assert taken.figures.model_dump(exclude_none=True) == step.body["figures"]


def test_every_office_speaks_for_itself() -> None:
    assert all(step.body["node"] == step.node for step in STEPS)


def test_what_is_observed_precedes_its_submission_and_some_of_it_by_hours() -> None:
    delays = []
    for step in STEPS:
        observed = datetime.fromisoformat(step.body["observed_at"])
        submitted = datetime.fromisoformat(step.body["submitted_at"])
        assert observed < submitted <= step.at
        assert submitted.utcoffset() == timedelta(hours=8)
        delays.append(submitted - observed)

    assert sum(delay >= timedelta(hours=2) for delay in delays) >= 5


def test_each_thread_starts_with_an_initial_report_and_says_nothing_after_its_final_one() -> None:
    threads = defaultdict(list)
    for told in night.tell():
        threads[told.node, told.thread].append(told.body["kind"])

    for kinds in threads.values():
        assert kinds[0] == "initial"
        assert kinds.count("initial") == 1
        assert "final" not in kinds[:-1]


def test_cumulative_figures_never_fall_within_a_nodes_thread() -> None:
    latest: defaultdict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for told in night.tell():
        before = latest[told.node, told.thread]
        figures = told.body["figures"]
        assert before.keys() <= figures.keys()
        for name, number in figures.items():
            assert number >= before.get(name, 0), (told.node, told.at, name)
        latest[told.node, told.thread] = figures

    assert any(figures for figures in latest.values())


def test_some_reports_are_sent_twice_with_the_same_id_and_body() -> None:
    by_id = defaultdict(list)
    for step in STEPS:
        by_id[step.body["id"]].append(step)
    twice = [steps for steps in by_id.values() if len(steps) > 1]

    assert len(twice) == 3
    for first, second in twice:
        assert first.body == second.body
        assert first.at < second.at


def test_exactly_one_report_holds_an_invented_phone_number() -> None:
    told = [one for one in night.tell() if "13900000000" in one.body["description"]]

    assert len(told) == 1


def test_ids_are_uuids_of_version_7_that_carry_the_start_of_the_run() -> None:
    for step in STEPS:
        report_id = UUID(step.body["id"])
        assert report_id.version == 7
        assert report_id.variant == "specified in RFC 4122"
        assert report_id.int >> 80 == int(STARTED.timestamp() * 1000)


def test_the_same_run_has_the_same_ids_and_another_run_shares_none() -> None:
    def ids(run: str) -> set[str]:
        return {step.body["id"] for step in night.load(run, STARTED, DRILL)}

    assert night.load("one", STARTED, DRILL) == STEPS
    assert not ids("one") & ids("two")


def test_an_offices_name_is_said_as_people_say_it() -> None:
    names = night.office_names()

    assert names["370783108253"] == "口子村"
    assert names["370783001063"] == "弥水社区"
    assert names["370783001299"] == "张建桥村"
    assert names["370783108000"] == "上口镇"
    assert "村村" not in "".join(names[step.node] + " " for step in STEPS)


def test_the_plot_names_offices_of_the_tree_and_hours_at_which_the_script_lets_it_happen() -> None:
    plot, known = night.plot(), tiers()
    silent = [step.at for step in STEPS if step.node == plot.silent]

    assert {known[town] for town in plot.towns} == {"town"}
    assert plot.asleep in plot.towns
    assert plot.asked in plot.towns
    assert plot.question.startswith("【演练】")
    assert plot.silent[:9] == plot.asked[:9]
    assert plot.asked != plot.asleep
    # heard from before it is asked, and again only when the roll call is long over
    assert silent[0] < plot.asks_at
    assert silent[1] > plot.asks_at + 2 * plot.due


def test_every_sending_belongs_to_the_drill() -> None:
    assert {step.body["drill_id"] for step in STEPS} == {DRILL}
