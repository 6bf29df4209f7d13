"""The closed catalogue: events, with their statutory family and CAP category."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from app.hazards import catalogue
from app.hazards.catalogue import FAMILIES, HAZARDS, Category, load_catalogue
from app.hazards.figures import FIGURES, FigureName
from app.intake.schemas import Figures

# What Beacon never keeps: opinion, speech, belief, assembly, petitioning, media, and people as subjects.
FORBIDDEN = re.compile(
    r"opinion|sentiment|speech|rumou?r|belie[fv]|religio|cult|assembl|protest|demonstrat|gather|petition|complain|"
    r"dissent|politic|press|media|internet|stabil|riot|strike|unrest|suspect|crime|person|resident|migrant|ethnic|"
    r"patient|addict|mental|watch|monitor|"
    r"舆|言论|谣言|信仰|宗教|邪教|集会|游行|示威|聚集|群体|上访|信访|投诉|政治|媒体|网络|稳定|维稳|罢工|骚乱|"
    r"嫌疑|犯罪|治安|重点人|人员|居民|民族|吸毒|精神|监控|失踪|走失"
)

FAMILIES_TOML = """
[families]
natural = { zh = "自然灾害", en = "natural hazard" }
"""
ENTRY = """
[[hazards]]
code = "flood.river"
family = "natural"
zh = "洪水"
en = "river flood"
category = "Met"
"""


def test_about_forty_hazards_cover_the_five_families() -> None:
    assert 40 <= len(HAZARDS) <= 50
    assert list(FAMILIES) == ["natural", "accident", "health", "safety", "service"]
    assert {hazard.family for hazard in HAZARDS.values()} == set(FAMILIES)


def test_no_code_or_name_touches_a_forbidden_notion() -> None:
    said = [word for h in HAZARDS.values() for word in (h.code, h.en.lower(), h.zh)]
    said += [word for code, names in FAMILIES.items() for word in (code, names.en, names.zh)]

    assert [word for word in said if FORBIDDEN.search(word)] == []


@pytest.mark.parametrize(
    "word", ["public opinion", "petitioning", "上访人员", "网络舆情", "missing person", "非法集会"]
)
def test_the_forbidden_notions_would_be_found(word: str) -> None:
    assert FORBIDDEN.search(word)


def test_every_hazard_and_family_has_its_own_name_in_both_languages() -> None:
    for names in ([(h.zh, h.en) for h in HAZARDS.values()], [(f.zh, f.en) for f in FAMILIES.values()]):
        assert len({zh for zh, _ in names}) == len({en for _, en in names}) == len(names)
        assert [zh for zh, _ in names if not all("\u4e00" <= character <= "\u9fff" for character in zh)] == []
        assert [en for _, en in names if not en.isascii()] == []


def test_event_terms_stand_only_where_the_term_is_certain() -> None:
    terms = {hazard.code: hazard.oet for hazard in HAZARDS.values() if hazard.oet}

    assert terms == {
        "flood.river": "081",
        "fire.building": "078",
        "fire.school": "078",
        "disease.human": "062",
        "traffic.road": "167",
    }


def test_categories_are_those_of_cap_1_2() -> None:
    # CAP 1.2 section 3.2.2, category.
    assert " ".join(get_args(Category)) == (
        "Geo Met Safety Security Rescue Fire Health Env Transport Infra CBRNE Other"
    )
    assert {hazard.category for hazard in HAZARDS.values()} <= set(get_args(Category))


def test_a_hazard_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        HAZARDS["flood.river"].family = "service"  # type: ignore[misc]  # what the test is about


def test_a_sound_catalogue_loads() -> None:
    families, hazards = load_catalogue(FAMILIES_TOML + ENTRY)

    assert families["natural"].zh == "自然灾害"
    assert hazards["flood.river"].category == "Met"
    assert hazards["flood.river"].oet is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (FAMILIES_TOML + ENTRY + ENTRY, "a code stands twice"),
        (FAMILIES_TOML + ENTRY.replace("flood.river", "Flood.River"), "pattern"),
        (FAMILIES_TOML + ENTRY.replace("flood.river", "flood"), "pattern"),
        (FAMILIES_TOML + ENTRY.replace('"natural"', '"opinion"'), "family"),
        (FAMILIES_TOML + ENTRY.replace('"Met"', '"Weather"'), "category"),
        (FAMILIES_TOML + ENTRY + 'oet = "81"', "oet"),
        (FAMILIES_TOML + ENTRY + 'person = "x"', "person"),
        (FAMILIES_TOML + 'health = { zh = "公共卫生", en = "public health" }' + ENTRY, "do not match"),
        (FAMILIES_TOML + ENTRY.replace('zh = "洪水"', 'zh = ""'), "zh"),
    ],
)
def test_a_faulty_catalogue_does_not_load(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        load_catalogue(text)


def test_the_packaged_file_is_what_is_loaded() -> None:
    text = Path(catalogue.__file__).with_name("catalogue.toml").read_text("utf-8")

    assert [entry["code"] for entry in tomllib.loads(text)["hazards"]] == list(HAZARDS)


def test_the_figures_are_those_a_report_may_carry() -> None:
    assert list(get_args(FigureName)) == list(FIGURES) == list(Figures.model_fields)


def test_every_figure_has_names_and_a_unit() -> None:
    assert {figure.unit for figure in FIGURES.values()} == {"persons", "houses", "ha", "CNY"}
    assert len({figure.zh for figure in FIGURES.values()}) == len({figure.en for figure in FIGURES.values()}) == 12
    assert [name for name, figure in FIGURES.items() if figure.name != name] == []
